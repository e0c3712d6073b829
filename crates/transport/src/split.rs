//! Quote-aware splitting of header field values: lists, parameters, quoted strings.

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::{memchr, memchr3};

/// One `;name=value`. The value keeps its quotes; see [`Param::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as it was written.
    pub name: &'a [u8],
    /// What follows `=`, or `None` if there is no `=`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// Whether the name is `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value without its quotes and escapes; empty if there is none.
    pub fn text(&self) -> Cow<'a, str> {
        unquote(self.value.unwrap_or_default())
    }
}

/// Removes blanks and line ends (LWS) at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let is_lws = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let Some(start) = bytes.iter().position(|byte| !is_lws(byte)) else {
        return &[];
    };
    let end = bytes.iter().rposition(|byte| !is_lws(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The elements of a comma-separated list, trimmed. Commas in quotes or `<>` do not split. Empty
/// elements are given as they are, so that a caller can refuse them.
pub fn list(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    Split { rest: Some(bytes), separator: b',' }
}

/// The parameters of `;a=b;c="d;e"`. What stands before the first `;` is not looked at; empty
/// ones are skipped.
pub fn params(bytes: &[u8]) -> impl Iterator<Item = Param<'_>> + Clone {
    Split { rest: Some(bytes), separator: b';' }.skip(1).filter(|text| !text.is_empty()).map(param)
}

/// The first parameter called `name`, in any case.
pub fn find_param<'a>(bytes: &'a [u8], name: &str) -> Option<Param<'a>> {
    params(bytes).find(|param| param.is(name))
}

/// Whether `bytes` is nothing, or parameters without an empty one and with balanced quotes.
pub(crate) fn are_params(bytes: &[u8]) -> bool {
    let bytes = trim(bytes);
    if bytes.is_empty() {
        return true;
    }
    bytes.first() == Some(&b';')
        && Split { rest: Some(bytes), separator: b';' }.skip(1).all(|text| {
            let param = param(text);
            crate::method::is_token(param.name) && param.value.is_none_or(is_param_value)
        })
}

/// RFC 3261 §25.1 `gen-value`, loosely: a whole quoted string, or text without a quote or a blank,
/// which may be empty as in the `rport=` of some phones.
fn is_param_value(value: &[u8]) -> bool {
    match value {
        [b'"', ..] => quoted_end(value) == Some(value.len()),
        _ => !value
            .iter()
            .any(|byte| matches!(byte, b'"' | b'<' | b'>' | b',' | b' ' | b'\t' | b'\r' | b'\n')),
    }
}

/// Where the quoted string at the start of `bytes` ends, after its closing quote.
pub(crate) fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (position, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(position + 1),
            _ => {}
        }
    }
    None
}

/// Takes the quotes and escapes of a quoted string away; other text stays as it is. Bytes that are
/// not UTF-8 become the replacement character.
pub fn unquote(bytes: &[u8]) -> Cow<'_, str> {
    let inner = match bytes {
        [b'"', inner @ .., b'"'] => inner,
        other => return text(other),
    };
    if memchr(b'\\', inner).is_none() {
        return text(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            plain.push(byte);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// Bytes that came as text: the replacement character stands for what is not UTF-8. They hardly
/// ever are anything but ASCII, which is found out faster than where it ends.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Writes `text` as a quoted string, with its quotes and backslashes escaped. Control characters
/// become blanks.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Replaces each fold (a line end and the blanks after it) by one space (RFC 3261 §7.3.1).
pub(crate) fn unfold(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut in_fold = false;
    for &byte in bytes {
        match byte {
            b'\r' | b'\n' if !in_fold => {
                while matches!(plain.last(), Some(b' ' | b'\t')) {
                    plain.pop();
                }
                plain.push(b' ');
                in_fold = true;
            }
            b'\r' | b'\n' | b' ' | b'\t' if in_fold => {}
            _ => {
                in_fold = false;
                plain.push(byte);
            }
        }
    }
    plain
}

/// Reads a run of decimal digits that fits; leading zeros are fine, signs are not.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads an IP address, with or without the brackets of an IPv6 reference (RFC 5118 §4.5), and
/// with the third colon that the grammar of RFC 3261 lets slip in (RFC 5118 §4.10).
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let text = inside.unwrap_or(text);
    let read = text.parse().or_else(|_| text.replacen(":::", "::", 1).parse()).ok();
    read.filter(|ip: &IpAddr| inside.is_none() || ip.is_ipv6())
}

fn param(text: &[u8]) -> Param<'_> {
    match memchr(b'=', text) {
        Some(equals) => Param {
            name: trim(text.get(..equals).unwrap_or_default()),
            value: Some(trim(text.get(equals + 1..).unwrap_or_default())),
        },
        None => Param { name: text, value: None },
    }
}

