//! Why a call is hung up: FreeSWITCH's names, the numbers of Q.850 and the status codes of SIP.

/// Why a call is hung up. Equal if it is the same row of the table.
#[derive(Clone, Copy)]
pub struct Cause {
    row: &'static Row,
}

struct Row {
    name: &'static str,
    number: u16,
    q850: u8,
    sip_status: u16,
}

impl Cause {
    /// The call has served its purpose. 480 if it was never answered.
    pub const NORMAL_CLEARING: Cause = Cause::of(16);
    /// The number is not assigned: 404.
    pub const UNALLOCATED_NUMBER: Cause = Cause::of(1);
    /// No way leads to the number: 404.
    pub const NO_ROUTE_DESTINATION: Cause = Cause::of(3);
    /// Busy: 486.
    pub const USER_BUSY: Cause = Cause::of(17);
    /// It rang, and nobody answered: 480.
    pub const NO_ANSWER: Cause = Cause::of(19);
    /// Nothing at all was heard of the other side: 408.
    pub const NO_USER_RESPONSE: Cause = Cause::of(18);
    /// The other side answered: what `originate_disposition` then is.
    pub const SUCCESS: Cause = Cause::of(142);
    /// The user is known, but registered nowhere: 480.
    pub const USER_NOT_REGISTERED: Cause = Cause::of(806);
    /// A destination that cannot be called, as it is written: 484.
    pub const INVALID_URL: Cause = Cause::of(810);
    /// The call goes round in circles, or has made too many hops: 483.
    pub const EXCHANGE_ROUTING_ERROR: Cause = Cause::of(25);
    /// The other side is not there, as when it says to call elsewhere and that is not done: 480.
    pub const SUBSCRIBER_ABSENT: Cause = Cause::of(20);
    /// The caller may not call there: 403.
    pub const OUTGOING_CALL_BARRED: Cause = Cause::of(52);
    /// Somebody else answered first.
    pub const LOSE_RACE: Cause = Cause::of(702);
    /// Rejected: 603.
    pub const CALL_REJECTED: Cause = Cause::of(21);
    /// No more specific cause: 480.
    pub const NORMAL_UNSPECIFIED: Cause = Cause::of(31);
    /// A fault that will pass: 503.
    pub const NORMAL_TEMPORARY_FAILURE: Cause = Cause::of(41);
    /// Too many calls: 503.
    pub const SWITCH_CONGESTION: Cause = Cause::of(42);
    /// No common codec: 488.
    pub const INCOMPATIBLE_DESTINATION: Cause = Cause::of(88);
    /// A timer of the protocol expired, such as the one that waits for ACK: 504.
    pub const RECOVERY_ON_TIMER_EXPIRE: Cause = Cause::of(102);
    /// The caller sent CANCEL: 487.
    pub const ORIGINATOR_CANCEL: Cause = Cause::of(487);
    /// The server stops: 503.
    pub const SYSTEM_SHUTDOWN: Cause = Cause::of(701);
    /// An operator ended the call.
    pub const MANAGER_REQUEST: Cause = Cause::of(703);
    /// The call was as long as it may be.
    pub const ALLOTTED_TIMEOUT: Cause = Cause::of(802);
    /// Media did not start, or stopped coming.
    pub const MEDIA_TIMEOUT: Cause = Cause::of(804);

    /// Reads a name such as `USER_BUSY`, in any case, or a number such as `17`.
    pub fn parse(text: &str) -> Option<Cause> {
        let number = text.parse::<u16>().ok();
        let is_it = |row: &&Row| number == Some(row.number) || row.name.eq_ignore_ascii_case(text);
        CAUSES.iter().find(is_it).map(|row| Cause { row })
    }

    /// The cause that a final response with this status stands for. RFC 3398 §8.2.6.1.
    pub fn from_sip_status(status: u16) -> Cause {
        Cause::numbered(match status {
            200..=299 => 16,
            401..=403 | 407 | 603 | 608 => 21,
            404 | 485 | 604 => 1,
            408 | 504 => 102,
            410 => 22,
            405 => 63,
            406 | 415 | 501 => 79,
            413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
            400 | 481 | 500 | 503 => 41,
            480 => 18,
            482 | 483 => 25,
            484 => 28,
            486 | 600 => 17,
            487 => 487,
            488 | 606 => 88,
            502 => 38,
            _ => 31,
        })
    }

