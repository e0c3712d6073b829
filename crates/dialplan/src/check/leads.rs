//! Where extensions lead calls: to nowhere, round in circles, to what no variable holds.

use std::sync::Arc;

use super::{Checker, takes};
use crate::app::{Lead, suggest};
use crate::dial::DialString;
use crate::draft::{Break, Combine};
use crate::error::Fault;
use crate::facts::Facts;
use crate::index::Index;
use crate::model::{Action, Context, Extension};
use crate::pattern::Captures;
use crate::text::{Known, Text, shorten};
use crate::variables::Variables;

/// An action that leads somewhere, and where it stands.
struct Place<'a> {
    extension: &'a Arc<Extension>,
    action: &'a Action,
}

impl<'a> Checker<'a> {
    /// Follows every way whose number is written out.
    pub(super) fn leads(&mut self) {
        let plan = self.plan;
        for context in &plan.contexts {
            for extension in &context.extensions {
                for action in extension.actions() {
                    let place = Place { extension, action };
                    for lead in action.compiled.leads() {
                        match lead {
                            Lead::Extension { number, context: to } => {
                                self.lead(&place, number, to.unwrap_or(&context.name));
                            }
                            Lead::Uri { user: Some(user), host } => self.uri(&place, user, host),
                            Lead::User(user) => self.user(action, user),
                            Lead::Uri { .. } | Lead::Variable(_) => {}
                        }
                    }
                }
            }
        }
    }

    /// A user who is written out must be one; whom a call names is not known here.
    fn user(&mut self, action: &Action, user: &Text) {
        let Some(find) = self.surroundings.user else { return };
        let Some(user) = user.constant(&self.plan.globals) else { return };
        let name = user.rsplit_once('@').map_or(user.as_str(), |(name, _)| name).trim();
        if find(name).is_none() {
            let detail = format!(
                "{} \"{}\": there is no user \"{}\"; correct the name or add the user to the configuration",
                action.application,
                shorten(&action.data),
                shorten(name)
            );
            self.findings.add(&action.location, Fault::Plan { detail });
        }
    }

    fn lead(&mut self, place: &Place<'a>, number: &Text, name: &str) {
        let plan = self.plan;
        let location = &place.action.location;
        let Some(found) = plan.context(name) else {
            let names: Vec<&str> = plan.contexts.iter().map(|c| c.name.as_str()).collect();
            let hint = suggest(name, &names);
            let fault = Fault::UnknownContext { context: shorten(name), hint };
            return self.findings.add(location, fault);
        };
        let Some(number) = number.constant(&plan.globals) else { return };
        if self.possible(found, &number).is_none() {
            let detail = format!(
                "{} \"{}\" leads nowhere: no extension of \"{}\" takes the number",
                place.action.application,
                shorten(&number),
                shorten(name)
            );
            return self.findings.add(location, Fault::Plan { detail });
        }
        self.circle(place, number, found);
    }

    /// A call to an address of this server comes back to it, from nobody who has shown a password.
    fn uri(&mut self, place: &Place<'a>, user: &Text, host: &Text) {
        let globals = &self.plan.globals;
        let (Some(user), Some(host)) = (user.constant(globals), host.constant(globals)) else {
            return;
        };
        let user = user.trim_start_matches("sips:").trim_start_matches("sip:");
        let host = host.split(';').next().unwrap_or_default();
        let Some(public) = self.plan.context(self.surroundings.public_context) else { return };
        if (self.surroundings.own_host)(host) {
            self.circle(place, user.trim_end_matches('@').to_owned(), public);
        }
    }

    /// Follows a way for as long as nothing but the number decides where it goes.
    fn circle(&mut self, place: &Place<'a>, number: String, context: &'a Context) {
        let is_sure = takes(place.extension).is_some()
            && is_first_lead(place.extension, place.action)
            && !self.findings.is_full();
        let (mut number, mut context, mut way) = (number, context, vec![place.extension]);
        while is_sure && way.len() < WAY_MAX {
            let Some(next) = self.possible(context, &number) else { return };
            if Arc::ptr_eq(next, place.extension) {
                return self.goes_round(place, &way);
            }
            // One that is met again without this one is told where it begins.
            let is_known = way.iter().any(|known| Arc::ptr_eq(known, next));
            let Some(captures) = sure_captures(next, &number).filter(|_| !is_known) else { return };
            match self.first_way(next, context, &number, &captures) {
                Some(step) => (number, context) = step,
                None => return,
            }
            way.push(next);
        }
    }

    fn goes_round(&mut self, place: &Place<'a>, way: &[&Arc<Extension>]) {
        let names: Vec<String> = way
            .iter()
            .chain([&place.extension])
            .map(|extension| format!("\"{}\"", shorten(&extension.name)))
            .collect();
        let detail = format!(
            "{} \"{}\" leads back to the extension \"{}\" it stands in: the call goes round in circles{}",
            place.action.application,
            shorten(&place.action.data),
            shorten(&place.extension.name),
            if names.len() > 2 { format!(" ({})", names.join(" -> ")) } else { String::new() }
        );
        self.findings.add(&place.action.location, Fault::Plan { detail });
    }

