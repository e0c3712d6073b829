//! Reads a dialplan in TOML, the form that the documentation teaches.
//!
//! ```toml
//! include = ["more.toml"]              # further files, read where this one is
//!
//! [globals]
//! office = "500"                       # for $${office}
//!
//! [context.internal]
//! include = ["public"]                 # its extensions follow those of internal
//!
//! [[context.public.extension]]
//! name = "echo"
//! number = "9196"                      # one of several: ["9196", "9296"]; an expression: "^9[12]96$" or "/96/"
//! actions = ["answer", "echo"]         # an application and its data, one after another
//!
//! [[context.internal.extension]]
//! name = "office"
//! number = "$${office}"
//! caller = "^1"                        # caller, caller_name, user, called_user: what they begin with, or all of it
//! network = ["192.0.2.0/24"]
//! time = { wday = "mon-fri", hour = "9-17" }
//! when = { "sip_from_host" = "pbx.example", "my_variable" = "^(yes|on)$" }
//! actions = [
//!   { run = "set greeting=hello", inline = true },
//!   { run = "playback hello.wav", loop = 2 },
//!   "bridge user/199",
//! ]
//! else = ["hangup CALL_REJECTED"]      # if the conditions do not hold; the search ends
//! continue = false                     # true: the search goes on although this one matched
//! ```
//!
//! All that is written in an extension must hold; `match = "any"` or `"xor"` says otherwise. An extension that
//! needs several conditions has them as `[[context.NAME.extension.condition]]`, each with the same keys, with
//! `break` (`on-false`, `on-true`, `always`, `never`), and with conditions of its own. `tests = [{ field = "caller",
//! is = "^1" }]` says what `number` and the like do, and may name a field twice. An application that needs a list
//! for the case that it fails has it as `{ run = "webhook https://…", fallback = ["hangup"] }`.

mod values;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::draft::{
    Break, Combine, DraftAction, DraftCondition, DraftExtension, DraftTest, Subject, Value,
};
use crate::error::{Fault, Location};
use crate::facts::Facts;
use crate::moment::ATTRIBUTES;
use crate::read::{Lines, Reading};
use crate::text::shorten;

use self::values::{Entry, entries};

/// Reads a file into the draft.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    file: &str,
    text: &str,
    context: &str,
    path: &mut Vec<String>,
) {
    let place = Location::new(file, 1);
    let mut reader = Reader { reading, place, lines: Lines::new(text) };
    let (table, errors) = DeTable::parse_recoverable(text);
    // The others mostly follow from the first one.
    match errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) {
        Some(error) => {
            let span = error.span().unwrap_or(0..0);
            let detail = shorten(&syntax_error(text, error));
            reader.at(&span, Fault::Toml { detail });
        }
        None => reader.file(table.get_ref(), context, path),
    }
}

/// What the parser says, with the name of a key that is there twice and the cause of JSON's colons.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or(0..0);
    match error.message() {
        "duplicate key" => {
            format!("{} is there twice; keep one", text.get(span).unwrap_or_default())
        }
        _ if text.get(span.start..).is_some_and(|rest| rest.starts_with(':')) => {
            "write key = value, with = in place of :".to_owned()
        }
        message => message.to_owned(),
    }
}

/// Reads one file.
struct Reader<'a, 'b> {
    reading: &'a mut Reading<'b>,
    place: Location,
    lines: Lines,
}

impl Reader<'_, '_> {
    fn file(&mut self, table: &DeTable<'_>, context: &str, path: &mut Vec<String>) {
        let entries = entries(table);
        if let Some((_, _, globals)) = entries.iter().find(|(key, ..)| *key == "globals") {
            self.globals(globals);
        }
        for (key, span, value) in &entries {
            match *key {
                "globals" => {}
                "include" => {
                    for (file, span) in self.strings(key, value) {
                        let location = self.location(&span);
                        self.reading.include(&file, context, &location, path);
                    }
                }
                "context" => {
                    for (name, span, value) in self.table(key, value) {
                        self.context(name, &span, value);
                    }
                }
                _ => self.unknown(key, span, &["globals", "include", "context"]),
            }
        }
    }

    fn globals(&mut self, value: &Spanned<DeValue<'_>>) {
        for (name, span, value) in self.table("globals", value) {
            if let Some(text) = self.scalar(name, value) {
                let location = self.location(&span);
                self.reading.set_global(name, &text, &location);
            }
        }
    }

