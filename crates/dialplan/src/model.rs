//! The one model of a dialplan, whatever it was written in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::Application;
use crate::draft::{Break, Combine, Draft};
use crate::error::{Error, Location};
use crate::facts::{Fact, Facts};
use crate::index::Index;
use crate::moment::TimeTest;
use crate::network::Network;
use crate::pattern::{Captures, Pattern};
use crate::read::{LoadOptions, Source};
use crate::sound::SoundName;
use crate::text::Text;
use crate::tone::ToneScript;

/// A dialplan that was checked as a whole. Immutable; a call keeps what it runs alive by itself.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(crate) contexts: Vec<Context>,
    /// As they were at the end of the last file.
    pub(crate) globals: Arc<Globals>,
}

/// A set of extensions. Which one a call starts in is decided outside: by how it arrived.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Its extensions, and behind them those of the contexts it includes; the first one that matches is run.
    pub extensions: Vec<Arc<Extension>>,
    /// Where it begins.
    pub location: Location,
    pub(crate) index: Arc<Index>,
}

/// What to do with a call that meets all conditions.
#[derive(Debug)]
pub struct Extension {
    /// Its name, for logs.
    pub name: String,
    /// Where it is written.
    pub location: Location,
    /// Whether the search goes on behind it although it matched.
    pub continues: bool,
    /// Its conditions, in order; one that does not hold leaves out those behind it unless its `breaks` says
    /// otherwise.
    pub conditions: Vec<Condition>,
}

/// A condition, and what follows from it.
#[derive(Debug)]
pub struct Condition {
    /// What is tested; nothing always holds.
    pub tests: Vec<Test>,
    /// How many of the tests must hold.
    pub combine: Combine,
    /// When the conditions behind it are left out.
    pub breaks: Break,
    /// What is run if it holds.
    pub actions: Vec<Arc<Action>>,
    /// What is run if it does not.
    pub anti_actions: Vec<Arc<Action>>,
    /// Conditions that are looked at if it holds.
    pub nested: Vec<Condition>,
    /// Whether the condition counts even if `nested` do not hold.
    pub nested_optional: bool,
    /// Where it is written.
    pub location: Location,
}

/// One test.
#[derive(Debug)]
pub struct Test {
    pub(crate) subject: Tested,
    /// Where it is written.
    pub location: Location,
}

/// What is tested, and for what.
#[derive(Debug)]
pub(crate) enum Tested {
    Field { field: Field, values: Vec<Match> },
    Network { networks: Vec<Network>, source: String },
    Time(TimeTest),
}

/// What is looked at.
#[derive(Debug)]
pub(crate) enum Field {
    Fact(Fact),
    /// A fact without a field of its own.
    Further(String),
    /// A text with variables.
    Text(Text),
}

/// What must be found there.
#[derive(Debug)]
pub(crate) enum Match {
    Literal(String),
    Pattern(Pattern),
    /// An expression with variables: what they hold is found literally.
    Variable(Text),
}

/// An application with its arguments.
#[derive(Debug)]
pub struct Action {
    /// The name of the application.
    pub application: &'static str,
    /// Its arguments as they are written.
    pub data: String,
    /// Whether it is run while extensions are searched.
    pub inline: bool,
    /// How often it is run.
    pub times: u32,
    /// What is run if the application fails.
    pub fallback: Vec<Arc<Action>>,
    /// Where it is written.
    pub location: Location,
    pub(crate) text: Text,
    pub(crate) compiled: Box<dyn Application>,
}

/// A number that can be dialled as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// The number.
    pub number: String,
    /// The extension it leads to.
    pub extension: String,
}

impl Plan {
    /// Reads and checks FreeSWITCH XML and our own TOML. All sources make one plan: a context that several define
    /// has the extensions of all, in the order of `sources`.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line. Nothing is loaded then.
    pub fn load(sources: &[Source], options: &LoadOptions) -> Result<Plan, Error> {
        let draft = Draft::read(sources, options)?;
        Plan::compile(&draft, options)
    }

    /// The contexts, in the order they are first named.
    pub fn contexts(&self) -> &[Context] {
        &self.contexts
    }

    /// The context with this name.
    pub fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// Every sound that is played, with the place that plays it, so that it can be read before the first call.
    pub fn sounds(&self) -> impl Iterator<Item = (&SoundName, &Location)> {
        self.actions().into_iter().flat_map(|action| {
            action.compiled.sounds().into_iter().map(|sound| (sound, &action.location))
        })
    }

    /// Every tone script that is played, with the place that plays it.
    pub fn tones(&self) -> impl Iterator<Item = (&ToneScript, &Location)> {
        self.actions().into_iter().flat_map(|action| {
            action.compiled.tones().into_iter().map(|tones| (tones, &action.location))
        })
    }

    /// The numbers of a context that can be read off its expressions, such as `^(07010002000)$` or `^9196$`.
    /// Extensions that also test something else are left out.
    pub fn numbers(&self, context: &str) -> Vec<Number> {
        let mut seen = BTreeSet::new();
        let mut numbers = Vec::new();
        for extension in self.context(context).map_or(&[][..], |context| &context.extensions) {
            for number in extension.plain_numbers() {
                if seen.insert(number.clone()) {
                    numbers.push(Number { number, extension: extension.name.clone() });
                }
            }
        }
        numbers
    }

