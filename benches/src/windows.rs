//! Several windows of a load, one after the other, each with its units: see [`Yardstick`].

use std::thread;
use std::time::{Duration, Instant};

use crate::baseline::median;
use crate::error::Error;
use crate::yardstick::Yardstick;

/// One window.
struct Window {
    /// CPU for each thing that was done, in microseconds.
    cost_us: f64,
    /// Things done in a second.
    rate: f64,
    /// What each yardstick showed meanwhile, in microseconds.
    units_us: Vec<f64>,
}

/// Windows, of which medians are taken.
pub struct Windows(Vec<Window>);

impl Windows {
    /// Divides `time`; `cpu` and `count` are what was used and done so far.
    ///
    /// # Errors
    /// That of `cpu`.
    pub fn over(
        time: Duration,
        yardsticks: &[Yardstick],
        cpu: impl Fn() -> Result<Duration, Error>,
        count: impl Fn() -> u64,
    ) -> Result<Windows, Error> {
        let window = |_| {
            let marks: Vec<_> = yardsticks.iter().map(Yardstick::mark).collect();
            let (used, done, start) = (cpu()?, count(), Instant::now());
            thread::sleep(time / WINDOWS);
            let (used, done) = (cpu()?.saturating_sub(used), count() - done);
            let units = yardsticks.iter().zip(marks);
            Ok(Window {
                cost_us: used.as_secs_f64() * 1e6 / done as f64,
                rate: done as f64 / start.elapsed().as_secs_f64(),
                units_us: units.map(|(unit, mark)| unit.since(mark) / 1e3).collect(),
            })
        };
        (0..WINDOWS).map(window).collect::<Result<_, _>>().map(Windows)
    }

    /// CPU for each thing that was done, in microseconds.
    #[must_use]
    pub fn cost_us(&self) -> f64 {
        self.median(|window| window.cost_us)
    }

    /// Things done in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.median(|window| window.rate)
    }

    /// What the yardstick of this number showed, in microseconds; NaN without it.
    #[must_use]
    pub fn unit_us(&self, number: usize) -> f64 {
        self.median(|window| window.unit_us(number))
    }

    /// How often the first yardstick's work could have been done for each thing.
    #[must_use]
    pub fn multiple(&self) -> f64 {
        self.median(|window| window.cost_us / window.unit_us(0))
    }

    /// What each thing cost beyond `multiple` of the first yardstick's work, in microseconds and as
    /// a multiple of a share of the second's.
    #[must_use]
    pub fn beyond(&self, multiple: f64, share: f64) -> (f64, f64) {
        let beyond = |window: &Window| window.cost_us - multiple * window.unit_us(0);
        let own = self.median(|window| beyond(window) / (share * window.unit_us(1)));
        (self.median(beyond), own)
    }

    fn median(&self, figure: impl Fn(&Window) -> f64) -> f64 {
        median(&mut self.0.iter().map(figure).collect::<Vec<_>>())
    }
}

impl Window {
    fn unit_us(&self, number: usize) -> f64 {
        self.units_us.get(number).copied().unwrap_or(f64::NAN)
    }
}

const WINDOWS: u32 = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_figure_is_compared_within_its_window() {
        let window =
            |cost_us, units_us: [f64; 2]| Window { cost_us, rate: 1.0, units_us: units_us.into() };
        // A slow machine in the first, a fast one in the last.
        let slow_to_fast =
            [window(20.0, [10.0, 16.0]), window(9.0, [3.0, 4.0]), window(4.0, [2.0, 2.0])];
        let windows = Windows(slow_to_fast.into());
        assert_eq!((windows.cost_us(), windows.unit_us(0), windows.multiple()), (9.0, 3.0, 2.0));
        assert_eq!(windows.beyond(1.0, 0.5), (6.0, 2.0));
        assert!(windows.unit_us(2).is_nan());
    }
}
