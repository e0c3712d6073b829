//! Why a number matched nothing, in one line.

use std::fmt;

use crate::error::Location;
use crate::hunt::Note;
use crate::text::shorten;

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
