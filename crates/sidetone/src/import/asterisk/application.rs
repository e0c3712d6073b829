//! What one line of `extensions.conf` does, in our applications.

use super::super::note::one_line;
use super::super::sounds::Sounds;
use super::Gathered;
use super::dial;
use super::expression::Condition;
use super::extensions::{Line, with_globals};
use super::text::{Names, arguments, split};
use crate::import::folder::Folder;
use std::collections::BTreeMap;

/// What a line does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// These applications with their data.
    Actions(Vec<(String, String)>),
    /// It goes on elsewhere.
    Goto(String),
    /// It goes on at one of two places; nothing is the next line.
    Branch { condition: Condition, yes: String, no: String },
    /// Something is run or something else, and then the next line.
    Either { condition: Condition, yes: String, no: String },
    /// It goes elsewhere and comes back, with these arguments.
    Gosub { place: String, arguments: Vec<String> },
    /// It comes back.
    Return,
    /// Sounds are played while digits are taken.
    Background(Vec<String>),
    /// Digits are waited for, milliseconds.
    WaitExten(u32),
    /// The call ends.
    Hangup(String),
}

/// What is needed to read a line.
pub(super) struct Reader<'a> {
    pub names: &'a Names,
    pub globals: &'a BTreeMap<String, String>,
    /// Whether a line that does something follows.
    pub goes_on: bool,
    pub gathered: &'a mut Gathered,
    pub sounds: &'a mut Sounds,
    pub folder: &'a Folder,
}

