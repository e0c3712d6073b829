//! Reads the part of FreeSWITCH's XML that is understood here; anything else in a file is an error.
//!
//! A file holds a whole `<document>`, an `<include>`, or the elements below them just so: `<section
//! name="dialplan">`, `<context>`, `<extension>`, which hold one another as in FreeSWITCH. Extensions outside of a
//! context go to the one the caller names. `X-PRE-PROCESS cmd="set"` defines globals from where it stands on.
//!
//! Not read yet, and therefore refused: anti-actions, nested conditions, `break`, `continue`, `inline`, conditions
//! on the time of day, includes of other files.

use std::sync::Arc;

use roxmltree::{Document, Node, NodeType, ParsingOptions};

use crate::app::{self, suggest};
use crate::error::{Error, Fault, Location};
use crate::facts::{FACTS, Fact};
use crate::model::{Action, Condition, Extension, Globals, Plan, Test};
use crate::pattern::Pattern;
use crate::text::{Text, expand_globals, shorten};

/// One file of a dialplan, already read.
#[derive(Clone, Debug)]
pub struct Source {
    /// How it is named in messages.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// What a dialplan is loaded with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where extensions go that stand outside of a context.
    pub context: String,
    /// What `$${name}` refers to. `sounds_dir` is the folder that `playback` plays from.
    pub globals: Globals,
    /// Bounds.
    pub limits: Limits,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            context: "public".to_owned(),
            globals: Globals::default(),
            limits: Limits::default(),
        }
    }
}

/// Bounds of what is loaded.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest file, in bytes.
    pub file_bytes_max: usize,
    /// Most XML nodes of a file.
    pub nodes_max: u32,
    /// Most extensions of a plan.
    pub extensions_max: usize,
    /// Most global variables.
    pub globals_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes_max: 16 << 20,
            nodes_max: 1_000_000,
            extensions_max: 50_000,
            globals_max: 1024,
        }
    }
}

/// Reads all sources into one plan.
pub(crate) fn load(sources: &[Source], options: &LoadOptions) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut globals = options.globals.clone();
    let mut extensions = 0;
    for source in sources {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
        let mut loader = Loader {
            file: Arc::from(source.file.as_str()),
            lines: Lines::new(text),
            limits: &options.limits,
            globals: &mut globals,
            plan: &mut plan,
            extensions: &mut extensions,
        };
        loader.load(text, &options.context)?;
    }
    if plan.contexts().is_empty() {
        let file = sources.first().map_or("dialplan", |source| source.file.as_str());
        return Err(Error {
            location: Location { file: Arc::from(file), line: 1 },
            fault: Fault::Empty,
        });
    }
    plan.set_globals(globals);
    Ok(plan)
}

/// Reads one file.
struct Loader<'a> {
    file: Arc<str>,
    lines: Lines,
    limits: &'a Limits,
    globals: &'a mut Globals,
    plan: &'a mut Plan,
    extensions: &'a mut usize,
}

