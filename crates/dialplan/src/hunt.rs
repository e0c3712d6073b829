//! The search for the extension of a call: FreeSWITCH's two passes.
//!
//! First all conditions are looked at and the actions of those that hold are put into a queue; inline actions are
//! run at once, so that later conditions see what they set. Then the queue is run ([`crate::run`]). What a
//! condition put into the queue stays there even if a later condition of the same extension does not hold.

use std::borrow::Cow;
use std::sync::Arc;

use crate::call::Level;
use crate::draft::{Break, Combine};
use crate::explain::{Failed, LISTED_MAX, NoMatch, NoMatchReason};
use crate::facts::Facts;
use crate::model::{
    Action, Condition, Context, Extension, Field, Globals, Match, Plan, Test, Tested,
};
use crate::moment::Moment;
use crate::pattern::{Captures, Pattern};
use crate::run::Route;
use crate::text::{Known, Scope};
use crate::variables::Variables;

/// What is known of a call when its extension is searched, and the variables that inline actions change.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The facts.
    pub facts: &'a Facts,
    /// The variables.
    pub variables: &'a mut Variables,
    /// Now.
    pub now: Moment,
}

/// An action that was found, with what the groups of its condition hold.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub action: Arc<Action>,
    pub captures: Arc<Captures>,
}

/// One search.
pub(crate) struct Hunt<'a, 'b> {
    situation: &'a mut Situation<'b>,
    globals: &'a Globals,
    queue: Vec<Queued>,
    /// Whether an inline action was run since this was last asked.
    ran_inline: bool,
    /// What inline actions want in the log.
    lines: Vec<(Level, String)>,
    /// Where conditions are noted, if someone wants to know.
    notes: Option<&'a mut Vec<Note>>,
}

/// What became of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub field: String,
    pub value: String,
    pub wanted: String,
    pub holds: bool,
    pub location: crate::error::Location,
}

impl Plan {
    /// Finds what to run for a call that starts in `context`; inline actions are run here.
    ///
    /// # Errors
    /// No such context, or no extension matches; then the error says for the first ones which condition failed.
    pub fn hunt(&self, context: &str, situation: &mut Situation<'_>) -> Result<Route, NoMatch> {
        let refuse = |reason| NoMatch { context: context.to_owned(), reason };
        let Some(found) = self.context(context) else {
            return Err(refuse(NoMatchReason::NoContext));
        };
        let mut hunt = Hunt::new(situation, &self.globals, None);
        let matched = hunt.search(found);
        let (queue, lines) = (hunt.queue, hunt.lines);
        if matched.is_none() && queue.is_empty() {
            return Err(refuse(self.why_not(found, situation)));
        }
        let extension = matched.cloned();
        Ok(Route::new(found.name.clone(), extension, queue, lines, Arc::clone(&self.globals)))
    }

    /// Finds what to run for a call without variables, such as one that is only thought of.
    ///
    /// # Errors
    /// As [`Plan::hunt`].
    pub fn route(&self, context: &str, facts: &Facts) -> Result<Route, NoMatch> {
        let mut variables = Variables::default();
        self.hunt(
            context,
            &mut Situation { facts, variables: &mut variables, now: Moment::default() },
        )
    }

    /// Whether a call that starts in the context of its `facts` finds anything to run. Nothing is run.
    pub fn takes(&self, facts: &Facts, now: Moment) -> bool {
        let Some(context) = self.context(&facts.context) else { return false };
        let mut variables = Variables::default();
        let mut situation = Situation { facts, variables: &mut variables, now };
        let mut hunt = Hunt::new(&mut situation, &self.globals, None);
        hunt.search(context).is_some() || !hunt.queue.is_empty()
    }

    /// Puts into the `facts` the first of `contexts` in which the call finds anything to run, or else the first one.
    pub fn choose_context(&self, contexts: &[String], facts: &mut Facts, now: Moment) {
        for context in contexts {
            facts.context.clone_from(context);
            if contexts.len() == 1 || self.takes(facts, now) {
                return;
            }
        }
        if let Some(first) = contexts.first() {
            facts.context.clone_from(first);
        }
    }

    fn why_not(&self, context: &Context, situation: &mut Situation<'_>) -> NoMatchReason {
        let mut failed = Vec::new();
        for extension in context.extensions.iter().take(LISTED_MAX) {
            let mut notes = Vec::new();
            let mut hunt = Hunt::new(situation, &self.globals, Some(&mut notes));
            hunt.conditions(&extension.conditions);
            if let Some(note) = notes.into_iter().find(|note| !note.holds) {
                failed.push(Failed::new(&extension.name, note));
            }
        }
        let more = context.extensions.len() - failed.len();
        NoMatchReason::NoExtension { failed, more }
    }
}

impl<'a, 'b> Hunt<'a, 'b> {
    pub(crate) fn new(
        situation: &'a mut Situation<'b>,
        globals: &'a Globals,
        notes: Option<&'a mut Vec<Note>>,
    ) -> Self {
        Hunt { situation, globals, queue: Vec::new(), ran_inline: false, lines: Vec::new(), notes }
    }

    /// What was found.
    pub(crate) fn into_queue(self) -> Vec<Queued> {
        self.queue
    }

