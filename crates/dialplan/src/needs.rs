//! What a value must hold so that an expression can be found in it, read off the expression.

use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind, Look};

/// A value is out of the question unless it holds one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub place: Place,
    pub literals: Vec<Vec<u8>>,
}

/// Where in a value a literal must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Whole,
    Start,
    Inside,
}

impl Need {
    fn shortest(&self) -> usize {
        self.literals.iter().map(Vec::len).min().unwrap_or_default()
    }
}

/// All needs of an expression that could be read off; each of them by itself rules values out.
pub(crate) fn needs(hir: &Hir) -> Vec<Need> {
    let mut found = Vec::new();
    inside(hir, &mut found);
    found.sort_by_key(|need| std::cmp::Reverse((need.shortest(), NEEDS_MAX - need.literals.len())));
    found.truncate(KEPT_MAX);
    if hir.properties().look_set_prefix().contains(Look::Start)
        && let Some(literals) = beginnings(hir, CLASS_MAX).or_else(|| beginnings(hir, DIGITS))
    {
        found.insert(0, Need { place: Place::Start, literals });
    }
    found
}

fn inside(hir: &Hir, found: &mut Vec<Need>) {
    if found.len() >= NEEDS_MAX {
        return;
    }
    match hir.kind() {
        HirKind::Capture(capture) => inside(&capture.sub, found),
        HirKind::Repetition(repetition) if repetition.min > 0 => inside(&repetition.sub, found),
        HirKind::Concat(parts) => {
            for (at, part) in parts.iter().enumerate().take(NEEDS_MAX) {
                let run = parts.iter().skip(at).take(RUN_MAX).cloned().collect();
                add(&Hir::concat(run), found);
                // What stands alone was just looked at.
                if matches!(part.kind(), HirKind::Capture(_) | HirKind::Repetition(_)) {
                    inside(part, found);
                }
            }
        }
        HirKind::Literal(_) | HirKind::Alternation(_) => add(hir, found),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => {}
    }
}

/// A single character tells too little apart when it may stand anywhere.
fn add(hir: &Hir, found: &mut Vec<Need>) {
    let literals =
        beginnings(hir, CLASS_MAX).filter(|found| found.iter().all(|literal| literal.len() > 1));
    found.extend(literals.map(|literals| Need { place: Place::Inside, literals }));
}

/// What everything begins with in which the expression is found; only classes of up to `class_max` characters are
/// told apart.
fn beginnings(hir: &Hir, class_max: usize) -> Option<Vec<Vec<u8>>> {
    let mut extractor = Extractor::new();
    extractor
        .kind(ExtractKind::Prefix)
        .limit_class(class_max)
        .limit_total(LITERALS_MAX)
        .limit_literal_len(LITERAL_BYTES_MAX);
    let found = extractor.extract(hir);
    let literals = found.literals()?;
    let is_empty = literals.iter().any(|literal| literal.as_bytes().is_empty());
    (!is_empty).then(|| literals.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

/// Most literals of a need, and the longest.
const LITERALS_MAX: usize = 32;
const LITERAL_BYTES_MAX: usize = 12;
/// Characters of a class that are told apart if that can be helped, and if not.
const CLASS_MAX: usize = 4;
const DIGITS: usize = 10;
/// Most needs that are looked for in an expression, and that are kept.
const NEEDS_MAX: usize = 64;
const KEPT_MAX: usize = 4;
/// Parts of an expression in a row that are looked at together.
const RUN_MAX: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn read(expression: &str) -> Vec<(Place, Vec<String>)> {
        let hir =
            regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(expression);
        let text = |literal: &Vec<u8>| String::from_utf8(literal.clone()).unwrap();
        needs(&hir.unwrap())
            .iter()
            .map(|need| (need.place, need.literals.iter().map(text).collect()))
            .collect()
    }

    fn has(expression: &str, place: Place, literals: &[&str]) {
        let found = read(expression);
        let wanted = |(at, found): &(Place, Vec<String>)| *at == place && found == literals;
        assert!(found.iter().any(wanted), "{expression}: {found:?}");
    }

    #[test]
    fn a_literal_is_needed_wherever_it_stands() {
        has("12345", Place::Inside, &["12345"]);
        has(r"^\d*12345$", Place::Inside, &["12345"]);
        has(r"^(\d*)(12345)(\d\d)?$", Place::Inside, &["12345"]);
        has(r"^0701(\d)12345(\d\d)$", Place::Inside, &["12345"]);
        has("^(?:070|080)123", Place::Start, &["070123", "080123"]);
        has("(?:12|34|56)+$", Place::Inside, &["12", "34", "56"]);
        has("^[2-4]x", Place::Start, &["2x", "3x", "4x"]);
    }

    #[test]
    fn what_may_be_left_out_is_not_needed() {
        for expression in
            ["", ".*", "(?:123)?", "(?:123)*", "123|", r"\d+", "(?:12|3)", "[0-9]{7}", "(?:1|22)+"]
        {
            assert_eq!(read(expression), [], "{expression}");
        }
    }

    #[test]
    fn of_a_long_expression_some_needs_are_kept() {
        assert_eq!(read(&r"(\d.)xyz".repeat(600)).len(), KEPT_MAX);
    }
}
