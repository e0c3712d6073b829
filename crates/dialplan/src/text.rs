//! Text with `$${global}`, `${variable}` and `$1` in it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::call::Call;
use crate::error::Fault;
use crate::facts::Facts;
use crate::model::{Action, Globals};
use crate::pattern::Captures;
use crate::variables::{VALUE_BYTES_MAX, Variables};

/// A text that was read at load and is filled in when a call runs. What is filled in is never read again for
/// further substitutions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    source: String,
    pub(super) pieces: Vec<Piece>,
}

/// What a text is filled in from, besides the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// What the expression of the condition captured.
    pub captures: &'a Captures,
    /// The global variables, for a `${name}` that the call does not know.
    pub globals: &'a Globals,
    /// What is run if the application fails.
    pub fallback: &'a [Arc<Action>],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Variable {
        name: String,
        part: Option<Part>,
    },
    Capture(usize),
    /// What a call has filled in.
    Value(String),
}

/// Which characters of a value are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// From the end if it is negative.
    from: i64,
    /// To the end if there is none.
    characters: Option<usize>,
}

/// What is known of a call when a text is filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub facts: &'a Facts,
    pub variables: &'a Variables,
}

impl<'a> Known<'a> {
    pub(crate) fn of(call: &'a dyn Call) -> Known<'a> {
        Known { facts: call.facts(), variables: call.variables() }
    }
}

impl Text {
    /// Reads a text in which globals are filled in; a backslash before a `$` makes it an ordinary character.
    ///
    /// # Errors
    /// A `${` that is not closed or holds more than a name and which part of its value.
    pub(crate) fn parse(source: &str) -> Result<Text, Fault> {
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some(at) = rest.find(['$', '\\']) {
            let (before, from) = rest.split_at(at);
            push_literal(&mut pieces, before);
            rest = read_substitution(from, &mut pieces)?;
        }
        push_literal(&mut pieces, rest);
        Ok(Text { source: source.to_owned(), pieces })
    }

    /// Reads an expression in which only `${name}` has a meaning.
    ///
    /// # Errors
    /// As [`Text::parse`].
    pub(crate) fn parse_expression(source: &str) -> Result<Text, Fault> {
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            push_literal(&mut pieces, before);
            rest = read_substitution(from, &mut pieces)?;
        }
        push_literal(&mut pieces, rest);
        Ok(Text { source: source.to_owned(), pieces })
    }

