//! Tones, written in the language that FreeSWITCH calls TGML.

use std::fmt;
use std::ops::RangeInclusive;

/// Tones that follow one another, read from a script such as `%(1000,0,1004)` or `v=-10;%(400,200,400,450)|-1`.
///
/// A script is a list of commands, separated by `;`, blanks or nothing:
///
/// | Command | Means |
/// |---|---|
/// | `%(on,off,hz,hz…)` | a tone of these frequencies for `on` ms, then silence for `off` ms; 0 Hz is silence |
/// | `0`–`9`, `A`–`D`, `*`, `#` | that key, for the default duration; `7(1000,500)` gives it its own |
/// | `d=ms`, `w=ms` | default duration of a key (250) and of the silence after it (62) |
/// | `v=dB` | level of what follows, −63 to 0 |
/// | `l=n` | the next tone n times |
/// | `L=n`, `loops=n`, or `\|n` at the end | the whole script n times, for ever if n is negative |
///
/// Not read: `c=`, `r=` and the decay commands `>=`, `<=`, `+=`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToneScript {
    source: String,
    tones: Vec<Tone>,
    repeat: Repeat,
}

/// One tone and the silence after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// How long it sounds, in milliseconds.
    pub on_ms: u32,
    /// How long the silence after it is, in milliseconds.
    pub off_ms: u32,
    /// Its frequencies in Hz, at most 8, each from 20 to 3900; none is silence.
    pub frequencies_hz: Vec<f32>,
    /// Level of each frequency in dB below full scale, −63 to 0.
    pub level_db: f32,
}

/// How often a script is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// This many times, at least once.
    Times(u32),
    /// Until the call ends.
    Forever,
}

impl ToneScript {
    /// Reads a script.
    ///
    /// # Errors
    /// Says in words what cannot be read, or which bound is passed.
    pub fn parse(source: &str) -> Result<ToneScript, String> {
        if source.len() > SCRIPT_BYTES_MAX {
            return Err(format!("a script has at most {SCRIPT_BYTES_MAX} bytes"));
        }
        let (commands, repeat) = match source.rsplit_once('|') {
            Some((commands, times)) => (commands, read_repeat(times)?),
            None => (source, Repeat::Times(1)),
        };
        let mut reader = Reader { rest: commands, repeat, ..Reader::default() };
        reader.read_all()?;
        let duration_ms: u64 = reader.tones.iter().map(Tone::duration_ms).sum();
        if duration_ms == 0 {
            return Err("the script has no tone; write for example %(1000,0,1004)".to_owned());
        }
        if duration_ms > DURATION_MS_MAX {
            return Err(format!(
                "one pass of the script lasts {duration_ms} ms, over the bound of {DURATION_MS_MAX}"
            ));
        }
        Ok(ToneScript {
            source: source.trim().to_owned(),
            tones: reader.tones,
            repeat: reader.repeat,
        })
    }

    /// The script as it was written: equal texts sound equal.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tones of one pass, at least one; one pass lasts 1 ms to 60 s.
    pub fn tones(&self) -> &[Tone] {
        &self.tones
    }

    /// How often they are played.
    pub fn repeat(&self) -> Repeat {
        self.repeat
    }
}

impl fmt::Display for ToneScript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl Tone {
    /// Sound and silence together, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        u64::from(self.on_ms) + u64::from(self.off_ms)
    }
}

struct Reader<'a> {
    rest: &'a str,
    tones: Vec<Tone>,
    repeat: Repeat,
    level_db: f32,
    key_on_ms: u32,
    key_off_ms: u32,
    /// How often the next tone is played.
    next_times: u32,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Reader {
            rest: "",
            tones: Vec::new(),
            repeat: Repeat::Times(1),
            level_db: LEVEL_DB,
            key_on_ms: KEY_ON_MS,
            key_off_ms: KEY_OFF_MS,
            next_times: 1,
        }
    }
}

