//! A webhook: what is asked, and how the answer is read.

use std::time::Duration;

use serde_json::Value;

use crate::app::suggest;
use crate::draft::DraftAction;
use crate::error::Location;
use crate::text::shorten;

/// An HTTP request that is asked for. Its body is a JSON object with the facts and variables of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where it goes: `http://…` or `https://…`, as the plan says.
    pub url: String,
    /// When its answer must be there, a second try included.
    pub deadline: Duration,
}

impl WebhookRequest {
    /// Reads `URL` or `URL MILLISECONDS`.
    pub(crate) fn parse(text: &str) -> Result<WebhookRequest, String> {
        let (url, deadline) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        let is_url = !host.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_url || host.contains('@') || url.len() > URL_BYTES_MAX {
            return Err("write a URL: https://HOST/PATH".to_owned());
        }
        let deadline_ms = match deadline.trim() {
            "" => DEADLINE_MS,
            text => {
                text.parse().ok().filter(|ms| (100..=DEADLINE_MS_MAX).contains(ms)).ok_or_else(
                    || format!("the deadline is in milliseconds, 100 to {DEADLINE_MS_MAX}"),
                )?
            }
        };
        Ok(WebhookRequest { url: url.to_owned(), deadline: Duration::from_millis(deadline_ms) })
    }
}

/// Reads the answer: `["answer", "playback hello.wav", {"run": "bridge user/199"}]`, or an object with such a list
/// under `actions`. An action in braces has the keys that it has in a plan in TOML.
pub(crate) fn read_answer(text: &str) -> Result<Vec<DraftAction>, String> {
    if text.len() > ANSWER_BYTES_MAX {
        return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
    }
    let answer: Value =
        serde_json::from_str(text).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let list = answer.get("actions").unwrap_or(&answer).as_array();
    let list = list.ok_or("the answer is no list of actions")?;
    if list.len() > ACTIONS_MAX {
        return Err(format!("the answer has more than {ACTIONS_MAX} actions"));
    }
    let numbered = (1..).zip(list);
    numbered
        .map(|(number, value)| {
            let location = Location::new("webhook", number);
            action(value, &location, &KEYS).map_err(|detail| format!("action {number} {detail}"))
        })
        .collect()
}

/// Reads an action that may have these keys.
fn action(value: &Value, location: &Location, keys: &[&str]) -> Result<DraftAction, String> {
    let run = value.as_str().or_else(|| value.get("run")?.as_str());
    let run = run.ok_or("is neither a text nor has it run")?.trim();
    let (application, data) = run.split_once(' ').unwrap_or((run, ""));
    let mut action = DraftAction::new(application, data, location.clone());
    for (key, value) in value.as_object().into_iter().flatten() {
        let wrong = |wanted: &str| format!("has a wrong {key}; write {wanted}");
        match key.as_str() {
            "run" => {}
            "data" => value.as_str().ok_or_else(|| wrong("a text"))?.clone_into(&mut action.data),
            "inline" => action.inline = value.as_bool().ok_or_else(|| wrong("true or false"))?,
            "loop" => {
                let times = value.as_u64().and_then(|times| times.try_into().ok());
                action.times = times.ok_or_else(|| wrong("a number of times"))?;
            }
            "fallback" if keys.contains(&"fallback") => {
                let list = value.as_array().ok_or_else(|| wrong("a list of actions"))?;
                let read = |value| self::action(value, location, &KEYS[..KEYS.len() - 1]);
                let read: Result<_, String> = list.iter().map(read).collect();
                action.fallback = read.map_err(|detail| format!("has a fallback that {detail}"))?;
            }
            _ => {
                let hint = suggest(key, keys);
                return Err(format!("has the unknown key \"{}\"; {hint}", shorten(key)));
            }
        }
    }
    Ok(action)
}

/// What an action in braces may have; one of a fallback has no fallback of its own.
const KEYS: [&str; 5] = ["run", "data", "inline", "loop", "fallback"];
/// Longest URL.
const URL_BYTES_MAX: usize = 2048;
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 65_536;
/// Most actions of an answer.
const ACTIONS_MAX: usize = 100;
/// Deadline if none is written: a caller hears nothing meanwhile.
const DEADLINE_MS: u64 = 2_000;
const DEADLINE_MS_MAX: u64 = 30_000;
