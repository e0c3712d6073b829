//! Background and WaitExten: sounds, and a number that is gone to.

use std::collections::BTreeSet;

use dialplan::{DraftAction, DraftCondition, DraftTest, Subject, Value};

use super::super::application::Doing;
use super::super::extensions::{Context, Line};
use super::super::pattern::Number;
use super::super::text::Names;
use super::{Place, Translator, action, step};

impl Translator<'_> {
    /// Plays the sounds from this line on, takes a number, and goes to it.
    pub(super) fn menu(&mut self, here: Place, names: &Names) -> Vec<DraftAction> {
        let (c, e, first) = here;
        let plan = self.plan;
        let lines = plan.contexts.get(c).and_then(|c| c.extensions.get(e)).map(|e| &e.lines);
        let Some(lines) = lines else { return Vec::new() };
        let (mut sounds, mut wait_ms, mut at) = (Vec::new(), None, first);
        while let Some(line) = lines.get(at) {
            if at > first && self.targets.contains(&(c, e, at)) {
                break;
            }
            match line.application.as_str() {
                "background" => match self.doing(line, names, true) {
                    Ok(Doing::Background(more)) => sounds.extend(more),
                    Ok(_) => {}
                    Err(why) => {
                        let what = format!("{}: {why}", line.shown());
                        self.gathered.notes.left_out(&line.location, what);
                    }
                },
                "waitexten" => {
                    let read = self.doing(line, names, true);
                    wait_ms = Some(match read {
                        Ok(Doing::WaitExten(ms)) => ms.max(1),
                        _ => 10_000,
                    });
                    at += 1;
                    break;
                }
                _ => break,
            }
            at += 1;
        }
        let Some(line) = lines.get(first) else { return Vec::new() };
        let (valid, longest) = self.dialable(c);
        let sound = match sounds.is_empty() {
            true => "silence_stream://1".to_owned(),
            false => sounds.join("!"),
        };
        let timeout = wait_ms.unwrap_or(1);
        let digit_timeout = timeout.clamp(1, DIGIT_TIMEOUT_MS);
        let data = format!(
            "1 {longest} 1 {timeout} # {sound} silence_stream://1 {DIGITS} .+ {digit_timeout}"
        );
        let mut actions = vec![
            action("set", format!("{DIGITS}="), line),
            action("play_and_get_digits", data, line),
        ];
        let number = format!("{}-digits", self.step_name(here));
        let go = self.go(c, e);
        actions.push(action(go, format!("{number} XML {}", self.steps_context), line));
        let nothing = match wait_ms {
            Some(_) => self.special(c, "t", line),
            None => match lines.get(at) {
                Some(_) => vec![self.step_at((c, e, at))],
                None => vec![action("hangup", String::new(), line)],
            },
        };
        let wrong = self.special(c, "i", line);
        let there = action(go, format!("${{{DIGITS}}} XML {}", names.context), line);
        let field = format!("${{{DIGITS}}}");
        let check = |values: Vec<Value>, actions: Vec<DraftAction>| {
            let subject = Subject::Field { field: field.clone(), values };
            let test = DraftTest { subject, location: line.location.clone() };
            let condition = DraftCondition {
                tests: vec![test],
                actions,
                location: line.location.clone(),
                ..DraftCondition::default()
            };
            step(&number, vec![condition], Vec::new(), &line.location)
        };
        if !valid.is_empty() {
            self.steps.push(check(valid, vec![there]));
        }
        self.steps.push(check(vec![Value::Expression("^$".to_owned())], nothing));
        self.steps.push(step(&number, Vec::new(), wrong, &line.location));
        actions
    }

    /// Goes to `i` or `t` of a context, if there is one.
    fn special(&self, c: usize, number: &str, line: &Line) -> Vec<DraftAction> {
        let context = self.plan.contexts.get(c);
        let has =
            |context: &Context| context.extensions.iter().any(|known| known.pattern == number);
        vec![match context.filter(|context| has(context)) {
            Some(context) => action("transfer", format!("{number} XML {}", context.name), line),
            None => action("hangup", String::new(), line),
        }]
    }

    /// What can be dialled in a context and those it includes, and the longest number.
    fn dialable(&self, c: usize) -> (Vec<Value>, usize) {
        let (mut values, mut longest) = (Vec::new(), 1);
        let (mut seen, mut open) = (BTreeSet::new(), vec![c]);
        while let Some(at) = open.pop() {
            let Some(context) = self.plan.contexts.get(at).filter(|_| seen.insert(at)) else {
                continue;
            };
            if !self.spend(context.extensions.len() + context.includes.len()) {
                break;
            }
            open.extend(context.includes.iter().filter_map(|(name, _)| self.plan.context(name)));
            for extension in &context.extensions {
                if extension.pattern.len() == 1
                    && extension.pattern.chars().all(char::is_alphabetic)
                {
                    continue;
                }
                if let Ok(number) = Number::parse(&extension.pattern) {
                    longest = longest.max(number.length.unwrap_or(OPEN_DIGITS)).min(128);
                    if values.len() < DIALABLE_MAX && !values.contains(&number.value) {
                        values.push(number.value);
                    }
                }
            }
        }
        (values, longest)
    }
}

/// The variable that digits of a menu are in.
const DIGITS: &str = "menu_digits";
/// Digits that are waited for where a pattern is open.
const OPEN_DIGITS: usize = 20;
/// Milliseconds after which a number counts as whole.
const DIGIT_TIMEOUT_MS: u32 = 2_500;
/// Most numbers that a menu tells apart.
const DIALABLE_MAX: usize = 1_000;
