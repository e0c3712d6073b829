//! Why a number matched, or why it did not.

use std::fmt;

use crate::app::suggest;
use crate::error::Location;
use crate::hunt::{Hunt, Note, Situation};
use crate::model::Plan;
use crate::text::{Known, Scope, shorten};

/// No extension was found for a call. Displayed as one line for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no match in context \"{context}\": {reason}")]
pub struct NoMatch {
    /// The context that was searched.
    pub context: String,
    /// Why nothing was found.
    pub reason: NoMatchReason,
}

/// Why no extension was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoMatchReason {
    /// The plan has no context of that name.
    NoContext,
    /// Every extension has a condition that does not hold.
    NoExtension {
        /// The first extensions, in the order they were tried.
        failed: Vec<Failed>,
        /// How many more there are.
        more: usize,
    },
}

/// An extension that did not match, and the first of its conditions that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The extension.
    pub extension: String,
    /// The field that was tested.
    pub field: String,
    /// What the call has there.
    pub value: String,
    /// The expression that was not found in it.
    pub expression: String,
    /// Where the condition is written.
    pub location: Location,
}

/// What a call would do, extension by extension. Displayed as several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    lines: Vec<String>,
    /// Whether an extension ends the search.
    pub is_match: bool,
}

impl Plan {
    /// Explains what a call that starts in `context` would do: every extension that was looked at with what became
    /// of its conditions, and then the applications that would run, with their data filled in. Inline actions are
    /// run on the variables.
    pub fn explain(&self, context: &str, situation: &mut Situation<'_>) -> Explanation {
        let Some(found) = self.context(context) else {
            let names: Vec<&str> = self.contexts().iter().map(|c| c.name.as_str()).collect();
            let line = format!("there is no context \"{context}\"; {}", suggest(context, &names));
            return Explanation { lines: vec![line], is_match: false };
        };
        let mut lines = Vec::new();
        let mut applications = Vec::new();
        let mut is_match = false;
        for extension in &found.extensions {
            let mut notes = Vec::new();
            let mut hunt = Hunt::new(situation, &self.globals, Some(&mut notes));
            let matched = hunt.conditions(&extension.conditions);
            let queue = hunt.into_queue();
            let verdict = match (matched, extension.continues) {
                (true, true) => "matches, and the search goes on",
                (true, false) => "matches",
                (false, _) => "does not match",
            };
            lines.push(format!("{} ({}) {verdict}", shorten(&extension.name), extension.location));
            lines.extend(notes.iter().map(|note| format!("    {note}")));
            let known = Known { facts: situation.facts, variables: situation.variables };
            for queued in queue {
                let scope =
                    Scope { captures: &queued.captures, globals: &self.globals, fallback: &[] };
                let data = queued.action.text.expand_known(known, scope);
                applications.push(format!("    {} {}", queued.action.application, shorten(&data)));
            }
            if matched && !extension.continues {
                is_match = true;
                break;
            }
        }
        match (is_match, applications.is_empty()) {
            (true, _) => lines.push("what runs:".to_owned()),
            (false, true) => {
                lines.push("no extension matches: the call is refused with 404".to_owned())
            }
            (false, false) => {
                lines.push(
                    "no extension ends the search; what runs before the call is refused:"
                        .to_owned(),
                );
            }
        }
        lines.extend(applications);
        Explanation { lines, is_match }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines.join("\n"))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, value, wanted) =
            (shorten(&self.field), shorten(&self.value), shorten(&self.wanted));
        let is = if self.holds { "is" } else { "is not" };
        write!(formatter, "{field} \"{value}\" {is} {wanted}")
    }
}

impl Failed {
    pub(crate) fn new(extension: &str, note: Note) -> Failed {
        Failed {
            extension: extension.to_owned(),
            field: note.field,
            value: note.value,
            expression: note.wanted,
            location: note.location,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, expression) = (shorten(&self.value), shorten(&self.expression));
        write!(
            formatter,
            "{} ({}): {} \"{value}\" is not {expression}",
            self.extension, self.location, self.field
        )
    }
}

impl fmt::Display for NoMatchReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, more) = match self {
            NoMatchReason::NoContext => return formatter.write_str("there is no such context"),
            NoMatchReason::NoExtension { failed, more } => (failed, *more),
        };
        for (index, failed) in failed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{failed}")?;
        }
        if more > 0 { write!(formatter, "; and {more} more") } else { Ok(()) }
    }
}

/// Extensions that are listed: a number that leads nowhere must not cost more the larger the plan is.
pub(crate) const LISTED_MAX: usize = 20;
