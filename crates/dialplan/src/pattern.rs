//! The regular expression of a condition.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use crate::error::Fault;
use crate::needs::{Need, Place, needs};
use crate::text::shorten;

/// A compiled expression. It is searched for anywhere in the value, as FreeSWITCH does: write `^` and `$` to pin
/// it. It works on bytes, `\d` is an ASCII digit, and matching takes time linear in the value.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    /// The expression stands for these values and nothing else; needs no automaton.
    Plain {
        values: Vec<String>,
        is_group: bool,
    },
    Regex {
        regex: Regex,
        needs: Vec<Need>,
        size: usize,
    },
}

impl Pattern {
    /// Compiles `source`. FreeSWITCH's `/expression/i` form is read, with the flags `i`, `m`, `s` and `x`.
    ///
    /// # Errors
    /// A syntax error; look-around or a back-reference, which would make matching unbounded; an expression that
    /// is over the size bound when compiled.
    pub fn parse(source: &str) -> Result<Pattern, Fault> {
        let refuse = |detail: String| Fault::Expression { expression: shorten(source), detail };
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(refuse(format!("it is longer than {EXPRESSION_BYTES_MAX} bytes")));
        }
        if source.starts_with('_') {
            return Err(refuse(
                "patterns such as _NXX are not supported, write a regular expression".to_owned(),
            ));
        }
        if let Some(engine) = Engine::plain(source) {
            return Ok(Pattern { source: source.to_owned(), engine });
        }
        let (body, flags) = split_flags(source);
        if let Some(flag) = flags.chars().find(|flag| !"imsx".contains(*flag)) {
            return Err(refuse(format!("the flag \"{flag}\" after the second \"/\" is unknown")));
        }
        let mut builder = RegexBuilder::new(body);
        builder
            .unicode(false)
            .nest_limit(NEST_MAX)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX);
        builder.case_insensitive(flags.contains('i')).multi_line(flags.contains('m'));
        builder.dot_matches_new_line(flags.contains('s')).ignore_whitespace(flags.contains('x'));
        let regex = builder.build().map_err(|error| refuse(explain(body, &error)))?;
        let (needs, size) = read_expression(body, flags);
        let engine = Engine::Regex { regex, needs, size };
        Ok(Pattern { source: source.to_owned(), engine })
    }

    /// The expression as it was written, with globals filled in.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many groups the expression has.
    pub fn groups(&self) -> usize {
        match &self.engine {
            Engine::Plain { is_group, .. } => usize::from(*is_group),
            Engine::Regex { regex, .. } => regex.captures_len().saturating_sub(1),
        }
    }

    /// Whether the expression is found in `value`.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.engine {
            Engine::Plain { values, .. } => values.iter().any(|plain| plain == value),
            Engine::Regex { regex, .. } => regex.is_match(value.as_bytes()),
        }
    }

    /// What the groups of the expression hold, if it is found in `value`.
    pub fn captures(&self, value: &str) -> Option<Captures> {
        // Most expressions of a plan do not match, and finding that out needs no room for groups.
        if !self.is_match(value) {
            return None;
        }
        let regex = match &self.engine {
            Engine::Plain { is_group, .. } => {
                let groups = vec![value.to_owned(); 1 + usize::from(*is_group)];
                return Some(Captures { groups, is_literal: false });
            }
            Engine::Regex { regex, .. } => regex,
        };
        let found = regex.captures(value.as_bytes())?;
        let group = |group: Option<regex::bytes::Match<'_>>| {
            group
                .map_or(Cow::Borrowed(""), |group| String::from_utf8_lossy(group.as_bytes()))
                .into_owned()
        };
        Some(Captures { groups: found.iter().map(group).collect(), is_literal: false })
    }

    /// The values that an expression such as `^9196$`, `^(9196)$` or `^(9195|9196)$` stands for; empty if it is
    /// anything else.
    pub(crate) fn plain_values(&self) -> Vec<String> {
        match &self.engine {
            Engine::Plain { values, .. } => values.clone(),
            Engine::Regex { .. } => Vec::new(),
        }
    }

    /// Whether it is found in every value, as far as that is easily said.
    pub(crate) fn takes_all(&self) -> bool {
        let body = self.source.strip_prefix('^').unwrap_or(&self.source);
        let body = body.strip_suffix('$').unwrap_or(body);
        let body = body.strip_prefix('(').and_then(|b| b.strip_suffix(')')).unwrap_or(body);
        matches!(body, "" | ".*") && self.source != "^$"
    }

    /// About how many states it needs when compiled.
    pub(crate) fn size(&self) -> usize {
        match &self.engine {
            Engine::Plain { .. } => self.source.len(),
            Engine::Regex { size, .. } => *size,
        }
    }

    /// What values must hold in which the expression is found.
    pub(crate) fn needs(&self) -> Vec<Need> {
        match &self.engine {
            Engine::Plain { values, .. } => {
                let literals = values.iter().map(|value| value.clone().into_bytes()).collect();
                vec![Need { place: Place::Whole, literals }]
            }
            Engine::Regex { needs, .. } => needs.clone(),
        }
    }
}

