//! Ports that have other numbers outside of a NAT or a container.

use std::{fmt, str::FromStr};

/// Which port outside leads to which of ours; every other port is the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMap {
    ranges: Vec<PortRange>,
}

/// Ports of ours in a row that are ports in a row outside, such as `10100-10199:30100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
    outside: u16,
}

/// A text is no [`PortRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not OURS:OUTSIDE or FIRST-LAST:OUTSIDE, as 10000:20000 or 10100-10199:30100 are")]
pub struct NoPortRange;

impl PortMap {
    /// A map of these ranges; the first one that holds a port counts.
    pub fn new(ranges: Vec<PortRange>) -> Self {
        PortMap { ranges }
    }

    /// The port of ours that `port` outside leads to.
    pub fn inside(&self, port: u16) -> u16 {
        let leads_to = |range: &&PortRange| {
            (range.outside..=range.outside + (range.last - range.first)).contains(&port)
        };
        let range = self.ranges.iter().find(leads_to);
        range.map_or(port, |range| range.first + (port - range.outside))
    }

    /// The port outside that leads to `port` of ours.
    pub fn outside(&self, port: u16) -> u16 {
        let range = self.ranges.iter().find(|range| (range.first..=range.last).contains(&port));
        range.map_or(port, |range| range.outside + (port - range.first))
    }
}

impl FromStr for PortRange {
    type Err = NoPortRange;

    fn from_str(text: &str) -> Result<Self, NoPortRange> {
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0);
        let read = || {
            let (ours, outside) = text.split_once(':')?;
            let (first, last) = ours.split_once('-').unwrap_or((ours, ours));
            let (first, last, outside): (u16, u16, u16) =
                (port(first)?, port(last)?, port(outside)?);
            let fits = outside.checked_add(last.checked_sub(first)?).is_some();
            fits.then_some(PortRange { first, last, outside })
        };
        read().ok_or(NoPortRange)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortRange { first, last, outside } = self;
        if first == last {
            write!(f, "{first}:{outside}")
        } else {
            write!(f, "{first}-{last}:{outside}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn ports_are_mapped_one_by_one_and_in_ranges() {
        let ranges = ["10000:20000", "10100-10199:30100"];
        let map = PortMap::new(ranges.iter().map(|range| range.parse().unwrap()).collect());
        let cases = [(10_000, 20_000), (10_100, 30_100), (10_199, 30_199), (10_200, 10_200)];
        for (ours, outside) in cases {
            assert_eq!((map.outside(ours), map.inside(outside)), (outside, ours));
        }
        for text in ranges {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "1", "1:", ":1", "0:1", "1:0", "2-1:5", "1-2:65535", "1:65536", "a:b"] {
            assert_eq!(text.parse::<PortRange>(), Err(NoPortRange), "{text}");
        }
        assert!("1-2:65534".parse::<PortRange>().is_ok());
    }
}
