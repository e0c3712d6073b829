//! `sidetone check`, `sidetone explain` and `sidetone applications`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use dialplan::{Explanation, Facts, Moment, Plan, Situation, Variables};

use crate::calls::moment;
use crate::certificate::{Certificate, CertificateError};
use crate::config::{Config, ConfigError};
use crate::logging::{self, LogError};
use crate::plan::{self, PlanError};
use crate::state_dir::{self, StateDirError};
use crate::users::{UserError, Users};

/// Arguments of `sidetone check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Configuration of the server; the embedded default without it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `sidetone explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// Configuration of the server; the embedded default without it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Number of the caller.
    #[arg(long, value_name = "NUMBER", default_value = "")]
    pub from: String,
    /// Number that is called.
    #[arg(long, value_name = "NUMBER")]
    pub to: String,
    /// Context the call starts in; without it the first one of --user that has the number, or the public one.
    #[arg(long)]
    pub context: Option<String>,
    /// User who has shown a password, and calls with the number of that user whatever --from says.
    #[arg(long)]
    pub user: Option<String>,
    /// Address the call comes from.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
}

/// Why a configuration or a dialplan cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanCommandError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be kept as configured.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nothing can be kept.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A user cannot be used.
    #[error(transparent)]
    User(#[from] UserError),
    /// The dialplan cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Several things at once, a line or more for each.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<PlanCommandError>),
    /// The user is none.
    #[error(
        "there is no user {user:?}; correct --user, or leave it out for a caller without a password"
    )]
    NoUser {
        /// Who was to call.
        user: String,
    },
    /// The number leads nowhere.
    #[error("{0}")]
    NoMatch(String),
}

impl CheckArguments {
    /// Checks the configuration with its users and its dialplan as a whole.
    ///
    /// # Errors
    /// Everything that is wrong; where a file cannot be read, only what does not depend on it.
    pub fn check(&self) -> Result<String, PlanCommandError> {
        let config = load(self.config.as_ref())?;
        let mut wrong: Vec<PlanCommandError> = Vec::new();
        wrong.extend(logging::filter(&config.log).err().map(Into::into));
        wrong.extend(state_dir::check(&config).err().map(Into::into));
        if config.listen.iter().any(|listen| listen.kind.is_secure()) {
            wrong.extend(Certificate::configured(&config).err().map(Into::into));
        }
        let users = Users::new(&config)?;
        let plan = match plan::read(&config) {
            Ok(plan) => plan,
            Err(error) => {
                wrong.push(error.into());
                return Err(PlanCommandError::Several(wrong));
            }
        };
        wrong.extend(plan::check_contexts(&plan, &users, &config).err().map(Into::into));
        let in_plan = plan::check(&plan, &users, &config).err();
        // Sounds that are missing are told already.
        let unloadable = if in_plan.is_none() { plan::load(&config).err() } else { None };
        wrong.extend(in_plan.into_iter().chain(unloadable).map(Into::into));
        if !wrong.is_empty() {
            return Err(PlanCommandError::Several(wrong));
        }
        let contexts = plan.contexts();
        let extensions: usize = contexts.iter().map(|context| context.extensions.len()).sum();
        Ok(format!("nothing is wrong: {} contexts, {extensions} extensions", contexts.len()))
    }
}

impl ExplainArguments {
    /// Says which extension a call reaches and what would run, or which condition of each failed.
    ///
    /// # Errors
    /// The configuration cannot be used, there is no such user, or no extension matches.
    pub fn explain(&self) -> Result<String, PlanCommandError> {
        let config = load(self.config.as_ref())?;
        let users = Users::new(&config)?;
        let plan = plan::read(&config)?;
        let user = self.user.as_deref().and_then(|user| users.get(user));
        // Who has a token of auth.token_context needs not be a user of the configuration.
        let of_token = config.auth.token_context.as_ref().filter(|_| self.user.is_some());
        let contexts = match (&self.context, user, of_token) {
            (_, None, None) if self.user.is_some() => {
                let user = self.user.clone().unwrap_or_default();
                return Err(PlanCommandError::NoUser { user });
            }
            (Some(context), ..) => std::slice::from_ref(context),
            (None, Some(user), _) => &user.contexts,
            (None, None, Some(context)) => std::slice::from_ref(context),
            (None, None, None) => std::slice::from_ref(&config.dialplan.context),
        };
        let mut facts = Facts {
            destination_number: self.to.clone(),
            destination_user: users.get(&self.to).map(|user| user.name.clone()),
            caller_id_number: self.from.clone(),
            network_addr: self.address,
            user: self.user.clone(),
            ..Facts::default()
        };
        if let Some(user) = user {
            // As in a call: who has shown a password cannot say that it is someone else.
            facts.caller_id_number = user.caller_id_number.as_ref().unwrap_or(&user.name).clone();
            facts.caller_id_name = user.caller_id_name.clone().unwrap_or_default();
        }
        let now = moment();
        plan.choose_context(contexts, &mut facts, now);
        let chosen = facts.context.clone();
        let mut said = String::new();
        for context in contexts.iter().take_while(|context| **context != chosen) {
            facts.context.clone_from(context);
            let explanation = explain(&plan, &facts, now);
            said.push_str(&format!("in the context {context}:\n{explanation}\n"));
        }
        if contexts.len() > 1 {
            said.push_str(&format!("in the context {chosen}:\n"));
        }
        facts.context = chosen;
        let explanation = explain(&plan, &facts, now);
        said.push_str(&explanation.to_string());
        if explanation.is_match {
            return Ok(said);
        }
        if self.user.is_none() && facts.context == config.dialplan.context && !users.is_empty() {
            said.push_str("\nbefore that, whoever shows no password is asked for one (401); --user says whose");
        }
        Err(PlanCommandError::NoMatch(said))
    }
}

