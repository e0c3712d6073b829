//! Which extensions of a context can match at all, found without looking at the others.
//!
//! Most extensions do nothing unless some value of the call holds one of a few literals ([`Gate`]): a whole number,
//! the beginning of one, or a run of digits anywhere in it. The values of a call are looked up by these. What needs
//! nothing that could be looked up is always a candidate. The order stays as it is written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;

use crate::facts::Fact;
use crate::gate::{Gate, Subject};
use crate::model::{Extension, Globals};
use crate::needs::{Need, Place};
use crate::network;
use crate::pattern::Captures;
use crate::text::{Known, Scope, Text};

/// Extensions of a context, by what they need.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tables: Vec<Table>,
    always: Vec<usize>,
}

/// Extensions by what they need of one value.
#[derive(Debug)]
struct Table {
    value: Value,
    whole: HashMap<Vec<u8>, Vec<usize>>,
    starts: HashMap<Vec<u8>, Vec<usize>>,
    /// The lengths of `starts`, once each.
    lengths: Vec<usize>,
    inside: Option<Inside>,
}

/// How a value is had from a call.
#[derive(Debug)]
enum Value {
    Fact(Fact),
    Further(String),
    Text(Text),
    Network,
}

#[derive(Debug)]
struct Inside {
    automaton: AhoCorasick,
    /// The extensions of each of its patterns.
    extensions: Vec<Vec<usize>>,
}

/// How many extensions could be asked for because of a literal.
type Counts<'a> = HashMap<(&'a str, Place, Vec<u8>), usize>;

impl Index {
    pub(crate) fn new<'a>(extensions: impl Iterator<Item = &'a Extension>) -> Index {
        Index::of(extensions.map(Gate::of).collect())
    }

    /// An index that can be asked with nothing but the number of a call.
    pub(crate) fn by_number<'a>(extensions: impl Iterator<Item = &'a Extension>) -> Index {
        Index::of(extensions.map(|extension| Gate::of(extension).of_number()).collect())
    }

    /// An index of what these gates belong to.
    pub(crate) fn of(gates: Vec<Gate<'_>>) -> Index {
        let mut counts = Counts::new();
        gates.iter().for_each(|gate| count(gate, &mut counts));
        let (mut drafts, mut always) = (BTreeMap::new(), Vec::new());
        for (at, gate) in gates.iter().enumerate() {
            match choose(gate, &counts) {
                Some((_, needs)) => {
                    for (subject, need) in needs {
                        let draft: &mut TableDraft<'_> = drafts
                            .entry(subject.name())
                            .or_insert_with(|| TableDraft::new(*subject));
                        draft.add(need, at);
                    }
                }
                None => always.push(at),
            }
        }
        Index { tables: drafts.into_values().map(TableDraft::finish).collect(), always }
    }

    /// The extensions that may match, in order, besides those that always may.
    pub(crate) fn found(&self, known: Known<'_>, globals: &Globals) -> Vec<usize> {
        let mut found = Vec::new();
        for table in &self.tables {
            table.find(&table.value.read(known, globals), &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first candidate from `from` on, given what was `found`.
    pub(crate) fn next(&self, found: &[usize], from: usize) -> Option<usize> {
        let next = |list: &[usize]| list.get(list.partition_point(|at| *at < from)).copied();
        match (next(found), next(&self.always)) {
            (Some(found), Some(always)) => Some(found.min(always)),
            (found, always) => found.or(always),
        }
    }

    /// Whether what is found depends on variables, which inline actions change.
    pub(crate) fn reads_variables(&self) -> bool {
        self.tables.iter().any(|table| matches!(table.value, Value::Text(_)))
    }
}

impl Table {
    fn find(&self, value: &str, found: &mut Vec<usize>) {
        let value = value.as_bytes();
        found.extend(self.whole.get(value).into_iter().flatten());
        for length in &self.lengths {
            let start = value.get(..*length).and_then(|start| self.starts.get(start));
            found.extend(start.into_iter().flatten());
        }
        let Some(inside) = &self.inside else { return };
        for hit in inside.automaton.find_overlapping_iter(value) {
            found.extend(inside.extensions.get(hit.pattern().as_usize()).into_iter().flatten());
        }
    }
}

impl Value {
    fn read<'a>(&self, known: Known<'a>, globals: &Globals) -> Cow<'a, str> {
        match self {
            Value::Fact(fact) => known.facts.read(*fact),
            Value::Further(name) => known.facts.value(name).unwrap_or_default(),
            Value::Text(text) => {
                let scope = Scope { captures: &Captures::NONE, globals, fallback: &[] };
                Cow::Owned(text.expand_known(known, scope))
            }
            Value::Network => {
                known.facts.network_addr.map(network::bits).map_or(Cow::Borrowed(""), Cow::Owned)
            }
        }
    }
}

