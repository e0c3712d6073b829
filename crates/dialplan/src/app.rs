//! The applications. To add one, write a file and add its line to [`APPLICATIONS`].

mod answer;
mod bridge;
mod deflect;
mod delay_echo;
mod echo;
mod endless_playback;
mod execute_extension;
mod export;
mod gentones;
mod hangup;
mod info;
mod log;
mod play_and_get_digits;
mod playback;
mod pre_answer;
mod read;
mod record;
mod record_session;
mod redirect;
mod respond;
mod ring_ready;
mod set;
mod sleep;
mod stop_record_session;
mod transfer;
mod unset;
mod webhook;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::call::{Call, Ended, Level};
use crate::error::Fault;
use crate::facts::Facts;
use crate::model::{Action, Globals};
use crate::sound::SoundName;
use crate::text::{Scope, Text, shorten};
use crate::tone::ToneScript;
use crate::variables::{NAME_BYTES_MAX, Variables};

/// Every application, by name.
pub const APPLICATIONS: &[&Entry] = &[
    &answer::ENTRY,
    &bridge::ENTRY,
    &deflect::ENTRY,
    &delay_echo::ENTRY,
    &echo::ENTRY,
    &endless_playback::ENTRY,
    &execute_extension::ENTRY,
    &export::ENTRY,
    &gentones::ENTRY,
    &hangup::ENTRY,
    &info::ENTRY,
    &log::ENTRY,
    &play_and_get_digits::ENTRY,
    &playback::ENTRY,
    &pre_answer::ENTRY,
    &read::ENTRY,
    &record::ENTRY,
    &record_session::ENTRY,
    &redirect::ENTRY,
    &respond::ENTRY,
    &ring_ready::ENTRY,
    &set::ENTRY,
    &sleep::ENTRY,
    &stop_record_session::ENTRY,
    &transfer::ENTRY,
    &unset::ENTRY,
    &webhook::ENTRY,
];

/// The name of every application.
pub fn application_names() -> impl Iterator<Item = &'static str> {
    APPLICATIONS.iter().map(|entry| entry.name)
}

/// What there is to know about an application.
pub struct Entry {
    /// The name that a dialplan uses.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What it takes, in the order it is written in `data`.
    pub arguments: &'static [Argument],
    /// Reads its arguments, once, when the plan is loaded.
    pub(crate) parse: fn(&Text, &Globals) -> Parsed,
}

/// An application with its arguments, or in words what is wrong with them.
pub(crate) type Parsed = Result<Box<dyn Application>, String>;

/// One argument of an application.
pub struct Argument {
    /// Its name, for the documentation.
    pub name: &'static str,
    /// How it is read: what it may be, its unit, its default.
    pub reading: &'static str,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// An application whose arguments were read.
#[async_trait]
pub(crate) trait Application: fmt::Debug + Send + Sync {
    /// Does it, and says what is run next. `scope` is for [`Text::expand`].
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended>;

    /// Whether [`Application::run_inline`] does something.
    fn is_inline(&self) -> bool {
        false
    }

    /// Does it while extensions are searched. Lines for the log are added to `lines`.
    fn run_inline(
        &self,
        _facts: &Facts,
        _variables: &mut Variables,
        _scope: Scope<'_>,
        _lines: &mut Vec<(Level, String)>,
    ) {
    }

    /// The sounds it plays, so that they can be read before the first call.
    fn sounds(&self) -> Vec<&SoundName> {
        Vec::new()
    }

    /// The tones it plays, so that they can be made before the first call.
    fn tones(&self) -> Vec<&ToneScript> {
        Vec::new()
    }

    /// Whether it needs a list of actions for the case that it fails.
    fn needs_fallback(&self) -> bool {
        false
    }

    /// The variable that it sets, and what to.
    fn sets(&self) -> Option<(&str, &Text)> {
        None
    }

    /// Where it leads a call.
    fn leads(&self) -> Vec<Lead<'_>> {
        Vec::new()
    }
}

/// What is run after an application.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next action.
    Action,
    /// What is found for this number, in place of all that is left.
    Transfer(Place),
    /// What is found for this number, and then the next action.
    Execute(Place),
    /// These, and then the next action.
    Actions(Vec<Arc<Action>>),
}

/// Where a search begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub number: String,
    /// The context the call is in, if there is none.
    pub context: Option<String>,
}

