//! Digest credentials as a phone makes them: MD5 with qop auth (RFC 7616 §3.4, RFC 2617 §3.2.2).

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

/// Who a phone is.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name of the user.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// A challenge that is answered again and again, each time with the next count.
#[derive(Debug, Clone)]
pub struct Challenge {
    realm: String,
    nonce: String,
    /// Hash of name, realm and password.
    ha1: String,
    count: u32,
}

impl Challenge {
    /// Reads the value of a WWW-Authenticate; `None` unless it asks for MD5 with qop auth.
    #[must_use]
    pub fn read(value: &str, account: &Account) -> Option<Challenge> {
        let parameters = value.strip_prefix("Digest ")?;
        let parameter = |name: &str| {
            let value = parameters.split(',').find_map(|part| part.trim().strip_prefix(name))?;
            Some(value.strip_prefix('=')?.trim_matches('"'))
        };
        let is_md5 = parameter("algorithm").is_none_or(|name| name.eq_ignore_ascii_case("MD5"));
        if !is_md5 || parameter("qop") != Some("auth") {
            return None;
        }
        let realm = parameter("realm")?.to_owned();
        let Account { name, password } = account;
        let ha1 = md5(&format!("{name}:{realm}:{password}"));
        Some(Challenge { nonce: parameter("nonce")?.to_owned(), realm, ha1, count: 0 })
    }

    /// The value of Authorization for a request of this method to this URI.
    pub fn answer(&mut self, account: &Account, method: &str, uri: &str) -> String {
        self.count += 1;
        let response = self.response(CNONCE, method, uri);
        let Challenge { realm, nonce, count, .. } = self;
        format!(
            "Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc={count:08x}, cnonce=\"{CNONCE}\"",
            account.name
        )
    }

    fn response(&self, cnonce: &str, method: &str, uri: &str) -> String {
        let Challenge { nonce, ha1, count, .. } = self;
        let ha2 = md5(&format!("{method}:{uri}"));
        md5(&format!("{ha1}:{nonce}:{count:08x}:{cnonce}:auth:{ha2}"))
    }
}

fn md5(text: &str) -> String {
    let mut digits = String::with_capacity(32);
    for byte in Md5::digest(text) {
        // Writing into memory does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Protects a password from who can choose the nonce, which nobody does here.
const CNONCE: &str = "0a4f113b";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn rfc7616_3_9_1_the_answer_is_that_of_the_example() {
        let account = Account { name: "Mufasa".into(), password: "Circle of Life".into() };
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let value =
            format!("Digest realm=\"http-auth@example.org\", qop=\"auth\", nonce=\"{nonce}\"");
        let mut challenge = Challenge::read(&value, &account).unwrap();
        challenge.count = 1;
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let response = challenge.response(cnonce, "GET", "/dir/index.html");
        assert_eq!(response, "8ca523f5e9506fed4657c9700eebdbec");
    }

    #[test]
    fn the_count_grows_with_each_answer() {
        let account = Account { name: "u1".into(), password: "p".into() };
        let value = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5";
        let mut challenge = Challenge::read(value, &account).unwrap();
        assert!(challenge.answer(&account, "REGISTER", "sip:r").contains("nc=00000001"));
        assert!(challenge.answer(&account, "REGISTER", "sip:r").contains("nc=00000002"));
        assert!(Challenge::read("Digest realm=\"r\", algorithm=SHA-256", &account).is_none());
    }
}
