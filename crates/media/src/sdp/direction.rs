//! Who sends: `a=sendrecv` and its kin (RFC 3264 §5.1, §6.1).

use std::fmt;

/// The direction of a media stream, as the one who wrote the description sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer sends only.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// From what is sent and what is received.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The direction of an attribute's name, if it is one of a direction.
    pub fn parse(attribute: &str) -> Option<Self> {
        ALL.into_iter().find(|direction| direction.as_str() == attribute)
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream as the other side sees it.
    pub fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both this direction and `other`, seen from the same side, allow.
    pub fn narrowed(self, other: Self) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const ALL: [Direction; 4] =
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_is_read_as_it_is_written() {
        for direction in ALL {
            assert_eq!(Direction::parse(direction.as_str()), Some(direction));
            assert_eq!(direction.reversed().reversed(), direction);
        }
        assert_eq!(Direction::parse("sideways"), None);
    }

    #[test]
    fn rfc3264_6_1_the_answer_to_sendonly_is_recvonly() {
        let answer = |offer: Direction| Direction::SendRecv.narrowed(offer.reversed());
        assert_eq!(answer(Direction::SendOnly), Direction::RecvOnly);
        assert_eq!(answer(Direction::RecvOnly), Direction::SendOnly);
        assert_eq!(answer(Direction::SendRecv), Direction::SendRecv);
        assert_eq!(answer(Direction::Inactive), Direction::Inactive);
        assert_eq!(
            Direction::SendOnly.narrowed(Direction::SendOnly.reversed()),
            Direction::Inactive
        );
    }
}
