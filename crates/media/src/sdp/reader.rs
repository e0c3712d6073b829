//! Reads a session description (RFC 8866 §5) within fixed bounds.
//!
//! The model and the writer are those of `rtc::sdp`; its reader is not used. That one refuses a
//! whole description for what belongs to one media section: a media type it does not know, a
//! session identifier beyond 64 bits, an attribute before `t=`, bytes that are not UTF-8. Such offers
//! come from real phones, and RFC 3264 §6 wants the section refused and the call made.
//! Lines that nothing here needs (`i=`, `u=`, `e=`, `p=`, `b=`, `t=`, `r=`, `z=`, `k=`) are dropped.

use std::fmt;

use rtc::sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc::sdp::description::media::{MediaName, RangedPort};
use rtc::sdp::description::session::{Origin, TimeDescription};
use rtc::sdp::{MediaDescription, SessionDescription as Description};

/// A session description, read and not yet judged.
///
/// What it says of media is judged by [`negotiate`](super::negotiate()) and
/// [`negotiate_answer`](super::negotiate_answer). `Display` writes it without the lines that were
/// dropped.
#[derive(Clone, Debug)]
pub struct SessionDescription {
    pub(super) inner: Description,
}

/// Why bytes are not a session description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// It does not begin with `v=0`.
    #[error("the session description does not begin with v=0")]
    Version,
    /// It is longer than [`BYTES_MAX`].
    #[error("the session description has {bytes} bytes, at most {BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has more than [`LINES_MAX`] lines.
    #[error("the session description has more than {LINES_MAX} lines")]
    TooManyLines,
    /// It has more than [`SECTIONS_MAX`] `m=` lines.
    #[error("the session description has more than {SECTIONS_MAX} media sections")]
    TooManySections,
    /// A line cannot be read.
    #[error("line {line} of the session description is malformed")]
    Malformed {
        /// Which line, the first one being 1.
        line: usize,
    },
}

impl SdpError {
    /// A label for counters.
    pub fn label(&self) -> &'static str {
        match self {
            SdpError::Version => "sdp_version",
            SdpError::TooLong { .. } => "sdp_too_long",
            SdpError::TooManyLines => "sdp_too_many_lines",
            SdpError::TooManySections => "sdp_too_many_sections",
            SdpError::Malformed { .. } => "sdp_malformed",
        }
    }
}

/// Reads a session description; lines may end in CR LF, LF or CR.
///
/// # Errors
/// It breaks a bound, or the grammar of a line that we need.
pub fn parse(bytes: &[u8]) -> Result<SessionDescription, SdpError> {
    if bytes.len() > BYTES_MAX {
        return Err(SdpError::TooLong { bytes: bytes.len() });
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text
        .split(['\n', '\r'])
        .map(|line| line.trim_end_matches(['\0', ' ', '\t']))
        .filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return Err(SdpError::Version);
    }
    let mut inner = Description {
        session_name: "-".into(),
        time_descriptions: vec![TimeDescription::default()],
        ..Description::default()
    };
    for (index, line) in lines.enumerate() {
        let line_number = index + 2;
        if line_number > LINES_MAX {
            return Err(SdpError::TooManyLines);
        }
        read_line(line, &mut inner).ok_or(SdpError::Malformed { line: line_number })?;
        if inner.media_descriptions.len() > SECTIONS_MAX {
            return Err(SdpError::TooManySections);
        }
    }
    if inner.origin.username.is_empty() {
        inner.origin = origin("- 0 0 IN IP4 0.0.0.0");
    }
    Ok(SessionDescription { inner })
}

