//! `sidetone hash-password` and `sidetone token`.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::auth::{Algorithm, Claims, SecretError, TokenKey};
use crate::config::{Config, ConfigError, is_realm, shown};
use crate::users::{NAME_BYTES_MAX, NAME_RULE, is_name};

/// Arguments of `sidetone hash-password`.
#[derive(Debug, Args)]
pub struct HashPasswordArguments {
    /// Name of the user.
    pub user: String,
    /// Realm of the server, auth.realm in its configuration.
    #[arg(long, default_value = "sidetone")]
    pub realm: String,
}

/// Arguments of `sidetone token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// Who calls with the token: a user, or any name where auth.token_context is set.
    #[arg(long)]
    pub user: String,
    /// How long it is good for: seconds, or a number with s, m, h or d.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    pub ttl: Duration,
    /// A number that may be called; `*` at its end stands for any digits. May be given several
    /// times. Without it: whatever the user may call.
    #[arg(long, value_name = "NUMBER", value_parser = destination)]
    pub to: Vec<String>,
    /// Configuration of the server, for its secret.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why nothing is printed: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no secret to sign with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server would refuse every token of this user.
    #[error("{user:?} is no user of {config}, and {missing}; the server would refuse the token")]
    NoUser {
        /// Who was to call.
        user: String,
        /// The configuration.
        config: String,
        /// What would make it good all the same.
        missing: &'static str,
    },
    /// The server would refuse this name.
    #[error("{} is no name of a user: {NAME_RULE}", shown(&format!("{user:?}"), NAME_BYTES_MAX))]
    Name {
        /// What was given.
        user: String,
    },
    /// The server would refuse this realm.
    #[error("{} is no realm: one has 1 to 64 printable characters other than quotes and backslashes; correct --realm", shown(&format!("{realm:?}"), NAME_BYTES_MAX))]
    Realm {
        /// What was given.
        realm: String,
    },
    /// No password came.
    #[error("cannot read the password ({0}); type it or give it on the standard input")]
    Password(#[from] std::io::Error),
    /// The password is empty.
    #[error("the password is empty; type it or give it on the standard input")]
    NoPassword,
    /// The token cannot be written.
    #[error("the token cannot be made ({0}); check --ttl")]
    Token(#[from] serde_json::Error),
}

impl HashPasswordArguments {
    /// The section that stands in the configuration in place of the password, which is read from
    /// the terminal or from the standard input.
    ///
    /// # Errors
    /// When there is no password, or the server would refuse the name or the realm.
    pub fn section(&self) -> Result<String, Error> {
        self.check()?;
        let password = if std::io::stdin().is_terminal() {
            rpassword::prompt_password(format!("Password of {}: ", self.user))?
        } else {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        };
        match password.is_empty() {
            true => Err(Error::NoPassword),
            false => Ok(self.section_of(&password)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if !is_name(&self.user) {
            return Err(Error::Name { user: self.user.clone() });
        }
        if !is_realm(&self.realm) {
            return Err(Error::Realm { realm: self.realm.clone() });
        }
        Ok(())
    }

    fn section_of(&self, password: &str) -> String {
        let lines = Algorithm::ALL.map(|algorithm| {
            let ha1 = algorithm.ha1(&self.user, &self.realm, password);
            format!("ha1.{} = \"{ha1}\"", algorithm.token())
        });
        format!("[users.{}]\n{}", toml_key(&self.user), lines.join("\n"))
    }
}

impl TokenArguments {
    /// The token.
    ///
    /// # Errors
    /// When there is no secret to sign it with, or the configuration has no such user.
    pub fn token(&self) -> Result<String, Error> {
        let (config, name) = match &self.config {
            Some(path) => (Config::load(path)?, path.display().to_string()),
            None => (Config::default(), "the embedded default (see --config)".to_owned()),
        };
        self.is_good_for(&config, &name)?;
        let key = TokenKey::found(&config)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            sub: self.user.clone(),
            exp: (now + self.ttl).as_secs_f64().floor(),
            nbf: None,
            to: (!self.to.is_empty()).then(|| self.to.clone()),
        };
        Ok(key.sign(&claims)?)
    }
}

impl TokenArguments {
    fn is_good_for(&self, config: &Config, name: &str) -> Result<(), Error> {
        let missing = match config.auth.token_context {
            _ if config.users.contains_key(&self.user) => return Ok(()),
            None => "auth.token_context is not set",
            Some(_) if self.to.is_empty() => "--to does not say whom it may call",
            Some(_) => return Ok(()),
        };
        let (user, config) = (self.user.clone(), name.to_owned());
        Err(Error::NoUser { user, config, missing })
    }
}

/// A key of TOML, in quotes where it needs them.
fn toml_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}

fn destination(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.contains(char::is_whitespace) {
        true => Err("not a number or a name".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.as_bytes().last() {
        Some(b's') => (text.strip_suffix('s'), 1),
        Some(b'm') => (text.strip_suffix('m'), 60),
        Some(b'h') => (text.strip_suffix('h'), 3_600),
        Some(b'd') => (text.strip_suffix('d'), 86_400),
        _ => (Some(text), 1),
    };
    let count: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let count = count.ok_or_else(|| "not a time such as 90, 30m or 1h".to_owned())?;
    let seconds = count.checked_mul(seconds).filter(|seconds| (1..=TTL_MAX_S).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "must be from 1s to 3650d".to_owned())
}

/// Ten years.
const TTL_MAX_S: u64 = 315_360_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::users::Users;

    #[test]
    fn what_is_printed_can_be_pasted_into_the_configuration() {
        for user in ["199", "front.desk"] {
            let arguments =
                HashPasswordArguments { user: user.to_owned(), realm: "sidetone".to_owned() };
            let section = arguments.section_of("199pass");
            let config = Config::parse(&section, "x.toml".as_ref()).unwrap();
            let users = Users::new(&config).unwrap();
            let secrets = users.get(user).unwrap().secrets;
            for algorithm in Algorithm::ALL {
                let expected = algorithm.ha1(user, "sidetone", "199pass");
                assert_eq!(secrets.get(algorithm), Some(&expected));
            }
        }
    }

    #[test]
    fn a_name_or_a_realm_that_the_server_would_refuse_is_refused() {
        let check = |user: &str, realm: &str| {
            let arguments =
                HashPasswordArguments { user: user.to_owned(), realm: realm.to_owned() };
            arguments.check().map_err(|error| error.to_string())
        };
        assert_eq!(check("front.desk", "pbx.example"), Ok(()));
        for (user, realm, says) in [
            ("", "x", "\"\" is no name of a user"),
            ("a b", "x", "\"a b\" is no name of a user: a name has 1 to 64 letters"),
            ("a", "", "\"\" is no realm"),
            ("a", "x\"y", "is no realm: one has 1 to 64 printable"),
        ] {
            let error = check(user, realm).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_token_that_the_server_would_refuse_is_not_made() {
        let good = |toml: &str, to: &[&str]| {
            let config = Config::parse(toml, "x.toml".as_ref()).unwrap();
            let to = to.iter().map(|number| (*number).to_owned()).collect();
            let (user, ttl) = ("199".to_owned(), Duration::from_secs(60));
            let arguments = TokenArguments { user, ttl, to, config: None };
            arguments.is_good_for(&config, "x.toml").map_err(|error| error.to_string())
        };
        assert_eq!(good("[users.199]\npassword = 'x'\n", &[]), Ok(()));
        let error = good("[users.198]\npassword = 'x'\n", &["9196"]).unwrap_err();
        assert!(error.contains("\"199\"") && error.contains("token_context"), "{error}");
        let anyone = "[auth]\ntoken_context = 'public'\n";
        assert_eq!(good(anyone, &["9196"]), Ok(()));
        assert!(good(anyone, &[]).unwrap_err().contains("--to"));
        let (user, ttl) = ("199".to_owned(), Duration::from_secs(60));
        let of_default = TokenArguments { user, ttl, to: Vec::new(), config: None }.token();
        let error = of_default.unwrap_err().to_string();
        assert!(error.contains("no user of the embedded default"), "{error}");
    }

    #[test]
    fn whom_a_token_may_call_is_a_number_or_a_name() {
        assert!(["9196", "30*", "*21#", "alice"].into_iter().all(|text| destination(text).is_ok()));
        assert!(["", " ", "30 01"].into_iter().all(|text| destination(text).is_err()));
    }

    #[test]
    fn a_time_has_a_unit() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("1h"), Ok(3_600));
        assert_eq!(seconds("2d"), Ok(172_800));
        for text in ["", "h", "0s", "-1", "1w", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