    /// The cause of a `Reason: Q.850;cause=…` header, or of a trunk; unknown numbers are `NORMAL_UNSPECIFIED`.
    pub fn from_q850(number: u8) -> Cause {
        Cause::numbered(u16::from(number))
    }

    /// The name, in capitals.
    pub fn name(self) -> &'static str {
        self.row.name
    }

    /// The number for `Reason: Q.850;cause=…` (RFC 3326). A cause that Q.850 does not know has the closest one.
    pub fn q850(self) -> u8 {
        self.row.q850
    }

    /// The status of the final response if the call was not answered. RFC 4497 §8.4.1 where it has one.
    pub fn sip_status(self) -> u16 {
        self.row.sip_status
    }

    /// All causes, by number.
    pub fn all() -> impl Iterator<Item = Cause> {
        CAUSES.iter().map(|row| Cause { row })
    }

    fn numbered(number: u16) -> Cause {
        CAUSES
            .iter()
            .find(|row| row.number == number)
            .map_or(Cause::NORMAL_UNSPECIFIED, |row| Cause { row })
    }

    /// For the constants: a number without a row does not compile.
    const fn of(number: u16) -> Cause {
        let mut index = 0;
        while CAUSES[index].number != number {
            index += 1;
        }
        Cause { row: &CAUSES[index] }
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.row.number == other.row.number
    }
}

impl Eq for Cause {}

impl std::fmt::Debug for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.row.name)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.row.name)
    }
}

const fn row(number: u16, q850: u8, sip_status: u16, name: &'static str) -> Row {
    Row { name, number, q850, sip_status }
}

