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

/// A dialplan that cannot be loaded. Displayed as one line for each finding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines())]
pub struct Error {
    /// Everything that is wrong, in the order in which it was found; at least one finding.
    pub findings: Vec<Finding>,
}

impl Error {
    fn lines(&self) -> String {
        let lines: Vec<String> = self.findings.iter().map(Finding::to_string).collect();
        lines.join("\n")
    }
}

/// One thing that is wrong with a dialplan: where, and what. Displayed as `file:line: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first line that is wrong.
    pub location: Location,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.location, self.fault)
    }
}

/// Findings as they are gathered, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    pub(crate) fn add(&mut self, location: &Location, fault: Fault) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding { location: location.clone(), fault });
        }
    }

    pub(crate) fn has_any(&self) -> bool {
        !self.list.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= FINDINGS_MAX
    }

    /// # Errors
    /// If there is a finding.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        if self.list.is_empty() { Ok(()) } else { Err(Error { findings: self.into_list() }) }
    }

    /// All of them, by file and line.
    pub(crate) fn into_list(mut self) -> Vec<Finding> {
        let mut files: Vec<Arc<str>> = Vec::new();
        for finding in &self.list {
            if !files.contains(&finding.location.file) {
                files.push(Arc::clone(&finding.location.file));
            }
        }
        self.list.sort_by_key(|finding| {
            (files.iter().position(|file| *file == finding.location.file), finding.location.line)
        });
        self.list
    }
}

/// More than this is not read any more.
const FINDINGS_MAX: usize = 100;

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
    /// The file is not well-formed TOML.
    #[error("not well-formed TOML: {detail}")]
    Toml {
        /// What the TOML parser says.
        detail: String,
    },
    /// A key that is not known where it stands, or has a value that cannot be read.
    #[error("{key}: {detail}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong, and what is possible.
        detail: String,
    },
    /// A file that is to be included and cannot be read.
    #[error("include \"{file}\": {detail}")]
    Include {
        /// The file, as it is written.
        file: String,
        /// Why not.
        detail: String,
    },
    /// A context that is named, and is not there.
    #[error("there is no context \"{context}\"; {hint}")]
    UnknownContext {
        /// The context.
        context: String,
        /// The closest one that is.
        hint: String,
    },
    /// An application that cannot be run while extensions are searched.
    #[error("{application} cannot be inline: it needs the call; set, unset, export and log can be")]
    NotInline {
        /// The application.
        application: &'static str,
    },
    /// A way from the public context to someone who did not allow it.
    #[error(
        "{application} \"{data}\": the public context \"{context}\" leads {way}; anyone could call there without a \
         password; move it to a context of users"
    )]
    Exposed {
        /// The application.
        application: &'static str,
        /// Its data.
        data: String,
        /// The public context.
        context: String,
        /// Where it leads.
        way: String,
    },
    /// Something about the plan as a whole: it can never do what it says.
    #[error("{detail}")]
    Plan {
        /// What, and what to do.
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
    /// A condition on the time that cannot be read.
    #[error("{attribute}: {detail}")]
    Time {
        /// The attribute.
        attribute: String,
        /// Why not.
        detail: String,
    },
    /// A network that cannot be read.
    #[error(
        "\"{network}\" is no network; write an address, or one with a length such as 192.0.2.0/24"
    )]
    Network {
        /// The network, as it is written.
        network: String,
    },
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