/// Where an application leads a call, as far as the plan says so.
#[derive(Debug)]
pub(crate) enum Lead<'a> {
    /// To an extension: the number, and the context if it is not the same.
    Extension { number: &'a Text, context: Option<&'a str> },
    /// To a user.
    User(&'a Text),
    /// To an address: what stands before the "@" and that, and the rest.
    Uri { user: Option<&'a Text>, host: &'a Text },
    /// To the destinations that a variable holds.
    Variable(&'a str),
}

/// Finds an application by name and reads its arguments.
pub(crate) fn parse(
    name: &str,
    data: &Text,
    globals: &Globals,
) -> Result<(&'static str, Box<dyn Application>), Fault> {
    let Some(entry) = APPLICATIONS.iter().find(|entry| entry.name == name) else {
        let names: Vec<&str> = application_names().collect();
        return Err(Fault::UnknownApplication {
            application: shorten(name),
            hint: suggest(name, &names),
        });
    };
    let application = (entry.parse)(data, globals).map_err(|detail| Fault::Argument {
        application: entry.name,
        data: shorten(data.source()),
        detail,
    })?;
    Ok((entry.name, application))
}

/// "did you mean …" with the closest name, or the list of all names if none is close.
pub(crate) fn suggest(name: &str, names: &[&str]) -> String {
    let name: String =
        name.chars().take(DISTANCE_CHARS_MAX).collect::<String>().to_ascii_lowercase();
    let closest = names
        .iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_ascii_lowercase()), *known))
        .min();
    match closest {
        Some((edits, known)) if edits <= known.len().max(3) / 3 => {
            format!("did you mean \"{known}\"?")
        }
        _ if names.len() > LISTED_MAX => "none is close to it".to_owned(),
        _ => format!("there are: {}", names.join(", ")),
    }
}

/// For an application that takes none.
fn no_arguments(data: &Text, globals: &Globals) -> Result<(), String> {
    match data.constant(globals) {
        Some(constant) if constant.trim().is_empty() => Ok(()),
        _ => Err("it takes no arguments".to_owned()),
    }
}

/// The name of a variable, if it is one.
fn variable_name(name: &str) -> Result<String, String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name_byte) {
        return Err(format!("\"{}\" is not a name of a variable; write name=value", shorten(name)));
    }
    Ok(name.to_owned())
}

/// Sets a variable that an application makes; one that cannot be set is logged.
fn set(call: &mut dyn Call, name: &str, value: &str) {
    if let Err(error) = call.variables_mut().set(name, value) {
        call.log(Level::Warning, &format!("{name} is not set: {error}"));
    }
}

/// A whole number that is written in the plan, or comes from the call.
#[derive(Debug)]
pub(crate) enum Number {
    Fixed(u64),
    FromCall(Text),
}

impl Number {
    /// Reads a number up to `max`; nothing is `default`.
    pub(crate) fn parse(
        data: &Text,
        globals: &Globals,
        default: Option<u64>,
        max: u64,
    ) -> Result<Number, String> {
        let Some(constant) = data.constant(globals) else {
            return Ok(Number::FromCall(data.clone()));
        };
        if let ("", Some(default)) = (constant.trim(), default) {
            return Ok(Number::Fixed(default));
        }
        read_number(&constant, max).map(Number::Fixed)
    }

    /// The number. One from the call that cannot be read is logged, and `None`.
    pub(crate) fn value(&self, max: u64, call: &mut dyn Call, scope: Scope<'_>) -> Option<u64> {
        let text = match self {
            Number::Fixed(value) => return Some(*value),
            Number::FromCall(text) => text,
        };
        let read = read_number(&text.expand(call, scope), max);
        read.map_err(|detail| call.log(Level::Warning, &format!("{}: {detail}", text.source())))
            .ok()
    }
}

fn read_number(text: &str, max: u64) -> Result<u64, String> {
    let number = text.trim().parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| format!("\"{}\" is not a whole number from 0 to {max}", shorten(text)))
}

/// More names than this are not listed in a message.
const LISTED_MAX: usize = 24;
/// What of an unknown name is compared to the known ones.
const DISTANCE_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_ordered_by_name_and_documented() {
        assert!(APPLICATIONS.is_sorted_by(|a, b| a.name < b.name));
        for entry in APPLICATIONS {
            assert!(entry.summary.ends_with('.'), "{entry:?}");
            assert!(
                entry.arguments.iter().all(|argument| !argument.reading.is_empty()),
                "{entry:?}"
            );
        }
    }

    #[test]
    fn a_misspelt_name_is_close_to_the_right_one() {
        let names = ["answer", "playback", "delay_echo"];
        assert_eq!(suggest("Playbak", &names), "did you mean \"playback\"?");
        assert_eq!(suggest("conference", &names), "there are: answer, playback, delay_echo");
    }
}