/// Splits at a separator that stands neither in a quoted string nor between `<` and `>`.
#[derive(Clone)]
struct Split<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        // Most values have neither quotes nor brackets before the next separator.
        let first = memchr3(self.separator, b'"', b'<', rest);
        let is_plain = first.is_none_or(|first| rest.get(first) == Some(&self.separator));
        let end = match is_plain {
            true => first,
            false => top_level(rest, |byte| byte == self.separator),
        };
        self.rest = end.and_then(|end| rest.get(end + 1..));
        Some(trim(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()))
    }
}

/// The first byte that `wanted` accepts outside quoted strings and `<>`.
pub(crate) fn top_level(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut in_quotes, mut in_angles, mut escaped) = (false, false, false);
    for (position, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' if !in_angles => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'>' if in_angles => in_angles = false,
            _ if in_angles => {}
            _ if wanted(byte) => return Some(position),
            b'<' => in_angles = true,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<String> {
        list(bytes).map(|item| String::from_utf8_lossy(item).into_owned()).collect()
    }

    #[test]
    fn commas_in_quotes_and_angles_do_not_split() {
        assert_eq!(
            texts(br#""a, b" <sip:a,b@c> ; x="1,2" , <sip:d>"#),
            [r#""a, b" <sip:a,b@c> ; x="1,2""#, "<sip:d>"]
        );
        assert_eq!(texts(br#""esc \", still" <sip:a>, b"#), [r#""esc \", still" <sip:a>"#, "b"]);
    }

    #[test]
    fn empty_elements_are_kept_for_the_caller_to_refuse() {
        assert_eq!(texts(b"a,,b,"), ["a", "", "b", ""]);
        assert_eq!(texts(b""), [""]);
    }

    #[test]
    fn params_know_blanks_quotes_and_missing_values() {
        let all: Vec<_> = params(br#"x ; a = 1 ;b;c="d;e\"";;f=u:v=="#).collect();
        let values: Vec<_> = all.iter().map(|param| param.text().into_owned()).collect();
        assert_eq!(values, ["1", "", "d;e\"", "u:v=="]);
        assert!(all.iter().any(|param| param.is("B") && param.value.is_none()));
    }

    #[test]
    fn bad_params_are_seen() {
        assert!(are_params(br#";a=1;b;c="x y";d="#));
        assert!(are_params(b""));
        for bad in [&b";;"[..], b";a=\"x", b";=1", b"a", b";a=b c", b";a=\"x\"y"] {
            assert!(!are_params(bad), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn rfc3261_7_3_1_a_fold_is_one_space() {
        assert_eq!(unfold(b"a \r\n\t b\n c\r\n \r\n d"), b"a b c d");
    }

    #[test]
    fn quoting_is_undone_by_unquoting() {
        for text in ["", "plain", r#"a "quoted" \ one"#, "\u{e9}"] {
            assert_eq!(unquote(quote(text).as_bytes()), text);
        }
        assert_eq!(quote("a\r\nX: y"), "\"a  X: y\"");
    }
}
