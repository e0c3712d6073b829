//! The users of the configuration: what they show, and what they may use.
//!
//! All users are held as one value, so that a reload swaps them whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use transport::TransportKind;

use crate::auth::{Algorithm, Hex};
use crate::config::{self, CodecName, Config, shown};

pub use crate::config::{DtmfMode, MediaProfile};

/// Every user by name.
#[derive(Debug, Default)]
pub struct Users {
    table: HashMap<Box<str>, Arc<User>>,
    /// Numbers that users show instead of their names.
    shown: HashSet<Box<str>>,
}

/// One user.
#[derive(Debug)]
pub struct User {
    /// What is registered and called.
    pub name: String,
    /// What a digest is checked with.
    pub secrets: Secrets,
    /// Contexts that the user's calls start in: the first one that has the number.
    pub contexts: Vec<String>,
    /// What carries the media of calls to the user.
    pub media: MediaProfile,
    /// Codecs in the order of preference; `None`: those of the server.
    pub codecs: Option<Vec<CodecName>>,
    /// Transports the user may come over; `None`: all.
    pub transports: Option<Vec<TransportKind>>,
    /// How digits are sent to the user.
    pub dtmf: DtmfMode,
    /// The name that others see when the user calls.
    pub caller_id_name: Option<String>,
    /// The number that others see when the user calls.
    pub caller_id_number: Option<String>,
    /// Whether callers who are not authenticated may reach the user.
    pub public: bool,
    /// Contacts that may be registered at once.
    pub max_contacts: usize,
    /// Whether the oldest contact makes room for one too many.
    pub remove_existing: bool,
}

/// The HA1 of one user for each algorithm (RFC 7616 §3.4.2). Never shown.
#[derive(Clone, Copy, Default)]
pub struct Secrets([Option<Hex>; 3]);

/// Why a `[users.NAME]` section is refused: one sentence that says where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("users.{}: {problem}", shown(user, NAME_BYTES_MAX))]
pub struct UserError {
    /// The user's name.
    pub user: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Users {
    /// The users of a configuration.
    ///
    /// # Errors
    /// The first section that cannot be used.
    pub fn new(config: &Config) -> Result<Self, UserError> {
        let mut table = HashMap::with_capacity(config.users.len());
        for (name, section) in &config.users {
            let user = User::new(name, section, &config.auth)
                .map_err(|problem| UserError { user: name.clone(), problem })?;
            table.insert(name.as_str().into(), Arc::new(user));
        }
        let shown = table.values().filter_map(|user| user.caller_id_number.as_deref());
        let shown = shown.map(Box::from).collect();
        Ok(Users { table, shown })
    }

    /// A user by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        self.table.get(name).map(Arc::as_ref)
    }

    /// Whether a user has this name, or shows this number.
    #[must_use]
    pub fn has_number(&self, number: &str) -> bool {
        self.table.contains_key(number) || self.shown.contains(number)
    }

    /// A user by name, to be kept.
    #[must_use]
    pub fn share(&self, name: &str) -> Option<Arc<User>> {
        self.table.get(name).cloned()
    }

    /// Every user, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.table.values().map(Arc::as_ref)
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

impl User {
    fn new(name: &str, section: &config::UserSection, auth: &config::Auth) -> Result<Self, String> {
        if !is_name(name) {
            return Err(format!("{NAME_RULE}; rename the section"));
        }
        let (caller_id_name, caller_id_number) = caller_id(section.caller_id.as_deref())?;
        if section.contexts.is_empty() {
            return Err("contexts is empty; name the context its calls start in".to_owned());
        }
        if section.max_contacts == 0 {
            return Err("max_contacts must be at least 1".to_owned());
        }
        if section.transports.as_ref().is_some_and(Vec::is_empty) {
            return Err("transports is empty; name at least one or leave it out".to_owned());
        }
        if section.codecs.as_ref().is_some_and(Vec::is_empty) {
            return Err("codecs is empty; name at least one or leave it out".to_owned());
        }
        Ok(User {
            name: name.to_owned(),
            secrets: Secrets::new(name, section, auth)?,
            contexts: section.contexts.clone(),
            media: section.media,
            codecs: section.codecs.clone(),
            transports: section
                .transports
                .as_ref()
                .map(|names| names.iter().map(|name| (*name).into()).collect()),
            dtmf: section.dtmf,
            caller_id_name,
            caller_id_number,
            public: section.public,
            max_contacts: section.max_contacts,
            remove_existing: section.remove_existing,
        })
    }