impl Engine {
    fn plain(source: &str) -> Option<Engine> {
        let body = source.strip_prefix('^')?.strip_suffix('$')?;
        let grouped = body.strip_prefix('(').and_then(|body| body.strip_suffix(')'));
        if grouped.is_none() && body.contains('|') {
            return None;
        }
        let open = grouped.and_then(|body| body.strip_prefix("?:"));
        let values = open.or(grouped).unwrap_or(body).split('|').map(plain_value);
        let values = values.collect::<Option<Vec<_>>>()?;
        Some(Engine::Plain { values, is_group: grouped.is_some() && open.is_none() })
    }
}

/// What values must hold, and about how many states the automaton has.
fn read_expression(body: &str, flags: &str) -> (Vec<Need>, usize) {
    let mut parser = regex_syntax::ParserBuilder::new();
    parser.unicode(false).utf8(false).nest_limit(NEST_MAX);
    parser.case_insensitive(flags.contains('i')).multi_line(flags.contains('m'));
    parser.dot_matches_new_line(flags.contains('s')).ignore_whitespace(flags.contains('x'));
    let read = |hir| (needs(&hir), size(&hir));
    parser.build().parse(body).map_or_else(|_| (Vec::new(), EXPRESSION_BYTES_MAX), read)
}

fn size(hir: &Hir) -> usize {
    1 + match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Capture(capture) => size(&capture.sub),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            size(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(size).sum(),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// What the groups of an expression hold: `$0` is all that matched, `$1` the first group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    groups: Vec<String>,
    /// There was no expression.
    is_literal: bool,
}

impl Captures {
    /// Of a condition that has no expression.
    pub(crate) const NONE: Captures = Captures { groups: Vec::new(), is_literal: false };

    /// Of a value that is wanted as it is: all of it is `$0` and `$1`.
    pub(crate) fn whole(value: &str) -> Captures {
        Captures { groups: vec![value.to_owned(), value.to_owned()], is_literal: true }
    }

    /// Whether a value was wanted as it is, and no expression found in it.
    pub(crate) fn is_literal(&self) -> bool {
        self.is_literal
    }

    /// Whether there is more than `$0`.
    pub(crate) fn has_groups(&self) -> bool {
        self.groups.len() > 1
    }

    /// What group `number` holds; empty if it took no part in the match.
    pub fn get(&self, number: usize) -> &str {
        self.groups.get(number).map_or("", String::as_str)
    }
}

fn split_flags(source: &str) -> (&str, &str) {
    source.strip_prefix('/').and_then(|body| body.rsplit_once('/')).unwrap_or((source, ""))
}

/// A number without any operator of regular expressions: digits, letters, `-`, `_`, and `*`, `+`, `.`, `#` if
/// they are escaped.
fn plain_value(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => value.push(characters.next().filter(|escaped| "*+.#-".contains(*escaped))?),
            '#' | '-' | '_' => value.push(character),
            _ if character.is_ascii_alphanumeric() => value.push(character),
            _ => return None,
        }
    }
    (!value.is_empty()).then_some(value)
}

