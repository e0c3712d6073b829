//! `play_and_get_digits`: digits of the caller that must fit an expression, with several tries.

use std::time::Duration;

use async_trait::async_trait;

use super::playback::open;
use super::read::{TIMEOUT_MS_MAX, limits};
use super::{
    Application, Argument, Entry, Globals, Lead, Next, Parsed, Place, read_number, set,
    variable_name,
};
use crate::call::{Call, Ended};
use crate::gather::Wanted;
use crate::pattern::Pattern;
use crate::play::{Play, keys};
use crate::sound::SoundName;
use crate::text::{Scope, Text};
use crate::tone::ToneScript;

pub(super) const ENTRY: Entry = Entry {
    name: "play_and_get_digits",
    summary: "Plays a sound and takes digits until they fit an expression, up to so many tries; answers first unless \
              pre_answer was run.",
    arguments: &[
        Argument { name: "min", reading: "fewest digits, 0 to 128" },
        Argument { name: "max", reading: "most digits, 1 to 128" },
        Argument { name: "tries", reading: "1 to 20" },
        Argument { name: "timeout", reading: "milliseconds for the first digit, 1 to 600000" },
        Argument { name: "terminators", reading: "keys that end the input, such as #; none" },
        Argument { name: "sound", reading: "as playback takes it; the first digit stops it" },
        Argument {
            name: "invalid",
            reading: "what is played if the digits do not fit; silence_stream://1 for nothing",
        },
        Argument { name: "variable", reading: "its name; it stays unset if no try fits" },
        Argument {
            name: "expression",
            reading: "a regular expression; without blanks; any digits if it is left out",
        },
        Argument {
            name: "digit timeout",
            reading: "milliseconds for each further digit; as timeout",
        },
        Argument { name: "failure", reading: "'NUMBER XML CONTEXT' to go to if no try fits" },
    ],
    parse,
};

#[derive(Debug)]
struct PlayAndGetDigits {
    wanted: Wanted,
    tries: u64,
    prompt: Play,
    invalid: Play,
    variable: Option<String>,
    pattern: Option<Pattern>,
    failure: Option<(Text, Option<String>)>,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let usage =
        "write MIN MAX TRIES TIMEOUT TERMINATORS SOUND INVALID VARIABLE EXPRESSION DIGIT_TIMEOUT";
    let words = data.words();
    let [min, max, tries, timeout, terminators, sound, invalid, rest @ ..] = &words[..] else {
        return Err(usage.to_owned());
    };
    let word =
        |word: &Text| word.constant(globals).ok_or("only the caller's digits come from the call");
    let optional = |at: usize| rest.get(at).map(word).transpose();
    let (min, max) = limits(&word(min)?, &word(max)?)?;
    let timeout = Duration::from_millis(read_number(&word(timeout)?, TIMEOUT_MS_MAX)?);
    let digit_timeout = match optional(2)? {
        Some(text) => Duration::from_millis(read_number(&text, TIMEOUT_MS_MAX)?),
        None => timeout,
    };
    let tries = read_number(&word(tries)?, TRIES_MAX)?.max(1);
    let pattern = optional(1)?.map(|text| Pattern::parse(&text).map_err(|fault| fault.to_string()));
    let failure = match rest.get(3) {
        Some(number) => {
            let inner = number.unquoted().words();
            let number =
                inner.first().cloned().ok_or("the number after the digit timeout is missing")?;
            let context = inner.get(2).or(rest.get(5)).map(word).transpose()?;
            Some((number, context))
        }
        None => None,
    };
    Ok(Box::new(PlayAndGetDigits {
        wanted: Wanted { min, max, timeout, digit_timeout, terminators: keys(&word(terminators)?) },
        tries,
        prompt: Play::parse(sound, globals)?,
        invalid: Play::parse(invalid, globals)?,
        variable: optional(0)?.map(|name| variable_name(&name)).transpose()?,
        pattern: pattern.transpose()?,
        failure,
    }))
}

#[async_trait]
impl Application for PlayAndGetDigits {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        open(call).await?;
        for _ in 0..self.tries {
            let gathered = self.wanted.gather(Some(&self.prompt), call).await?;
            let fits =
                self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&gathered.digits));
            if self.wanted.is_met(&gathered) && fits {
                if let Some(variable) = &self.variable {
                    set(call, variable, &gathered.digits);
                }
                set(call, "read_result", "success");
                return Ok(Next::Action);
            }
            call.play(&self.invalid).await?;
        }
        if let Some(variable) = &self.variable {
            call.variables_mut().unset(variable);
        }
        set(call, "read_result", "failure");
        Ok(match &self.failure {
            Some((number, context)) => Next::Transfer(Place {
                number: number.expand(call, scope),
                context: context.clone(),
            }),
            None => Next::Action,
        })
    }

    fn sounds(&self) -> Vec<&SoundName> {
        self.prompt.sounds().chain(self.invalid.sounds()).collect()
    }

    fn tones(&self) -> Vec<&ToneScript> {
        self.prompt.tones().chain(self.invalid.tones()).collect()
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        self.failure
            .iter()
            .map(|(number, context)| Lead::Extension { number, context: context.as_deref() })
            .collect()
    }
}

/// Most tries.
const TRIES_MAX: u64 = 20;

#[cfg(test)]
mod tests {
    use crate::script::{fault, pressing};

    const ASK: (&str, &str) =
        ("play_and_get_digits", r"1 3 2 3000 # ask.wav wrong.wav choice ^[12]\d*$ 1000");
    const SAY: (&str, &str) = ("log", "[${choice}] ${read_result}");

    #[tokio::test(start_paused = true)]
    async fn digits_that_fit_end_it() {
        let call = pressing(&[(500, '1'), (800, '#')], &[ASK, SAY]).await;
        assert_eq!(call.log()[1..3], ["0 play ask.wav", "800 log Info [1] success"]);
        let call = pressing(&[(500, '2'), (800, '5')], &[ASK, SAY]).await;
        assert_eq!(call.log()[2], "1800 log Info [25] success");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_input_is_said_and_asked_again() {
        let keys = [(500, '9'), (600, '#'), (3000, '1'), (3100, '#')];
        let call = pressing(&keys, &[ASK, SAY]).await;
        let expected = [
            "0 play ask.wav",
            "600 play wrong.wav",
            "2600 play ask.wav",
            "3100 log Info [1] success",
        ];
        assert_eq!(call.log()[1..5], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_last_try_it_goes_on_or_elsewhere() {
        let call = pressing(&[], &[("set", "choice=old"), ASK, SAY]).await;
        let expected = [
            "0 play ask.wav",
            "5000 play wrong.wav",
            "7000 play ask.wav",
            "12000 play wrong.wav",
            "14000 log Info [] failure",
        ];
        assert_eq!(call.log()[1..6], expected);
        let data = "1 1 1 1000 # ask.wav wrong.wav choice . 1000 'gone XML public'";
        let call = pressing(&[], &[("play_and_get_digits", data), SAY]).await;
        assert!(call.log()[3].contains("destination_number \"gone\" is not"), "{:?}", call.log());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused() {
        let name = "play_and_get_digits";
        for (data, says) in [
            ("1 2 3", "write MIN MAX"),
            ("1 2 1 1000 # a.wav b.wav v (?=1)", "look-around"),
            ("1 2 1 1000 # a.wav /b.wav v", "not below"),
            ("1 2 99 1000 # a.wav b.wav", "whole number from 0 to 20"),
        ] {
            assert!(fault(name, data).contains(says), "{data}: {}", fault(name, data));
        }
    }
}