/// A table that is being filled.
struct TableDraft<'a> {
    subject: Subject<'a>,
    whole: HashMap<Vec<u8>, Vec<usize>>,
    starts: HashMap<Vec<u8>, Vec<usize>>,
    inside: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl<'a> TableDraft<'a> {
    fn new(subject: Subject<'a>) -> TableDraft<'a> {
        let (whole, starts) = (HashMap::new(), HashMap::new());
        TableDraft { subject, whole, starts, inside: BTreeMap::new() }
    }

    fn add(&mut self, need: &Need, at: usize) {
        for literal in &need.literals {
            let extensions = match need.place {
                Place::Whole => self.whole.entry(literal.clone()).or_default(),
                Place::Start => self.starts.entry(literal.clone()).or_default(),
                Place::Inside => self.inside.entry(literal.clone()).or_default(),
            };
            if extensions.last() != Some(&at) {
                extensions.push(at);
            }
        }
    }

    fn finish(self) -> Table {
        let value = match self.subject {
            Subject::Fact(fact) => Value::Fact(fact),
            Subject::Further(name) => Value::Further(name.to_owned()),
            Subject::Text(text) => Value::Text(text.clone()),
            Subject::Network => Value::Network,
        };
        let mut lengths: Vec<usize> = self.starts.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let inside = (!self.inside.is_empty()).then(|| {
            let automaton = AhoCorasick::new(self.inside.keys())
                .expect("literals are short, and as many as a plan may have extensions");
            Inside { automaton, extensions: self.inside.into_values().collect() }
        });
        Table { value, whole: self.whole, starts: self.starts, lengths, inside }
    }
}

fn count<'a>(gate: &Gate<'a>, counts: &mut Counts<'a>) {
    match gate {
        Gate::Open => {}
        Gate::Needs { subject, need } => {
            for literal in &need.literals {
                *counts.entry((subject.name(), need.place, literal.clone())).or_default() += 1;
            }
        }
        Gate::All(gates) | Gate::Any(gates) => gates.iter().for_each(|gate| count(gate, counts)),
    }
}

/// What to look an extension up by: how many extensions share it, and what it is. Of several the rarest is taken.
type Choice<'g, 'a> = (usize, Vec<(&'g Subject<'a>, &'g Need)>);

fn choose<'g, 'a>(gate: &'g Gate<'a>, counts: &Counts<'_>) -> Option<Choice<'g, 'a>> {
    match gate {
        Gate::Open => None,
        Gate::Needs { subject, need } => {
            let shared = |literal: &Vec<u8>| {
                counts.get(&(subject.name(), need.place, literal.clone())).copied().unwrap_or(1)
            };
            Some((need.literals.iter().map(shared).sum(), vec![(subject, need)]))
        }
        Gate::All(gates) => {
            let choices = gates.iter().filter_map(|gate| choose(gate, counts));
            choices.min_by_key(|(shared, _)| *shared)
        }
        Gate::Any(gates) => {
            let choices: Option<Vec<_>> = gates.iter().map(|gate| choose(gate, counts)).collect();
            choices?.into_iter().reduce(|(shared, mut needs), (more, others)| {
                needs.extend(others);
                (shared + more, needs)
            })
        }
    }
}
