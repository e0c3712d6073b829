//! The dial string: whom a bridge calls, as FreeSWITCH writes it.
//!
//! ```text
//! {a=b,c=d}[leg_timeout=10]user/199,user/3001|sofia/internal/500@192.0.2.9|sip:500@192.0.2.9;transport=tcp
//! ```
//!
//! Braces at the front hold variables of all legs, brackets those of one; `,` separates what is called at once,
//! `|` what is called one after the other. The structure is what is written in the plan: a `,` that a variable
//! brings in is part of a name.

use crate::app::Lead;
use crate::bridge::{Destination, Target};
use crate::call::Call;
use crate::model::Globals;
use crate::text::{HOLE, Known, Scope, Text, shorten};
use crate::variables::NAME_BYTES_MAX;

/// A dial string that was read.
#[derive(Clone, Debug)]
pub(crate) struct DialString {
    variables: Vec<(String, Text)>,
    attempts: Vec<Vec<Leg>>,
}

#[derive(Clone, Debug)]
struct Leg {
    variables: Vec<(String, Text)>,
    target: Written,
}

/// A target as it is written.
#[derive(Clone, Debug)]
enum Written {
    User(Text),
    /// The URI before and after the `@` of its user part.
    Uri {
        user: Option<Text>,
        host: Text,
    },
    /// The destinations that a variable holds.
    Variable(String),
}

impl DialString {
    /// Reads a dial string.
    ///
    /// # Errors
    /// Says in words what cannot be read.
    pub(crate) fn parse(data: &Text) -> Result<DialString, String> {
        let skeleton = data.skeleton();
        let mut reader = Reader { data, skeleton: &skeleton };
        let (variables, start) = reader.variables(0, '{', '}')?;
        let mut attempts = Vec::new();
        for (from, to) in reader.split(start, skeleton.len(), '|')? {
            let legs = reader.split(from, to, ',')?;
            attempts.push(
                legs.into_iter()
                    .map(|(from, to)| reader.leg(from, to))
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
        if attempts.iter().map(Vec::len).sum::<usize>() > DESTINATIONS_MAX {
            return Err(format!("a bridge has at most {DESTINATIONS_MAX} destinations"));
        }
        Ok(DialString { variables, attempts })
    }

    /// Whether the times that are written out can be read.
    ///
    /// # Errors
    /// Says in words which one cannot.
    pub(crate) fn check_times(&self, globals: &Globals) -> Result<(), String> {
        let of_legs = self.attempts.iter().flatten().flat_map(|leg| &leg.variables);
        for (name, value) in self.variables.iter().chain(of_legs) {
            let Some(value) = value.constant(globals).filter(|_| TIMES.contains(&name.as_str()))
            else {
                continue;
            };
            if !value.trim().parse::<u64>().is_ok_and(|seconds| seconds <= DAY_S) {
                return Err(format!(
                    "{name}={} is no time; write whole seconds, at most {DAY_S}",
                    shorten(&value)
                ));
            }
        }
        Ok(())
    }

    /// Whom it names, with what `call` knows filled in. Destinations that then cannot be called are in words in
    /// the second list.
    pub(crate) fn destinations(
        &self,
        call: &dyn Call,
        scope: Scope<'_>,
    ) -> (Vec<Vec<Destination>>, Vec<String>) {
        let (mut attempts, mut refused) = (Vec::new(), Vec::new());
        for legs in &self.attempts {
            let mut destinations = Vec::new();
            for leg in legs {
                match leg.target.expand(call, scope) {
                    Ok(target) => destinations.push(self.destination(leg, target, call, scope)),
                    Err(detail) => refused.push(detail),
                }
            }
            if !destinations.is_empty() {
                attempts.push(destinations);
            }
        }
        (attempts, refused)
    }

    /// The values of the variables of all legs, filled in.
    pub(crate) fn variables(&self, call: &dyn Call, scope: Scope<'_>) -> Vec<(String, String)> {
        expand_all(&self.variables, call, scope).collect()
    }

    /// Where it leads.
    pub(crate) fn leads(&self) -> Vec<Lead<'_>> {
        self.targets().map(Written::lead).collect()
    }

    /// Whether destinations come from variables, so that it is read again when these are known.
    pub(crate) fn has_variable(&self) -> bool {
        self.targets().any(|target| matches!(target, Written::Variable(_)))
    }

    fn targets(&self) -> impl Iterator<Item = &Written> {
        self.attempts.iter().flatten().map(|leg| &leg.target)
    }

    fn destination(
        &self,
        leg: &Leg,
        target: Target,
        call: &dyn Call,
        scope: Scope<'_>,
    ) -> Destination {
        let mut variables = self.variables(call, scope);
        variables.extend(expand_all(&leg.variables, call, scope));
        Destination {
            target,
            timeout: None,
            delay: None,
            caller_id_name: None,
            caller_id_number: None,
            variables,
        }
    }
}

fn expand_all<'a>(
    variables: &'a [(String, Text)],
    call: &'a dyn Call,
    scope: Scope<'a>,
) -> impl Iterator<Item = (String, String)> + 'a {
    variables.iter().map(move |(name, value)| (name.clone(), value.expand(call, scope)))
}