impl Loader<'_> {
    fn load(&mut self, text: &str, context: &str) -> Result<(), Error> {
        if text.len() > self.limits.file_bytes_max {
            let fault =
                Fault::TooLarge { what: "the file, in bytes,", max: self.limits.file_bytes_max };
            return Err(self.error(1, fault));
        }
        match parse(text, self.limits.nodes_max) {
            Ok(document) => self.container(document.root(), 0, context),
            Err(unwrapped) => self.load_fragments(text, context, &unwrapped),
        }
    }

    /// A file of several elements side by side is no XML document; it becomes one inside of an `<include>`.
    fn load_fragments(
        &mut self,
        text: &str,
        context: &str,
        unwrapped: &roxmltree::Error,
    ) -> Result<(), Error> {
        if matches!(unwrapped, roxmltree::Error::DtdDetected) {
            let line = text.find("<!DOCTYPE").map_or(1, |at| self.lines.line(at));
            return Err(self.error(line, Fault::DocumentType));
        }
        let body = strip_declaration(text);
        let wrapped = format!("{WRAPPER_OPEN}{body}{WRAPPER_CLOSE}");
        match parse(&wrapped, self.limits.nodes_max) {
            Ok(document) => {
                self.lines = Lines::new(&wrapped);
                self.container(document.root_element(), 0, context)
            }
            // The one that got further saw what is really wrong.
            Err(fragments) if fragments.pos().row > unwrapped.pos().row => {
                Err(self.xml_error(&fragments))
            }
            Err(_) => Err(self.xml_error(unwrapped)),
        }
    }

    /// Reads what stands in the file itself, in `<document>`, `<include>`, `<section>` or `<context>`.
    fn container(
        &mut self,
        parent: Node<'_, '_>,
        depth: usize,
        context: &str,
    ) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(
                self.at(parent, Fault::TooLarge { what: "the depth of elements", max: DEPTH_MAX })
            );
        }
        let inside = parent.tag_name().name();
        for node in parent.children() {
            let Some(name) = self.element(node)? else { continue };
            match (inside, name) {
                (_, "X-PRE-PROCESS") => self.pre_process(node)?,
                (_, "extension") if inside != "document" => {
                    let extension = self.extension(node)?;
                    self.plan.push(context, extension);
                }
                ("" | "include" | "document", "section") => {
                    self.section(node)?;
                    self.container(node, depth + 1, context)?;
                }
                ("" | "include" | "section", "context") => {
                    self.attributes(node, &["name"])?;
                    let name = self.required(node, "name")?;
                    self.container(node, depth + 1, &name)?;
                }
                ("", "document") => {
                    self.attributes(node, &["type"])?;
                    self.container(node, depth + 1, context)?;
                }
                ("" | "include" | "document" | "section" | "context", "include") => {
                    self.attributes(node, &[])?;
                    self.container(node, depth + 1, context)?;
                }
                _ => return Err(self.unexpected(node, parent, CONTAINER_HINT)),
            }
        }
        Ok(())
    }

    fn section(&self, node: Node<'_, '_>) -> Result<(), Error> {
        self.attributes(node, &["name", "description"])?;
        let name = self.required(node, "name")?;
        if name != "dialplan" {
            return Err(self.attribute_error(
                node,
                "name",
                &name,
                "only the section \"dialplan\" is read",
            ));
        }
        Ok(())
    }

    fn pre_process(&mut self, node: Node<'_, '_>) -> Result<(), Error> {
        self.attributes(node, &["cmd", "data"])?;
        let command = self.required(node, "cmd")?;
        if command != "set" {
            return Err(self.attribute_error(node, "cmd", &command, "only cmd=\"set\" is"));
        }
        let data = self.required(node, "data")?;
        let Some((name, value)) = data.split_once('=') else {
            return Err(self.attribute_error(node, "data", &data, "write name=value"));
        };
        if self.globals.len() >= self.limits.globals_max && self.globals.get(name).is_none() {
            let fault = Fault::TooLarge {
                what: "the number of global variables",
                max: self.limits.globals_max,
            };
            return Err(self.at(node, fault));
        }
        self.globals.set(name, value);
        Ok(())
    }

    fn extension(&mut self, node: Node<'_, '_>) -> Result<Extension, Error> {
        *self.extensions += 1;
        if *self.extensions > self.limits.extensions_max {
            let fault = Fault::TooLarge {
                what: "the number of extensions",
                max: self.limits.extensions_max,
            };
            return Err(self.at(node, fault));
        }
        self.attributes(node, &["name", "continue"])?;
        self.only(node, "continue", &["false"])?;
        let location = self.location(node);
        let name =
            self.optional(node, "name")?.unwrap_or_else(|| format!("line {}", location.line));
        let mut conditions = Vec::new();
        for child in node.children() {
            match self.element(child)? {
                None => {}
                Some("X-PRE-PROCESS") => self.pre_process(child)?,
                Some("condition") => conditions.push(self.condition(child)?),
                Some(_) => return Err(self.unexpected(child, node, "it holds <condition>")),
            }
        }
        if conditions.is_empty() {
            return Err(self.at(node, Fault::NoCondition { extension: name }));
        }
        Ok(Extension { name, location, conditions })
    }

    fn condition(&mut self, node: Node<'_, '_>) -> Result<Condition, Error> {
        self.attributes(node, &["field", "expression", "break"])?;
        self.only(node, "break", &["on-false"])?;
        let test = self.test(node)?;
        let groups = test.as_ref().map_or(0, |test| test.pattern.groups());
        let mut actions = Vec::new();
        for child in node.children() {
            match self.element(child)? {
                None => {}
                Some("X-PRE-PROCESS") => self.pre_process(child)?,
                Some("action") => actions.push(self.action(child, groups)?),
                Some(_) => return Err(self.unexpected(child, node, "it holds <action>")),
            }
        }
        Ok(Condition { test, actions, location: self.location(node) })
    }

    fn test(&self, node: Node<'_, '_>) -> Result<Option<Test>, Error> {
        if node.attribute("field").is_none() && node.attribute("expression").is_none() {
            return Ok(None);
        }
        let field = self.required(node, "field")?;
        let name =
            field.strip_prefix("${").and_then(|name| name.strip_suffix('}')).unwrap_or(&field);
        let Some(fact) = Fact::parse(name) else {
            let names: Vec<&str> = FACTS.iter().map(|(name, _)| *name).collect();
            return Err(self.at(
                node,
                Fault::UnknownField { field: shorten(&field), hint: suggest(name, &names) },
            ));
        };
        let expression = self.required(node, "expression")?;
        let pattern = Pattern::parse(&expression).map_err(|fault| self.at(node, fault))?;
        Ok(Some(Test { fact, pattern }))
    }

    /// Reads an action below a condition whose expression has `groups` groups.
    fn action(&self, node: Node<'_, '_>, groups: usize) -> Result<Action, Error> {
        self.attributes(node, &["application", "data", "inline"])?;
        self.only(node, "inline", &["false"])?;
        if let Some(child) = node.children().find(Node::is_element) {
            return Err(self.unexpected(child, node, "it holds nothing"));
        }
        for child in node.children() {
            self.element(child)?;
        }
        let name = self.required(node, "application")?;
        let data = node.attribute("data").unwrap_or_default();
        if data.len() > DATA_BYTES_MAX {
            return Err(
                self.at(node, Fault::TooLarge { what: "data, in bytes,", max: DATA_BYTES_MAX })
            );
        }
        let text = Text::parse(data, self.globals).map_err(|fault| self.at(node, fault))?;
        if let Some(capture) = text.highest_capture().filter(|capture| *capture > groups) {
            return Err(self.at(node, Fault::Capture { capture, groups }));
        }
        let (application, compiled) =
            app::parse(&name, &text, self.globals).map_err(|fault| self.at(node, fault))?;
        Ok(Action { application, data: data.to_owned(), location: self.location(node), compiled })
    }

    /// The name of an element; `None` for comments and blanks. Text is an error.
    fn element<'n>(&self, node: Node<'n, '_>) -> Result<Option<&'n str>, Error> {
        match node.node_type() {
            NodeType::Element => Ok(Some(node.tag_name().name())),
            NodeType::Text => match node.text().unwrap_or_default().trim_start() {
                "" => Ok(None),
                text => Err(self.stray_text(node, text)),
            },
            NodeType::Root | NodeType::Comment | NodeType::PI => Ok(None),
        }
    }

    /// `text` is what `node` holds after its blanks.
    fn stray_text(&self, node: Node<'_, '_>, text: &str) -> Error {
        let blanks = node.text().unwrap_or_default().len().saturating_sub(text.len());
        let line = self.lines.line(node.range().start + blanks);
        self.error(line, Fault::StrayText { text: shorten(text.trim_end()) })
    }

    /// Refuses attributes other than `known`.
    fn attributes(&self, node: Node<'_, '_>, known: &[&str]) -> Result<(), Error> {
        match node.attributes().find(|attribute| !known.contains(&attribute.name())) {
            Some(attribute) => {
                let hint = if known.is_empty() {
                    "it has no attributes".to_owned()
                } else {
                    suggest(attribute.name(), known)
                };
                Err(self.attribute_error(node, attribute.name(), attribute.value(), &hint))
            }
            None => Ok(()),
        }
    }

    /// Refuses values of an attribute other than `values`.
    fn only(&self, node: Node<'_, '_>, attribute: &str, values: &[&str]) -> Result<(), Error> {
        match node.attribute(attribute).filter(|value| !values.contains(value)) {
            Some(value) => {
                let hint = format!("only \"{}\" is", values.join("\" and \""));
                Err(self.attribute_error(node, attribute, value, &hint))
            }
            None => Ok(()),
        }
    }

    /// The value of an attribute, globals filled in.
    fn optional(&self, node: Node<'_, '_>, attribute: &str) -> Result<Option<String>, Error> {
        let value = node.attribute(attribute).map(|value| expand_globals(value, self.globals));
        value.transpose().map_err(|fault| self.at(node, fault))
    }

    fn required(&self, node: Node<'_, '_>, attribute: &'static str) -> Result<String, Error> {
        let element = || shorten(node.tag_name().name());
        let value = self.optional(node, attribute)?;
        value
            .ok_or_else(|| self.at(node, Fault::AttributeMissing { element: element(), attribute }))
    }

    fn unexpected(&self, node: Node<'_, '_>, parent: Node<'_, '_>, hint: &str) -> Error {
        let parent = match parent.tag_name().name() {
            "" => "the file".to_owned(),
            name => format!("<{}>", shorten(name)),
        };
        let element = shorten(node.tag_name().name());
        self.at(node, Fault::Element { element, parent, hint: hint.to_owned() })
    }

    fn attribute_error(
        &self,
        node: Node<'_, '_>,
        attribute: &str,
        value: &str,
        hint: &str,
    ) -> Error {
        let fault = Fault::Attribute {
            element: shorten(node.tag_name().name()),
            attribute: shorten(attribute),
            value: shorten(value),
            hint: hint.to_owned(),
        };
        self.at(node, fault)
    }

    fn xml_error(&self, error: &roxmltree::Error) -> Error {
        let fault = match error {
            roxmltree::Error::NodesLimitReached => {
                let max = usize::try_from(self.limits.nodes_max).unwrap_or(usize::MAX);
                Fault::TooLarge { what: "the number of XML nodes", max }
            }
            error => Fault::Xml { detail: shorten(&error.to_string()) },
        };
        self.error(error.pos().row, fault)
    }

    fn at(&self, node: Node<'_, '_>, fault: Fault) -> Error {
        Error { location: self.location(node), fault }
    }

    fn error(&self, line: u32, fault: Fault) -> Error {
        Error { location: Location { file: Arc::clone(&self.file), line }, fault }
    }

    fn location(&self, node: Node<'_, '_>) -> Location {
        Location { file: Arc::clone(&self.file), line: self.lines.line(node.range().start) }
    }
}

/// Where each line of a text starts.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines { starts: newlines.map(|(at, _)| at + 1).collect() }
    }

    /// The line, from 1, of the byte at `offset`.
    fn line(&self, offset: usize) -> u32 {
        let before = self.starts.partition_point(|start| *start <= offset);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }
}

fn parse(text: &str, nodes_limit: u32) -> Result<Document<'_>, roxmltree::Error> {
    Document::parse_with_options(
        text,
        ParsingOptions { allow_dtd: false, nodes_limit, ..ParsingOptions::default() },
    )
}

/// What follows an `<?xml …?>` at the start; its line breaks stay.
fn strip_declaration(text: &str) -> String {
    match text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((declaration, rest)) => {
            format!("{}{rest}", "\n".repeat(declaration.matches('\n').count()))
        }
        None => text.to_owned(),
    }
}

const WRAPPER_OPEN: &str = "<include>";
const WRAPPER_CLOSE: &str = "</include>";
const CONTAINER_HINT: &str =
    "a dialplan holds <context> with <extension>, <condition> and <action>";
/// Deepest nesting of what holds extensions.
const DEPTH_MAX: usize = 16;
/// Longest `data` of an action.
const DATA_BYTES_MAX: usize = 4096;