    fn context(&mut self, name: &str, span: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let location = self.location(span);
        self.reading.draft.context_mut(name, &location);
        for (key, span, value) in self.table(name, value) {
            match key {
                "include" => {
                    for (include, span) in self.strings(key, value) {
                        let at = self.location(&span);
                        self.reading
                            .draft
                            .context_mut(name, &location)
                            .includes
                            .push((include, at));
                    }
                }
                "extension" => {
                    for extension in self.tables(key, value) {
                        let at = self.location(&extension.span());
                        if !self.reading.count_extension(&at) {
                            return;
                        }
                        let read = self.extension(extension, at);
                        self.reading.draft.context_mut(name, &location).extensions.push(read);
                    }
                }
                _ => self.unknown(key, &span, &["include", "extension"]),
            }
        }
    }

    fn extension(&mut self, value: &Spanned<DeValue<'_>>, location: Location) -> DraftExtension {
        let mut extension = DraftExtension { location: location.clone(), ..Default::default() };
        extension.name = format!("line {}", location.line);
        let mut own = Vec::new();
        let mut conditions = None;
        for (key, span, value) in self.table("extension", value) {
            match key {
                "name" => extension.name = self.string(key, value).unwrap_or_default(),
                "continue" => extension.continues = self.boolean(key, value),
                "condition" => conditions = Some((span, value)),
                _ => own.push((key, span, value)),
            }
        }
        match conditions {
            Some((span, _)) if !own.is_empty() => {
                let key = own.first().map_or("", |(key, ..)| key);
                let detail = format!(
                    "an extension with conditions of its own has no {key}; move it into one of them"
                );
                self.key("condition", &span, detail);
            }
            Some((_, value)) => {
                for condition in self.tables("condition", value) {
                    extension.conditions.push(self.condition_table(condition, 0));
                }
            }
            None => extension.conditions.push(self.condition(own, location, EXTENSION_KEYS, 0)),
        }
        extension
    }