impl SessionDescription {
    /// Identifier and version of the session in `o=`, 0 where they are missing or beyond 64 bits.
    ///
    /// A description with the version of the one before says nothing new (RFC 3264 §8).
    pub fn version(&self) -> (u64, u64) {
        (self.inner.origin.session_id, self.inner.origin.session_version)
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// `None` if the line is malformed.
fn read_line(line: &str, description: &mut Description) -> Option<()> {
    let (name, value) = line.split_once('=')?;
    let section = description.media_descriptions.last_mut();
    match name {
        "o" => description.origin = origin(value),
        "s" => description.session_name = value.trim().to_owned(),
        "m" => description.media_descriptions.push(media_description(value)?),
        "c" => {
            let connection = Some(connection(value)?);
            match section {
                Some(section) => section.connection_information = connection,
                None => description.connection_information = connection,
            }
        }
        "a" => {
            let attributes = match section {
                Some(section) => &mut section.attributes,
                None => &mut description.attributes,
            };
            attributes.push(attribute(value));
        }
        "i" | "u" | "e" | "p" | "b" | "t" | "r" | "z" | "k" => {}
        // RFC 8866 §5: a description with a letter that is not understood is not understood.
        _ => return None,
    }
    Some(())
}

fn origin(value: &str) -> Origin {
    let mut fields = value.split_ascii_whitespace();
    let mut next = || fields.next().unwrap_or_default();
    Origin {
        username: next().to_owned(),
        session_id: next().parse().unwrap_or_default(),
        session_version: next().parse().unwrap_or_default(),
        network_type: next().to_owned(),
        address_type: next().to_owned(),
        unicast_address: next().to_owned(),
    }
}

fn connection(value: &str) -> Option<ConnectionInformation> {
    let mut fields = value.split_ascii_whitespace();
    let network_type = fields.next()?.to_owned();
    let address_type = fields.next()?.to_owned();
    let address = fields.next()?.to_owned();
    let address = Some(Address { address, ttl: None, range: None });
    Some(ConnectionInformation { network_type, address_type, address })
}

fn media_description(value: &str) -> Option<MediaDescription> {
    let mut fields = value.split_ascii_whitespace();
    let media = fields.next()?.to_owned();
    let port = port(fields.next()?)?;
    let protos = fields.next()?.split('/').map(str::to_owned).collect();
    let formats: Vec<String> = fields.map(str::to_owned).collect();
    if formats.is_empty() {
        return None;
    }
    let media_name = MediaName { media, port, protos, formats };
    Some(MediaDescription { media_name, ..MediaDescription::default() })
}

fn port(value: &str) -> Option<RangedPort> {
    let (port, range) = match value.split_once('/') {
        Some((port, range)) => (port, Some(range.parse::<u16>().ok()? as isize)),
        None => (value, None),
    };
    Some(RangedPort { value: port.parse::<u16>().ok()? as isize, range })
}

fn attribute(value: &str) -> Attribute {
    match value.split_once(':') {
        Some((key, value)) => Attribute::new(key.trim().to_owned(), Some(value.trim().to_owned())),
        None => Attribute::new(value.trim().to_owned(), None),
    }
}

/// Longest description that is read, in bytes.
pub const BYTES_MAX: usize = 65_536;
/// Most lines of a description that are read.
pub const LINES_MAX: usize = 2_000;
/// Most media sections of a description that are read.
pub const SECTIONS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;

    use super::*;

    const MINIMAL: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!("{MINIMAL}m=audio 4000 RTP/AVP 0 8\r\na=sendrecv\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn any_line_ending_and_a_missing_last_one_are_read() {
        let text = format!("{MINIMAL}m=audio 4000 RTP/AVP 0\r\n");
        for ending in ["\n", "\r", "\n\n"] {
            let other = text.replace("\r\n", ending);
            assert_eq!(parse(other.trim_end().as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn rfc3264_6_an_unknown_media_type_does_not_spoil_the_description() {
        let text = format!("{MINIMAL}m=hologram 4000 FOO/BAR x\r\nm=audio 4000 RTP/AVP 0\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap().inner.media_descriptions.len(), 2);
    }

    #[test]
    fn order_numbers_and_bytes_of_careless_peers_are_read() {
        let text =
            b"v=0\no=M\xfcller 99999999999999999999999 -1 IN IP4 h\na=sendonly\nt=x\ns=\xff\n";
        let read = parse(text).unwrap();
        assert_eq!(read.version(), (0, 0));
        assert_eq!(read.inner.attributes.len(), 1);
    }

    #[test]
    fn malformed_lines_are_named() {
        for line in [
            "m=audio",
            "m=audio 1 RTP/AVP",
            "m=audio 65536 RTP/AVP 0",
            "m=audio -1 RTP/AVP 0",
            "c=IN IP4",
            "q=1",
            "no equals sign",
            "a =x",
        ] {
            let text = format!("{MINIMAL}{line}\r\n");
            assert_eq!(parse(text.as_bytes()).unwrap_err(), SdpError::Malformed { line: 5 });
        }
        assert_eq!(parse(b"").unwrap_err(), SdpError::Version);
        assert_eq!(parse(b"v=1\r\n").unwrap_err(), SdpError::Version);
    }

    #[test]
    fn every_bound_is_kept() {
        let long = vec![b'v'; BYTES_MAX + 1];
        assert_eq!(parse(&long).unwrap_err(), SdpError::TooLong { bytes: BYTES_MAX + 1 });
        let lines = format!("v=0\n{}", "a=x\n".repeat(LINES_MAX));
        assert_eq!(parse(lines.as_bytes()).unwrap_err(), SdpError::TooManyLines);
        let sections = format!("v=0\n{}", "m=audio 1 RTP/AVP 0\n".repeat(SECTIONS_MAX + 1));
        assert_eq!(parse(sections.as_bytes()).unwrap_err(), SdpError::TooManySections);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"v=0\r\n", bytes.as_slice()].concat());
        }

        #[test]
        fn writing_and_reading_is_identity(
            lines in proptest::collection::vec(
                prop_oneof![
                    "a=[a-z-]{1,8}(:[ -~]{0,20})?",
                    "m=[a-z]{1,8} [0-9]{1,4}(/[1-9])? [A-Z]{1,4}(/[A-Z]{1,4}){0,3}( [0-9a-z]{1,4}){1,5}",
                    "c=IN IP[46] [0-9a-f:.]{1,20}",
                    "[iuepbtrzk]=[ -~]{0,20}",
                ],
                0..30,
            ),
        ) {
            let once = parse(format!("v=0\n{}", lines.join("\n")).as_bytes()).unwrap();
            let twice = parse(once.to_string().as_bytes()).unwrap();
            prop_assert_eq!(once.to_string(), twice.to_string());
        }
    }
}
