//! A dialplan as it is written, before it is checked: what the readers make and what [`Draft::to_toml`] writes.

use std::sync::Arc;

use crate::error::Location;

/// A dialplan as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// What `$${name}` refers to, in the order of definition.
    pub globals: Vec<(String, String)>,
    /// The contexts, in the order they are first named.
    pub contexts: Vec<DraftContext>,
}

/// A context as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftContext {
    /// Its name.
    pub name: String,
    /// Lines of a comment in front of it.
    pub comment: String,
    /// Contexts whose extensions follow its own.
    pub includes: Vec<(String, Location)>,
    /// Its extensions.
    pub extensions: Vec<DraftExtension>,
    /// Where it begins.
    pub location: Location,
}

/// An extension as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftExtension {
    /// Its name.
    pub name: String,
    /// Lines of a comment in front of it.
    pub comment: String,
    /// Whether the search goes on behind it although it matched.
    pub continues: bool,
    /// Its conditions.
    pub conditions: Vec<DraftCondition>,
    /// Where it begins.
    pub location: Location,
}

/// A condition as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftCondition {
    /// Lines of a comment in front of it.
    pub comment: String,
    /// What is tested; nothing always holds.
    pub tests: Vec<DraftTest>,
    /// How many of the tests must hold.
    pub combine: Combine,
    /// When the conditions behind it are left out.
    pub breaks: Break,
    /// What is run if it holds.
    pub actions: Vec<DraftAction>,
    /// What is run if it does not.
    pub anti_actions: Vec<DraftAction>,
    /// Conditions that are looked at if it holds.
    pub nested: Vec<DraftCondition>,
    /// Whether it is enough for the extension that this condition holds, and `nested` need not.
    pub nested_optional: bool,
    /// Where it begins.
    pub location: Location,
}

/// One test of a condition, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftTest {
    /// What is tested, and for what.
    pub subject: Subject,
    /// Where it is written.
    pub location: Location,
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A field of the call: its name, or a text with `${variables}`; one of the values must fit.
    Field {
        /// The field.
        field: String,
        /// What fits.
        values: Vec<Value>,
    },
    /// The address the call came from: one of these networks, such as `192.0.2.0/24`.
    Network(Vec<String>),
    /// The time: FreeSWITCH's attributes, such as `wday` and `mon-fri`; all must hold.
    Time(Vec<(String, String)>),
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Exactly this.
    Literal(String),
    /// Something in which this regular expression is found.
    Expression(String),
}

/// An action as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftAction {
    /// The application.
    pub application: String,
    /// Its arguments.
    pub data: String,
    /// Lines of a comment in front of it.
    pub comment: String,
    /// Whether it is run while extensions are searched.
    pub inline: bool,
    /// How often it is run.
    pub times: u32,
    /// What is run if the application fails, for applications that take a list.
    pub fallback: Vec<DraftAction>,
    /// Where it is written.
    pub location: Location,
}

impl Value {
    /// An expression; `/expression/` without flags is the expression between the slashes.
    pub fn expression(source: &str) -> Value {
        let inner = source.strip_prefix('/').and_then(|body| body.strip_suffix('/'));
        let plain = inner.filter(|inner| {
            !(inner.starts_with('/')
                && inner.len() > 1
                && inner.get(1..).is_some_and(|rest| rest.contains('/')))
        });
        Value::Expression(plain.unwrap_or(source).to_owned())
    }
}

impl DraftAction {
    /// An action that is run once.
    pub fn new(
        application: impl Into<String>,
        data: impl Into<String>,
        location: Location,
    ) -> Self {
        DraftAction {
            application: application.into(),
            data: data.into(),
            comment: String::new(),
            inline: false,
            times: 1,
            fallback: Vec::new(),
            location,
        }
    }
}

impl Draft {
    /// The context with this name, made at the end if it is new.
    pub fn context_mut(&mut self, name: &str, location: &Location) -> &mut DraftContext {
        let at = self.contexts.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.contexts.push(DraftContext {
                name: name.to_owned(),
                location: location.clone(),
                ..DraftContext::default()
            });
            self.contexts.len() - 1
        });
        &mut self.contexts[at]
    }
}

/// How many tests of a condition must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
    /// Exactly one.
    Xor,
}

/// When the conditions that follow in the same extension are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Break {
    /// If this one does not hold.
    #[default]
    OnFalse,
    /// If this one holds.
    OnTrue,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl Combine {
    /// Every form, by the name that is written.
    pub(crate) const ALL: [(&'static str, Combine); 3] =
        [("all", Combine::All), ("any", Combine::Any), ("xor", Combine::Xor)];

    /// The name that is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("all", |(name, _)| name)
    }
}

impl Break {
    /// Every form, by the name that is written.
    pub(crate) const ALL: [(&'static str, Break); 4] = [
        ("on-false", Break::OnFalse),
        ("on-true", Break::OnTrue),
        ("always", Break::Always),
        ("never", Break::Never),
    ];

    /// The name that is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("on-false", |(name, _)| name)
    }
}

impl Location {
    /// A place in a file; lines count from 1.
    pub fn new(file: &str, line: u32) -> Location {
        Location { file: Arc::from(file), line }
    }
}

impl Default for Location {
    fn default() -> Self {
        Location { file: Arc::from(""), line: 0 }
    }
}
