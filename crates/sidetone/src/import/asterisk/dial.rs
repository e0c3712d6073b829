//! The application Dial: whom it calls, for how long, and its options.

use super::super::note::one_line;
use super::extensions::{Line, with_globals};
use super::text::{Names, arguments, split};
use super::{Gathered, Trunk};
use std::collections::BTreeMap;

/// The actions of a Dial. `goes_on` says whether anything follows that is run if nobody answers.
pub(super) fn actions(
    line: &Line,
    names: &Names,
    globals: &BTreeMap<String, String>,
    goes_on: bool,
    gathered: &mut Gathered,
) -> Result<Vec<(String, String)>, String> {
    let text = with_globals(&line.arguments, globals);
    let parts = arguments(&text);
    let targets = parts.first().copied().unwrap_or_default();
    let mut legs = Vec::new();
    let mut reason = "it names nobody".to_owned();
    for target in split(targets, '&').into_iter().filter(|target| !target.is_empty()) {
        match destination(target, names, &gathered.trunks) {
            Ok(leg) => legs.push(leg),
            Err(why) => {
                let what = format!("Dial({}): {why}", one_line(target));
                gathered.notes.left_out(&line.location, what);
                reason = why;
            }
        }
    }
    if legs.is_empty() {
        return Err(reason);
    }
    let set = |data: String| ("set".to_owned(), data);
    let mut actions = Vec::new();
    if let Some(seconds) = parts.get(1).filter(|seconds| !seconds.is_empty()) {
        match seconds.parse::<f64>() {
            Ok(seconds) if (1.0..86_400.0).contains(&seconds) => {
                actions.push(set(format!("call_timeout={}", seconds.ceil())));
            }
            _ if seconds.contains("${") => {
                actions.push(set(format!("call_timeout={}", names.text(seconds)?)));
            }
            _ => gathered
                .notes
                .left_out(&line.location, format!("the timeout {}", one_line(seconds))),
        }
    }
    let mut stays = false;
    for (letter, _) in options(parts.get(2).copied().unwrap_or_default()) {
        match letter {
            'g' => stays = true,
            'r' | 'R' => {
                actions.push(set("ringback=%(2000,4000,440,480)".to_owned()));
                actions.push(set("ignore_early_media=true".to_owned()));
            }
            // Rings by itself; what both sides hear does not depend on them.
            'o' | 'n' | 'N' => {}
            _ => {
                let why = option(letter);
                let what = format!("Dial option {letter}: {why}");
                gathered.notes.left_out(&line.location, what);
            }
        }
    }
    actions.push(set(format!("hangup_after_bridge={}", !(stays && goes_on))));
    actions.push(set(format!("continue_on_fail={goes_on}")));
    actions.push(("bridge".to_owned(), legs.join(",")));
    Ok(actions)
}

/// `TECHNOLOGY/NAME`, `TECHNOLOGY/NUMBER@PEER`, `SIP/PEER/NUMBER`.
fn destination(
    target: &str,
    names: &Names,
    trunks: &BTreeMap<String, Trunk>,
) -> Result<String, String> {
    let inner = target
        .strip_prefix("${PJSIP_DIAL_CONTACTS(")
        .and_then(|inner| inner.strip_suffix(")}"))
        .map(|name| format!("PJSIP/{name}"));
    let target = inner.as_deref().unwrap_or(target);
    let (technology, rest) =
        target.split_once('/').ok_or("it names no technology such as PJSIP/")?;
    if !["PJSIP", "SIP"].contains(&technology.to_ascii_uppercase().as_str()) {
        return Err(format!("only PJSIP/ and SIP/ are called here, not {}/", one_line(technology)));
    }
    let (number, peer) = match (rest.split_once('@'), rest.split_once('/')) {
        (Some((number, peer)), _) => (Some(number), peer),
        (None, Some((peer, number))) => {
            let number = number.strip_prefix("sip:").unwrap_or(number);
            (Some(number.split('@').next().unwrap_or_default()), peer)
        }
        (None, None) => (None, rest),
    };
    let to_trunk = |trunk: &Trunk, number: Option<&str>| {
        let host = trunk.host.as_ref().ok_or("its address cannot be read")?;
        let number = number.map(|number| names.text(number)).transpose()?;
        Ok(match number {
            Some(number) => format!("sip:{}@{host}", unsplit(&number)?),
            None => format!("sip:{host}"),
        })
    };
    match (number, trunks.get(peer)) {
        (number, Some(trunk)) => to_trunk(trunk, number),
        // chan_sip dials an address as it is.
        (Some(number), None) if peer.contains('.') && !peer.contains('$') => {
            to_trunk(&Trunk::of(peer), Some(number))
        }
        // One of several devices of a user has no name of its own here.
        (_, None) => Ok(format!("user/{}", unsplit(&names.text(peer)?)?)),
    }
}

/// A name without what would separate it from others in our form.
fn unsplit(name: &str) -> Result<&str, String> {
    match name.is_empty() || name.contains([',', '|', ' ', '@', '[', ']', '<', '>', '\\']) {
        true => Err(format!("{} is no name of a user", one_line(name))),
        false => Ok(name),
    }
}

/// Options with what stands in parentheses behind them.
fn options(text: &str) -> Vec<(char, &str)> {
    let mut options = Vec::new();
    let mut rest = text.trim();
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        let mut inside = "";
        if let Some(open) = rest.strip_prefix('(') {
            (inside, rest) = open.split_once(')').unwrap_or((open, ""));
        }
        if letter.is_ascii_alphabetic() {
            options.push((letter, inside));
        }
    }
    options
}

fn option(letter: char) -> &'static str {
    match letter {
        't' | 'T' => "phones transfer calls by themselves (REFER), not by digits",
        'h' | 'H' => "calls are hung up by the phone, not by digits",
        'm' => "music in place of ringing",
        'k' | 'K' => "parking",
        'w' | 'W' | 'x' | 'X' => "recording by digits",
        'U' | 'M' | 'G' | 'b' | 'B' => "a subroutine on the called side",
        'L' | 'S' => "a limit of the call's duration; calls.duration_max_s limits all calls",
        'D' => "digits that are sent after the answer",
        'A' => "an announcement to the called side",
        'p' | 'P' => "privacy and screening",
        _ => "has no equivalent",
    }
}
