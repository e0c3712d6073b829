//! Jumps: which line they mean, and the actions that go there.

use std::collections::BTreeMap;

use dialplan::{DraftAction, Pattern, PatternSet, Value};

use super::super::super::finish::left_out;
use super::super::super::note::one_line;
use super::super::extensions::{Context, Line};
use super::super::pattern::Number;
use super::super::text::{Names, arguments, split};
use super::{Index, Place, Translator, action, exten_variable};

/// Where a jump leads.
pub(super) struct Jump {
    number: String,
    context: String,
    /// A variable that is set before.
    set: Option<String>,
}

impl Translator<'_> {
    /// The line that `label`, `exten,label` or `context,exten,label` means, if it is a known one.
    pub(super) fn find_line(
        &self,
        place: &str,
        c: usize,
        e: usize,
    ) -> Result<Option<Place>, String> {
        let parts = arguments(place);
        let (c, number, line) = match parts.as_slice() {
            [line] => (c, None, *line),
            [number, line] => (c, Some(*number), *line),
            [context, number, line] => {
                let found = self.plan.context(context);
                (
                    found.ok_or_else(|| format!("there is no context {}", one_line(context)))?,
                    Some(*number),
                    *line,
                )
            }
            _ => return Err("a place is label, exten,label or context,exten,label".to_owned()),
        };
        let e = match number {
            None | Some("${EXTEN}") => Some(e),
            Some(number) if number.contains('$') => None,
            Some(number) => self.find_extension(c, number),
        };
        let Some((e, extension)) = e.and_then(|e| Some((e, self.extension(c, e)?.1))) else {
            return match line {
                "1" => Ok(None),
                _ => {
                    Err("a jump into the middle of an extension that is not known here".to_owned())
                }
            };
        };
        if !self.spend(extension.lines.len()) {
            return Err("there are too many jumps".to_owned());
        }
        let is_it = |known: &Line| {
            known.label.as_deref() == Some(line) || known.priority.to_string() == line
        };
        let at = extension.lines.iter().position(is_it);
        at.map(|at| Some((c, e, at))).ok_or_else(|| format!("there is no line {}", one_line(line)))
    }

    fn find_extension(&self, c: usize, number: &str) -> Option<usize> {
        let index = self.index.get(c)?;
        if let Some(at) = index.exact.get(number) {
            return Some(*at);
        }
        let (found, compared) = index.patterns.first(number);
        let found = found.and_then(|found| index.extensions.get(found).copied());
        found.filter(|_| self.spend(compared))
    }

    /// Whether so much may still be compared.
    pub(super) fn spend(&self, count: usize) -> bool {
        let left = self.budget.get().checked_sub(count);
        self.budget.set(left.unwrap_or_default());
        left.is_some()
    }

    pub(super) fn jump(
        &mut self,
        place: &str,
        c: usize,
        e: usize,
        names: &Names,
    ) -> Result<Jump, String> {
        let found = self.find_line(place, c, e)?;
        let parts = arguments(place);
        let (number, context) = match parts.as_slice() {
            [_] => (names.text("${EXTEN}")?, names.context.clone()),
            [number, _] => (names.text(number)?, names.context.clone()),
            [context, number, _] => (names.text(number)?, (*context).to_owned()),
            _ => return Err("the place cannot be read".to_owned()),
        };
        let is_word = |text: &str| !text.is_empty() && !text.contains([' ', '\'', '"', '\\']);
        if !is_word(&number) || !is_word(&context) {
            return Err("the place has blanks or quotes".to_owned());
        }
        let Some(target) = found.filter(|(.., at)| *at > 0) else {
            return Ok(Jump { number, context, set: None });
        };
        let step = self.step_at(target);
        let step = step.data.split(' ').next().unwrap_or_default().to_owned();
        let first = self.extension(target.0, target.1).and_then(|(_, known)| known.lines.first());
        let variable = first.map(|first| exten_variable(&first.location)).unwrap_or_default();
        let set = ((target.0, target.1) != (c, e)).then(|| format!("{variable}={number}"));
        Ok(Jump { number: step, context: self.steps_context.clone(), set })
    }

    pub(super) fn jump_actions(
        &mut self,
        jump: Result<Jump, String>,
        line: &Line,
        from: (usize, usize),
        comes_back: bool,
    ) -> Vec<DraftAction> {
        match jump {
            Ok(Jump { number, context, set }) => {
                let go = if comes_back { "execute_extension" } else { self.go(from.0, from.1) };
                let set = set.map(|data| action("set", data, line));
                let go = action(go, format!("{number} XML {context}"), line);
                set.into_iter().chain([go]).collect()
            }
            Err(why) => {
                let what = format!("{}: {why}", line.shown());
                self.gathered.notes.left_out(&line.location, what);
                let was =
                    DraftAction::new(&line.application, &line.arguments, line.location.clone());
                let mut actions = vec![left_out(&was)];
                if !comes_back {
                    actions.push(action("hangup", String::new(), line));
                }
                actions
            }
        }
    }
}

/// Looks up the extensions of a context.
pub(super) fn index(context: &Context) -> Index<'_> {
    let (mut exact, mut patterns, mut extensions) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (at, extension) in context.extensions.iter().enumerate() {
        exact.entry(extension.pattern.as_str()).or_insert(at);
        if let Ok(Value::Expression(source)) = Number::parse(&extension.pattern).map(|n| n.value)
            && let Ok(pattern) = Pattern::parse(&source)
        {
            patterns.push(pattern);
            extensions.push(at);
        }
    }
    Index { exact, patterns: PatternSet::new(patterns), extensions }
}

/// The places that a line names, and whether it comes back from there.
pub(super) fn places_named(line: &Line) -> Vec<(String, bool)> {
    let all = line.arguments.as_str();
    match line.application.as_str() {
        "goto" => vec![(all.to_owned(), false)],
        "gosub" => vec![(all.split('(').next().unwrap_or_default().to_owned(), true)],
        "gotoif" => {
            let sides = split(all, '?').into_iter().nth(1).unwrap_or_default();
            let sides = split(sides, ':').into_iter().filter(|side| !side.is_empty());
            sides.map(|side| (side.to_owned(), false)).collect()
        }
        _ => Vec::new(),
    }
}
