//! What is wrong with a plan as a whole although each line of it can be read.

mod leads;

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::Lead;
use crate::draft::{Break, Combine};
use crate::error::{Fault, Finding, Findings};
use crate::facts::Fact;
use crate::index::Index;
use crate::model::{Action, Condition, Context, Extension, Plan, Test};
use crate::sound::SoundName;
use crate::text::{Text, shorten};

/// What a plan is checked against.
pub struct Surroundings<'a> {
    /// The context of callers who have not shown a password.
    pub public_context: &'a str,
    /// Whether there is a user of this name; `None` if users are not known.
    pub user: Option<&'a UserCheck<'a>>,
    /// Whether a host of a SIP URI is this server.
    pub own_host: &'a dyn Fn(&str) -> bool,
    /// Whether there is such a sound, or in words why it cannot be played.
    pub sound: &'a SoundCheck<'a>,
}

/// Finds a user by name.
pub type UserCheck<'a> = dyn Fn(&str) -> Option<Reachable> + 'a;

/// Finds a sound.
pub type SoundCheck<'a> = dyn Fn(&SoundName) -> Result<(), String> + 'a;

/// Who may call a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachable {
    /// Everyone, also from a public context.
    ByAll,
    /// Only callers who have shown a password.
    ByUsers,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Surroundings")
            .field("public_context", &self.public_context)
            .finish()
    }
}

impl Plan {
    /// Looks for what can never work or must not be: extensions that are never reached, ways to nowhere, circles,
    /// a public context that leads to users who are not public or out of this server, missing sounds.
    pub fn check(&self, surroundings: &Surroundings<'_>) -> Vec<Finding> {
        let mut checker = Checker::new(self, surroundings);
        // First, since findings are bounded, and this one is a danger.
        checker.public();
        for context in &self.contexts {
            checker.unreachable(context);
        }
        checker.leads();
        checker.dial_strings();
        for (sound, location) in self.sounds() {
            if let Err(detail) = (surroundings.sound)(sound) {
                checker.findings.add(location, Fault::Plan { detail });
            }
        }
        checker.findings.into_list()
    }
}

struct Checker<'a> {
    plan: &'a Plan,
    surroundings: &'a Surroundings<'a>,
    /// For each context that was asked for, its extensions by number.
    by_number: HashMap<&'a str, Index>,
    findings: Findings,
}

impl<'a> Checker<'a> {
    fn new(plan: &'a Plan, surroundings: &'a Surroundings<'a>) -> Checker<'a> {
        let (by_number, findings) = (HashMap::new(), Findings::default());
        Checker { plan, surroundings, by_number, findings }
    }

    /// Finds extensions behind one that takes every call they could match.
    fn unreachable(&mut self, context: &Context) {
        let mut all: Option<&Arc<Extension>> = None;
        let mut taken: HashMap<(Fact, String), &Arc<Extension>> = HashMap::new();
        for extension in &context.extensions {
            let wanted = extension.conditions.first().and_then(first_values);
            let by = all.or_else(|| {
                let (fact, values) = wanted.as_ref()?;
                let by = |value: &String| taken.get(&(*fact, value.clone())).copied();
                let by: Option<Vec<_>> = values.iter().map(by).collect();
                by?.pop()
            });
            if let Some(by) = by {
                let detail = format!(
                    "the extension \"{}\" is never reached: \"{}\" ({}) takes every call that it could; move it in \
                     front or remove it",
                    shorten(&extension.name),
                    shorten(&by.name),
                    by.location
                );
                self.findings.add(&extension.location, Fault::Plan { detail });
                continue;
            }
            match takes(extension) {
                Some(Taken::All) => all = Some(extension),
                Some(Taken::Values(fact, values)) => {
                    for value in values {
                        taken.entry((fact, value)).or_insert(extension);
                    }
                }
                None => {}
            }
        }
    }

    /// Follows the public context as far as it leads.
    fn public(&mut self) {
        let mut names = vec![self.surroundings.public_context.to_owned()];
        let mut at = 0;
        while let Some(name) = names.get(at).cloned() {
            at += 1;
            let Some(context) = self.plan.context(&name) else { continue };
            for action in context.extensions.iter().flat_map(|extension| extension.actions()) {
                for lead in action.compiled.leads() {
                    match lead {
                        Lead::Extension { context: Some(to), .. }
                            if !names.iter().any(|n| n == to) =>
                        {
                            names.push(to.to_owned());
                        }
                        Lead::Extension { .. } => {}
                        Lead::Uri { .. } => self.exposed(action, "out of this server"),
                        Lead::User(user) => self.public_user(action, user),
                        Lead::Variable(name) => {
                            let way = format!("to whomever ${{{name}}} names");
                            self.exposed(action, &way);
                        }
                    }
                }
            }
        }
    }

    fn public_user(&mut self, action: &Action, user: &Text) {
        // One that the call brings in is checked when it is called.
        let Some(find) = self.surroundings.user else { return };
        let Some(user) = user.constant(&self.plan.globals) else { return };
        let name = user.split('@').next().unwrap_or_default();
        if find(name) == Some(Reachable::ByUsers) {
            self.exposed(action, &format!("to the user \"{}\", who is not public", shorten(name)));
        }
    }

    fn exposed(&mut self, action: &Action, way: &str) {
        let context = shorten(self.surroundings.public_context);
        let fault = Fault::Exposed {
            application: action.application,
            data: shorten(&action.data),
            context,
            way: way.to_owned(),
        };
        self.findings.add(&action.location, fault);
    }
}

/// What an extension takes from those behind it.
enum Taken {
    All,
    Values(Fact, Vec<String>),
}

/// The calls that never go past an extension, if that is easily said: it has one condition with at most one test.
fn takes(extension: &Extension) -> Option<Taken> {
    let [condition] = &extension.conditions[..] else { return None };
    if extension.continues || !condition.nested.is_empty() {
        return None;
    }
    match &condition.tests[..] {
        [] => Some(Taken::All),
        // Whether it holds or not, it ends the search.
        [_] if !condition.anti_actions.is_empty() => Some(Taken::All),
        [test] if test.takes_all() => Some(Taken::All),
        [test] => {
            let (fact, values) = test.plain_values()?;
            Some(Taken::Values(fact, values))
        }
        _ => None,
    }
}

/// The values that the first condition wants, if the extension does nothing without them.
fn first_values(condition: &Condition) -> Option<(Fact, Vec<String>)> {
    let is_needed = condition.anti_actions.is_empty()
        && matches!(condition.breaks, Break::OnFalse | Break::Always)
        && (condition.combine == Combine::All || condition.tests.len() == 1);
    condition.tests.iter().find_map(Test::plain_values).filter(|_| is_needed)
}