    /// The text as it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The whole text if no call can change it. A `${name}` that is a global variable counts as one; no call can
    /// shadow it here.
    pub(crate) fn constant(&self, globals: &Globals) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable { name, part } => text.push_str(cut(globals.get(name)?, *part)),
                Piece::Capture(_) | Piece::Value(_) => return None,
            }
        }
        Some(text)
    }

    /// The highest `$n` in the text.
    pub(crate) fn highest_capture(&self) -> Option<usize> {
        let numbers = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(number) => Some(*number),
            Piece::Literal(_) | Piece::Variable { .. } | Piece::Value(_) => None,
        });
        numbers.max()
    }

    /// Fills in what `call` knows, up to [`VALUE_BYTES_MAX`] bytes. A `${name}` is looked up among the variables
    /// of the call, its facts, then the globals; an unknown one is empty.
    pub(crate) fn expand(&self, call: &dyn Call, scope: Scope<'_>) -> String {
        self.expand_known(Known::of(call), scope)
    }

    /// Like [`Text::expand`], before there is a call.
    pub(crate) fn expand_known(&self, known: Known<'_>, scope: Scope<'_>) -> String {
        self.expand_with(known, scope, |value, text| text.push_str(value))
    }

    /// Like [`Text::expand`]; `push` writes what is filled in, so that it can be made harmless where it stands.
    pub(crate) fn expand_with(
        &self,
        known: Known<'_>,
        scope: Scope<'_>,
        push: impl Fn(&str, &mut String),
    ) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable { name, part } => {
                    push(cut(&look_up(name, known, scope.globals), *part), &mut text);
                }
                Piece::Capture(number) => push(scope.captures.get(*number), &mut text),
                Piece::Value(value) => push(value, &mut text),
            }
            if text.len() > VALUE_BYTES_MAX {
                text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
                break;
            }
        }
        text
    }

    /// Splits the text at the first `separator` that is written in it (not one that is filled in).
    pub(crate) fn split_once(&self, separator: char) -> Option<(Text, Text)> {
        let (index, before, after) =
            self.pieces.iter().enumerate().find_map(|(index, piece)| match piece {
                Piece::Literal(literal) => {
                    literal.split_once(separator).map(|(before, after)| (index, before, after))
                }
                Piece::Variable { .. } | Piece::Capture(_) | Piece::Value(_) => None,
            })?;
        let mut left = self.pieces.get(..index).unwrap_or_default().to_vec();
        push_literal(&mut left, before);
        let mut right = Vec::new();
        push_literal(&mut right, after);
        right.extend_from_slice(self.pieces.get(index + 1..).unwrap_or_default());
        Some((self.with(left), self.with(right)))
    }

    /// The text with each part that is filled in later as one [`HOLE`], for readers of a structure: what a call
    /// fills in cannot become part of the structure. Offsets of it are those that [`Text::part`] takes.
    pub(crate) fn skeleton(&self) -> String {
        let mut skeleton = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => {
                    skeleton.extend(literal.chars().map(|c| if c == HOLE { ' ' } else { c }));
                }
                Piece::Variable { .. } | Piece::Capture(_) | Piece::Value(_) => skeleton.push(HOLE),
            }
        }
        skeleton
    }

    /// The part of the text at these offsets of its skeleton.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Text {
        let mut pieces = Vec::new();
        let mut at = 0;
        for piece in &self.pieces {
            let bytes = match piece {
                Piece::Literal(literal) => literal.len(),
                Piece::Variable { .. } | Piece::Capture(_) | Piece::Value(_) => HOLE.len_utf8(),
            };
            let (from, to) = (range.start.max(at), range.end.min(at + bytes));
            if from < to {
                match piece {
                    Piece::Literal(literal) => {
                        push_literal(&mut pieces, literal.get(from - at..to - at).unwrap_or(""));
                    }
                    hole => pieces.push(hole.clone()),
                }
            }
            at += bytes;
        }
        self.with(pieces)
    }

    /// The words of the text: what stands between blanks that are written in it; quotes keep blanks.
    pub(crate) fn words(&self) -> Vec<Text> {
        let skeleton = self.skeleton();
        let (mut words, mut start, mut is_quoted) = (Vec::new(), None, false);
        for (at, character) in skeleton.char_indices() {
            let is_blank = character.is_whitespace() && !is_quoted;
            if character == '\'' {
                is_quoted = !is_quoted;
            }
            match (is_blank, start) {
                (false, None) => start = Some(at),
                (true, Some(from)) => {
                    words.push(self.part(from..at));
                    start = None;
                }
                _ => {}
            }
        }
        words.extend(start.map(|from| self.part(from..skeleton.len())));
        words
    }

    /// The text without the quotes around it.
    pub(crate) fn unquoted(&self) -> Text {
        let skeleton = self.skeleton();
        match skeleton.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            Some(_) => self.part(1..skeleton.len() - 1),
            None => self.clone(),
        }
    }

    /// Whether it is written with this character at the beginning.
    pub(crate) fn begins_with(&self, character: char) -> bool {
        self.skeleton().starts_with(character)
    }

    /// The text with those variables filled in that are global.
    pub(crate) fn with_globals(&self, globals: &Globals) -> Text {
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => push_literal(&mut pieces, literal),
                Piece::Variable { name, part } => match globals.get(name) {
                    Some(value) => push_literal(&mut pieces, cut(value, *part)),
                    None => pieces.push(piece.clone()),
                },
                Piece::Capture(_) | Piece::Value(_) => pieces.push(piece.clone()),
            }
        }
        self.with(pieces)
    }

    /// The text with `prefix` in front of it.
    pub(crate) fn after(mut self, prefix: &str) -> Text {
        if !prefix.is_empty() {
            self.pieces.insert(0, Piece::Literal(prefix.to_owned()));
        }
        self
    }

    pub(super) fn with(&self, pieces: Vec<Piece>) -> Text {
        Text { source: self.source.clone(), pieces }
    }
}

