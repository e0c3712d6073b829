//! Reads FreeSWITCH's XML; anything in a file that is not understood is a finding.
//!
//! A file holds a whole `<document>`, an `<include>`, or the elements below them just so: `<section
//! name="dialplan">`, `<context>`, `<extension>`, which hold one another as in FreeSWITCH. Extensions outside of a
//! context go to the one the caller names. `X-PRE-PROCESS` defines globals (`set`) from where it stands on, and
//! brings in other files (`include`).
//!
//! Different from FreeSWITCH, on purpose: a condition with both a time and a field needs both to hold; with
//! several `<regex>`, `$1` is of the last one that held; functions such as `${strftime()}` are refused.

use roxmltree::{Attribute, Document, Node, NodeType, ParsingOptions};

use crate::app::suggest;
use crate::draft::{
    Break, Combine, DraftAction, DraftCondition, DraftExtension, DraftTest, Subject, Value,
};
use crate::error::{Fault, Location};
use crate::moment::ATTRIBUTES;
use crate::read::{Lines, Reading};
use crate::text::{expand_globals, shorten};

/// Reads a file into the draft.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    file: &str,
    text: &str,
    context: &str,
    path: &mut Vec<String>,
) {
    let nodes_max = reading.options.limits.nodes_max;
    let place = Location::new(file, 1);
    let mut reader = Reader { reading, place, lines: Lines::new(text), path };
    match parse(text, nodes_max) {
        Ok(document) => reader.container(document.root(), 0, context),
        Err(unwrapped) => reader.fragments(text, context, &unwrapped),
    }
}

/// Reads one file.
struct Reader<'a, 'b> {
    reading: &'a mut Reading<'b>,
    place: Location,
    lines: Lines,
    path: &'a mut Vec<String>,
}

impl Reader<'_, '_> {
    /// A file of several elements side by side is no XML document; it becomes one inside of an `<include>`.
    fn fragments(&mut self, text: &str, context: &str, unwrapped: &roxmltree::Error) {
        if matches!(unwrapped, roxmltree::Error::DtdDetected) {
            let line = text.find("<!DOCTYPE").map_or(1, |at| self.lines.line(at));
            return self.add(line, Fault::DocumentType);
        }
        let body = strip_declaration(text);
        let wrapped = format!("{WRAPPER_OPEN}{body}{WRAPPER_CLOSE}");
        match parse(&wrapped, self.reading.options.limits.nodes_max) {
            Ok(document) => {
                self.lines = Lines::new(&wrapped);
                self.container(document.root_element(), 0, context);
            }
            // The one that got further saw what is really wrong.
            Err(fragments) if fragments.pos().row > unwrapped.pos().row => {
                self.xml_error(&fragments);
            }
            Err(_) => self.xml_error(unwrapped),
        }
    }

    /// Reads what stands in the file itself, in `<document>`, `<include>`, `<section>` or `<context>`.
    fn container(&mut self, parent: Node<'_, '_>, depth: usize, context: &str) {
        if depth > DEPTH_MAX {
            let fault = Fault::TooLarge { what: "the depth of elements", max: DEPTH_MAX };
            return self.at(parent, fault);
        }
        let inside = parent.tag_name().name();
        for node in parent.children() {
            let Some(name) = self.element(node) else { continue };
            if self.reading.findings.is_full() {
                return;
            }
            match (inside, name) {
                (_, "X-PRE-PROCESS") => self.pre_process(node, context),
                (_, "extension") if inside != "document" => {
                    let location = self.location(node);
                    if self.reading.count_extension(&location) {
                        let extension = self.extension(node);
                        let context = self.reading.draft.context_mut(context, &location);
                        context.extensions.push(extension);
                    }
                }
                ("" | "include" | "document", "section") => {
                    if self.section(node) {
                        self.container(node, depth + 1, context);
                    }
                }
                ("" | "include" | "section", "context") => {
                    self.attributes(node, &["name"]);
                    if let Some(name) = self.required(node, "name") {
                        let location = self.location(node);
                        self.reading.draft.context_mut(&name, &location);
                        self.container(node, depth + 1, &name);
                    }
                }
                ("", "document") => {
                    self.attributes(node, &["type"]);
                    self.container(node, depth + 1, context);
                }
                ("" | "include" | "document" | "section" | "context", "include") => {
                    self.attributes(node, &[]);
                    self.container(node, depth + 1, context);
                }
                _ => self.unexpected(node, parent, CONTAINER_HINT),
            }
        }
    }

    fn section(&mut self, node: Node<'_, '_>) -> bool {
        self.attributes(node, &["name", "description"]);
        match self.required(node, "name").as_deref() {
            Some("dialplan") => true,
            Some(name) => {
                let hint = "only the section \"dialplan\" is read";
                self.attribute_fault(node, "name", name, hint);
                false
            }
            None => false,
        }
    }

