//! `read`: digits of the caller, into a variable.

use std::time::Duration;

use async_trait::async_trait;

use super::playback::open;
use super::{Application, Argument, Entry, Globals, Next, Parsed, read_number, set, variable_name};
use crate::call::{Call, Ended};
use crate::gather::Wanted;
use crate::play::{Play, keys};
use crate::sound::SoundName;
use crate::text::{Scope, Text};
use crate::tone::ToneScript;

pub(super) const ENTRY: Entry = Entry {
    name: "read",
    summary: "Plays a sound and takes digits into a variable; read_result is then success, timeout or failure (too \
              few digits); answers first unless pre_answer was run.",
    arguments: &[
        Argument { name: "min", reading: "fewest digits, 0 to 128" },
        Argument { name: "max", reading: "most digits, 1 to 128" },
        Argument { name: "sound", reading: "as playback takes it; the first digit stops it" },
        Argument { name: "variable", reading: "its name" },
        Argument { name: "timeout", reading: "milliseconds for each digit, 1 to 600000" },
        Argument { name: "terminators", reading: "keys that end the input, such as #; none" },
    ],
    parse,
};

#[derive(Debug)]
struct Read {
    wanted: Wanted,
    prompt: Play,
    variable: String,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let usage = "write MIN MAX SOUND VARIABLE TIMEOUT TERMINATORS";
    let words = data.words();
    let [min, max, sound, variable, timeout, rest @ ..] = &words[..] else {
        return Err(usage.to_owned());
    };
    let word =
        |word: &Text| word.constant(globals).ok_or("only the caller's digits come from the call");
    let timeout = Duration::from_millis(read_number(&word(timeout)?, TIMEOUT_MS_MAX)?);
    let terminators = match rest {
        [] => Vec::new(),
        [only] => keys(&word(only)?),
        _ => return Err(usage.to_owned()),
    };
    let (min, max) = limits(&word(min)?, &word(max)?)?;
    Ok(Box::new(Read {
        wanted: Wanted { min, max, timeout, digit_timeout: timeout, terminators },
        prompt: Play::parse(sound, globals)?,
        variable: variable_name(&word(variable)?)?,
    }))
}

/// Fewest and most digits.
pub(super) fn limits(min: &str, max: &str) -> Result<(usize, usize), String> {
    let number = |text: &str| {
        read_number(text, DIGITS_MAX).map(|number| usize::try_from(number).unwrap_or_default())
    };
    let (min, max) = (number(min)?, number(max)?);
    if max == 0 || min > max {
        return Err(format!("at least {min} and at most {max} digits cannot be"));
    }
    Ok((min, max))
}

#[async_trait]
impl Application for Read {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        open(call).await?;
        let gathered = self.wanted.gather(Some(&self.prompt), call).await?;
        let result = match (self.wanted.is_met(&gathered), gathered.terminator) {
            (true, _) => "success",
            (false, Some(_)) => "failure",
            (false, None) => "timeout",
        };
        set(call, &self.variable, &gathered.digits);
        set(call, "read_result", result);
        let terminator = gathered.terminator.map(String::from).unwrap_or_default();
        set(call, "read_terminator_used", &terminator);
        Ok(Next::Action)
    }

    fn sounds(&self) -> Vec<&SoundName> {
        self.prompt.sounds().collect()
    }

    fn tones(&self) -> Vec<&ToneScript> {
        self.prompt.tones().collect()
    }
}

/// Most digits that are asked for.
const DIGITS_MAX: u64 = 128;
/// Longest wait for a digit.
pub(super) const TIMEOUT_MS_MAX: u64 = 600_000;

#[cfg(test)]
mod tests {
    use crate::script::{fault, pressing};

    const READ: (&str, &str) = ("read", "2 4 ask.wav pin 3000 #");

    #[tokio::test(start_paused = true)]
    async fn digits_end_with_a_terminator() {
        let keys = [(500, '1'), (900, '2'), (1300, '3'), (1500, '#'), (1600, '9')];
        let call =
            pressing(&keys, &[READ, ("log", "${pin} ${read_result} ${read_terminator_used}")])
                .await;
        let expected = ["0 answer", "0 play ask.wav", "1500 log Info 123 success #"];
        assert_eq!(call.log()[..3], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn digits_end_when_there_are_enough() {
        let keys = [(2500, '1'), (2600, '2'), (2700, '3'), (2800, '4')];
        let call = pressing(&keys, &[READ, ("log", "${pin}")]).await;
        assert_eq!(call.log()[2], "2800 log Info 1234");
    }

    #[tokio::test(start_paused = true)]
    async fn digits_end_when_none_comes() {
        let call =
            pressing(&[(500, '1'), (900, '2')], &[READ, ("log", "${pin} ${read_result}")]).await;
        assert_eq!(call.log()[2], "3900 log Info 12 success");
        let call = pressing(&[(500, '1')], &[READ, ("log", "${pin} ${read_result}")]).await;
        assert_eq!(call.log()[2], "3500 log Info 1 timeout");
        let call = pressing(&[], &[READ, ("log", "[${pin}] ${read_result}")]).await;
        assert_eq!(call.log()[2], "5000 log Info [] timeout");
        let call =
            pressing(&[(500, '1'), (600, '#')], &[READ, ("log", "${pin} ${read_result}")]).await;
        assert_eq!(call.log()[2], "600 log Info 1 failure");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused() {
        for (data, says) in [
            ("", "write MIN MAX"),
            ("1 4 a.wav pin", "write MIN MAX"),
            ("4 1 a.wav pin 1000", "cannot be"),
            ("1 200 a.wav pin 1000", "whole number from 0 to 128"),
            ("1 4 $1 pin 1000", "may not come from the call"),
            ("1 4 a.wav p=n 1000", "name of a variable"),
            ("1 4 a.wav pin soon", "whole number"),
        ] {
            assert!(fault("read", data).contains(says), "{data}: {}", fault("read", data));
        }
    }
}