    fn condition_table(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> DraftCondition {
        let location = self.location(&value.span());
        let entries = self.table("condition", value);
        self.condition(entries, location, CONDITION_KEYS, depth)
    }

    fn condition(
        &mut self,
        entries: Vec<Entry<'_, '_>>,
        location: Location,
        known: &[&str],
        depth: usize,
    ) -> DraftCondition {
        let mut condition = DraftCondition { location, ..DraftCondition::default() };
        for (key, span, value) in entries {
            match key {
                "match" => condition.combine = self.choice(key, value, &Combine::ALL),
                "break" => condition.breaks = self.choice(key, value, &Break::ALL),
                "actions" => condition.actions = self.actions(key, value, 0),
                "else" => condition.anti_actions = self.actions(key, value, 0),
                "nested_optional" => condition.nested_optional = self.boolean(key, value),
                "condition" if known.contains(&key) && depth < CONDITIONS_DEPTH_MAX => {
                    for nested in self.tables(key, value) {
                        condition.nested.push(self.condition_table(nested, depth + 1));
                    }
                }
                "tests" => {
                    for test in self.tables(key, value) {
                        condition.tests.extend(self.test_table(test));
                    }
                }
                "when" => {
                    for (field, span, value) in self.table(key, value) {
                        let test = self.field_test(written_field(field), &span, field, value);
                        condition.tests.push(test);
                    }
                }
                _ => match self.test(key, &span, value) {
                    Some(test) => condition.tests.push(test),
                    None => self.unknown(key, &span, known),
                },
            }
        }
        condition
    }

    /// A test by its short name.
    fn test(
        &mut self,
        key: &str,
        span: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<DraftTest> {
        if let Some((_, field)) = FIELDS.iter().find(|(short, _)| *short == key) {
            return Some(self.field_test((*field).to_owned(), span, key, value));
        }
        let location = self.location(span);
        let subject = match key {
            "network" => {
                let networks = self.wanted(key, value).into_iter().map(|(network, _)| network);
                Subject::Network(networks.collect())
            }
            "time" => {
                let mut attributes = Vec::new();
                for (name, span, value) in self.table(key, value) {
                    if !ATTRIBUTES.contains(&name) {
                        self.unknown(name, &span, &ATTRIBUTES);
                    } else if let Some(value) = self.scalar(name, value) {
                        attributes.push((name.to_owned(), value));
                    }
                }
                Subject::Time(attributes)
            }
            _ => return None,
        };
        Some(DraftTest { subject, location })
    }

    fn field_test(
        &mut self,
        field: String,
        span: &Range<usize>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> DraftTest {
        let values = self.wanted(key, value);
        if field == FIELDS[0].1 && values.iter().any(|(value, _)| value.is_empty()) {
            self.key(
                key,
                &value.span(),
                "it is empty; write a number, or \"^$\" for calls to none".to_owned(),
            );
        }
        let values = values.into_iter();
        let values = values.map(|(value, _)| read_value(&value)).collect();
        DraftTest { subject: Subject::Field { field, values }, location: self.location(span) }
    }

    /// `{ field = "…", is = "…" }`, or a test by its short name.
    fn test_table(&mut self, value: &Spanned<DeValue<'_>>) -> Option<DraftTest> {
        let entries = self.table("tests", value);
        let find = |wanted: &str| entries.iter().find(|(key, ..)| *key == wanted).cloned();
        if let (Some((_, _, field)), Some((key, span, is))) = (find("field"), find("is")) {
            let field = self.string("field", field)?;
            let known = FIELDS.iter().find(|(short, _)| *short == field);
            let field = known.map_or(field, |(_, field)| (*field).to_owned());
            return Some(self.field_test(field, &span, key, is));
        }
        match entries.first() {
            Some((key, span, inner)) if entries.len() == 1 => {
                let test = self.test(key, span, inner);
                if test.is_none() {
                    self.unknown(key, span, &["field", "is", "network", "time"]);
                }
                test
            }
            _ => {
                self.key("tests", &value.span(), "write { field = \"…\", is = \"…\" }".to_owned());
                None
            }
        }
    }

    fn actions(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        depth: usize,
    ) -> Vec<DraftAction> {
        let mut actions = Vec::new();
        for item in self.array(key, value) {
            match item.get_ref() {
                DeValue::String(text) => actions.push(self.action(text, &item.span())),
                DeValue::Table(table) => {
                    actions.extend(self.action_table(table, &item.span(), depth))
                }
                _ => self.key(key, &item.span(), ACTION_HINT.to_owned()),
            }
        }
        actions
    }

    fn action(&self, text: &str, span: &Range<usize>) -> DraftAction {
        let text = text.trim();
        let (application, data) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        DraftAction::new(application, data.trim_start(), self.location(span))
    }

    fn action_table(
        &mut self,
        table: &DeTable<'_>,
        span: &Range<usize>,
        depth: usize,
    ) -> Option<DraftAction> {
        let entries = entries(table);
        let Some((key, _, run)) = entries.iter().find(|(key, ..)| *key == "run") else {
            self.key("run", span, ACTION_HINT.to_owned());
            return None;
        };
        let run = self.string(key, run)?;
        let mut action = self.action(&run, span);
        for (key, span, value) in &entries {
            match *key {
                "run" => {}
                "data" => action.data = self.string(key, value).unwrap_or_default(),
                "inline" => action.inline = self.boolean(key, value),
                "loop" => {
                    let times = self.scalar(key, value).and_then(|times| times.parse().ok());
                    match times {
                        Some(times) => action.times = times,
                        None => self.key(key, span, "write a number of times".to_owned()),
                    }
                }
                "fallback" if depth == 0 => action.fallback = self.actions(key, value, 1),
                _ => self.unknown(key, span, &["run", "data", "inline", "loop", "fallback"]),
            }
        }
        Some(action)
    }
}

/// What begins with `^`, or stands between slashes, is an expression.
fn read_value(text: &str) -> Value {
    if text.starts_with(['^', '/']) {
        Value::expression(text)
    } else {
        Value::Literal(text.to_owned())
    }
}

/// The name of a fact as it is; any other name is a variable.
fn written_field(name: &str) -> String {
    if Facts::is_name(name) || name.contains('$') {
        return name.to_owned();
    }
    match FIELDS.iter().find(|(short, _)| *short == name) {
        Some((_, field)) => (*field).to_owned(),
        None => format!("${{{name}}}"),
    }
}

/// The short names of fields.
pub(crate) const FIELDS: [(&str, &str); 5] = [
    ("number", "destination_number"),
    ("caller", "caller_id_number"),
    ("caller_name", "caller_id_name"),
    ("user", "username"),
    ("called_user", "destination_user"),
];

const EXTENSION_KEYS: &[&str] = &[
    "name",
    "continue",
    "number",
    "caller",
    "caller_name",
    "user",
    "called_user",
    "network",
    "time",
    "when",
    "tests",
    "match",
    "break",
    "actions",
    "else",
    "condition",
];
const CONDITION_KEYS: &[&str] = &[
    "number",
    "caller",
    "caller_name",
    "user",
    "called_user",
    "network",
    "time",
    "when",
    "tests",
    "match",
    "break",
    "actions",
    "else",
    "condition",
    "nested_optional",
];
const ACTION_HINT: &str =
    "an action is a text such as \"playback hello.wav\", or { run = \"playback hello.wav\" }";
/// Deepest nesting of conditions that is read.
const CONDITIONS_DEPTH_MAX: usize = 16;