    /// Every action of the plan, once.
    pub(crate) fn actions(&self) -> Vec<&Action> {
        let mut seen = BTreeSet::new();
        let mut actions = Vec::new();
        for extension in self.contexts.iter().flat_map(|context| &context.extensions) {
            // An included extension stands in several contexts.
            if seen.insert(Arc::as_ptr(extension)) {
                extension
                    .conditions
                    .iter()
                    .for_each(|condition| condition.actions_to(&mut actions));
            }
        }
        actions
    }
}

impl Extension {
    /// Every action of the extension.
    pub(crate) fn actions(&self) -> Vec<&Action> {
        let mut actions = Vec::new();
        self.conditions.iter().for_each(|condition| condition.actions_to(&mut actions));
        actions
    }

    fn plain_numbers(&self) -> Vec<String> {
        let mut tests = self.conditions.iter().flat_map(|condition| &condition.tests);
        let plain = match (tests.next(), tests.next()) {
            (Some(test), None) => test.plain_values(),
            _ => None,
        };
        match plain {
            Some((Fact::DestinationNumber, values)) => values,
            _ => Vec::new(),
        }
    }
}

impl Condition {
    fn actions_to<'a>(&'a self, actions: &mut Vec<&'a Action>) {
        for action in self.actions.iter().chain(&self.anti_actions) {
            action.actions_to(actions);
        }
        self.nested.iter().for_each(|nested| nested.actions_to(actions));
    }

    /// How many groups `$1` and so on may refer to in its actions.
    pub(crate) fn groups(&self) -> usize {
        self.tests.iter().map(Test::groups).max().unwrap_or_default()
    }
}

impl Action {
    fn actions_to<'a>(&'a self, actions: &mut Vec<&'a Action>) {
        actions.push(self);
        self.fallback.iter().for_each(|action| action.actions_to(actions));
    }
}

impl Test {
    fn groups(&self) -> usize {
        let Tested::Field { values, .. } = &self.subject else { return 0 };
        let groups = values.iter().map(|value| match value {
            Match::Literal(_) => 1,
            Match::Pattern(pattern) => pattern.groups(),
            Match::Variable(_) => MATCHED_GROUPS_MAX,
        });
        groups.max().unwrap_or_default()
    }

    /// Whether every call passes: an expression such as `.*`.
    pub(crate) fn takes_all(&self) -> bool {
        let Tested::Field { values, .. } = &self.subject else { return false };
        values.iter().any(|value| match value {
            Match::Pattern(pattern) => pattern.takes_all(),
            Match::Literal(_) | Match::Variable(_) => false,
        })
    }

    /// Whether a call to this number could pass.
    pub(crate) fn may_take(&self, number: &str) -> bool {
        let Tested::Field { field: Field::Fact(Fact::DestinationNumber), values } = &self.subject
        else {
            return true;
        };
        values.iter().any(|value| match value {
            Match::Literal(literal) => literal == number,
            Match::Pattern(pattern) => pattern.is_match(number),
            Match::Variable(_) => true,
        })
    }

    /// What the groups hold for a call to this number, if it surely passes.
    pub(crate) fn captures_of(&self, number: &str) -> Option<Captures> {
        let Tested::Field { field: Field::Fact(Fact::DestinationNumber), values } = &self.subject
        else {
            return None;
        };
        values.iter().find_map(|value| match value {
            Match::Literal(literal) => (literal == number).then(|| Captures::whole(number)),
            Match::Pattern(pattern) => pattern.captures(number),
            Match::Variable(_) => None,
        })
    }

    /// The fact that is tested and the values it may have, if these can be counted.
    pub(crate) fn plain_values(&self) -> Option<(Fact, Vec<String>)> {
        let Tested::Field { field: Field::Fact(fact), values } = &self.subject else { return None };
        let mut plain = Vec::new();
        for value in values {
            match value {
                Match::Literal(literal) => plain.push(literal.clone()),
                Match::Pattern(pattern) => match pattern.plain_values() {
                    found if found.is_empty() => return None,
                    found => plain.extend(found),
                },
                Match::Variable(_) => return None,
            }
        }
        Some((*fact, plain))
    }
}

impl Facts {
    pub(crate) fn field(&self, field: &Field) -> Option<std::borrow::Cow<'_, str>> {
        match field {
            Field::Fact(fact) => Some(self.read(*fact)),
            Field::Further(name) => self.value(name),
            Field::Text(_) => None,
        }
    }
}

/// The global variables, which `$${name}` refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    values: BTreeMap<String, String>,
}

impl Globals {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Sets `name` to `value`.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Which ones there are, for a message.
    pub(crate) fn hint(&self) -> String {
        if self.values.is_empty() {
            return "there are none".to_owned();
        }
        let names: Vec<&str> =
            self.values.keys().take(HINT_NAMES_MAX).map(String::as_str).collect();
        let more = if self.values.len() > HINT_NAMES_MAX { ", …" } else { "" };
        format!("there are: {}{more}", names.join(", "))
    }
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for Globals {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        Globals {
            values: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

/// Names that are listed in a message.
const HINT_NAMES_MAX: usize = 12;
/// Groups that an expression which is known only when a call comes may have.
const MATCHED_GROUPS_MAX: usize = 99;