/// Numbers up to 127 are those of Q.850, the others FreeSWITCH's own.
static CAUSES: [Row; 68] = [
    row(0, 31, 480, "NONE"),
    row(1, 1, 404, "UNALLOCATED_NUMBER"),
    row(2, 2, 404, "NO_ROUTE_TRANSIT_NET"),
    row(3, 3, 404, "NO_ROUTE_DESTINATION"),
    row(6, 6, 480, "CHANNEL_UNACCEPTABLE"),
    row(7, 7, 480, "CALL_AWARDED_DELIVERED"),
    row(16, 16, 480, "NORMAL_CLEARING"),
    row(17, 17, 486, "USER_BUSY"),
    row(18, 18, 408, "NO_USER_RESPONSE"),
    row(19, 19, 480, "NO_ANSWER"),
    row(20, 20, 480, "SUBSCRIBER_ABSENT"),
    row(21, 21, 603, "CALL_REJECTED"),
    row(22, 22, 410, "NUMBER_CHANGED"),
    row(23, 23, 410, "REDIRECTION_TO_NEW_DESTINATION"),
    row(25, 25, 483, "EXCHANGE_ROUTING_ERROR"),
    row(27, 27, 502, "DESTINATION_OUT_OF_ORDER"),
    row(28, 28, 484, "INVALID_NUMBER_FORMAT"),
    row(29, 29, 501, "FACILITY_REJECTED"),
    row(30, 30, 480, "RESPONSE_TO_STATUS_ENQUIRY"),
    row(31, 31, 480, "NORMAL_UNSPECIFIED"),
    row(34, 34, 503, "NORMAL_CIRCUIT_CONGESTION"),
    row(38, 38, 503, "NETWORK_OUT_OF_ORDER"),
    row(41, 41, 503, "NORMAL_TEMPORARY_FAILURE"),
    row(42, 42, 503, "SWITCH_CONGESTION"),
    row(43, 43, 480, "ACCESS_INFO_DISCARDED"),
    row(44, 44, 503, "REQUESTED_CHAN_UNAVAIL"),
    row(45, 45, 480, "PRE_EMPTED"),
    row(50, 50, 480, "FACILITY_NOT_SUBSCRIBED"),
    row(52, 52, 403, "OUTGOING_CALL_BARRED"),
    row(54, 54, 403, "INCOMING_CALL_BARRED"),
    row(57, 57, 403, "BEARERCAPABILITY_NOTAUTH"),
    row(58, 58, 503, "BEARERCAPABILITY_NOTAVAIL"),
    row(63, 63, 480, "SERVICE_UNAVAILABLE"),
    row(65, 65, 488, "BEARERCAPABILITY_NOTIMPL"),
    row(66, 66, 480, "CHAN_NOT_IMPLEMENTED"),
    row(69, 69, 501, "FACILITY_NOT_IMPLEMENTED"),
    row(79, 79, 501, "SERVICE_NOT_IMPLEMENTED"),
    row(81, 81, 480, "INVALID_CALL_REFERENCE"),
    row(88, 88, 488, "INCOMPATIBLE_DESTINATION"),
    row(95, 95, 480, "INVALID_MSG_UNSPECIFIED"),
    row(96, 96, 480, "MANDATORY_IE_MISSING"),
    row(97, 97, 480, "MESSAGE_TYPE_NONEXIST"),
    row(98, 98, 480, "WRONG_MESSAGE"),
    row(99, 99, 480, "IE_NONEXIST"),
    row(100, 100, 480, "INVALID_IE_CONTENTS"),
    row(101, 101, 480, "WRONG_CALL_STATE"),
    row(102, 102, 504, "RECOVERY_ON_TIMER_EXPIRE"),
    row(103, 103, 480, "MANDATORY_IE_LENGTH_ERROR"),
    row(111, 111, 480, "PROTOCOL_ERROR"),
    row(127, 127, 480, "INTERWORKING"),
    row(142, 16, 480, "SUCCESS"),
    row(487, 16, 487, "ORIGINATOR_CANCEL"),
    row(700, 41, 500, "CRASH"),
    row(701, 41, 503, "SYSTEM_SHUTDOWN"),
    row(702, 26, 480, "LOSE_RACE"),
    row(703, 16, 480, "MANAGER_REQUEST"),
    row(800, 16, 480, "BLIND_TRANSFER"),
    row(801, 16, 480, "ATTENDED_TRANSFER"),
    row(802, 102, 480, "ALLOTTED_TIMEOUT"),
    row(803, 21, 480, "USER_CHALLENGE"),
    row(804, 41, 480, "MEDIA_TIMEOUT"),
    row(805, 26, 480, "PICKED_OFF"),
    row(806, 20, 480, "USER_NOT_REGISTERED"),
    row(807, 102, 480, "PROGRESS_TIMEOUT"),
    row(808, 28, 484, "INVALID_GATEWAY"),
    row(809, 27, 503, "GATEWAY_DOWN"),
    row(810, 28, 484, "INVALID_URL"),
    row(811, 27, 502, "INVALID_PROFILE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_read_by_name_and_by_number() {
        for cause in Cause::all() {
            assert_eq!(Cause::parse(cause.name()), Some(cause));
            assert_eq!(Cause::parse(&cause.name().to_ascii_lowercase()), Some(cause));
        }
        assert_eq!(Cause::parse("17"), Some(Cause::USER_BUSY));
        assert_eq!(Cause::parse("NORMAL_CLEARNING"), None);
        assert_eq!(Cause::parse("5000"), None);
    }

    #[test]
    fn names_and_numbers_are_unique_and_ordered() {
        let numbers: Vec<u16> = CAUSES.iter().map(|row| row.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let names: std::collections::BTreeSet<_> = CAUSES.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), CAUSES.len());
    }

    #[test]
    fn rfc3326_every_cause_has_a_number_of_q850() {
        for cause in Cause::all() {
            assert!((1..=127).contains(&cause.q850()), "{cause}");
            if (1..=127).contains(&cause.row.number) {
                assert_eq!(u16::from(cause.q850()), cause.row.number);
                assert_eq!(Cause::from_q850(cause.q850()), cause);
            }
        }
        assert_eq!(Cause::from_q850(126), Cause::NORMAL_UNSPECIFIED);
    }

    #[test]
    fn rfc4497_8_4_1_an_unanswered_call_gets_a_final_response() {
        for cause in Cause::all() {
            assert!((400..=699).contains(&cause.sip_status()), "{cause}");
        }
        assert_eq!(Cause::NO_ROUTE_DESTINATION.sip_status(), 404);
        assert_eq!(Cause::USER_BUSY.sip_status(), 486);
        assert_eq!(Cause::INCOMPATIBLE_DESTINATION.sip_status(), 488);
    }

    #[test]
    fn rfc3398_8_2_6_1_a_status_becomes_a_cause() {
        let expected = [
            (404, 1),
            (486, 17),
            (603, 21),
            (408, 102),
            (488, 88),
            (487, 16),
            (503, 41),
            (599, 31),
        ];
        for (status, q850) in expected {
            assert_eq!(Cause::from_sip_status(status).q850(), q850, "{status}");
        }
        for status in 0..=u16::MAX {
            assert!(!Cause::from_sip_status(status).name().is_empty());
        }
    }
}