    /// Whether the user may come over a transport.
    #[must_use]
    pub fn may_use(&self, kind: TransportKind) -> bool {
        self.transports.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

impl Secrets {
    /// Whether both are of one password, as far as they can be compared.
    pub(crate) fn agrees_with(&self, other: &Secrets) -> bool {
        let mut both = self.0.iter().zip(&other.0).filter_map(|(a, b)| a.as_ref().zip(b.as_ref()));
        both.all(|(a, b)| a == b)
    }

    fn new(name: &str, section: &config::UserSection, auth: &config::Auth) -> Result<Self, String> {
        match (&section.password, section.ha1.is_empty()) {
            (Some(_), false) => Err("password and ha1 exclude each other; keep one".to_owned()),
            (None, true) => {
                Err("no password; give password, or ha1 as `sidetone hash-password` prints it"
                    .to_owned())
            }
            (Some(password), true) if password.is_empty() => {
                Err("password is empty; give one".to_owned())
            }
            (Some(password), true) => Ok(Secrets::of(name, &auth.realm, password)),
            (None, false) => Secrets::stored(&section.ha1, auth),
        }
    }

    /// The secrets that a password makes.
    #[must_use]
    pub fn of(name: &str, realm: &str, password: &str) -> Self {
        Secrets(Algorithm::ALL.map(|algorithm| Some(algorithm.ha1(name, realm, password))))
    }

    fn stored(ha1: &BTreeMap<Algorithm, String>, auth: &config::Auth) -> Result<Self, String> {
        let mut secrets = Secrets::default();
        for (algorithm, text) in ha1 {
            let hex = Hex::parse(text).filter(|_| text.len() == algorithm.digits());
            let Some(hex) = hex else {
                let (token, digits) = (algorithm.token(), algorithm.digits());
                return Err(format!(
                    "ha1.{token} is not {digits} hexadecimal digits; paste what `sidetone hash-password` prints"
                ));
            };
            secrets.0[*algorithm as usize] = Some(hex);
        }
        match auth.algorithms.iter().find(|algorithm| secrets.get(**algorithm).is_none()) {
            Some(missing) => Err(format!(
                "ha1.{} is missing, which auth.algorithms names; paste what `sidetone hash-password` prints",
                missing.token()
            )),
            None => Ok(secrets),
        }
    }

    /// The HA1 for one algorithm.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<&Hex> {
        self.0[algorithm as usize].as_ref()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// A name is the user part of a SIP URI and a word in logs and digests.
pub(crate) fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+*#!~".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_fit)
}

/// Reads `Name <number>`, `<number>`, or a number alone.
fn caller_id(text: Option<&str>) -> Result<(Option<String>, Option<String>), String> {
    let Some(text) = text else { return Ok((None, None)) };
    let wrong = || "caller_id is not of the form \"Name <number>\"".to_owned();
    let text = text.trim();
    if text.is_empty() || text.len() > CALLER_ID_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(wrong());
    }
    let Some((name, rest)) = text.split_once('<') else {
        return match text.contains([' ', '>', '"']) {
            true => Err(wrong()),
            false => Ok((None, Some(text.to_owned()))),
        };
    };
    let number = rest.strip_suffix('>').filter(|number| !number.is_empty()).ok_or_else(wrong)?;
    if number.contains([' ', '<', '>', '"', '@']) {
        return Err(wrong());
    }
    let name = name.trim();
    let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let name = quoted.unwrap_or(name).trim();
    Ok(((!name.is_empty()).then(|| name.to_owned()), Some(number.to_owned())))
}

pub(crate) const NAME_BYTES_MAX: usize = 64;
pub(crate) const NAME_RULE: &str = "a name has 1 to 64 letters, digits or -_.+*#!~";
const CALLER_ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn users(toml: &str) -> Result<Users, UserError> {
        Users::new(&toml::from_str(toml).unwrap())
    }

