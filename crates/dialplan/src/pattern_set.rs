//! Many expressions that are looked for in one value.

use crate::facts::{Fact, Facts};
use crate::gate::{Gate, Subject};
use crate::index::Index;
use crate::model::Globals;
use crate::pattern::Pattern;
use crate::text::Known;
use crate::variables::Variables;

/// Expressions in an order, found without looking at all of them.
#[derive(Debug)]
pub struct PatternSet {
    patterns: Vec<Pattern>,
    index: Index,
}

impl PatternSet {
    /// A set of these.
    pub fn new(patterns: Vec<Pattern>) -> PatternSet {
        let subject = Subject::Fact(Fact::DestinationNumber);
        let gates = patterns.iter().map(|pattern| Gate::of_pattern(subject, pattern)).collect();
        let index = Index::of(gates);
        PatternSet { patterns, index }
    }

    /// Which expression is the first that is found in `value`, if one is, and how many were compared to it.
    pub fn first(&self, value: &str) -> (Option<usize>, usize) {
        let facts = Facts { destination_number: value.to_owned(), ..Facts::default() };
        let variables = Variables::default();
        let known = Known { facts: &facts, variables: &variables };
        let found = self.index.found(known, &Globals::default());
        let (mut from, mut compared) = (0, 0);
        while let Some(at) = self.index.next(&found, from) {
            compared += 1;
            if self.patterns.get(at).is_some_and(|pattern| pattern.is_match(value)) {
                return (Some(at), compared);
            }
            from = at + 1;
        }
        (None, compared)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn the_first_one_is_found_without_looking_at_the_others() {
        let expressions = (100..200).map(|number| format!(r"^{number}\d$"));
        let patterns = expressions.chain(["^1".to_owned(), r"\d".to_owned()]);
        let set = PatternSet::new(patterns.map(|text| Pattern::parse(&text).unwrap()).collect());
        assert_eq!(set.first("1505"), (Some(50), 1));
        assert_eq!(set.first("15"), (Some(100), 1));
        assert_eq!(set.first("9"), (Some(101), 1));
        assert_eq!(set.first("x"), (None, 1));
    }
}
