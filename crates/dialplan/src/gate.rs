//! What a call must have so that an extension does anything at all.

use crate::draft::{Break, Combine};
use crate::facts::Fact;
use crate::model::{Condition, Extension, Field, Match, Test, Tested};
use crate::needs::{Need, Place};
use crate::pattern::Pattern;
use crate::text::Text;

/// A necessary condition of an extension, made of literals that values must hold.
#[derive(Debug)]
pub(crate) enum Gate<'a> {
    /// Nothing is known to be needed.
    Open,
    /// The value of `subject` must hold one of the literals.
    Needs { subject: Subject<'a>, need: Need },
    /// Each of them must hold.
    All(Vec<Gate<'a>>),
    /// One of them must hold.
    Any(Vec<Gate<'a>>),
}

/// Whose value is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Fact(Fact),
    Further(&'a str),
    Text(&'a Text),
    /// The bits of the address that the call came from.
    Network,
}

impl<'a> Subject<'a> {
    /// Its name, which no other one has.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Subject::Fact(fact) => fact.name(),
            Subject::Further(name) => name,
            Subject::Text(text) => text.source(),
            Subject::Network => "bits of the address",
        }
    }
}

impl<'a> Gate<'a> {
    /// The gate of an extension.
    pub(crate) fn of(extension: &'a Extension) -> Gate<'a> {
        of_conditions(&extension.conditions)
    }

    /// The gate of an expression that must be found in a value.
    pub(crate) fn of_pattern(subject: Subject<'a>, pattern: &Pattern) -> Gate<'a> {
        let gate = |need| Gate::Needs { subject, need };
        Gate::All(pattern.needs().into_iter().map(gate).collect())
    }

    /// What is left of it if only the number that is called is known.
    pub(crate) fn of_number(self) -> Gate<'a> {
        match self {
            Gate::Needs { subject: Subject::Fact(Fact::DestinationNumber), .. } => self,
            Gate::Needs { .. } | Gate::Open => Gate::Open,
            Gate::All(gates) => Gate::All(gates.into_iter().map(Gate::of_number).collect()),
            Gate::Any(gates) => Gate::Any(gates.into_iter().map(Gate::of_number).collect()),
        }
    }
}

/// An extension does nothing if no condition that is looked at runs something or ends the search.
fn of_conditions(conditions: &[Condition]) -> Gate<'_> {
    // What is not looked at may hold.
    let rest = (conditions.len() > CONDITIONS_MAX).then_some(Gate::Open);
    let looked_at = conditions.iter().take(CONDITIONS_MAX);
    looked_at
        .rev()
        .fold(rest, |rest, condition| Some(of_condition(condition, rest)))
        .unwrap_or(Gate::Open)
}

/// The gate of a condition and of the `rest` behind it, if there is any.
fn of_condition<'a>(condition: &'a Condition, rest: Option<Gate<'a>>) -> Gate<'a> {
    if !condition.anti_actions.is_empty() {
        return Gate::Open;
    }
    let own = of_tests(condition);
    let does_nothing = condition.actions.is_empty() && condition.nested.is_empty();
    match (condition.breaks, rest) {
        (_, None) | (Break::Always, Some(_)) => own,
        (Break::OnFalse, Some(rest)) if does_nothing => Gate::All(vec![own, rest]),
        (Break::OnFalse, Some(_)) => own,
        (Break::Never, Some(rest)) if does_nothing => rest,
        (Break::Never | Break::OnTrue, Some(rest)) => Gate::Any(vec![own, rest]),
    }
}

fn of_tests(condition: &Condition) -> Gate<'_> {
    let gates = condition.tests.iter().map(of_test).collect();
    match condition.combine {
        Combine::All => Gate::All(gates),
        Combine::Any | Combine::Xor if condition.tests.is_empty() => Gate::Open,
        Combine::Any | Combine::Xor => Gate::Any(gates),
    }
}

fn of_test(test: &Test) -> Gate<'_> {
    match &test.subject {
        Tested::Time(_) => Gate::Open,
        Tested::Network { networks, .. } => {
            let literals = networks.iter().map(|n| n.first_bits().into_bytes()).collect();
            let need = Need { place: Place::Start, literals };
            Gate::Needs { subject: Subject::Network, need }
        }
        Tested::Field { field, values } => {
            let subject = match field {
                Field::Fact(fact) => Subject::Fact(*fact),
                Field::Further(name) => Subject::Further(name),
                Field::Text(text) => Subject::Text(text),
            };
            Gate::Any(values.iter().map(|value| of_value(subject, value)).collect())
        }
    }
}

fn of_value<'a>(subject: Subject<'a>, value: &Match) -> Gate<'a> {
    match value {
        Match::Literal(literal) => {
            let literals = vec![literal.clone().into_bytes()];
            Gate::Needs { subject, need: Need { place: Place::Whole, literals } }
        }
        Match::Pattern(pattern) => Gate::of_pattern(subject, pattern),
        Match::Variable(_) => Gate::Open,
    }
}

/// Conditions of an extension that are looked at.
const CONDITIONS_MAX: usize = 8;