fn explain(plan: &Plan, facts: &Facts, now: Moment) -> Explanation {
    let mut variables = Variables::default();
    plan.explain(&facts.context, &mut Situation { facts, variables: &mut variables, now })
}

/// Every application of the dialplan, with what it takes.
#[must_use]
pub fn applications() -> String {
    let mut text = String::new();
    for entry in dialplan::app::APPLICATIONS {
        text.push_str(&format!("{}\n    {}\n", entry.name, entry.summary));
        for argument in entry.arguments {
            text.push_str(&format!("    {}: {}\n", argument.name, argument.reading));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn load(path: Option<&PathBuf>) -> Result<Config, ConfigError> {
    path.map_or_else(|| Ok(Config::default()), |path| Config::load(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn explain(to: &str) -> Result<String, String> {
        let arguments = ExplainArguments {
            config: None,
            from: "199".to_owned(),
            to: to.to_owned(),
            context: Some("public".to_owned()),
            user: None,
            address: None,
        };
        arguments.explain().map_err(|error| error.to_string())
    }

    #[test]
    fn the_number_of_the_guide_is_explained() {
        let text = explain("07010002000").unwrap();
        assert!(text.starts_with("TRUNK_WEBRTC_TEST (default-dialplan.xml:"), "{text}");
        assert!(text.contains("what runs:\n    log ALERT ==== TRUNK CALL"), "{text}");
        let refused = explain("555").unwrap_err();
        assert!(refused.contains("destination_number \"555\" is not ^9196$"), "{refused}");
    }

    #[test]
    fn the_contexts_of_a_user_are_looked_at_in_order_as_in_a_call() {
        let folder = std::env::temp_dir().join(format!("sidetone-explain-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let plan = "[context.public]\n[[context.day.extension]]\nname = 'a'\nnumber = '1'\n\
                    time = { year = 1970 }\nactions = ['answer']\n[[context.night.extension]]\nname = 'b'\n\
                    number = '1'\ncaller = '77'\nwhen = { context = 'night' }\nactions = ['hangup']\n";
        std::fs::write(folder.join("plan.toml"), plan).unwrap();
        let config = "[users.199]\npassword = 'x'\ncaller_id = '77'\ncontexts = ['day', 'night']\n\
                      [dialplan]\nfile = 'plan.toml'\n";
        std::fs::write(folder.join("sidetone.toml"), config).unwrap();
        let arguments = ExplainArguments {
            config: Some(folder.join("sidetone.toml")),
            from: "5".to_owned(),
            to: "1".to_owned(),
            context: None,
            user: Some("199".to_owned()),
            address: None,
        };
        let nobody = ExplainArguments { user: Some("nope".to_owned()), ..arguments.clone() };
        let error = nobody.explain().unwrap_err().to_string();
        assert!(error.starts_with("there is no user \"nope\""), "{error}");
        let said = arguments.explain().unwrap();
        let lines: Vec<&str> = said.lines().map(|line| line.split(" (").next().unwrap()).collect();
        assert_eq!((lines[0], lines[1]), ("in the context day:", "a"), "{said}");
        assert!(said.contains("in the context night:\nb ("), "{said}");
        assert!(said.ends_with("what runs:\n    hangup "), "{said}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_embedded_default_is_right() {
        let said = CheckArguments { config: None }.check().unwrap();
        assert!(said.starts_with("nothing is wrong: 2 contexts"), "{said}");
    }

    #[test]
    fn every_application_is_listed() {
        let text = applications();
        for name in dialplan::application_names() {
            assert!(text.lines().any(|line| line == name), "{name}");
        }
    }
}
