//! `extensions.conf`: contexts, extensions, and the lines they run, in order.

use std::collections::BTreeMap;

use dialplan::Location;

use super::super::ImportError;
use super::super::folder::too_large;
use super::super::note::{Notes, one_line};
use super::ini::{Entry, Section};

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Dialplan {
    pub globals: BTreeMap<String, String>,
    pub contexts: Vec<Context>,
    by_name: BTreeMap<String, usize>,
}

#[derive(Debug)]
pub(super) struct Context {
    pub name: String,
    pub extensions: Vec<Extension>,
    pub includes: Vec<(String, Location)>,
    pub location: Location,
}

/// All lines of one number or pattern.
#[derive(Debug)]
pub(super) struct Extension {
    /// A number, or a pattern that begins with `_`.
    pub pattern: String,
    /// The caller it is for, in the same form.
    pub caller: Option<String>,
    /// By priority.
    pub lines: Vec<Line>,
}

/// One priority.
#[derive(Debug)]
pub(super) struct Line {
    pub priority: u32,
    pub label: Option<String>,
    /// In lower case.
    pub application: String,
    pub arguments: String,
    pub location: Location,
}

impl Line {
    /// The line as it is read by people.
    pub(super) fn shown(&self) -> String {
        one_line(&format!("{}({})", self.application, self.arguments))
    }
}

impl Dialplan {
    pub(super) fn context(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// Reads the sections of the file.
///
/// # Errors
/// When there are more extensions than a plan may have.
pub(super) fn read(sections: &[Section], notes: &mut Notes) -> Result<Dialplan, ImportError> {
    let mut plan = Dialplan::default();
    let mut extensions = 0;
    for section in sections.iter().filter(|section| !section.is_template) {
        match section.name.as_str() {
            "general" => {}
            "globals" => {
                for entry in &section.entries {
                    global(entry, &mut plan, notes);
                }
            }
            name => {
                let Dialplan { contexts, by_name, .. } = &mut plan;
                let at = *by_name.entry(name.to_owned()).or_insert_with(|| {
                    contexts.push(Context {
                        name: name.to_owned(),
                        extensions: Vec::new(),
                        includes: Vec::new(),
                        location: section.location.clone(),
                    });
                    contexts.len() - 1
                });
                if let Some(context) = plan.contexts.get_mut(at) {
                    read_context(section, context, notes);
                }
                let count: usize = plan.contexts.get(at).map_or(0, |c| c.extensions.len());
                extensions += count;
                if extensions > EXTENSIONS_MAX {
                    let what = "the number of extensions";
                    let location = section.location.clone();
                    return Err(too_large(location, what, EXTENSIONS_MAX as u64));
                }
            }
        }
    }
    Ok(plan)
}

/// A global variable, with those before it filled in.
fn global(entry: &Entry, plan: &mut Dialplan, notes: &mut Notes) {
    let name = entry.name.clone();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name || entry.value.len() > GLOBAL_BYTES_MAX || plan.globals.len() >= GLOBALS_MAX {
        let what = format!("the global variable {}", one_line(&entry.key));
        return notes.left_out(&entry.location, what);
    }
    let value = with_globals(&entry.value, &plan.globals);
    plan.globals.insert(name, value);
}

/// Fills in the global variables that a text names; other ones stay as they are.
pub(super) fn with_globals(text: &str, globals: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(name, after)| {
            let name =
                name.strip_prefix("GLOBAL(").and_then(|n| n.strip_suffix(')')).unwrap_or(name);
            Some((globals.get(name)?, after))
        });
        match known {
            Some((value, after)) if filled.len() < GLOBAL_BYTES_MAX => {
                filled.push_str(value);
                rest = after;
            }
            _ => {
                filled.push_str("${");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn read_context(section: &Section, context: &mut Context, notes: &mut Notes) {
    let mut last = None;
    let mut index: BTreeMap<(String, Option<String>), usize> = context
        .extensions
        .iter()
        .enumerate()
        .map(|(at, known)| ((known.pattern.clone(), known.caller.clone()), at))
        .collect();
    for entry in &section.entries {
        let place = &entry.location;
        match entry.key.as_str() {
            "exten" => {
                let (number, rest) = entry.value.split_once(',').unwrap_or((&entry.value, ""));
                let (pattern, caller) = match number.trim().split_once('/') {
                    Some((pattern, caller)) => (pattern, Some(caller.trim().to_owned())),
                    None => (number.trim(), None),
                };
                let key = (pattern.trim().to_owned(), caller);
                let at = *index.entry(key.clone()).or_insert(context.extensions.len());
                if at == context.extensions.len() {
                    let (pattern, caller) = key;
                    context.extensions.push(Extension { pattern, caller, lines: Vec::new() });
                }
                last = Some(at);
                if let Some(extension) = context.extensions.get_mut(at) {
                    line(rest, extension, place, notes);
                }
            }
            "same" => match last.and_then(|at| context.extensions.get_mut(at)) {
                Some(extension) => line(&entry.value, extension, place, notes),
                None => notes.left_out(place, "same => without an exten => before it"),
            },
            "include" => match entry.value.split_once(',') {
                None => context.includes.push((entry.value.clone(), place.clone())),
                Some((name, _)) => {
                    let what = format!("include => {}: includes for a time", one_line(name));
                    notes.left_out(place, what);
                }
            },
            "ignorepat" | "autohints" => {}
            key => {
                let what = format!("{} => {}", one_line(key), one_line(&entry.value));
                notes.left_out(place, what);
            }
        }
    }
    context.extensions.retain(|extension| !extension.lines.is_empty());
    for extension in &mut context.extensions {
        extension.lines.sort_by_key(|line| line.priority);
    }
}

/// Reads `priority(label),Application(arguments)`.
fn line(text: &str, extension: &mut Extension, location: &Location, notes: &mut Notes) {
    let (priority, call) = text.split_once(',').unwrap_or((text, ""));
    let (priority, label) = match priority.trim().split_once('(') {
        Some((priority, label)) => {
            (priority.trim(), Some(label.trim_end_matches(')').trim().to_owned()))
        }
        None => (priority.trim(), None),
    };
    let before = extension.lines.last().map_or(0, |line| line.priority);
    let number = match priority {
        "n" | "next" => before.checked_add(1),
        "s" | "same" => Some(before.max(1)),
        "hint" => {
            let what = format!("the hint for {}: lamps of phones", one_line(&extension.pattern));
            return notes.left_out(location, what);
        }
        number => number.parse().ok().filter(|number| *number > 0),
    };
    let call = call.trim();
    let (application, arguments) = match call.split_once(['(', ',']) {
        Some((application, rest)) if call.contains('(') => {
            (application, rest.strip_suffix(')').unwrap_or(rest))
        }
        Some((application, rest)) => (application, rest),
        None => (call, ""),
    };
    let application = application.trim().to_ascii_lowercase();
    let Some(priority) = number.filter(|_| !application.is_empty()) else {
        let what = format!("{}: write priority,Application(arguments)", one_line(text));
        return notes.left_out(location, what);
    };
    extension.lines.push(Line {
        priority,
        label,
        application,
        arguments: arguments.trim().to_owned(),
        location: location.clone(),
    });
}

/// Longest value of a global variable.
const GLOBAL_BYTES_MAX: usize = 4_096;
/// Most global variables.
const GLOBALS_MAX: usize = 1_000;
/// Most extensions: those of a context that is gone on with count again.
const EXTENSIONS_MAX: usize = 20_000;
