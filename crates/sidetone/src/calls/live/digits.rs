//! DTMF digits in INFO requests.

/// The digit of an INFO: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`).
pub(super) fn info_digit(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let signal = if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        let value = |line: &'_ str| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim().to_owned())
        };
        text.lines().find_map(value)?
    } else if media_type.eq_ignore_ascii_case("application/dtmf") {
        text.trim().to_owned()
    } else {
        return None;
    };
    // Event numbers of RFC 4733 §3.2 are seen in place of the two keys.
    match signal.as_str() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_from_both_forms_of_info() {
        let relay = "application/dtmf-relay";
        assert_eq!(info_digit(relay, b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(info_digit(relay, b"signal = #\r\n"), Some('#'));
        assert_eq!(info_digit("Application/DTMF; x=y", b" a \r\n"), Some('A'));
        assert_eq!(info_digit("application/dtmf", b"11"), Some('#'));
    }

    #[test]
    fn other_infos_hold_no_digit() {
        assert_eq!(info_digit("application/dtmf", b"55"), None);
        assert_eq!(info_digit("application/dtmf-relay", b"Duration=160"), None);
        assert_eq!(info_digit("application/dtmf", b"\xff"), None);
        assert_eq!(info_digit("text/plain", b"5"), None);
    }
}
