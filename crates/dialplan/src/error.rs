//! What can be wrong with a dialplan, always with the place where it is written.

use std::fmt;
use std::sync::Arc;

/// A place in a dialplan file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named to the loader.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// A dialplan that cannot be loaded: where, and what. Displayed as `file:line: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {fault}")]
pub struct Error {
    /// The first line that is wrong.
    pub location: Location,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong. All of these are faults of the author of the dialplan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is not well-formed XML.
    #[error("not well-formed XML: {detail}")]
    Xml {
        /// What the XML parser says.
        detail: String,
    },
    /// The file has a document type, and with it could have entities.
    #[error("a document type (<!DOCTYPE …>) is refused; remove it")]
    DocumentType,
    /// The file or something in it is over a bound.
    #[error("{what} is over the bound of {max}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// An element that is not expected where it stands.
    #[error("<{element}> is not supported in {parent}; {hint}")]
    Element {
        /// Its name.
        element: String,
        /// What it stands in.
        parent: String,
        /// What is possible there.
        hint: String,
    },
    /// An attribute, or a value of one, that is not supported.
    #[error("{attribute}=\"{value}\" is not supported in <{element}>; {hint}")]
    Attribute {
        /// The element.
        element: String,
        /// The attribute.
        attribute: String,
        /// Its value.
        value: String,
        /// What is possible.
        hint: String,
    },
    /// An attribute that must be there is not.
    #[error("<{element}> needs the attribute {attribute}")]
    AttributeMissing {
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// Text between elements, where only elements have a meaning.
    #[error("text outside of elements: \"{text}\"")]
    StrayText {
        /// Its beginning.
        text: String,
    },
    /// No file has an extension.
    #[error("no extension is defined")]
    Empty,
    /// An extension without a condition: nothing says when it is run.
    #[error(
        "the extension \"{extension}\" needs a <condition>; without attributes it always holds"
    )]
    NoCondition {
        /// Its name.
        extension: String,
    },
    /// A `$${name}` that is not defined.
    #[error("the global variable $${{{name}}} is not defined; {hint}")]
    UnknownGlobal {
        /// Its name.
        name: String,
        /// Which ones are.
        hint: String,
    },
    /// A `${…}` that cannot be read.
    #[error("\"{text}\" cannot be read: {detail}")]
    Substitution {
        /// The text, from the `$` on.
        text: String,
        /// Why not.
        detail: &'static str,
    },
    /// A `$1` without the group it refers to.
    #[error("${capture} refers to group {capture}, but the expression has {groups}")]
    Capture {
        /// The number after the `$`.
        capture: usize,
        /// Groups in the expression of the condition.
        groups: usize,
    },
    /// A condition on something that calls do not have.
    #[error("calls have no field \"{field}\"; {hint}")]
    UnknownField {
        /// The field.
        field: String,
        /// Which ones there are.
        hint: String,
    },
    /// A regular expression that cannot be compiled.
    #[error("the expression \"{expression}\" is refused: {detail}")]
    Expression {
        /// The expression.
        expression: String,
        /// Why, and what to do.
        detail: String,
    },
    /// An application that does not exist here.
    #[error("the application \"{application}\" is not supported; {hint}")]
    UnknownApplication {
        /// Its name.
        application: String,
        /// The closest one that is.
        hint: String,
    },
    /// An argument of an application that cannot be read.
    #[error("{application} \"{data}\": {detail}")]
    Argument {
        /// The application.
        application: &'static str,
        /// Its `data`, as it is written.
        data: String,
        /// Why not, and what it takes.
        detail: String,
    },
}