impl Written {
    fn lead(&self) -> Lead<'_> {
        match self {
            Written::User(user) => Lead::User(user),
            Written::Uri { user, host } => Lead::Uri { user: user.as_ref(), host },
            Written::Variable(name) => Lead::Variable(name),
        }
    }

    fn expand(&self, call: &dyn Call, scope: Scope<'_>) -> Result<Target, String> {
        match self {
            Written::User(user) => {
                let name = user.expand(call, scope);
                let name = name.rsplit_once('@').map_or(name.as_str(), |(name, _)| name).trim();
                let is_name = !name.is_empty()
                    && name.len() <= USER_BYTES_MAX
                    && !name.chars().any(char::is_control);
                is_name.then(|| Target::User(name.to_owned())).ok_or_else(|| {
                    format!("\"user/{}\" names no user", shorten(&user.expand(call, scope)))
                })
            }
            Written::Uri { user, host } => {
                let mut uri = user.as_ref().map_or(String::new(), |user| {
                    user.expand_with(Known::of(call), scope, push_escaped)
                });
                let host = host.expand_with(Known::of(call), scope, push_host);
                uri.push_str(&host);
                let refuse = || format!("\"{}\" is no SIP URI", shorten(&uri));
                if uri.len() > URI_BYTES_MAX || !uri.bytes().all(is_uri_byte) || uri.contains("@:")
                {
                    return Err(refuse());
                }
                match uri.rsplit_once(['@', ':']) {
                    Some((_, host)) if !host.is_empty() && !host.starts_with(';') => {
                        Ok(Target::Uri(uri))
                    }
                    _ => Err(refuse()),
                }
            }
            Written::Variable(name) => Err(format!("the destinations in {name} are not known")),
        }
    }
}

/// Reads a dial string by its skeleton: all positions are byte offsets in it.
struct Reader<'a> {
    data: &'a Text,
    skeleton: &'a str,
}

