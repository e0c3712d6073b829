//! Conditions such as `$["${DIALSTATUS}" = "BUSY"]`.

use dialplan::{Combine, DraftCondition, DraftTest, Facts, Location, Subject, Value};

use super::text::{Names, split};

/// A condition in our form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    tests: Vec<(String, Value)>,
    is_any: bool,
    /// Whether it holds if the tests do not.
    is_negated: bool,
}

impl Condition {
    /// Reads a condition; in words what of it has no equivalent.
    pub(super) fn parse(source: &str, names: &Names) -> Result<Condition, String> {
        let source = source.trim();
        let Some(inside) = source.strip_prefix("$[").and_then(|inside| inside.strip_suffix(']'))
        else {
            return truth(source, names);
        };
        for (sign, is_any) in [('|', true), ('&', false)] {
            let parts = split(inside, sign);
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            if parts.len() > 1 {
                return join(&parts, is_any, names);
            }
        }
        comparison(inside, names)
    }

    /// A condition of a draft that runs `yes` or `no`.
    pub(super) fn draft(
        self,
        yes: Vec<dialplan::DraftAction>,
        no: Vec<dialplan::DraftAction>,
        location: &Location,
    ) -> DraftCondition {
        let Condition { tests, is_any, is_negated } = self;
        let (actions, anti_actions) = if is_negated { (no, yes) } else { (yes, no) };
        let test = |(field, value)| DraftTest {
            subject: Subject::Field { field, values: vec![value] },
            location: location.clone(),
        };
        DraftCondition {
            tests: tests.into_iter().map(test).collect(),
            combine: if is_any { Combine::Any } else { Combine::All },
            actions,
            anti_actions,
            location: location.clone(),
            ..DraftCondition::default()
        }
    }
}

/// Several comparisons: all of them as they are, or all of them turned round.
fn join(parts: &[&str], is_any: bool, names: &Names) -> Result<Condition, String> {
    let mut tests = Vec::new();
    let mut negated = None;
    for part in parts {
        let condition = comparison(part, names)?;
        if *negated.get_or_insert(condition.is_negated) != condition.is_negated {
            return Err("= and != in one condition have no equivalent".to_owned());
        }
        tests.extend(condition.tests);
    }
    let is_negated = negated.unwrap_or_default();
    // Not (a or b) is (not a) and (not b).
    Ok(Condition { tests, is_any: is_any != is_negated, is_negated })
}

fn comparison(text: &str, names: &Names) -> Result<Condition, String> {
    let text = text.trim();
    if text.contains(['<', '>', '~', '?']) && !text.contains('"') {
        return Err("only = and != have an equivalent in a condition".to_owned());
    }
    let (left, right, is_negated) = match text.split_once("!=") {
        Some((left, right)) => (left, right, true),
        None => match text.split_once('=') {
            Some((left, right)) => (left, right.trim_start_matches('='), false),
            None => return truth(text, names),
        },
    };
    let (left, right) = (unquoted(left), unquoted(right));
    let (left, right) = without_common_start(left, right);
    let (field, wanted) = match (left.contains("${"), right.contains("${")) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return Err("a condition compares a variable to a text here".to_owned()),
    };
    let wanted = Value::Literal(names.text(wanted)?.replace("\\$", "$"));
    let wanted = match wanted {
        Value::Literal(text) if text.is_empty() => Value::Expression("^$".to_owned()),
        other => other,
    };
    Ok(Condition { tests: vec![(field_of(field, names)?, wanted)], is_any: false, is_negated })
}

/// A text holds unless it is empty or 0.
fn truth(text: &str, names: &Names) -> Result<Condition, String> {
    let (text, is_negated) = match text.trim().strip_prefix('!') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let text = unquoted(text);
    if !text.contains("${") {
        return Err("a condition without a variable".to_owned());
    }
    let wanted = Value::Expression("^(?:[^0].*|0.+)$".to_owned());
    Ok(Condition { tests: vec![(field_of(text, names)?, wanted)], is_any: false, is_negated })
}

/// The name of a fact, or a text with variables.
fn field_of(text: &str, names: &Names) -> Result<String, String> {
    let text = names.text(text)?;
    let name = text.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
    Ok(match name.filter(|name| Facts::is_name(name)) {
        Some(name) => name.to_owned(),
        None => text,
    })
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Both sides without the letter that guards against empty variables: `x${A}` and `x5`.
fn without_common_start<'a>(left: &'a str, right: &'a str) -> (&'a str, &'a str) {
    let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) else {
        return (left, right);
    };
    if first != second || first == '$' || !(left.contains("${") || right.contains("${")) {
        return (left, right);
    }
    let after = |text: &'a str| text.get(first.len_utf8()..).unwrap_or_default();
    without_common_start(after(left), after(right))
}
