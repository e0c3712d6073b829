//! Which extensions of a context can match at all, found without looking at the others.
//!
//! An extension whose first condition wants certain values of a fact, or certain beginnings of it, is looked at
//! only for calls that have one of them. All others are always looked at. The order stays as it is written.

use std::collections::{BTreeMap, HashMap};

use crate::draft::{Break, Combine};
use crate::facts::{Fact, Facts};
use crate::model::{Condition, Extension, Field, Match, Test, Tested};

/// Extensions of a context, by what their first condition wants.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: BTreeMap<Fact, HashMap<String, Vec<usize>>>,
    prefixes: BTreeMap<Fact, Prefixes>,
    always: Vec<usize>,
}

#[derive(Debug, Default)]
struct Prefixes {
    extensions: HashMap<Vec<u8>, Vec<usize>>,
    /// The lengths there are, once each.
    lengths: Vec<usize>,
}

/// What an extension needs in order to do anything.
enum Gate {
    Values(Fact, Vec<String>),
    Prefixes(Fact, Vec<Vec<u8>>),
    None,
}

impl Index {
    pub(crate) fn new<'a>(extensions: impl Iterator<Item = &'a Extension>) -> Index {
        let mut index = Index::default();
        for (at, extension) in extensions.enumerate() {
            match extension.conditions.first().map_or(Gate::None, gate) {
                Gate::Values(fact, values) => {
                    let known = index.exact.entry(fact).or_default();
                    for value in values {
                        add(known.entry(value).or_default(), at);
                    }
                }
                Gate::Prefixes(fact, prefixes) => {
                    let known = index.prefixes.entry(fact).or_default();
                    for prefix in prefixes {
                        if !known.lengths.contains(&prefix.len()) {
                            known.lengths.push(prefix.len());
                        }
                        add(known.extensions.entry(prefix).or_default(), at);
                    }
                }
                Gate::None => index.always.push(at),
            }
        }
        index
    }

    /// The extensions that may match, in order.
    pub(crate) fn candidates(&self, facts: &Facts) -> Vec<usize> {
        let mut candidates = self.always.clone();
        for (fact, known) in &self.exact {
            candidates.extend(known.get(facts.read(*fact).as_ref()).into_iter().flatten());
        }
        for (fact, known) in &self.prefixes {
            let value = facts.read(*fact);
            for length in &known.lengths {
                let prefix = value.as_bytes().get(..*length);
                let found = prefix.and_then(|prefix| known.extensions.get(prefix));
                candidates.extend(found.into_iter().flatten());
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}

fn add(extensions: &mut Vec<usize>, at: usize) {
    if extensions.last() != Some(&at) {
        extensions.push(at);
    }
}

/// If the first condition does not hold and neither does anything nor lets the next one be looked at, the whole
/// extension does nothing.
fn gate(condition: &Condition) -> Gate {
    let is_gate = condition.anti_actions.is_empty()
        && matches!(condition.breaks, Break::OnFalse | Break::Always)
        && (condition.combine == Combine::All || condition.tests.len() == 1);
    if !is_gate {
        return Gate::None;
    }
    let values = condition.tests.iter().find_map(Test::plain_values);
    if let Some((fact, values)) = values {
        return Gate::Values(fact, values);
    }
    let prefixes = condition.tests.iter().find_map(prefixes);
    prefixes.map_or(Gate::None, |(fact, prefixes)| Gate::Prefixes(fact, prefixes))
}

fn prefixes(test: &Test) -> Option<(Fact, Vec<Vec<u8>>)> {
    let Tested::Field { field: Field::Fact(fact), values } = &test.subject else { return None };
    let mut found = Vec::new();
    for value in values {
        match value {
            Match::Literal(literal) if !literal.is_empty() => {
                found.push(literal.clone().into_bytes())
            }
            Match::Pattern(pattern) => match pattern.prefixes() {
                Some(prefixes) => found.extend_from_slice(prefixes),
                None => {
                    let values = pattern.plain_values();
                    if values.is_empty() {
                        return None;
                    }
                    found.extend(values.into_iter().map(String::into_bytes));
                }
            },
            Match::Literal(_) | Match::Variable(_) => return None,
        }
    }
    Some((*fact, found))
}