fn explain(body: &str, error: &regex::Error) -> String {
    if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|form| body.contains(form)) {
        return "look-around is not supported; write what must match, and put exceptions in an extension before"
            .to_owned();
    }
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("it needs more than {COMPILED_BYTES_MAX} bytes when compiled; repeat less")
        }
        regex::Error::Syntax(message) => {
            let last = message.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        _ => error.to_string(),
    }
}

/// Longest expression.
const EXPRESSION_BYTES_MAX: usize = 4096;
/// Largest compiled expression.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// What matching may remember to be faster, in bytes.
const CACHE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of groups.
const NEST_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn fault(expression: &str) -> String {
        Pattern::parse(expression).unwrap_err().to_string()
    }

    #[test]
    fn an_expression_is_found_anywhere_unless_it_is_pinned() {
        assert!(Pattern::parse("9196").unwrap().is_match("0091960"));
        assert!(!Pattern::parse("^9196$").unwrap().is_match("91960"));
        assert!(Pattern::parse("").unwrap().is_match(""));
        assert!(Pattern::parse("/^ABC$/i").unwrap().is_match("abc"));
    }

    #[test]
    fn a_digit_is_an_ascii_digit_and_values_are_bytes() {
        let digits = Pattern::parse(r"^\d+$").unwrap();
        assert!(digits.is_match("0123"));
        assert!(!digits.is_match("٣"));
        let any = Pattern::parse("^(.)").unwrap();
        assert_eq!(any.captures("é").unwrap().get(1), "\u{fffd}");
    }

    #[test]
    fn a_group_that_takes_no_part_is_empty() {
        let captures = Pattern::parse("^(1)|(2)$").unwrap().captures("2").unwrap();
        assert_eq!(
            (captures.get(0), captures.get(1), captures.get(2), captures.get(3)),
            ("2", "", "2", "")
        );
    }

    #[test]
    fn plain_numbers_are_read_off() {
        for (expression, values) in [
            ("^9196$", &["9196"][..]),
            ("^(07010002000)$", &["07010002000"]),
            ("^(?:9195|9196)$", &["9195", "9196"]),
            (r"^\*98$", &["*98"]),
            (r"^\+15550100$", &["+15550100"]),
            ("^alice$", &["alice"]),
            ("9196", &[]),
            ("^9195|9196$", &[]),
            (r"^(\d+)$", &[]),
            ("^9(1)96$", &[]),
            ("^()$", &[]),
            ("^.$", &[]),
        ] {
            assert_eq!(Pattern::parse(expression).unwrap().plain_values(), values, "{expression}");
        }
    }

    #[test]
    fn what_would_need_backtracking_is_refused_with_a_hint() {
        for expression in ["^(?!911)", "(?=1)", "(?<=1)2", "(?<!1)2"] {
            assert!(
                fault(expression).contains("look-around is not supported; write what"),
                "{expression}"
            );
        }
        let expected = r#"the expression "(.)\1" is refused: backreferences are not supported"#;
        assert_eq!(fault(r"(.)\1"), expected);
        assert!(fault("(").ends_with("unclosed group"));
        assert!(fault("_NXX").contains("write a regular expression"));
        assert!(fault("/a/q").contains("flag"));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(fault("((a{1,500}){1,500}){1,500}").contains("repeat less"));
        assert!(fault(&format!("{}{}", "(".repeat(100), ")".repeat(100))).contains("nest"));
        assert!(fault(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).contains("longer"));
    }

    #[test]
    fn a_pattern_that_explodes_elsewhere_is_harmless() {
        let pattern = Pattern::parse("^(a+)+$").unwrap();
        assert!(!pattern.is_match(&format!("{}!", "a".repeat(65_536))));
    }
}
