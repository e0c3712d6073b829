//! Addresses with a display name and parameters: From, To, Contact, Route and their like.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr2};

use crate::split::{self, Param};
use crate::{Error, Uri};

/// A `name-addr` or `addr-spec` with its header parameters (RFC 3261 §20.10).
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr {
    text: Bytes,
    display: Range<usize>,
    uri: Uri,
    params: Range<usize>,
}

impl NameAddr {
    /// Reads one address. The bytes are shared, not copied; they must not be folded.
    ///
    /// # Errors
    /// [`Error::MalformedAddress`] and [`Error::MalformedUri`]. Blanks inside `<>`, unbalanced
    /// quotes, a comma in a display name without quotes, and a `?` in a URI without `<>` are
    /// refused as RFC 4475 §3.1.2 advises.
    pub fn parse(text: Bytes) -> Result<NameAddr, Error> {
        let ranges = Ranges::of(&text).ok_or(Error::MalformedAddress)?;
        let uri = Uri::parse(text.slice(ranges.uri))?;
        Ok(NameAddr { text, display: ranges.display, uri, params: ranges.params })
    }

    /// The display name without its quotes; `None` if there is none or it is empty.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        let text = self.text.get(self.display.clone()).unwrap_or_default();
        Some(split::unquote(text)).filter(|name| !name.is_empty())
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The header parameters: those after `>`, or all of them where there are no brackets.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> + Clone {
        split::params(self.text.get(self.params.clone()).unwrap_or_default())
    }

    /// The value of a header parameter without its quotes; empty if it has none.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params().find(|param| param.is(name)).map(|param| param.text())
    }

    /// The tag of a From or To.
    pub fn tag(&self) -> Option<Cow<'_, str>> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }

    /// The address as it was written.
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameAddr({self})")
    }
}

/// The tag in a From or To of which nothing else is wanted, as it was written: what a dialog or
/// transaction is looked up by.
pub fn tag_of(text: &[u8]) -> Option<&[u8]> {
    let ranges = Ranges::of(text)?;
    split::find_param(text.get(ranges.params)?, "tag")?.value
}

struct Ranges {
    display: Range<usize>,
    uri: Range<usize>,
    params: Range<usize>,
}

impl Ranges {
    fn of(text: &[u8]) -> Option<Ranges> {
        let start = text.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let bracket = match text.get(start)? {
            b'"' => {
                let end = start + split::quoted_end(text.get(start..)?)?;
                let after = text.get(end..)?;
                let bracket = end + memchr(b'<', after)?;
                split::trim(text.get(end..bracket)?).is_empty().then_some((end, bracket))?
            }
            // A bracket behind a semicolon is part of a quoted parameter.
            _ => match memchr2(b'<', b';', text) {
                Some(bracket) if text.get(bracket) == Some(&b'<') => {
                    let display = split::trim(text.get(start..bracket)?);
                    display.iter().all(|&byte| is_display(byte)).then_some(())?;
                    (start + display.len(), bracket)
                }
                Some(_) | None => return Ranges::without_brackets(text, start),
            },
        };
        let (display_end, open) = bracket;
        let close = open + memchr(b'>', text.get(open..)?)?;
        split::are_params(text.get(close + 1..)?).then_some(Ranges {
            display: start..display_end,
            uri: open + 1..close,
            params: close + 1..text.len(),
        })
    }

    /// RFC 3261 §20.10: without brackets all parameters are the header's, and the URI may have
    /// no comma, question mark or semicolon.
    fn without_brackets(text: &[u8], start: usize) -> Option<Ranges> {
        let end = memchr(b';', text).unwrap_or(text.len());
        let uri = split::trim(text.get(start..end)?);
        let params = end..text.len();
        let is_plain = !uri.iter().any(|byte| b",?\"".contains(byte));
        (is_plain && split::are_params(text.get(params.clone())?)).then_some(Ranges {
            display: start..start,
            uri: start..start + uri.len(),
            params,
        })
    }
}

/// What an unquoted display name may hold. The grammar wants tokens; phones also send brackets,
/// slashes and Latin-1, none of which can be mistaken for anything else here.
fn is_display(byte: u8) -> bool {
    !byte.is_ascii_control() && !matches!(byte, b'"' | b'<' | b'>' | b',' | b';' | b'\\')
        || byte == b'\t'
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn read(text: &str) -> NameAddr {
        NameAddr::parse(Bytes::copy_from_slice(text.as_bytes()))
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_bracket_in_quotes_is_part_of_the_name() {
        let address = read(r#""A <b> C" <sip:a@b;lr>;tag=1"#);
        assert_eq!(address.display_name().as_deref(), Some("A <b> C"));
        assert_eq!(address.uri().as_str(), "sip:a@b;lr");
        assert_eq!(address.tag().as_deref(), Some("1"));
    }

    #[test]
    fn blanks_around_semicolons_and_equals_are_fine() {
        let address = read("sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n");
        assert_eq!(address.tag().as_deref(), Some("1918181833n"));
        assert_eq!(address.uri().user(), Some("vivekg"));
        assert_eq!(read("<sip:a@b> ;q=0.5").param("q").as_deref(), Some("0.5"));
    }

    #[test]
    fn rfc3261_20_10_a_bracket_in_a_parameter_is_no_bracket_of_the_address() {
        let address = read(r#"sip:3001@192.0.2.7;+sip.instance="<urn:uuid:1>";reg-id=1"#);
        assert_eq!(address.uri().as_str(), "sip:3001@192.0.2.7");
        assert_eq!(address.param("+sip.instance").as_deref(), Some("<urn:uuid:1>"));
        assert_eq!(address.param("reg-id").as_deref(), Some("1"));
        for bad in ["A; B <sip:a@b>", "sip:a@b;x=<sip:c@d>"] {
            let parsed = NameAddr::parse(Bytes::copy_from_slice(bad.as_bytes()));
            assert!(parsed.is_err(), "{bad}");
        }
    }

    #[test]
    fn rfc5626_contact_parameters_are_read() {
        let address =
            read("<sip:a@b.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1-2>\";reg-id=1");
        assert_eq!(address.param("+sip.instance").as_deref(), Some("<urn:uuid:1-2>"));
        assert_eq!(address.param("reg-id").as_deref(), Some("1"));
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        let address = read("sip:a@b;tag=7;x=\"q v\"");
        assert_eq!(address.uri().as_str(), "sip:a@b");
        assert_eq!(address.tag().as_deref(), Some("7"));
        assert_eq!(address.param("x").as_deref(), Some("q v"));
    }

    #[test]
    fn a_latin1_name_does_not_lose_the_address() {
        let address = NameAddr::parse(Bytes::from_static(b"Jos\xe9 <sip:j@b>;tag=1")).unwrap();
        assert_eq!(address.display_name().as_deref(), Some("Jos\u{fffd}"));
        assert_eq!(address.uri().user(), Some("j"));
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "*",
            "<sip:a@b",
            "< sip:a@b >",
            "\"Bell <sip:a@b>",
            "\"a\" b <sip:a@b>",
            "Bell, Alexander <sip:a@b>",
            "sip:a@b?Route=x",
            "<sip:a@b>tag=1",
            "<sip:a@b>;;",
            "<>",
        ] {
            assert!(NameAddr::parse(Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
        }
    }
}
