//! What an epoll event names.

use crate::shard::LegKey;

/// What an epoll event is about, packed into its 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Waker,
    Timer,
    Sockets,
    Shared(u8),
    Rtp(LegKey),
    Rtcp(LegKey),
    /// The connected socket of a leg's RTP.
    Steady(LegKey),
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        let leg = |key: LegKey| u64::from(key.index) << 32 | u64::from(key.generation);
        match self {
            Self::Waker => 0,
            Self::Timer => 1 << 60,
            Self::Shared(socket) => 2 << 60 | u64::from(socket),
            Self::Rtp(key) => 3 << 60 | leg(key),
            Self::Rtcp(key) => 4 << 60 | leg(key),
            Self::Sockets => 5 << 60,
            Self::Steady(key) => 6 << 60 | leg(key),
        }
    }

    pub(super) fn unpack(token: u64) -> Self {
        let key = LegKey { index: (token >> 32) as u32 & INDEX_BITS, generation: token as u32 };
        match token >> 60 {
            0 => Self::Waker,
            1 => Self::Timer,
            2 => Self::Shared(token as u8),
            3 => Self::Rtp(key),
            4 => Self::Rtcp(key),
            5 => Self::Sockets,
            _ => Self::Steady(key),
        }
    }
}

/// Bits of a leg's place in a token; the plane opens fewer legs than they count.
const INDEX_BITS: u32 = (1 << 28) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_unpack_to_what_was_packed() {
        let key = LegKey { index: 0x0abc_def0, generation: u32::MAX };
        for token in [
            Token::Waker,
            Token::Timer,
            Token::Sockets,
            Token::Shared(255),
            Token::Rtp(key),
            Token::Rtcp(key),
            Token::Steady(key),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