impl Reader<'_> {
    /// Reads a line; in words why it has no equivalent.
    pub(super) fn doing(&mut self, line: &Line) -> Result<Doing, String> {
        let all = line.arguments.as_str();
        let parts = arguments(all);
        let first = parts.first().copied().unwrap_or_default();
        let one = |name: &str, data: &str| Ok(Doing::Actions(vec![(name.into(), data.into())]));
        match line.application.as_str() {
            "noop" | "verbose" | "log" => self.log(&line.application, &parts),
            "answer" => self.answer(first),
            "ringing" => one("ring_ready", ""),
            "progress" => one("pre_answer", ""),
            "echo" => Ok(Doing::Actions(vec![
                ("answer".into(), String::new()),
                ("echo".into(), String::new()),
            ])),
            "milliwatt" => one("gentones", "%(1000,0,1004)|-1"),
            "wait" => one("sleep", &milliseconds(first)?.to_string()),
            "busy" => Ok(Doing::Hangup("USER_BUSY".to_owned())),
            "congestion" => Ok(Doing::Hangup("NORMAL_CIRCUIT_CONGESTION".to_owned())),
            "hangup" => self.hangup(first),
            "playback" => self.playback(line, &parts),
            "background" => Ok(Doing::Background(self.sound_names(line, first)?)),
            "waitexten" => {
                Ok(Doing::WaitExten(if first.is_empty() { 10_000 } else { milliseconds(first)? }))
            }
            "musiconhold" | "startmusiconhold" => one("endless_playback", "common/hold_music.wav"),
            "read" => self.read(line, &parts),
            "record" => self.record(first, &parts),
            "set" | "mset" => self.set(line, all),
            "dial" => {
                let Reader { names, globals, goes_on, gathered, .. } = self;
                dial::actions(line, names, globals, *goes_on, gathered).map(Doing::Actions)
            }
            "goto" => Ok(Doing::Goto(all.to_owned())),
            "gotoif" => {
                let (condition, yes, no) = self.condition(all)?;
                Ok(Doing::Branch { condition, yes: yes.to_owned(), no: no.to_owned() })
            }
            "execif" => {
                let (condition, yes, no) = self.condition(all)?;
                Ok(Doing::Either { condition, yes: yes.to_owned(), no: no.to_owned() })
            }
            "gosub" => {
                let (place, inside) = match all.split_once('(') {
                    Some((place, inside)) => (place, inside.strip_suffix(')').unwrap_or(inside)),
                    None => (all, ""),
                };
                let given = arguments(inside).into_iter().filter(|argument| !argument.is_empty());
                let arguments = given.map(|text| self.text(text)).collect::<Result<_, _>>()?;
                Ok(Doing::Gosub { place: place.to_owned(), arguments })
            }
            "return" => Ok(Doing::Return),
            _ => Err("there is no such application here".to_owned()),
        }
    }

    fn text(&self, source: &str) -> Result<String, String> {
        self.names.text(source)
    }

    fn log(&self, application: &str, parts: &[&str]) -> Result<Doing, String> {
        let (level, words) = match (application, parts) {
            ("verbose", [level, words @ ..])
                if level.parse::<u8>().is_ok() && !words.is_empty() =>
            {
                ("INFO", words)
            }
            ("log", [level, words @ ..]) => match level.to_ascii_uppercase().as_str() {
                "ERROR" => ("ERR", words),
                "WARNING" => ("WARNING", words),
                "DEBUG" | "VERBOSE" => ("DEBUG", words),
                _ => ("INFO", words),
            },
            (_, words) => ("INFO", words),
        };
        let words = words.join(", ");
        if words.is_empty() {
            return Ok(Doing::Actions(Vec::new()));
        }
        // What is only for the log is no reason to leave the line out.
        let words = self.text(&words).unwrap_or_else(|_| words.replace('$', ""));
        Ok(Doing::Actions(vec![("log".to_owned(), format!("{level} {words}"))]))
    }

    fn answer(&self, delay: &str) -> Result<Doing, String> {
        let mut actions = vec![("answer".to_owned(), String::new())];
        if delay.parse::<u32>().is_ok_and(|ms| ms > 0) {
            actions.push(("sleep".to_owned(), delay.to_owned()));
        }
        Ok(Doing::Actions(actions))
    }

    fn hangup(&self, cause: &str) -> Result<Doing, String> {
        let is_number = cause.parse::<u8>().is_ok_and(|number| (1..=127).contains(&number));
        Ok(Doing::Hangup(if is_number { cause.to_owned() } else { String::new() }))
    }

    /// The sounds of `one&two`, by the names they have here.
    fn sound_names(&mut self, line: &Line, text: &str) -> Result<Vec<String>, String> {
        let text = with_globals(text, self.globals);
        let mut names = Vec::new();
        for wanted in text.split('&').map(str::trim).filter(|wanted| !wanted.is_empty()) {
            if wanted.contains('$') {
                return Err("the name of a sound may not come from a variable".to_owned());
            }
            let Reader { folder, gathered, .. } = self;
            names.push(self.sounds.name(wanted, folder, &mut gathered.notes, &line.location));
        }
        if names.is_empty() {
            return Err("it names no sound".to_owned());
        }
        Ok(names)
    }

    fn playback(&mut self, line: &Line, parts: &[&str]) -> Result<Doing, String> {
        let names = self.sound_names(line, parts.first().copied().unwrap_or_default())?;
        let mut actions = Vec::new();
        if parts.get(1).is_some_and(|options| options.contains("noanswer")) {
            actions.push(("pre_answer".to_owned(), String::new()));
        }
        actions.extend(names.into_iter().map(|name| ("playback".to_owned(), name)));
        Ok(Doing::Actions(actions))
    }

    /// `Read(variable,sounds,most digits,options,tries,seconds)`.
    fn read(&mut self, line: &Line, parts: &[&str]) -> Result<Doing, String> {
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let variable = variable_name(part(0))?;
        let sound = match part(1) {
            "" => "silence_stream://1".to_owned(),
            sounds => self.sound_names(line, sounds)?.join("!"),
        };
        let most = part(2).parse().ok().filter(|most| (1..=128).contains(most)).unwrap_or(128_u32);
        let timeout = if part(5).is_empty() { 10_000 } else { milliseconds(part(5))?.max(1) };
        let data = format!("0 {most} {sound} {variable} {timeout} #");
        Ok(Doing::Actions(vec![("read".to_owned(), data)]))
    }

    /// `Record(file.wav,silence,seconds,options)`.
    fn record(&mut self, file: &str, parts: &[&str]) -> Result<Doing, String> {
        let number = |at: usize| {
            let seconds = parts.get(at).copied().unwrap_or_default();
            seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0)
        };
        let file = format!("{}.wav", recorded_name(file));
        let file = self.text(&file)?;
        if file.contains(' ') {
            return Err("the name of a recording has no blanks here".to_owned());
        }
        let limit = number(2).unwrap_or(3_600).min(86_400);
        let data = match number(1) {
            Some(silence) => format!("{file} {limit} 200 {silence}"),
            None => format!("{file} {limit}"),
        };
        Ok(Doing::Actions(vec![("record".to_owned(), data)]))
    }

    fn set(&mut self, line: &Line, text: &str) -> Result<Doing, String> {
        let (name, value) = text.split_once('=').ok_or("write Set(name=value)")?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        let name = match name.trim().trim_start_matches('_') {
            "CALLERID(num)" | "CALLERID(number)" => "effective_caller_id_number",
            "CALLERID(name)" => "effective_caller_id_name",
            "CALLERID(all)" => {
                let (name, number) = value.split_once('<').unwrap_or((value, ""));
                let number = number.trim().trim_end_matches('>');
                let name = name.trim().trim_matches('"');
                let set = |variable: &str, value: &str| {
                    Ok::<_, String>(("set".to_owned(), format!("{variable}={}", self.text(value)?)))
                };
                return Ok(Doing::Actions(vec![
                    set("effective_caller_id_name", name)?,
                    set("effective_caller_id_number", number)?,
                ]));
            }
            other if self.globals.contains_key(other) => {
                let what = format!("Set({}): a call changes its own value only", one_line(other));
                self.gathered.notes.supplied(Some(&line.location), what);
                variable_name(other)?
            }
            other => variable_name(other)?,
        };
        let value = self.text(value)?;
        Ok(Doing::Actions(vec![("set".to_owned(), format!("{name}={value}"))]))
    }

    /// `condition?yes:no`.
    fn condition<'t>(&self, text: &'t str) -> Result<(Condition, &'t str, &'t str), String> {
        let (condition, rest) = match split(text, '?').as_slice() {
            [condition, ..] => {
                let rest = text.get(condition.len()..).unwrap_or_default();
                (*condition, rest.trim_start().strip_prefix('?').unwrap_or_default())
            }
            [] => return Err("it has no condition".to_owned()),
        };
        let sides = split(rest, ':');
        let side = |at: usize| sides.get(at).copied().unwrap_or_default();
        Ok((Condition::parse(condition, self.names)?, side(0), side(1)))
    }
}

/// A variable that can be set.
fn variable_name(name: &str) -> Result<&str, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match !name.is_empty() && name.len() <= 64 && name.bytes().all(is_fit) {
        true => Ok(name),
        false if name.contains('(') => {
            let function = name.split('(').next().unwrap_or_default();
            Err(format!("the function {function}() has no equivalent"))
        }
        false => Err("a variable has a name of letters, digits, _ - and .".to_owned()),
    }
}

/// Seconds, with a fraction, as milliseconds.
fn milliseconds(seconds: &str) -> Result<u32, String> {
    let read: Option<f64> = seconds.trim().parse().ok();
    let seconds = read.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    let seconds = seconds.ok_or("the time is no number of seconds, up to a day")?;
    Ok(std::time::Duration::from_secs_f64(seconds).as_millis().try_into().unwrap_or(u32::MAX))
}

/// The name of a file that is recorded to, without its ending.
pub(super) fn recorded_name(file: &str) -> String {
    let file = file.trim().trim_start_matches('/').replace("%d", "${UNIQUEID}");
    match file.rsplit_once([':', '.']) {
        Some((name, ending)) if ending.len() <= 5 => name.to_owned(),
        _ => file,
    }
}