impl Reader<'_> {
    fn at(&self, from: usize, to: usize) -> &str {
        self.skeleton.get(from..to).unwrap_or_default()
    }

    /// `from` and `to` without the blanks at either end.
    fn trim(&self, from: usize, to: usize) -> (usize, usize) {
        let text = self.at(from, to);
        let start = from + (text.len() - text.trim_start().len());
        (start, start + text.trim().len())
    }

    /// Splits at each `separator` outside of brackets, braces and quotes.
    fn split(
        &self,
        from: usize,
        to: usize,
        separator: char,
    ) -> Result<Vec<(usize, usize)>, String> {
        let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, from);
        for (at, character) in self.at(from, to).char_indices() {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ if character == separator && depth == 0 => {
                    parts.push((start, from + at));
                    start = from + at + separator.len_utf8();
                }
                _ => {}
            }
        }
        if depth > 0 {
            return Err("a closing bracket or brace is missing".to_owned());
        }
        parts.push((start, to));
        Ok(parts)
    }

    /// Reads `{…}` or `[…]`, if it stands at `from`, and says where it ends.
    fn variables(
        &mut self,
        from: usize,
        open: char,
        close: char,
    ) -> Result<(Vec<(String, Text)>, usize), String> {
        let (from, _) = self.trim(from, self.skeleton.len());
        let text = self.at(from, self.skeleton.len());
        if !text.starts_with(open) {
            return Ok((Vec::new(), from));
        }
        let end = text.find(close).ok_or("a closing bracket or brace is missing")?;
        let mut variables = Vec::new();
        for (from, to) in self.assignments(from + 1, from + end) {
            let (from, to) = self.trim(from, to);
            if from == to {
                continue;
            }
            let written = self.at(from, to);
            let (name, _) = written
                .split_once('=')
                .ok_or_else(|| format!("\"{}\" is not name=value", self.show(from, to)))?;
            let trimmed = name.trim();
            if trimmed.is_empty() || trimmed.len() > NAME_BYTES_MAX || trimmed.contains(HOLE) {
                return Err(format!("\"{}\" has no name of a variable", self.show(from, to)));
            }
            let value = self.unquoted(from + name.len() + 1, to);
            variables.push((trimmed.to_owned(), value));
        }
        Ok((variables, from + end + close.len_utf8()))
    }

    /// Splits a list of assignments at `,`, or at what it says after `^^`; quotes keep a separator.
    fn assignments(&self, from: usize, to: usize) -> Vec<(usize, usize)> {
        let text = self.at(from, to);
        let (separator, skip) = match text.strip_prefix("^^").and_then(|rest| rest.chars().next()) {
            Some(separator) => (separator, 2 + separator.len_utf8()),
            None => (',', 0),
        };
        let (mut parts, mut start, mut is_quoted) = (Vec::new(), from + skip, false);
        for (at, character) in text.char_indices().skip_while(|(at, _)| *at < skip) {
            match character {
                '\'' => is_quoted = !is_quoted,
                _ if character == separator && !is_quoted => {
                    parts.push((start, from + at));
                    start = from + at + character.len_utf8();
                }
                _ => {}
            }
        }
        parts.push((start, to));
        parts
    }

    fn unquoted(&self, from: usize, to: usize) -> Text {
        let (from, to) = self.trim(from, to);
        let text = self.at(from, to);
        match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(_) => self.data.part(from + 1..to - 1),
            None => self.data.part(from..to),
        }
    }

    fn leg(&mut self, from: usize, to: usize) -> Result<Leg, String> {
        let (variables, from) = self.variables(from, '[', ']')?;
        let (from, to) = self.trim(from.min(to), to);
        Ok(Leg { variables, target: self.target(from, to)? })
    }

    fn target(&self, from: usize, to: usize) -> Result<Written, String> {
        let text = self.at(from, to);
        if text.is_empty() {
            return Err("a destination is missing".to_owned());
        }
        if let Some(name) = self.data.part(from..to).only_variable() {
            return Ok(Written::Variable(name.to_owned()));
        }
        if text.starts_with("sip:") || text.starts_with("sips:") {
            return self.uri(from, to, "");
        }
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        let rest_at = to - rest.len();
        match (kind, rest.split_once('/')) {
            ("user", _) if !rest.is_empty() => Ok(Written::User(self.data.part(rest_at..to))),
            ("sofia", Some(("gateway", _))) => {
                Err("gateways are not supported yet: there are no trunks; name a user or a SIP URI"
                    .to_owned())
            }
            ("sofia", Some((profile, rest))) if !profile.is_empty() && !rest.is_empty() => {
                self.sofia(to - rest.len(), to)
            }
            _ => Err(format!(
                "\"{}\" is no destination; write user/NAME, sofia/PROFILE/NUMBER@HOST or sip:NUMBER@HOST",
                self.show(from, to)
            )),
        }
    }

    /// What follows `sofia/PROFILE/`.
    fn sofia(&self, from: usize, to: usize) -> Result<Written, String> {
        let text = self.at(from, to);
        if text.starts_with("sip:") || text.starts_with("sips:") {
            return self.uri(from, to, "");
        }
        match text.split_once('%') {
            Some((user, _)) if !user.is_empty() => {
                Ok(Written::User(self.data.part(from..from + user.len())))
            }
            _ => self.uri(from, to, "sip:"),
        }
    }

    fn uri(&self, from: usize, to: usize, scheme: &str) -> Result<Written, String> {
        let text = self.at(from, to);
        let literal = |text: &str| text.bytes().all(|byte| is_uri_byte(byte) || byte == 1);
        if !literal(text) {
            return Err(format!("\"{}\" is no SIP URI", self.show(from, to)));
        }
        match text.rsplit_once('@') {
            Some((user, host)) if !host.is_empty() && !user.contains('@') => {
                let user = self.data.part(from..from + user.len() + 1).after(scheme);
                Ok(Written::Uri { user: Some(user), host: self.data.part(to - host.len()..to) })
            }
            None if scheme.is_empty() && !text.contains(HOLE) && text.len() > "sips:".len() => {
                Ok(Written::Uri { user: None, host: self.data.part(from..to) })
            }
            _ => Err(format!(
                "\"{}\" has no host; write NUMBER@HOST, where the host does not come from the number",
                self.show(from, to)
            )),
        }
    }

    /// A part of the text as it can be shown in a message.
    fn show(&self, from: usize, to: usize) -> String {
        shorten(&self.at(from, to).replace(HOLE, "…"))
    }
}

/// What a call brings into the user part of a URI cannot end it.
fn push_escaped(value: &str, uri: &mut String) {
    for byte in value.bytes() {
        // RFC 3261 §25.1: unreserved, and the "+" of user-unreserved.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What a call brings in for a host is one, with a port perhaps; anything else makes the URI unreadable.
fn push_host(value: &str, uri: &mut String) {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    uri.push_str(if value.bytes().all(is_host) { value } else { " " });
}

fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte)
}

/// Variables that hold seconds.
const TIMES: [&str; 4] = ["leg_timeout", "leg_delay_start", "originate_timeout", "call_timeout"];
/// Longest time, in seconds.
pub(crate) const DAY_S: u64 = 86_400;
/// Most destinations of one dial string.
const DESTINATIONS_MAX: usize = 64;
/// Longest name of a user.
const USER_BYTES_MAX: usize = 128;
/// Longest URI.
const URI_BYTES_MAX: usize = 512;
