//! Digits that a caller is asked for.

use std::time::Duration;

use crate::call::{Call, Ended};
use crate::play::Play;

/// Which digits are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub min: usize,
    pub max: usize,
    /// How long the first digit may take, once everything is played.
    pub timeout: Duration,
    /// How long each further digit may take.
    pub digit_timeout: Duration,
    /// Keys that end the input.
    pub terminators: Vec<char>,
}

/// What was pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub digits: String,
    /// The key that ended it.
    pub terminator: Option<char>,
}

impl Wanted {
    /// Whether enough was pressed.
    pub(crate) fn is_met(&self, gathered: &Gathered) -> bool {
        gathered.digits.len() >= self.min
    }

    /// Plays `prompt`, which the first digit stops, and takes digits until there are enough, one of the terminators
    /// is pressed, or none comes any more.
    pub(crate) async fn gather(
        &self,
        prompt: Option<&Play>,
        call: &mut dyn Call,
    ) -> Result<Gathered, Ended> {
        let mut gathered = Gathered::default();
        let mut next = match prompt {
            Some(prompt) => {
                call.play(&Play { stop_on: crate::play::keys("any"), ..prompt.clone() }).await?
            }
            None => None,
        };
        loop {
            let is_first = gathered.digits.is_empty();
            let digit = match next.take() {
                Some(digit) => Some(digit),
                None if is_first => call.digit(self.timeout).await?,
                None => call.digit(self.digit_timeout).await?,
            };
            let Some(digit) = digit else { return Ok(gathered) };
            if self.terminators.contains(&digit) {
                gathered.terminator = Some(digit);
                return Ok(gathered);
            }
            gathered.digits.push(digit);
            if gathered.digits.len() >= self.max {
                return Ok(gathered);
            }
        }
    }
}