impl<'a> Reader<'a> {
    fn read_all(&mut self) -> Result<(), String> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ';']);
            let Some(first) = self.rest.chars().next() else { return Ok(()) };
            let command = self.rest.split(';').next().unwrap_or_default();
            match command.split_once('=') {
                Some((name, value))
                    if name.bytes().all(|byte| !byte.is_ascii_digit() && byte != b'(') =>
                {
                    self.rest = self.rest.get(command.len()..).unwrap_or_default();
                    self.set(name.trim(), value.trim())?;
                }
                _ => self.read_tone(first)?,
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "v" => self.level_db = read_level(value)?,
            "d" => self.key_on_ms = read_ms(value)?,
            "w" => self.key_off_ms = read_ms(value)?,
            "l" => self.next_times = read_times(value)?,
            "L" | "loops" => self.repeat = read_repeat(value)?,
            _ => {
                return Err(format!("{name}= is not supported; d=, w=, v=, l=, L= and loops= are"));
            }
        }
        Ok(())
    }

    fn read_tone(&mut self, first: char) -> Result<(), String> {
        self.rest = self.rest.get(first.len_utf8()..).unwrap_or_default();
        let arguments = self.read_arguments()?;
        let tone = if first == '%' {
            self.free_tone(arguments.unwrap_or_default())?
        } else {
            self.key_tone(first, arguments)?
        };
        for _ in 0..std::mem::replace(&mut self.next_times, 1) {
            if self.tones.len() >= TONES_MAX {
                return Err(format!("a script has at most {TONES_MAX} tones"));
            }
            self.tones.push(tone.clone());
        }
        Ok(())
    }

    /// Reads `(…)`, if it is what follows.
    fn read_arguments(&mut self) -> Result<Option<&'a str>, String> {
        let Some(inside) = self.rest.strip_prefix('(') else { return Ok(None) };
        let (arguments, after) =
            inside.split_once(')').ok_or("a closing parenthesis is missing")?;
        self.rest = after;
        Ok(Some(arguments))
    }

    fn free_tone(&self, arguments: &str) -> Result<Tone, String> {
        let mut parts = arguments.split(',').map(str::trim);
        let (Some(on), Some(off)) = (parts.next(), parts.next()) else {
            return Err("a tone is written %(on ms,off ms,frequency in Hz,…)".to_owned());
        };
        let frequencies: Vec<f32> = parts.map(read_frequency).collect::<Result<_, _>>()?;
        if frequencies.is_empty() {
            return Err("a tone needs a frequency: %(on ms,off ms,frequency in Hz,…)".to_owned());
        }
        if frequencies.len() > FREQUENCIES_MAX {
            return Err(format!("a tone has at most {FREQUENCIES_MAX} frequencies"));
        }
        let frequencies_hz = frequencies.into_iter().filter(|frequency| *frequency > 0.0).collect();
        Ok(Tone {
            on_ms: read_ms(on)?,
            off_ms: read_ms(off)?,
            frequencies_hz,
            level_db: self.level_db,
        })
    }

    fn key_tone(&self, key: char, arguments: Option<&str>) -> Result<Tone, String> {
        let index = KEYS.iter().position(|known| *known == key.to_ascii_uppercase());
        let index = index
            .ok_or_else(|| format!("\"{key}\" is neither a tone %(…) nor a key 0-9, A-D, *, #"))?;
        let (row, column) = (index / COLUMNS_HZ.len(), index % COLUMNS_HZ.len());
        let (on_ms, off_ms) = match arguments {
            None => (self.key_on_ms, self.key_off_ms),
            Some(arguments) => {
                let (on, off) =
                    arguments.split_once(',').ok_or("a key is written 7 or 7(on ms,off ms)")?;
                (read_ms(on)?, read_ms(off)?)
            }
        };
        Ok(Tone {
            on_ms,
            off_ms,
            frequencies_hz: vec![ROWS_HZ[row], COLUMNS_HZ[column]],
            level_db: self.level_db,
        })
    }
}

fn read_ms(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let ms = text.parse::<u32>().ok().filter(|ms| u64::from(*ms) <= DURATION_MS_MAX);
    ms.ok_or_else(|| format!("\"{text}\" is not a duration in ms from 0 to {DURATION_MS_MAX}"))
}

fn read_frequency(text: &str) -> Result<f32, String> {
    let is_known = |frequency: &f32| *frequency == 0.0 || FREQUENCIES_HZ.contains(frequency);
    let (low, high) = (FREQUENCIES_HZ.start(), FREQUENCIES_HZ.end());
    let frequency = text.parse::<f32>().ok().filter(is_known);
    frequency.ok_or_else(|| {
        format!("\"{text}\" is not a frequency from {low} to {high} Hz, or 0 for silence")
    })
}

fn read_level(text: &str) -> Result<f32, String> {
    let level = text.parse::<f32>().ok().filter(|level| (-63.0..=0.0).contains(level));
    level.ok_or_else(|| format!("v={text} is not a level from -63 to 0 dB"))
}

fn read_times(text: &str) -> Result<u32, String> {
    let times = text.parse::<u32>().ok().filter(|times| (1..=TIMES_MAX).contains(times));
    times.ok_or_else(|| format!("\"{text}\" is not a number of times from 1 to {TIMES_MAX}"))
}

/// 0 is once, as in FreeSWITCH.
fn read_repeat(text: &str) -> Result<Repeat, String> {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(times) if times < 0 => Ok(Repeat::Forever),
        Ok(0) => Ok(Repeat::Times(1)),
        _ => read_times(text).map(Repeat::Times),
    }
}