    /// The extension that ends the search.
    fn search<'e>(&mut self, context: &'e Context) -> Option<&'e Arc<Extension>> {
        let index = &context.index;
        let mut found = index.found(self.known(), self.globals);
        let mut from = 0;
        while let Some(at) = index.next(&found, from) {
            from = at + 1;
            let extension = context.extensions.get(at)?;
            self.ran_inline = false;
            if self.conditions(&extension.conditions) && !extension.continues {
                return Some(extension);
            }
            if self.ran_inline && index.reads_variables() {
                found = index.found(self.known(), self.globals);
            }
        }
        None
    }

    /// Whether the conditions make a match: the last one that was looked at decides.
    pub(crate) fn conditions(&mut self, conditions: &[Condition]) -> bool {
        let mut is_match = false;
        for condition in conditions {
            let captures = self.test(condition);
            let holds = captures.is_some();
            let captures = Arc::new(captures.unwrap_or_default());
            let actions = if holds { &condition.actions } else { &condition.anti_actions };
            for action in actions {
                self.take(action, &captures);
            }
            is_match = holds || !condition.anti_actions.is_empty();
            let is_last = match condition.breaks {
                Break::OnFalse => !holds,
                Break::OnTrue => holds,
                Break::Always => true,
                Break::Never => false,
            };
            if is_last {
                break;
            }
            if holds && !condition.nested.is_empty() {
                is_match = self.conditions(&condition.nested) || condition.nested_optional;
                if !is_match && condition.breaks != Break::Never {
                    break;
                }
            }
        }
        is_match
    }

    fn take(&mut self, action: &Arc<Action>, captures: &Arc<Captures>) {
        for _ in 0..action.times {
            if !action.inline {
                let (action, captures) = (Arc::clone(action), Arc::clone(captures));
                self.queue.push(Queued { action, captures });
                continue;
            }
            let scope = Scope { captures, globals: self.globals, fallback: &[] };
            let Situation { facts, variables, .. } = self.situation;
            action.compiled.run_inline(facts, variables, scope, &mut self.lines);
            self.ran_inline = true;
        }
    }

    /// What the groups hold, if the condition does.
    fn test(&mut self, condition: &Condition) -> Option<Captures> {
        let mut captures = Captures::default();
        let mut held = 0;
        for test in &condition.tests {
            let found = self.look(test);
            if self.notes.is_some() {
                self.note(test, found.is_some());
            }
            match (found, condition.combine) {
                (Some(found), combine) => {
                    held += 1;
                    let is_better = found.has_groups() && !found.is_literal();
                    if held == 1 || !captures.has_groups() || is_better {
                        captures = found;
                    }
                    if combine == Combine::Any {
                        return Some(captures);
                    }
                }
                (None, Combine::All) => return None,
                (None, _) => {}
            }
        }
        let holds = match condition.combine {
            Combine::All => true,
            Combine::Any => condition.tests.is_empty(),
            Combine::Xor => held == 1 || condition.tests.is_empty(),
        };
        holds.then_some(captures)
    }

    fn look(&self, test: &Test) -> Option<Captures> {
        match &test.subject {
            Tested::Time(time) => time.holds(self.situation.now).then(Captures::default),
            Tested::Network { networks, .. } => {
                let address = self.situation.facts.network_addr?;
                networks.iter().any(|network| network.contains(address)).then(Captures::default)
            }
            Tested::Field { field, values } => {
                let value = self.value(field);
                values.iter().find_map(|wanted| self.compare(wanted, &value))
            }
        }
    }

    fn compare(&self, wanted: &Match, value: &str) -> Option<Captures> {
        match wanted {
            Match::Literal(literal) => (literal == value).then(|| Captures::whole(value)),
            Match::Pattern(pattern) => pattern.captures(value),
            Match::Variable(text) => {
                let escaped = |value: &str, text: &mut String| text.push_str(&regex::escape(value));
                let expression = text.expand_with(self.known(), self.scope(&NO_CAPTURES), escaped);
                // One that is too long when it is filled in matches nothing.
                Pattern::parse(&expression).ok()?.captures(value)
            }
        }
    }

    fn value(&self, field: &Field) -> Cow<'_, str> {
        match field {
            Field::Text(text) => {
                Cow::Owned(text.expand_known(self.known(), self.scope(&NO_CAPTURES)))
            }
            fact => self.situation.facts.field(fact).unwrap_or_default(),
        }
    }

    fn known(&self) -> Known<'_> {
        Known { facts: self.situation.facts, variables: self.situation.variables }
    }

    fn scope<'s>(&'s self, captures: &'s Captures) -> Scope<'s> {
        Scope { captures, globals: self.globals, fallback: &[] }
    }

    fn note(&mut self, test: &Test, holds: bool) {
        let (field, wanted) = test.describe();
        let value = match &test.subject {
            Tested::Field { field, .. } => self.value(field).into_owned(),
            Tested::Network { .. } => {
                self.situation.facts.network_addr.map_or_else(String::new, |ip| ip.to_string())
            }
            Tested::Time(_) => {
                let now = self.situation.now.civil();
                format!(
                    "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                    now.year, now.month, now.day, now.hour, now.minute, now.second
                )
            }
        };
        if let Some(notes) = &mut self.notes {
            notes.push(Note { field, value, wanted, holds, location: test.location.clone() });
        }
    }
}

impl Test {
    /// What is looked at and what is wanted, as they are written.
    pub(crate) fn describe(&self) -> (String, String) {
        match &self.subject {
            Tested::Time(time) => ("time".to_owned(), time.source().to_owned()),
            Tested::Network { source, .. } => ("network_addr".to_owned(), source.clone()),
            Tested::Field { field, values } => {
                let field = match field {
                    Field::Fact(fact) => fact.name().to_owned(),
                    Field::Further(name) => name.clone(),
                    Field::Text(text) => text.source().to_owned(),
                };
                let values: Vec<&str> = values
                    .iter()
                    .map(|value| match value {
                        Match::Literal(literal) => literal.as_str(),
                        Match::Pattern(pattern) => pattern.source(),
                        Match::Variable(text) => text.source(),
                    })
                    .collect();
                (field, values.join(" or "))
            }
        }
    }
}

static NO_CAPTURES: Captures = Captures::NONE;
