//! The grammar of Authorization (RFC 7616 §3.4, RFC 3261 §25.1), read as hostile.

use std::borrow::Cow;

use transport::{Message, Name, split};

use super::algorithm::{Algorithm, Hex};

/// Credentials that are meant for us.
pub(super) enum Credentials<'a> {
    Digest(DigestCredentials<'a>),
    Bearer(Cow<'a, str>),
}

/// What `Authorization: Digest` says.
#[derive(Debug)]
pub(super) struct DigestCredentials<'a> {
    pub username: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    pub uri: Cow<'a, str>,
    pub response: Hex,
    pub algorithm: Algorithm,
    protection: Option<Protection<'a>>,
}

/// What goes with `qop=auth`.
#[derive(Debug)]
struct Protection<'a> {
    cnonce: Cow<'a, str>,
    /// As it was written, eight digits.
    nc: Cow<'a, str>,
    count: u32,
}

impl DigestCredentials<'_> {
    /// The response of who knows the secret (RFC 7616 §3.4.1; without `qop` RFC 2617 §3.2.2.1).
    pub(super) fn expected(&self, ha1: &Hex, method: &str) -> Hex {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let ha2 = hash(&[method.as_bytes(), self.uri.as_bytes()]);
        let nonce = self.nonce.as_bytes();
        match &self.protection {
            Some(Protection { cnonce, nc, .. }) => hash(&[
                ha1.as_bytes(),
                nonce,
                nc.as_bytes(),
                cnonce.as_bytes(),
                b"auth",
                ha2.as_bytes(),
            ]),
            None => hash(&[ha1.as_bytes(), nonce, ha2.as_bytes()]),
        }
    }

    /// How often the client has used the nonce; one that does not count may use it once.
    pub(super) fn count(&self) -> u32 {
        self.protection.as_ref().map_or(1, |protection| protection.count)
    }
}

/// The first credentials for our realm, of Authorization and then of Proxy-Authorization. Those
/// for other realms are somebody else's.
pub(super) fn find<'a>(
    request: &'a Message,
    realm: &str,
) -> Result<Option<Credentials<'a>>, &'static str> {
    let lines =
        request.headers(Name::Authorization).chain(request.headers(Name::ProxyAuthorization));
    for (index, line) in lines.enumerate() {
        if index == LINES_MAX {
            return Err("Too Many Authorization Header Fields");
        }
        if let Some(credentials) = read(line, realm)? {
            return Ok(Some(credentials));
        }
    }
    Ok(None)
}

fn read<'a>(line: Cow<'a, str>, realm: &str) -> Result<Option<Credentials<'a>>, &'static str> {
    let (scheme, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(Credentials::Bearer(Cow::Owned(rest.trim().to_owned()))));
    }
    if !scheme.eq_ignore_ascii_case("digest") {
        return Ok(None);
    }
    let params = Params::read(rest)?;
    if params.realm.as_deref() != Some(realm) {
        return match params.realm {
            Some(_) => Ok(None),
            None => Err("Digest without Realm"),
        };
    }
    params.credentials().map(|digest| Some(Credentials::Digest(digest)))
}

/// The parameters as they were written, each at most once.
#[derive(Default)]
struct Params {
    username: Option<String>,
    realm: Option<String>,
    nonce: Option<String>,
    uri: Option<String>,
    response: Option<String>,
    algorithm: Option<String>,
    cnonce: Option<String>,
    qop: Option<String>,
    nc: Option<String>,
}

impl Params {
    fn read(text: &str) -> Result<Params, &'static str> {
        let mut params = Params::default();
        for (index, pair) in split::list(text.as_bytes()).enumerate() {
            if index == PARAMS_MAX {
                return Err("Too Many Digest Parameters");
            }
            if pair.is_empty() {
                continue;
            }
            let equals = pair.iter().position(|byte| *byte == b'=');
            let equals = equals.ok_or("Malformed Digest Parameter")?;
            let name = split::trim(pair.get(..equals).unwrap_or_default());
            let value = split::trim(pair.get(equals + 1..).unwrap_or_default());
            if name.is_empty() || !is_value(value) {
                return Err("Malformed Digest Parameter");
            }
            let Some(place) = params.place(name) else { continue };
            if place.replace(split::unquote(value).into_owned()).is_some() {
                return Err("Repeated Digest Parameter");
            }
        }
        Ok(params)
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<String>> {
        let places: [(&str, &mut Option<String>); 9] = [
            ("username", &mut self.username),
            ("realm", &mut self.realm),
            ("nonce", &mut self.nonce),
            ("uri", &mut self.uri),
            ("response", &mut self.response),
            ("algorithm", &mut self.algorithm),
            ("cnonce", &mut self.cnonce),
            ("qop", &mut self.qop),
            ("nc", &mut self.nc),
        ];
        let mut places = places.into_iter();
        places.find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, at)| at)
    }

    fn credentials<'a>(self) -> Result<DigestCredentials<'a>, &'static str> {
        let algorithm = match self.algorithm.as_deref() {
            None => Algorithm::Md5,
            Some(token) => Algorithm::from_token(token).ok_or("Unknown Digest Algorithm")?,
        };
        let response = self.response.ok_or("Digest without Response")?;
        let response = Hex::parse(&response)
            .filter(|_| response.len() == algorithm.digits())
            .ok_or("Malformed Digest Response")?;
        let protection = match self.qop.as_deref() {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = self.nc.ok_or("Digest without Nonce Count")?;
                let count = count(&nc).ok_or("Malformed Nonce Count")?;
                let cnonce = self.cnonce.ok_or("Digest without Cnonce")?;
                Some(Protection { cnonce: cnonce.into(), nc: nc.into(), count })
            }
            Some(_) => return Err("Unknown Digest Qop"),
        };
        Ok(DigestCredentials {
            username: self.username.ok_or("Digest without Username")?.into(),
            nonce: self.nonce.ok_or("Digest without Nonce")?.into(),
            uri: self.uri.ok_or("Digest without URI")?.into(),
            response,
            algorithm,
            protection,
        })
    }
}

/// A whole quoted string, or text without quotes and blanks.
fn is_value(value: &[u8]) -> bool {
    match value {
        [b'"', inner @ .., b'"'] => {
            let mut is_escaped = false;
            let is_open = |byte: &u8| {
                let ends = *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                !ends
            };
            inner.iter().all(is_open) && !is_escaped
        }
        _ => !value.is_empty() && !value.iter().any(|byte| b"\" \t".contains(byte)),
    }
}

/// Eight hexadecimal digits, counted from 1 (RFC 7616 §3.4).
fn count(text: &str) -> Option<u32> {
    let is_form = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_form.then(|| u32::from_str_radix(text, 16).ok())?.filter(|count| *count > 0)
}

/// Header lines that are looked at.
const LINES_MAX: usize = 8;
const PARAMS_MAX: usize = 32;