/// Replaces the `$${name}` of a text that has no other substitutions, such as an expression.
pub(crate) fn expand_globals(source: &str, globals: &Globals) -> Result<String, Fault> {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("$${") {
        text.push_str(before);
        let (name, after) = after.split_once('}').ok_or_else(|| unclosed(rest))?;
        text.push_str(find_global(name, globals)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn look_up<'a>(name: &str, known: Known<'a>, globals: &'a Globals) -> Cow<'a, str> {
    if let Some(value) = known.variables.get(name) {
        return Cow::Borrowed(value);
    }
    known.facts.value(name).or_else(|| globals.get(name).map(Cow::Borrowed)).unwrap_or_default()
}

/// The characters of `value` that `part` means; none if it begins behind the end.
pub(super) fn cut(value: &str, part: Option<Part>) -> &str {
    let Some(Part { from, characters }) = part else { return value };
    let total = value.chars().count();
    let skipped = match usize::try_from(from) {
        Ok(from) => from,
        Err(_) => total.saturating_sub(usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let at = |characters: usize| {
        value.char_indices().nth(characters).map_or(value.len(), |(offset, _)| offset)
    };
    let end = characters.map_or(value.len(), |characters| at(skipped.saturating_add(characters)));
    value.get(at(skipped)..end).unwrap_or_default()
}

/// Reads what stands at the `$` or backslash that `from` starts with, and returns what follows it.
fn read_substitution<'a>(from: &'a str, pieces: &mut Vec<Piece>) -> Result<&'a str, Fault> {
    if let Some(after) = from.strip_prefix("\\$") {
        push_literal(pieces, "$");
        return Ok(after);
    }
    if let Some(after) = from.strip_prefix("${") {
        let (inside, after) = after.split_once('}').ok_or_else(|| unclosed(from))?;
        let (name, part) = match inside.split_once(':') {
            Some((name, part)) => (name, Some(read_part(part, from)?)),
            None => (inside, None),
        };
        check_name(name, from)?;
        pieces.push(Piece::Variable { name: name.to_owned(), part });
        return Ok(after);
    }
    if let Some(after) = from.strip_prefix('$') {
        let digits = after.bytes().take(CAPTURE_DIGITS_MAX).take_while(u8::is_ascii_digit).count();
        let (number, after) = after.split_at(digits);
        match number.parse() {
            Ok(number) => pieces.push(Piece::Capture(number)),
            Err(_) => push_literal(pieces, "$"),
        }
        return Ok(after);
    }
    push_literal(pieces, "\\");
    Ok(from.get(1..).unwrap_or_default())
}

/// Reads `offset` or `offset:length`; a length that is not positive is none, as in FreeSWITCH.
fn read_part(text: &str, from: &str) -> Result<Part, Fault> {
    let refuse = || Fault::Substitution {
        text: shorten(from),
        detail: "a part of a value is written ${name:offset} or ${name:offset:length}",
    };
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| refuse());
    let (offset, length) = match text.split_once(':') {
        Some((offset, length)) => (offset, Some(number(length)?)),
        None => (text, None),
    };
    let characters =
        length.filter(|length| *length > 0).and_then(|length| usize::try_from(length).ok());
    Ok(Part { from: number(offset)?, characters })
}

fn check_name(name: &str, from: &str) -> Result<(), Fault> {
    let refuse = |detail| Err(Fault::Substitution { text: shorten(from), detail });
    if name.is_empty() {
        return refuse("the name of the variable is missing");
    }
    if name.contains('(') {
        return refuse("functions such as ${name(…)} are not supported");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return refuse("the name of a variable has letters, digits, \"_\", \"-\" and \".\"");
    }
    Ok(())
}

fn find_global<'a>(name: &str, globals: &'a Globals) -> Result<&'a str, Fault> {
    globals
        .get(name)
        .ok_or_else(|| Fault::UnknownGlobal { name: shorten(name), hint: globals.hint() })
}

