//! The last steps of every import: what is missing is supplied, what cannot be loaded is taken out and listed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dialplan::{
    Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest, Fault, Finding,
    Globals, LoadOptions, Location, Plan, Reachable, SoundName, Subject, Surroundings, Value,
};

use super::folder::Folder;
use super::note::{Notes, one_line};
use super::settings::Settings;
use super::sounds::Sounds;
use super::{ImportError, Imported};

/// All that was read.
#[derive(Debug)]
pub(super) struct Parts {
    pub folder: Folder,
    pub settings: Settings,
    pub draft: Draft,
    pub notes: Notes,
    pub sounds: Sounds,
    /// Contexts that calls start in, and where they are named.
    pub contexts: Vec<(String, Location)>,
    /// What it was made from, in words.
    pub origin: String,
}

impl Parts {
    pub(super) fn finish(mut self) -> Result<Imported, ImportError> {
        self.supply_contexts();
        self.find_certificate();
        self.drop_what_does_not_load()?;
        self.replace_sounds()?;
        self.drop_what_must_not_be()?;
        let Parts { mut settings, draft, notes, sounds, origin, .. } = self;
        settings.has_sounds = !sounds.copied.is_empty();
        let head =
            format!("# The dialplan, made by `sidetone import` from {}.\n", one_line(&origin));
        Ok(Imported {
            config: settings.to_toml(&origin),
            dialplan: format!("{head}\n{}", draft.to_toml()),
            notes: notes.into_list(),
            sounds: sounds.copied,
        })
    }

    /// A context that is named and nowhere defined calls users by name; that of callers without a password is empty.
    fn supply_contexts(&mut self) {
        let named = std::mem::take(&mut self.contexts);
        let mut known: BTreeSet<String> =
            self.draft.contexts.iter().map(|context| context.name.clone()).collect();
        for (name, location) in &named {
            if !known.insert(name.clone()) {
                continue;
            }
            let what =
                format!("the context {name} is nowhere defined; in it users are called by name");
            self.notes.supplied(Some(location), what.clone());
            self.draft.contexts.push(DraftContext {
                name: name.clone(),
                extensions: vec![users_by_name(location, &format!("Named in {location}: {what}."))],
                location: location.clone(),
                ..DraftContext::default()
            });
        }
        let public = self.settings.public_context.clone();
        if !self.draft.contexts.iter().any(|context| context.name == public) {
            let location = Location::new("", 0);
            let context = self.draft.context_mut(&public, &location);
            context.comment =
                "Callers who have not shown a password: nothing is open to them.".to_owned();
        }
        // A plan without any extension is refused.
        if self.draft.contexts.iter().all(|context| context.extensions.is_empty()) {
            let location = Location::new("", 0);
            let context = self.draft.context_mut("internal", &location);
            context.extensions.push(users_by_name(&location, "Users are called by name."));
        }
    }