    #[test]
    fn a_password_alone_makes_a_user_of_the_internal_context() {
        let users = users("[users.199]\npassword = '199pass'\n").unwrap();
        let user = users.get("199").unwrap();
        assert_eq!(user.contexts, ["internal"]);
        assert_eq!((user.media, user.public), (MediaProfile::Auto, false));
        assert!(TransportKind::ALL.into_iter().all(|kind| user.may_use(kind)));
        let expected = Algorithm::Md5.ha1("199", "sidetone", "199pass");
        assert_eq!(user.secrets.get(Algorithm::Md5), Some(&expected));
        assert!(users.get("200").is_none());
    }

    #[test]
    fn a_stored_hash_is_as_good_as_its_password() {
        let plain = users("[users.199]\npassword = '199pass'\n").unwrap();
        let secrets = plain.get("199").unwrap().secrets;
        let stored: String = Algorithm::ALL
            .map(|algorithm| {
                format!("ha1.{} = '{}'\n", algorithm.token(), secrets.get(algorithm).unwrap())
            })
            .concat();
        let stored = users(&format!("[users.199]\n{stored}")).unwrap();
        for algorithm in Algorithm::ALL {
            let of = |users: &Users| users.get("199").unwrap().secrets.get(algorithm).copied();
            assert_eq!(of(&plain), of(&stored));
        }
    }

    #[test]
    fn a_bad_section_is_named_with_what_to_do() {
        for (toml, says) in [
            ("[users.a]\n", "give password"),
            ("[users.a]\npassword = ''\n", "empty"),
            ("[users.a]\npassword = 'x'\nha1.MD5 = '00'\n", "exclude"),
            ("[users.a]\nha1.MD5 = '00'\n", "32 hexadecimal digits"),
            (
                "[auth]\nalgorithms = ['SHA-256']\n[users.a]\nha1.MD5 = '00112233445566778899aabbccddeeff'\n",
                "ha1.SHA-256 is missing",
            ),
            ("[users.a]\npassword = 'x'\ncontexts = []\n", "contexts"),
            ("[users.a]\npassword = 'x'\nmax_contacts = 0\n", "max_contacts"),
            ("[users.a]\npassword = 'x'\ntransports = []\n", "transports"),
            ("[users.a]\npassword = 'x'\ncodecs = []\n", "codecs"),
            ("[users.a]\npassword = 'x'\ncaller_id = 'Mr X <5'\n", "caller_id"),
            ("[users.'a b']\npassword = 'x'\n", "rename"),
        ] {
            let error = users(toml).unwrap_err().to_string();
            assert!(error.starts_with("users.a") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_refused_is_shown_on_one_short_line() {
        let name = format!("a\n\u{7}{}", "b".repeat(5_000));
        let error =
            users(&format!("[users.{name:?}]\npassword = 'x'\n").replace("\\u{7}", "\\u0007"));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("users.a\\n\\u{7}bbb") && error.len() < 200, "{error}");
    }

    #[test]
    fn a_caller_id_has_a_name_and_a_number() {
        let read = |text| caller_id(Some(text)).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read("Front Desk <100>"), (text("Front Desk"), text("100")));
        assert_eq!(read("\"Front, Desk\" <+4912>"), (text("Front, Desk"), text("+4912")));
        assert_eq!(read("Front \"Desk\" <100>"), (text("Front \"Desk\""), text("100")));
        assert_eq!(read("<100>"), (None, text("100")));
        assert_eq!(read("100"), (None, text("100")));
    }
}
