//! Numbers and patterns of extensions: `100`, `_NXX`, `_[1-4]X.`.

use dialplan::Value;

/// What a number or a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    /// How our conditions say it.
    pub value: Value,
    /// Its length, if it has one.
    pub length: Option<usize>,
    /// The one that is more exact comes first, as Asterisk decides between several that match.
    pub rank: Vec<u16>,
}

impl Number {
    /// Reads a number or a pattern; in words why not.
    pub(super) fn parse(text: &str) -> Result<Number, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a number has 1 to {PATTERN_BYTES_MAX} characters"));
        }
        if text.contains("${") {
            return Err("the number of an extension may not come from a variable".to_owned());
        }
        match text.strip_prefix('_') {
            Some(pattern) => Self::pattern(pattern),
            None => Ok(Number {
                value: Value::Literal(text.to_owned()),
                length: Some(text.chars().count()),
                rank: Vec::new(),
            }),
        }
    }

    fn pattern(pattern: &str) -> Result<Number, String> {
        let mut expression = String::from("^");
        let (mut length, mut is_open) = (0, false);
        // Behind every number.
        let mut rank = vec![1];
        let mut rest = pattern.chars();
        while let Some(character) = rest.next() {
            let (part, weight) = match character.to_ascii_uppercase() {
                'X' => ("[0-9]".to_owned(), 10),
                'Z' => ("[1-9]".to_owned(), 9),
                'N' => ("[2-9]".to_owned(), 8),
                '[' => {
                    let inside: String = rest.by_ref().take_while(|c| *c != ']').collect();
                    (class(&inside)?, 7)
                }
                '.' | '!' => {
                    is_open = true;
                    expression += if character == '.' { ".+" } else { ".*" };
                    rank.push(if character == '.' { 1_000 } else { 2_000 });
                    break;
                }
                '-' | ' ' => continue,
                _ => (regex_escape(character), 1),
            };
            expression += &part;
            rank.push(weight);
            length += 1;
        }
        expression.push('$');
        Ok(Number {
            value: Value::Expression(expression),
            length: (!is_open).then_some(length),
            rank,
        })
    }
}

/// A set of characters; only such that mean themselves.
fn class(inside: &str) -> Result<String, String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "*#+-".contains(c);
    if inside.is_empty() || !inside.chars().all(is_fit) {
        return Err("the brackets of a pattern hold digits, letters, *, # and ranges".to_owned());
    }
    Ok(format!("[{}]", inside.replace('#', "\\#")))
}

fn regex_escape(character: char) -> String {
    match character.is_ascii_alphanumeric() {
        true => character.to_string(),
        false if character.is_ascii() => format!("\\{character}"),
        false => character.to_string(),
    }
}

/// Longest number or pattern.
const PATTERN_BYTES_MAX: usize = 80;
