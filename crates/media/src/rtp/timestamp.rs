//! RTP timestamps: ticks of a stream's clock rate, wrapping at 2³² (RFC 3550 §5.1).

/// When a sample was taken, in ticks of the stream's clock rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// The time `ticks` later.
    pub fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// How far `self` is ahead of `other` in ticks, over the wrap.
    pub fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_goes_over_the_wrap() {
        assert_eq!(RtpTimestamp(5).distance_from(RtpTimestamp(u32::MAX)), 6);
        assert_eq!(RtpTimestamp(u32::MAX).plus(6), RtpTimestamp(5));
    }
}