/// Longest script.
const SCRIPT_BYTES_MAX: usize = 4096;
/// Most tones of a script.
const TONES_MAX: usize = 32;
/// Most frequencies of a tone.
const FREQUENCIES_MAX: usize = 8;
/// Longest pass of a script.
const DURATION_MS_MAX: u64 = 60_000;
/// Highest count of a loop.
const TIMES_MAX: u32 = 1_000_000;
/// What is heard over G.711, whose clock rate is 8000 Hz.
const FREQUENCIES_HZ: RangeInclusive<f32> = 20.0..=3900.0;
/// Level of a tone without `v=`.
const LEVEL_DB: f32 = -7.0;
/// Duration of a key without `d=`, in milliseconds.
const KEY_ON_MS: u32 = 250;
/// Silence after a key without `w=`, in milliseconds.
const KEY_OFF_MS: u32 = 62;

/// The keys, row by row. ITU-T Q.23.
const KEYS: [char; 16] =
    ['1', '2', '3', 'A', '4', '5', '6', 'B', '7', '8', '9', 'C', '*', '0', '#', 'D'];
const ROWS_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn tone(on_ms: u32, off_ms: u32, frequencies_hz: &[f32], level_db: f32) -> Tone {
        Tone { on_ms, off_ms, frequencies_hz: frequencies_hz.to_vec(), level_db }
    }

    #[test]
    fn a_milliwatt_for_ever() {
        let script = ToneScript::parse("%(1000,0,1004)|-1").unwrap();
        assert_eq!(script.tones(), [tone(1000, 0, &[1004.0], LEVEL_DB)]);
        assert_eq!(script.repeat(), Repeat::Forever);
    }

    #[test]
    fn tones_follow_one_another_with_levels() {
        let script =
            ToneScript::parse("v=-10; %(400,200,400,450)%(400,2000,400,450);v=-3;%(100, 0, 350.5)")
                .unwrap();
        let expected = [
            tone(400, 200, &[400.0, 450.0], -10.0),
            tone(400, 2000, &[400.0, 450.0], -10.0),
            tone(100, 0, &[350.5], -3.0),
        ];
        assert_eq!(script.tones(), expected);
        assert_eq!(script.repeat(), Repeat::Times(1));
    }

    #[test]
    fn loops_are_of_the_next_tone_or_of_the_script() {
        let script = ToneScript::parse("l=3;%(10,10,500);%(20,0,600)").unwrap();
        assert_eq!(script.tones().len(), 4);
        for (text, repeat) in [
            ("%(1,0,500)|3", Repeat::Times(3)),
            ("%(1,0,500)|0", Repeat::Times(1)),
            ("L=2;%(1,0,500)", Repeat::Times(2)),
            ("%(1,0,500);loops=-1", Repeat::Forever),
        ] {
            assert_eq!(ToneScript::parse(text).unwrap().repeat(), repeat, "{text}");
        }
    }

    #[test]
    fn keys_have_their_two_frequencies() {
        let script = ToneScript::parse("d=100;w=50;1d7(1000, 500)#").unwrap();
        let expected = [
            tone(100, 50, &[697.0, 1209.0], LEVEL_DB),
            tone(100, 50, &[941.0, 1633.0], LEVEL_DB),
            tone(1000, 500, &[852.0, 1209.0], LEVEL_DB),
            tone(100, 50, &[941.0, 1477.0], LEVEL_DB),
        ];
        assert_eq!(script.tones(), expected);
    }

    #[test]
    fn a_frequency_of_zero_is_silence() {
        assert_eq!(ToneScript::parse("%(167,0,0)").unwrap().tones(), [tone(167, 0, &[], LEVEL_DB)]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "|-1",
            "%(0,0,1000)",
            "%(1000,0)",
            "%(1000)",
            "%",
            "%(1000,0,1004",
            "%(-1,0,1004)",
            "%(1000,0,3901)",
            "%(1000,0,19)",
            "%(1000,0,-1)",
            "%(1,0,100,100,100,100,100,100,100,100,100)",
            "%(1000,0,NaN)",
            "%(1000,0,x)",
            "%(60001,0,440)",
            "%(60000,1,440)",
            "v=1;%(1,0,440)",
            "v=;%(1,0,440)",
            "r=16000;%(1,0,440)",
            "l=0;%(1,0,440)",
            "l=33;%(1,0,440)",
            "%(1,0,440)|x",
            "x",
            "é",
            "7(100)",
        ] {
            assert!(ToneScript::parse(text).is_err(), "{text:?}");
        }
        assert!(ToneScript::parse(&"%(1,0,440)".repeat(32)).is_ok());
        assert!(ToneScript::parse(&"%(1,0,440)".repeat(33)).is_err());
    }
}
