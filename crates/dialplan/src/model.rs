//! The one model of a dialplan, whatever it was written in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::Application;
use crate::error::{Error, Location};
use crate::explain::{Failed, LISTED_MAX, NoMatch, NoMatchReason};
use crate::facts::{Fact, Facts};
use crate::pattern::{Captures, Pattern};
use crate::run::Route;
use crate::sound::SoundName;
use crate::tone::ToneScript;
use crate::xml::{self, LoadOptions, Source};

/// A dialplan that was checked as a whole. Immutable; a call keeps the extension it runs alive by itself.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    contexts: Vec<Context>,
    /// As they were at the end of the last file.
    globals: Arc<Globals>,
}

/// A set of extensions. Which one a call starts in is decided outside: by how it arrived.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Its extensions; the first one that matches is run.
    pub extensions: Vec<Arc<Extension>>,
}

/// What to do with a call that meets all conditions.
#[derive(Debug)]
pub struct Extension {
    /// Its name, for logs.
    pub name: String,
    /// Where it is written.
    pub location: Location,
    /// Its conditions: all must hold. Actions run in the order they are written.
    pub conditions: Vec<Condition>,
}

/// One condition and the actions below it.
#[derive(Debug)]
pub struct Condition {
    /// What is tested; `None` always holds.
    pub test: Option<Test>,
    /// What is run if all conditions of the extension hold.
    pub actions: Vec<Action>,
    /// Where it is written.
    pub location: Location,
}

/// A fact and the expression that must be found in it.
#[derive(Debug)]
pub struct Test {
    /// The fact.
    pub fact: Fact,
    /// The expression.
    pub pattern: Pattern,
}

/// An application with its arguments.
#[derive(Debug)]
pub struct Action {
    /// The name of the application.
    pub application: &'static str,
    /// Its arguments as they are written.
    pub data: String,
    /// Where it is written.
    pub location: Location,
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
    /// Reads and checks FreeSWITCH XML. All sources make one plan: a context that several define has the
    /// extensions of all, in the order of `sources`.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and line. Nothing is loaded then.
    pub fn load(sources: &[Source], options: &LoadOptions) -> Result<Plan, Error> {
        xml::load(sources, options)
    }

    /// The contexts, in the order they are first named.
    pub fn contexts(&self) -> &[Context] {
        &self.contexts
    }

    /// The context with this name.
    pub fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// Finds what to run for a call that starts in `context`.
    ///
    /// # Errors
    /// No such context, or no extension matches; then the error says for the first ones which condition failed.
    pub fn route(&self, context: &str, facts: &Facts) -> Result<Route, NoMatch> {
        let refuse = |reason| NoMatch { context: context.to_owned(), reason };
        let Some(found) = self.context(context) else {
            return Err(refuse(NoMatchReason::NoContext));
        };
        let mut failed = Vec::new();
        for extension in &found.extensions {
            match extension.test(facts) {
                Ok(captures) => {
                    let (name, globals) = (found.name.clone(), Arc::clone(&self.globals));
                    return Ok(Route::new(name, Arc::clone(extension), captures, globals));
                }
                Err(condition) if failed.len() < LISTED_MAX => failed.push((extension, condition)),
                Err(_) => {}
            }
        }
        let more = found.extensions.len() - failed.len();
        let failed = failed
            .into_iter()
            .map(|(extension, condition)| Failed::new(extension, condition, facts));
        Err(refuse(NoMatchReason::NoExtension { failed: failed.collect(), more }))
    }

    /// Every sound that is played, with the place that plays it, so that it can be read before the first call.
    pub fn sounds(&self) -> impl Iterator<Item = (&SoundName, &Location)> {
        self.actions().filter_map(|action| Some((action.compiled.sound()?, &action.location)))
    }

    /// Every tone script that is played, with the place that plays it.
    pub fn tones(&self) -> impl Iterator<Item = (&ToneScript, &Location)> {
        self.actions().filter_map(|action| Some((action.compiled.tones()?, &action.location)))
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

    /// Sets what a `${name}` is looked up in that the call does not know.
    pub(crate) fn set_globals(&mut self, globals: Globals) {
        self.globals = Arc::new(globals);
    }

    /// Adds an extension at the end of a context, which is made if it is new.
    pub(crate) fn push(&mut self, context: &str, extension: Extension) {
        let extension = Arc::new(extension);
        match self.contexts.iter_mut().find(|known| known.name == context) {
            Some(known) => known.extensions.push(extension),
            None => self
                .contexts
                .push(Context { name: context.to_owned(), extensions: vec![extension] }),
        }
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        let extensions = self.contexts.iter().flat_map(|context| &context.extensions);
        extensions
            .flat_map(|extension| &extension.conditions)
            .flat_map(|condition| &condition.actions)
    }
}

impl Extension {
    /// What the groups of each condition hold, or the first condition that fails.
    fn test(&self, facts: &Facts) -> Result<Vec<Captures>, &Condition> {
        self.conditions.iter().map(|condition| condition.test(facts).ok_or(condition)).collect()
    }

    fn plain_numbers(&self) -> Vec<String> {
        let mut tests = self.conditions.iter().filter_map(|condition| condition.test.as_ref());
        match (tests.next(), tests.next()) {
            (Some(test), None) if test.fact == Fact::DestinationNumber => {
                test.pattern.plain_values()
            }
            _ => Vec::new(),
        }
    }
}

impl Condition {
    fn test(&self, facts: &Facts) -> Option<Captures> {
        match &self.test {
            Some(test) => test.pattern.captures(&facts.read(test.fact)),
            None => Some(Captures::default()),
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
