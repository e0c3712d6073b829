//! DTMF digits: how they come, and what an INFO request says of one.

use std::time::Duration;

use dialog::Body;
use media::shard::Command;

use super::{Leg, LegEnd};
use crate::calls::SipCommand;
use crate::users::DtmfMode;

/// A digit that a peer has pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::calls) struct Digit {
    /// One of `0-9`, `*`, `#`, `A-D`.
    pub digit: char,
    pub duration: Duration,
    pub form: Form,
    /// Whether the other leg of the bridge has got it already.
    pub is_passed_on: bool,
}

/// The form in which a digit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::calls) enum Form {
    /// RTP events, RFC 4733.
    Rtp,
    /// A SIP INFO request.
    Info,
    /// Tones in the audio.
    Inband,
}

impl Form {
    /// A word for metrics and logs.
    pub(in crate::calls) fn label(self) -> &'static str {
        match self {
            Form::Rtp => "rfc4733",
            Form::Info => "info",
            Form::Inband => "inband",
        }
    }
}

/// The two bodies that INFO requests carry digits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InfoForm {
    /// `application/dtmf-relay`: lines `Signal=5` and `Duration=160`.
    Relay,
    /// `application/dtmf`: the digit alone.
    Digit,
}

impl InfoForm {
    /// The form and the digit of an INFO.
    pub(super) fn read(body: &Body) -> Option<(InfoForm, Digit)> {
        let text = std::str::from_utf8(&body.bytes).ok()?;
        let media_type = body.content_type.split(';').next().unwrap_or_default().trim();
        let mut duration = DURATION_DEFAULT;
        let (form, signal) = if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
            let milliseconds = value(text, "duration").and_then(|value| value.parse().ok());
            duration = milliseconds.map_or(duration, Duration::from_millis);
            (InfoForm::Relay, value(text, "signal")?)
        } else if media_type.eq_ignore_ascii_case("application/dtmf") {
            (InfoForm::Digit, text.trim())
        } else {
            return None;
        };
        let duration = duration.clamp(DURATION_MIN, DURATION_MAX);
        Some((form, Digit { digit: key(signal)?, duration, form: Form::Info, is_passed_on: false }))
    }

    /// The body of an INFO.
    pub(super) fn write(self, digit: char, duration: Duration) -> Body {
        let (content_type, text) = match self {
            InfoForm::Relay => {
                let text = format!("Signal={digit}\r\nDuration={}\r\n", duration.as_millis());
                ("application/dtmf-relay", text)
            }
            InfoForm::Digit => ("application/dtmf", digit.to_string()),
        };
        Body { content_type: content_type.to_owned(), bytes: text.into() }
    }
}

impl Leg {
    /// Sends a digit of the other leg in the form that the peer understands, unless it has got it.
    pub(in crate::calls) async fn send_digit(&mut self, digit: &Digit) -> Result<(), LegEnd> {
        if digit.is_passed_on {
            return Ok(());
        }
        let has_events = self.negotiated.as_ref().is_some_and(|n| n.dtmf.is_some());
        let uses_info = match self.terms.dtmf {
            DtmfMode::Info => true,
            DtmfMode::Rtp | DtmfMode::Inband => false,
            // What the peer sends is what it understands.
            DtmfMode::Auto => !has_events && self.info_digits.is_some(),
        };
        let Digit { digit, duration, form, .. } = *digit;
        if uses_info {
            let body = self.info_digits.unwrap_or(InfoForm::Relay).write(digit, duration);
            self.sip.command(SipCommand::Info { body }).await;
            return Ok(());
        }
        if form == Form::Inband && !has_events {
            // The audio that is passed on has the tones already.
            return Ok(());
        }
        self.command_media(pressed_again(digit, duration))
    }
}

/// What is heard of a digit once it is over takes the place of the voice for as long as it lasts.
fn pressed_again(digit: char, duration: Duration) -> Command {
    Command::Dtmf { digit, duration: duration.min(PRESSED_AGAIN_MAX) }
}

fn value<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

fn key(signal: &str) -> Option<char> {
    // Event numbers of RFC 4733 §3.2 are seen in place of the two keys.
    match signal {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut characters = signal.chars();
            let digit = characters.next()?.to_ascii_uppercase();
            let is_key = digit.is_ascii_digit() || matches!(digit, '*' | '#' | 'A'..='D');
            (is_key && characters.next().is_none()).then_some(digit)
        }
    }
}

/// Of a digit that comes without a duration.
const DURATION_DEFAULT: Duration = Duration::from_millis(160);
/// ITU-T Q.24: what every receiver takes for a digit.
const DURATION_MIN: Duration = Duration::from_millis(40);
/// A key that is held for longer is sent as if it were let go.
const DURATION_MAX: Duration = Duration::from_secs(5);
/// As long as anyone waits for who speaks.
const PRESSED_AGAIN_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn read(content_type: &str, bytes: &'static [u8]) -> Option<(char, u128)> {
        let body = Body { content_type: content_type.to_owned(), bytes: bytes.into() };
        let (_, digit) = InfoForm::read(&body)?;
        Some((digit.digit, digit.duration.as_millis()))
    }

    #[test]
    fn digits_are_read_from_both_forms_of_info() {
        let relay = "application/dtmf-relay";
        assert_eq!(read(relay, b"Signal=5\r\nDuration=250\r\n"), Some(('5', 250)));
        assert_eq!(read(relay, b"signal = #\r\n"), Some(('#', 160)));
        assert_eq!(read(relay, b"Signal=1\r\nDuration=4000000000\r\n"), Some(('1', 5000)));
        assert_eq!(read("Application/DTMF; x=y", b" a \r\n"), Some(('A', 160)));
        assert_eq!(read("application/dtmf", b"11"), Some(('#', 160)));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for form in [InfoForm::Relay, InfoForm::Digit] {
            let body = form.write('*', DURATION_DEFAULT);
            let digit = Digit {
                digit: '*',
                duration: DURATION_DEFAULT,
                form: Form::Info,
                is_passed_on: false,
            };
            assert_eq!(InfoForm::read(&body), Some((form, digit)));
        }
    }

    #[test]
    fn a_key_that_was_held_does_not_silence_the_voice_for_as_long_again() {
        for (held_ms, again_ms) in [(8_000, 500), (120, 120)] {
            let Command::Dtmf { digit: '5', duration } =
                pressed_again('5', Duration::from_millis(held_ms))
            else {
                panic!("another command");
            };
            assert_eq!(duration.as_millis(), again_ms);
        }
    }

    #[test]
    fn other_infos_hold_no_digit() {
        assert_eq!(read("application/dtmf", b"55"), None);
        assert_eq!(read("application/dtmf-relay", b"Duration=160"), None);
        assert_eq!(read("application/dtmf", b"\xff"), None);
        assert_eq!(read("text/plain", b"5"), None);
    }
}