    fn pre_process(&mut self, node: Node<'_, '_>, context: &str) {
        self.attributes(node, &["cmd", "data"]);
        let (Some(command), Some(data)) = (self.required(node, "cmd"), self.required(node, "data"))
        else {
            return;
        };
        let location = self.location(node);
        match command.as_str() {
            "set" => match data.split_once('=') {
                Some((name, value)) => self.reading.set_global(name.trim(), value, &location),
                None => self.attribute_fault(node, "data", &data, "write name=value"),
            },
            "include" => self.reading.include(&data, context, &location, self.path),
            _ => {
                let hint = "only cmd=\"set\" and cmd=\"include\" are";
                self.attribute_fault(node, "cmd", &command, hint);
            }
        }
    }

    fn extension(&mut self, node: Node<'_, '_>) -> DraftExtension {
        self.attributes(node, &["name", "continue"]);
        let location = self.location(node);
        let name = self.optional(node, "name").unwrap_or_else(|| format!("line {}", location.line));
        let continues = self.boolean(node, "continue");
        let conditions = self.conditions(node, 0);
        DraftExtension { name, continues, conditions, location, comment: String::new() }
    }

    /// Reads the conditions of an extension, or those inside of a condition.
    fn conditions(&mut self, parent: Node<'_, '_>, depth: usize) -> Vec<DraftCondition> {
        let mut conditions = Vec::new();
        if depth > DEPTH_MAX {
            let fault = Fault::TooLarge { what: "the depth of conditions", max: DEPTH_MAX };
            self.at(parent, fault);
            return conditions;
        }
        let is_extension = parent.has_tag_name("extension");
        // Text in a condition is told of where its actions are read.
        for child in parent.children().filter(|child| is_extension || child.is_element()) {
            match self.element(child) {
                None => {}
                Some("X-PRE-PROCESS") if is_extension => self.pre_process(child, ""),
                Some("condition") => conditions.push(self.condition(child, depth)),
                Some(_) if is_extension => self.unexpected(child, parent, "it holds <condition>"),
                // What else a condition holds is read elsewhere.
                Some(_) => {}
            }
        }
        conditions
    }

    fn condition(&mut self, node: Node<'_, '_>, depth: usize) -> DraftCondition {
        let mut known = vec!["field", "expression", "break", "regex", "require-nested"];
        known.extend(ATTRIBUTES);
        self.attributes(node, &known);
        let mut condition = DraftCondition {
            breaks: self.choice(node, "break", &Break::ALL),
            combine: self.choice(node, "regex", &Combine::ALL),
            nested_optional: node.has_attribute("require-nested")
                && !self.boolean(node, "require-nested"),
            tests: self.tests(node),
            location: self.location(node),
            ..DraftCondition::default()
        };
        let is_several = node.has_attribute("regex");
        for child in node.children() {
            // Text in a condition is a mistake; in an action it is data.
            match self.element(child) {
                Some("action") => condition.actions.push(self.action(child, 0)),
                Some("anti-action") => condition.anti_actions.push(self.action(child, 0)),
                Some("regex") if is_several => {
                    let mut known = vec!["field", "expression"];
                    known.extend(ATTRIBUTES);
                    self.attributes(child, &known);
                    condition.tests.extend(self.tests(child));
                }
                Some("X-PRE-PROCESS") => self.pre_process(child, ""),
                None | Some("condition") => {}
                Some("expression") if node.has_attribute("field") => {}
                Some(_) => self.unexpected(child, node, CONDITION_HINT),
            }
        }
        condition.nested = self.conditions(node, depth + 1);
        condition
    }

    /// The tests that the attributes of a `<condition>` or a `<regex>` make.
    fn tests(&mut self, node: Node<'_, '_>) -> Vec<DraftTest> {
        let location = self.location(node);
        let mut tests = Vec::new();
        let times: Vec<_> =
            node.attributes().filter(|attribute| ATTRIBUTES.contains(&attribute.name())).collect();
        if !times.is_empty() {
            let times = times.iter().filter_map(|time| {
                Some((time.name().to_owned(), self.optional(node, time.name())?))
            });
            let subject = Subject::Time(times.collect());
            tests.push(DraftTest { subject, location: location.clone() });
        }
        let inner = node.children().find(|child| child.has_tag_name("expression"));
        let is_tested = node.has_attribute("field") || node.has_attribute("expression");
        if !is_tested {
            return tests;
        }
        let field = self.required(node, "field");
        let expression = match inner {
            Some(inner) => self.expand(inner, inner.text().unwrap_or_default().trim()),
            None => self.required(node, "expression"),
        };
        if let (Some(field), Some(expression)) = (field, expression) {
            let subject = Subject::Field { field, values: vec![Value::expression(&expression)] };
            tests.push(DraftTest { subject, location });
        }
        tests
    }