pub(super) fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(Piece::Literal(literal)) => literal.push_str(text),
        _ => pieces.push(Piece::Literal(text.to_owned())),
    }
}

fn unclosed(from: &str) -> Fault {
    Fault::Substitution { text: shorten(from), detail: "the closing brace is missing" }
}

/// The beginning of a text, for a message of one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String =
        text.chars().take(SHORT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHORT_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Stands in a skeleton for what a call fills in.
pub(crate) const HOLE: char = '\u{1}';
/// Digits that are read after a `$`.
const CAPTURE_DIGITS_MAX: usize = 2;
/// What of a text is repeated in a message.
const SHORT_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn globals() -> Globals {
        Globals::from_iter([("a", "1"), ("b", "${c}$1")])
    }

    fn fault(source: &str) -> String {
        Text::parse(source).unwrap_err().to_string()
    }

    fn constant(source: &str) -> Option<String> {
        Text::parse(&expand_globals(source, &globals()).unwrap()).unwrap().constant(&globals())
    }

    #[test]
    fn globals_are_filled_in_once() {
        assert_eq!(expand_globals("^$${a}$${b}$", &globals()).unwrap(), "^1${c}$1$");
    }

    #[test]
    fn other_dollars_are_ordinary() {
        assert_eq!(constant(r"$ $x 5$ \$1 \ \\ $$").as_deref(), Some(r"$ $x 5$ $1 \ \\ $$"));
    }

    #[test]
    fn what_depends_on_the_call_is_not_constant() {
        assert_eq!(constant("$1"), None);
        assert_eq!(constant("${c}"), None);
        assert_eq!(constant("${a}").as_deref(), Some("1"));
        assert_eq!(Text::parse("$2 $12 $1").unwrap().highest_capture(), Some(12));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let expected = "the global variable $${none} is not defined; there are: a, b";
        assert_eq!(expand_globals("$${none}", &globals()).unwrap_err().to_string(), expected);
        assert_eq!(fault("x${abc"), "\"${abc\" cannot be read: the closing brace is missing");
        assert_eq!(fault("${}"), "\"${}\" cannot be read: the name of the variable is missing");
        assert!(fault("${strftime(%Y)}").contains("functions"));
        assert!(fault("${a:x}").contains("${name:offset:length}"));
        assert!(fault("${a${b}}").contains("letters, digits"));
    }

    #[test]
    fn a_text_is_split_where_it_was_written() {
        let text = Text::parse("${a}x=$1=2").unwrap();
        let (before, after) = text.split_once('=').unwrap();
        assert_eq!(before.constant(&globals()).as_deref(), Some("1x"));
        assert_eq!(after.highest_capture(), Some(1));
        assert!(Text::parse("${a}").unwrap().split_once('=').is_none());
    }

    #[test]
    fn a_part_of_a_value_is_cut_out_by_characters() {
        let globals = Globals::from_iter([("n", "0123456789"), ("u", "äöü")]);
        for (text, expected) in [
            ("${n:3}", "3456789"),
            ("${n:0:3}", "012"),
            ("${n:2:3}", "234"),
            ("${n:-4}", "6789"),
            ("${n:-4:2}", "67"),
            ("${n:7:9}", "789"),
            ("${n:10}", ""),
            ("${n:99:1}", ""),
            ("${n:-99:2}", "01"),
            ("${n:1:0}", "123456789"),
            ("${n:1:-1}", "123456789"),
            ("${u:1:1}", "ö"),
        ] {
            let constant = Text::parse(text).unwrap().constant(&globals);
            assert_eq!(constant.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(shorten("a\nb"), "a b");
        assert_eq!(shorten(&"x".repeat(100)).chars().count(), SHORT_CHARS_MAX + 1);
    }
}