    fn find_certificate(&mut self) {
        let Some((certificate, key, location)) = self.settings.tls.take() else { return };
        let find = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            let inside = ["", "keys/", "tls/", "certs/"];
            let inside =
                inside.iter().find_map(|start| self.folder.path(&format!("{start}{name}")));
            inside.or_else(|| (path.is_absolute() && path.is_file()).then(|| path.clone()))
        };
        match (find(&certificate), find(&key)) {
            (Some(certificate), Some(key)) => {
                self.settings.tls = Some((certificate, key, location));
            }
            _ => {
                let shown = one_line(&certificate.display().to_string());
                let what = format!(
                    "the certificate {shown} is not there; the server makes one itself \
                     (tls.certificate and tls.key name another)"
                );
                self.notes.supplied(Some(&location), what);
            }
        }
    }

    /// Takes out what the server would refuse, until it loads.
    fn drop_what_does_not_load(&mut self) -> Result<Plan, ImportError> {
        let options = options(&self.settings);
        for _ in 0..ROUNDS_MAX {
            let error = match Plan::compile(&self.draft, &options) {
                Ok(plan) => return Ok(plan),
                Err(error) => error,
            };
            let dropped = self.drop(&error.findings);
            for (finding, is_dropped) in error.findings.iter().zip(&dropped) {
                if !is_dropped {
                    return Err(error.into());
                }
                self.notes.left_out(&finding.location, finding.fault.to_string());
            }
        }
        Plan::compile(&self.draft, &options).map_err(Into::into)
    }

    /// Takes out what the server would refuse or warn of in the plan as a whole: above all ways by which callers
    /// without a password reach users.
    fn drop_what_must_not_be(&mut self) -> Result<(), ImportError> {
        for _ in 0..ROUNDS_MAX {
            let plan = self.drop_what_does_not_load()?;
            let users = &self.settings.users;
            // A call to somebody who is no user stays, and `sidetone check` names it: the user may
            // only be missing.
            let user = |name: &str| match users.contains_key(name) {
                true => Some(Reachable::ByUsers),
                false => Some(Reachable::ByAll),
            };
            let public_context = self.settings.public_context.as_str();
            let sound = |_: &SoundName| Ok(());
            let surroundings = Surroundings {
                public_context,
                user: Some(&user),
                own_host: &|_| false,
                sound: &sound,
            };
            let findings = plan.check(&surroundings);
            let dropped = self.drop(&findings);
            for (finding, _) in findings.iter().zip(&dropped).filter(|(_, dropped)| **dropped) {
                self.notes.left_out(&finding.location, finding.fault.to_string());
            }
            if !dropped.contains(&true) {
                // What is left is no danger, or is refused when it is loaded.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes out what findings are about; false for one where nothing is found.
    fn drop(&mut self, findings: &[Finding]) -> Vec<bool> {
        let mut dropped = vec![false; findings.len()];
        let is_at_action = |finding: &Finding, action: &DraftAction| {
            let name = match &finding.fault {
                Fault::UnknownApplication { application, .. } => Some(application.as_str()),
                Fault::Argument { application, .. }
                | Fault::NotInline { application }
                | Fault::Exposed { application, .. } => Some(*application),
                Fault::TooLarge { .. } => return false,
                _ => None,
            };
            action.location == finding.location
                && name.is_none_or(|name| name == action.application)
        };
        self.each_action(&mut |action| {
            if action.application == "log" {
                return;
            }
            let mut is_wrong = false;
            for (finding, is_dropped) in findings.iter().zip(&mut dropped) {
                if is_at_action(finding, action) {
                    (is_wrong, *is_dropped) = (true, true);
                }
            }
            if is_wrong {
                *action = left_out(action);
            }
        });
        for (finding, is_dropped) in findings.iter().zip(&mut dropped) {
            if *is_dropped || matches!(finding.fault, Fault::TooLarge { .. }) {
                continue;
            }
            for context in &mut self.draft.contexts {
                let before = (context.extensions.len(), context.includes.len());
                context.extensions.retain(|extension| !is_at(extension, &finding.location));
                context.includes.retain(|(_, at)| *at != finding.location);
                *is_dropped |= before != (context.extensions.len(), context.includes.len());
            }
        }
        dropped
    }

    fn each_action(&mut self, change: &mut dyn FnMut(&mut DraftAction)) {
        let extensions = self.draft.contexts.iter_mut().flat_map(|context| &mut context.extensions);
        for condition in extensions.flat_map(|extension| &mut extension.conditions) {
            each_action(condition, change);
        }
    }

    /// Sounds that are not there become built-in ones.
    fn replace_sounds(&mut self) -> Result<(), ImportError> {
        let plan = self.drop_what_does_not_load()?;
        let wanted: Vec<(String, Location)> =
            plan.sounds().map(|(name, at)| (name.as_str().to_owned(), at.clone())).collect();
        for (wanted, location) in wanted {
            let found = self.sounds.name(&wanted, &self.folder, &mut self.notes, &location);
            if found == wanted {
                continue;
            }
            self.each_action(&mut |action| {
                if action.location == location && action.data.contains(&wanted) {
                    action.data = with_sound(&action.data, &wanted, &found);
                }
            });
        }
        self.drop_what_does_not_load().map(|_| ())
    }
}

/// The data of an action with another sound: the word that holds the name is replaced as a whole.
fn with_sound(data: &str, wanted: &str, found: &str) -> String {
    let Some(at) = data.find(wanted) else { return data.to_owned() };
    let is_edge = |character: char| matches!(character, ' ' | '!' | '}' | ',');
    let start = match data.get(..at).and_then(|before| before.rfind("$${sounds_dir}")) {
        Some(start) => start,
        None => data.get(..at).and_then(|before| before.rfind(is_edge)).map_or(0, |edge| edge + 1),
    };
    let end = at + wanted.len();
    let (before, after) = (data.get(..start), data.get(end..));
    format!("{}{found}{}", before.unwrap_or_default(), after.unwrap_or_default())
}

fn each_action(condition: &mut DraftCondition, change: &mut dyn FnMut(&mut DraftAction)) {
    for action in condition.actions.iter_mut().chain(&mut condition.anti_actions) {
        change(action);
    }
    for nested in &mut condition.nested {
        each_action(nested, change);
    }
}

/// Whether an extension, or a condition of it, begins there.
fn is_at(extension: &DraftExtension, location: &Location) -> bool {
    fn has(condition: &DraftCondition, location: &Location) -> bool {
        condition.location == *location
            || condition.tests.iter().any(|test| test.location == *location)
            || condition.nested.iter().any(|nested| has(nested, location))
    }
    extension.location == *location
        || extension.conditions.iter().any(|condition| has(condition, location))
}

/// Stands in for an action that is left out, so that a call that comes there says so in the log.
pub(super) fn left_out(action: &DraftAction) -> DraftAction {
    let Location { file, line } = &action.location;
    let was = one_line(&format!("{} {}", action.application, action.data));
    let name: String = action.application.chars().filter(char::is_ascii_alphanumeric).collect();
    let data = format!("WARNING {file} line {line}: {name} was not carried over");
    let mut left = DraftAction::new("log", data.replace('$', ""), action.location.clone());
    left.comment = match action.comment.is_empty() {
        true => format!("not carried over: {was}"),
        false => action.comment.clone(),
    };
    left
}

/// An extension that calls whoever has the number as name.
fn users_by_name(location: &Location, comment: &str) -> DraftExtension {
    let value = Value::Expression("^(.+)$".to_owned());
    let subject = Subject::Field { field: "destination_user".to_owned(), values: vec![value] };
    let action = |application, data| DraftAction::new(application, data, location.clone());
    DraftExtension {
        name: "users".to_owned(),
        comment: comment.to_owned(),
        conditions: vec![DraftCondition {
            tests: vec![DraftTest { subject, location: location.clone() }],
            actions: vec![action("set", "hangup_after_bridge=true"), action("bridge", "user/$1")],
            location: location.clone(),
            ..DraftCondition::default()
        }],
        location: location.clone(),
        ..DraftExtension::default()
    }
}

/// As the server loads a plan.
fn options(settings: &Settings) -> LoadOptions {
    let globals = Globals::from_iter([("sounds_dir", "sounds"), ("recordings_dir", "recordings")]);
    LoadOptions { context: settings.public_context.clone(), globals, ..LoadOptions::default() }
}

/// How often a plan is loaded anew without what was wrong with it; each time a hundred findings go.
const ROUNDS_MAX: usize = 30;