    fn action(&mut self, node: Node<'_, '_>, depth: usize) -> DraftAction {
        self.attributes(node, &["application", "data", "inline", "loop"]);
        let location = self.location(node);
        let application = self.required(node, "application").unwrap_or_default();
        let data = self.optional(node, "data").unwrap_or_default();
        let mut action = DraftAction::new(application, data, location);
        action.inline = self.boolean(node, "inline");
        if let Some(times) = self.optional(node, "loop") {
            match times.trim().parse() {
                Ok(times) => action.times = times,
                Err(_) => self.attribute_fault(node, "loop", &times, "write a number of times"),
            }
        }
        for child in node.children() {
            if child.is_text() {
                let text = child.text().unwrap_or_default().trim();
                if !text.is_empty() {
                    action.data = self.expand(child, text).unwrap_or_default();
                }
            } else if child.is_element() {
                if child.has_tag_name("action") && depth == 0 {
                    action.fallback.push(self.action(child, 1));
                } else {
                    self.unexpected(child, node, "it holds nothing, or a fallback of <action>");
                }
            }
        }
        action
    }

    /// The name of an element; `None` for comments and blanks. Text is a finding.
    fn element<'n>(&mut self, node: Node<'n, '_>) -> Option<&'n str> {
        match node.node_type() {
            NodeType::Element => Some(node.tag_name().name()),
            NodeType::Text => {
                let text = node.text().unwrap_or_default();
                let shown = text.trim();
                if !shown.is_empty() {
                    let blanks = text.len() - text.trim_start().len();
                    let line = self.lines.line(node.range().start + blanks);
                    self.add(line, Fault::StrayText { text: shorten(shown) });
                }
                None
            }
            NodeType::Root | NodeType::Comment | NodeType::PI => None,
        }
    }

    /// Refuses attributes other than `known`.
    fn attributes(&mut self, node: Node<'_, '_>, known: &[&str]) {
        let is_unknown = |attribute: &Attribute<'_, '_>| !known.contains(&attribute.name());
        for attribute in node.attributes().filter(is_unknown) {
            let hint = if known.is_empty() {
                "it has no attributes".to_owned()
            } else {
                suggest(attribute.name(), known)
            };
            self.attribute_fault(node, attribute.name(), attribute.value(), &hint);
        }
    }

    fn choice<T: Copy + Default>(
        &mut self,
        node: Node<'_, '_>,
        attribute: &str,
        choices: &[(&str, T)],
    ) -> T {
        let Some(value) = self.optional(node, attribute) else { return T::default() };
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.attribute_fault(node, attribute, &value, &suggest(&value, &names));
                T::default()
            }
        }
    }

    fn boolean(&mut self, node: Node<'_, '_>, attribute: &str) -> bool {
        let choices = [("false", false), ("true", true), ("no", false), ("yes", true)];
        self.choice(node, attribute, &choices)
    }

    /// The value of an attribute, globals filled in.
    fn optional(&mut self, node: Node<'_, '_>, attribute: &str) -> Option<String> {
        let value = node.attribute(attribute)?;
        self.expand(node, value)
    }

    fn expand(&mut self, node: Node<'_, '_>, value: &str) -> Option<String> {
        let expanded = expand_globals(value, &self.reading.globals);
        expanded.map_err(|fault| self.at(node, fault)).ok()
    }

    fn required(&mut self, node: Node<'_, '_>, attribute: &'static str) -> Option<String> {
        if !node.has_attribute(attribute) {
            let element = shorten(node.tag_name().name());
            self.at(node, Fault::AttributeMissing { element, attribute });
        }
        self.optional(node, attribute)
    }

    fn unexpected(&mut self, node: Node<'_, '_>, parent: Node<'_, '_>, hint: &str) {
        let parent = match parent.tag_name().name() {
            "" => "the file".to_owned(),
            name => format!("<{}>", shorten(name)),
        };
        let element = shorten(node.tag_name().name());
        self.at(node, Fault::Element { element, parent, hint: hint.to_owned() });
    }

    fn attribute_fault(&mut self, node: Node<'_, '_>, attribute: &str, value: &str, hint: &str) {
        let fault = Fault::Attribute {
            element: shorten(node.tag_name().name()),
            attribute: shorten(attribute),
            value: shorten(value),
            hint: hint.to_owned(),
        };
        self.at(node, fault);
    }

    fn xml_error(&mut self, error: &roxmltree::Error) {
        let fault = match error {
            roxmltree::Error::NodesLimitReached => {
                let max = self.reading.options.limits.nodes_max;
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                Fault::TooLarge { what: "the number of XML nodes", max }
            }
            error => Fault::Xml { detail: shorten(&error.to_string()) },
        };
        self.add(error.pos().row, fault);
    }

    fn at(&mut self, node: Node<'_, '_>, fault: Fault) {
        let location = self.location(node);
        self.reading.findings.add(&location, fault);
    }

    fn add(&mut self, line: u32, fault: Fault) {
        let location = Location { line, ..self.place.clone() };
        self.reading.findings.add(&location, fault);
    }

    fn location(&self, node: Node<'_, '_>) -> Location {
        Location { line: self.lines.line(node.range().start), ..self.place.clone() }
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
const CONDITION_HINT: &str = "it holds <action>, <anti-action>, <condition>, and <regex> if it has regex=\"all\", \
                              \"any\" or \"xor\"";
/// Deepest nesting of what holds extensions, and of conditions.
const DEPTH_MAX: usize = 16;
