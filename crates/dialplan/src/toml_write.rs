//! Writes a draft as TOML, with its comments; what is written reads back to the same draft.

use std::fmt::Write;

use crate::draft::{
    Break, Combine, Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, Subject,
    Value,
};
use crate::toml_read::FIELDS;

impl Draft {
    /// The draft as TOML.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        if !self.globals.is_empty() {
            text.push_str("[globals]\n");
            for (name, value) in &self.globals {
                line(&mut text, &key(name), &quoted(value));
            }
            text.push('\n');
        }
        for context in &self.contexts {
            write_context(&mut text, context);
        }
        let trimmed = text.trim_end().len();
        text.truncate(trimmed);
        text.push('\n');
        text
    }
}

fn write_context(text: &mut String, context: &DraftContext) {
    let header = format!("context.{}", key(&context.name));
    if !context.includes.is_empty() || !context.comment.is_empty() || context.extensions.is_empty()
    {
        comment(text, &context.comment, "");
        let _ = writeln!(text, "[{header}]");
        if !context.includes.is_empty() {
            let names: Vec<String> =
                context.includes.iter().map(|(name, _)| quoted(name)).collect();
            line(text, "include", &format!("[{}]", names.join(", ")));
        }
        text.push('\n');
    }
    for extension in &context.extensions {
        write_extension(text, extension, &format!("{header}.extension"));
    }
}

fn write_extension(text: &mut String, extension: &DraftExtension, header: &str) {
    comment(text, &extension.comment, "");
    let _ = writeln!(text, "[[{header}]]");
    line(text, "name", &quoted(&extension.name));
    if extension.continues {
        line(text, "continue", "true");
    }
    match &extension.conditions[..] {
        [only] if only.nested.is_empty() && !only.nested_optional => {
            comment(text, &only.comment, "");
            write_condition(text, only);
            text.push('\n');
        }
        conditions => {
            if conditions.is_empty() {
                line(text, "condition", "[]");
            }
            text.push('\n');
            for condition in conditions {
                write_nested(text, condition, &format!("{header}.condition"));
            }
        }
    }
}

fn write_nested(text: &mut String, condition: &DraftCondition, header: &str) {
    comment(text, &condition.comment, "");
    let _ = writeln!(text, "[[{header}]]");
    write_condition(text, condition);
    if condition.nested_optional {
        line(text, "nested_optional", "true");
    }
    text.push('\n');
    for nested in &condition.nested {
        write_nested(text, nested, &format!("{header}.condition"));
    }
}

fn write_condition(text: &mut String, condition: &DraftCondition) {
    write_tests(text, condition);
    if condition.combine != Combine::All {
        line(text, "match", &quoted(condition.combine.name()));
    }
    if condition.breaks != Break::OnFalse {
        line(text, "break", &quoted(condition.breaks.name()));
    }
    if !condition.actions.is_empty() {
        write_actions(text, "actions", &condition.actions);
    }
    if !condition.anti_actions.is_empty() {
        write_actions(text, "else", &condition.anti_actions);
    }
}

/// Tests with a short name each, if every name is needed once.
fn write_tests(text: &mut String, condition: &DraftCondition) {
    let short: Option<Vec<&str>> = condition.tests.iter().map(|t| short_name(&t.subject)).collect();
    let short = short.filter(|names| {
        names.iter().enumerate().all(|(at, name)| names.iter().position(|n| n == name) == Some(at))
    });
    if let Some(names) = short {
        for (name, test) in names.iter().zip(&condition.tests) {
            line(text, name, &subject(&test.subject));
        }
        return;
    }
    text.push_str("tests = [\n");
    for test in &condition.tests {
        let entry = match &test.subject {
            Subject::Field { field, .. } => {
                format!("field = {}, is = {}", quoted(field), subject(&test.subject))
            }
            Subject::Network(_) => format!("network = {}", subject(&test.subject)),
            Subject::Time(_) => format!("time = {}", subject(&test.subject)),
        };
        let _ = writeln!(text, "  {{ {entry} }},");
    }
    text.push_str("]\n");
}

fn short_name(subject: &Subject) -> Option<&'static str> {
    match subject {
        Subject::Network(_) => Some("network"),
        Subject::Time(_) => Some("time"),
        Subject::Field { field, .. } => {
            FIELDS.iter().find(|(_, known)| known == field).map(|(short, _)| *short)
        }
    }
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Field { values, .. } => list(values.iter().map(value)),
        Subject::Network(networks) => list(networks.iter().map(|network| quoted(network))),
        Subject::Time(attributes) => {
            let attributes: Vec<String> = attributes
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), quoted(value)))
                .collect();
            format!("{{ {} }}", attributes.join(", "))
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match &items[..] {
        [only] => only.clone(),
        items => format!("[{}]", items.join(", ")),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Literal(literal) if literal.starts_with(['^', '/']) => {
            quoted(&format!("^{}$", regex::escape(literal)))
        }
        Value::Literal(literal) => quoted(literal),
        Value::Expression(expression) if expression.starts_with('^') || has_flags(expression) => {
            quoted(expression)
        }
        Value::Expression(expression) => quoted(&format!("/{expression}/")),
    }
}

fn has_flags(expression: &str) -> bool {
    expression.strip_prefix('/').is_some_and(|body| body.contains('/'))
}

fn write_actions(text: &mut String, name: &str, actions: &[DraftAction]) {
    let _ = writeln!(text, "{name} = [");
    for action in actions {
        comment(text, &action.comment, "  ");
        let _ = writeln!(text, "  {},", write_action(action));
    }
    text.push_str("]\n");
}

fn write_action(action: &DraftAction) -> String {
    let is_apart = action.data.trim() != action.data;
    let run = if action.data.is_empty() || is_apart {
        quoted(&action.application)
    } else {
        quoted(&format!("{} {}", action.application, action.data))
    };
    if !is_apart && !action.inline && action.times == 1 && action.fallback.is_empty() {
        return run;
    }
    let mut table = format!("{{ run = {run}");
    if is_apart {
        let _ = write!(table, ", data = {}", quoted(&action.data));
    }
    if action.inline {
        table.push_str(", inline = true");
    }
    if action.times != 1 {
        let _ = write!(table, ", loop = {}", action.times);
    }
    if !action.fallback.is_empty() {
        let fallback: Vec<String> = action.fallback.iter().map(write_action).collect();
        let _ = write!(table, ", fallback = [{}]", fallback.join(", "));
    }
    table.push_str(" }");
    table
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

fn comment(text: &mut String, comment: &str, indent: &str) {
    for line in comment.lines() {
        let line: String = line.chars().filter(|character| !character.is_control()).collect();
        let _ = writeln!(text, "{indent}# {line}");
    }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { basic(name) }
}

/// A text in quotes: single ones if that spares escapes.
fn quoted(text: &str) -> String {
    let is_plain = !text.contains('\'') && !text.chars().any(char::is_control);
    if is_plain && text.contains(['\\', '"']) { format!("'{text}'") } else { basic(text) }
}

fn basic(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