    /// The number and the context that an extension leads a call to before anything else happens to it.
    fn first_way(
        &self,
        extension: &Arc<Extension>,
        context: &'a Context,
        number: &str,
        captures: &Captures,
    ) -> Option<(String, &'a Context)> {
        let globals = &self.plan.globals;
        let action = extension.actions().into_iter().find(|action| !is_harmless(action))?;
        let leads = action.compiled.leads();
        let [lead] = leads.as_slice() else { return None };
        match lead {
            Lead::Extension { number: to, context: name } => {
                let context = name.map_or(Some(context), |name| self.plan.context(name))?;
                Some((to.for_number(number, captures, globals)?, context))
            }
            Lead::Uri { user: Some(user), host } => {
                let host = host.for_number(number, captures, globals)?;
                let user = user.for_number(number, captures, globals)?;
                let user = user.trim_start_matches("sips:").trim_start_matches("sip:");
                let public = self.plan.context(self.surroundings.public_context)?;
                let is_own = (self.surroundings.own_host)(host.split(';').next()?);
                is_own.then(|| (user.trim_end_matches('@').to_owned(), public))
            }
            Lead::Uri { .. } | Lead::User(_) | Lead::Variable(_) => None,
        }
    }

    /// The first extension that could take a number.
    fn possible(&mut self, context: &'a Context, number: &str) -> Option<&'a Arc<Extension>> {
        let extensions = context.extensions.iter().map(AsRef::as_ref);
        let index =
            self.by_number.entry(&context.name).or_insert_with(|| Index::by_number(extensions));
        let facts = Facts { destination_number: number.to_owned(), ..Facts::default() };
        let variables = Variables::default();
        let known = Known { facts: &facts, variables: &variables };
        let found = index.found(known, &self.plan.globals);
        let mut from = 0;
        while let Some(at) = index.next(&found, from) {
            from = at + 1;
            let extension = context.extensions.get(at)?;
            if can_take(extension, number) {
                return Some(extension);
            }
        }
        None
    }

    /// Looks at what the plan puts into the variables that are called.
    pub(super) fn dial_strings(&mut self) {
        let actions = self.plan.actions();
        for action in &actions {
            for lead in action.compiled.leads() {
                let Lead::Variable(name) = lead else { continue };
                let set =
                    actions.iter().filter_map(|action| Some((action, action.compiled.sets()?)));
                let mut set = set.filter(|(_, (known, _))| *known == name).peekable();
                if set.peek().is_none() {
                    let detail = format!(
                        "{} \"{}\" calls whomever ${{{name}}} names, and nothing in the plan sets it; write \
                         set {name}=user/… before",
                        action.application,
                        shorten(&action.data)
                    );
                    self.findings.add(&action.location, Fault::Plan { detail });
                }
                for (setting, (_, value)) in set {
                    let read = DialString::parse(value);
                    if let Err(detail) = read.and_then(|dial| dial.check_times(&self.plan.globals))
                    {
                        let detail = format!(
                            "{} \"{}\" ({}) is called by {} in {}: {detail}",
                            setting.application,
                            shorten(&setting.data),
                            setting.location,
                            action.application,
                            action.location
                        );
                        self.findings.add(&setting.location, Fault::Plan { detail });
                    }
                }
            }
        }
    }
}

/// Whether the call comes to this action without anything before that could take it elsewhere or wait.
fn is_first_lead(extension: &Extension, action: &Action) -> bool {
    let actions = extension.actions();
    actions.into_iter().take_while(|known| !std::ptr::eq(*known, action)).all(is_harmless)
}

fn is_harmless(action: &Action) -> bool {
    matches!(action.application, "set" | "log" | "export" | "unset" | "info" | "answer")
}

/// Whether the conditions that must hold can hold for a number.
fn can_take(extension: &Extension, number: &str) -> bool {
    let needed = extension.conditions.iter().filter(|condition| {
        condition.anti_actions.is_empty()
            && condition.breaks == Break::OnFalse
            && condition.combine == Combine::All
    });
    needed.flat_map(|condition| &condition.tests).all(|test| test.may_take(number))
}

/// What the groups hold, if an extension that can take a number surely does so and ends the search.
fn sure_captures(extension: &Extension, number: &str) -> Option<Captures> {
    let [condition] = extension.conditions.as_slice() else { return None };
    let is_simple =
        !extension.continues && condition.nested.is_empty() && condition.anti_actions.is_empty();
    match condition.tests.as_slice() {
        [] if is_simple => Some(Captures::default()),
        [test] if is_simple => test.captures_of(number),
        _ => None,
    }
}

/// Longest way that is followed.
const WAY_MAX: usize = 32;
