//! From the lines of `extensions.conf` to our dialplan.
//!
//! An extension becomes an extension whose actions are its lines. Our actions have no jumps: where a line is jumped
//! to, or jumps on a condition, a step begins: an extension of a context that nobody can dial, to which the actions
//! before it transfer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dialplan::{
    Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest, Location, Pattern,
    Subject, Value,
};

use super::super::finish::left_out;
use super::super::folder::Folder;
use super::super::note::one_line;
use super::super::sounds::Sounds;
use super::Gathered;
use super::application::{Doing, Reader};
use super::expression::Condition;
use super::extensions::{Context, Dialplan, Extension, Line};
use super::pattern::Number;
use super::text::{Names, arguments};

/// Makes a draft of all contexts.
pub(super) fn translate(
    plan: &Dialplan,
    gathered: &mut Gathered,
    sounds: &mut Sounds,
    folder: &Folder,
) -> Draft {
    let steps_context = free_name(plan, "steps");
    let mut translator = Translator {
        plan,
        gathered,
        sounds,
        folder,
        steps_context,
        steps: Vec::new(),
        step_names: BTreeMap::new(),
        numbers: BTreeSet::new(),
        queued: BTreeSet::new(),
        pending: VecDeque::new(),
        index: plan.contexts.iter().map(index).collect(),
        budget: Cell::new(COMPARED_MAX),
        targets: BTreeSet::new(),
        subroutines: BTreeSet::new(),
        uses_status: false,
    };
    translator.find_targets();
    let mut draft = Draft::default();
    draft.globals.extend(plan.globals.iter().map(|(name, value)| (name.clone(), value.clone())));
    for at in 0..plan.contexts.len() {
        if let Some(context) = translator.context(at) {
            draft.contexts.push(context);
        }
    }
    let Translator { steps, steps_context, uses_status, .. } = translator;
    if !steps.is_empty() {
        draft.contexts.push(DraftContext {
            name: steps_context,
            comment: "Where extensions above jump to. Nobody can dial these: no context includes this one."
                .to_owned(),
            extensions: steps,
            ..DraftContext::default()
        });
    }
    if uses_status {
        draft.contexts.push(dial_status(STATUS_CONTEXT));
    }
    draft
}

/// A line: context, extension, position among its lines.
type Place = (usize, usize, usize);

struct Translator<'a> {
    plan: &'a Dialplan,
    gathered: &'a mut Gathered,
    sounds: &'a mut Sounds,
    folder: &'a Folder,
    steps_context: String,
    steps: Vec<DraftExtension>,
    /// The number of each step.
    step_names: BTreeMap<Place, String>,
    numbers: BTreeSet<String>,
    /// Steps that are jumped to, and those of them that are not made yet.
    queued: BTreeSet<Place>,
    pending: VecDeque<Place>,
    /// For each context, its extensions by number and its patterns.
    index: Vec<(BTreeMap<&'a str, usize>, Vec<(usize, Pattern)>)>,
    /// How much may still be compared.
    budget: Cell<usize>,
    /// Lines that are jumped to.
    targets: BTreeSet<Place>,
    /// Extensions that are gone to and come back from.
    subroutines: BTreeSet<(usize, usize)>,
    uses_status: bool,
}

/// Where a jump leads.
struct Jump {
    number: String,
    context: String,
    /// A variable that is set before.
    set: Option<String>,
}

impl Translator<'_> {
    fn extension(&self, context: usize, extension: usize) -> Option<(&Context, &Extension)> {
        let context = self.plan.contexts.get(context)?;
        Some((context, context.extensions.get(extension)?))
    }

    /// Finds the lines that any line jumps to.
    fn find_targets(&mut self) {
        for (c, context) in self.plan.contexts.iter().enumerate() {
            for (e, extension) in context.extensions.iter().enumerate() {
                for line in &extension.lines {
                    for (place, is_subroutine) in places_named(line) {
                        let Ok(Some(target)) = self.find_line(&place, c, e) else { continue };
                        if target.2 > 0 {
                            self.targets.insert(target);
                        }
                        if is_subroutine {
                            self.subroutines.insert((target.0, target.1));
                        }
                    }
                    self.uses_status |= line.arguments.contains("${DIALSTATUS");
                }
            }
        }
    }

    /// The line that `label`, `exten,label` or `context,exten,label` means, if it is a known one.
    fn find_line(&self, place: &str, c: usize, e: usize) -> Result<Option<Place>, String> {
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
        let (exact, patterns) = self.index.get(c)?;
        if let Some(at) = exact.get(number) {
            return Some(*at);
        }
        if !self.spend(patterns.len()) {
            return None;
        }
        patterns.iter().find(|(_, pattern)| pattern.is_match(number)).map(|(at, _)| *at)
    }

    /// Whether so much may still be compared.
    fn spend(&self, count: usize) -> bool {
        let left = self.budget.get().checked_sub(count);
        self.budget.set(left.unwrap_or_default());
        left.is_some()
    }

    fn context(&mut self, c: usize) -> Option<DraftContext> {
        let context = self.plan.contexts.get(c)?;
        let mut draft = DraftContext {
            name: context.name.clone(),
            comment: format!("From {}.", context.location),
            location: context.location.clone(),
            ..DraftContext::default()
        };
        for (name, location) in &context.includes {
            match self.plan.context(name) {
                Some(_) => draft.includes.push((name.clone(), location.clone())),
                None => {
                    let what = format!("include => {}: there is no such context", one_line(name));
                    self.gathered.notes.left_out(location, what);
                }
            }
        }
        let mut numbers = Vec::new();
        for (e, extension) in context.extensions.iter().enumerate() {
            let Some(first) = extension.lines.first() else { continue };
            if extension.pattern == "h" {
                let what = "the extension h: nothing is run after a call has ended";
                self.gathered.notes.left_out(&first.location, what);
                continue;
            }
            match self.numbers(extension) {
                Ok((number, caller)) => numbers.push((number, caller, e)),
                Err(why) => {
                    let what = format!("the extension {}: {why}", one_line(&extension.pattern));
                    self.gathered.notes.left_out(&first.location, what);
                }
            }
        }
        // One for a caller goes before the same one for all.
        let rank =
            |number: &Number, caller: &Option<Number>| (number.rank.clone(), caller.is_none());
        numbers.sort_by_cached_key(|(number, caller, _)| rank(number, caller));
        for (number, caller, e) in numbers {
            draft.extensions.extend(self.entrance(c, e, number, caller));
        }
        Some(draft)
    }

    fn numbers(&self, extension: &Extension) -> Result<(Number, Option<Number>), String> {
        let caller = extension.caller.as_deref().filter(|caller| !caller.is_empty());
        Ok((Number::parse(&extension.pattern)?, caller.map(Number::parse).transpose()?))
    }

    /// The extension that is dialled, and its steps.
    fn entrance(
        &mut self,
        c: usize,
        e: usize,
        number: Number,
        caller: Option<Number>,
    ) -> Option<DraftExtension> {
        let (_, extension) = self.extension(c, e)?;
        let (location, pattern) = (extension.lines.first()?.location.clone(), &extension.pattern);
        let name = format!(
            "{pattern}{}",
            extension.caller.as_ref().map_or(String::new(), |c| format!("/{c}"))
        );
        let has_steps = self.has_steps(c, e);
        let mut actions = Vec::new();
        if has_steps {
            let data = format!("{}=${{destination_number}}", exten_variable(&location));
            let mut keep = DraftAction::new("set", data, location.clone());
            keep.comment = "the number, which steps do not have".to_owned();
            actions.push(keep);
        }
        actions.extend(self.block((c, e, 0), has_steps));
        while let Some(place) = self.pending.pop_front() {
            self.make_step(place);
        }
        let mut tests = vec![test("destination_number", number.value, &location)];
        tests.extend(caller.map(|caller| test("caller_id_number", caller.value, &location)));
        let condition = DraftCondition {
            tests,
            actions,
            location: location.clone(),
            ..DraftCondition::default()
        };
        Some(DraftExtension {
            name,
            comment: format!("From {location}."),
            conditions: vec![condition],
            location,
            ..DraftExtension::default()
        })
    }

    fn has_steps(&self, c: usize, e: usize) -> bool {
        let jumps = ["gotoif", "execif", "background", "waitexten"];
        let is_target = self.targets.range((c, e, 0)..(c, e, usize::MAX)).next().is_some();
        let has_jump = |extension: &Extension| {
            extension.lines.iter().any(|line| jumps.contains(&line.application.as_str()))
        };
        is_target || self.extension(c, e).is_some_and(|(_, extension)| has_jump(extension))
    }

    fn names(&self, c: usize, e: usize, has_steps: bool) -> Names {
        let known = self.extension(c, e);
        let first = known.and_then(|(_, extension)| extension.lines.first());
        let exten = match first.filter(|_| has_steps) {
            Some(first) => exten_variable(&first.location),
            None => "destination_number".to_owned(),
        };
        Names { exten, context: known.map_or(String::new(), |(context, _)| context.name.clone()) }
    }

    /// The actions from a line on, until it jumps or ends. A line that jumps on a condition is a step of its own.
    fn block(&mut self, start: Place, has_steps: bool) -> Vec<DraftAction> {
        let (c, e, first) = start;
        let plan = self.plan;
        let Some(extension) = plan.contexts.get(c).and_then(|c| c.extensions.get(e)) else {
            return Vec::new();
        };
        let names = self.names(c, e, has_steps);
        let mut actions: Vec<DraftAction> = Vec::new();
        let last = extension.lines.iter().rposition(|line| line.application != "hangup");
        let mut at = first;
        while let Some(line) = extension.lines.get(at) {
            let here = (c, e, at);
            if at > first && self.targets.contains(&here) {
                actions.push(self.to_step(here));
                return actions;
            }
            let goes_on = last.is_some_and(|last| last > at);
            let doing = self.doing(line, &names, goes_on);
            let from = actions.len();
            match doing {
                Ok(Doing::Actions(list)) => {
                    actions.extend(list.into_iter().map(|(application, data)| {
                        DraftAction::new(application, data, line.location.clone())
                    }));
                    if line.application == "dial" && goes_on && self.uses_status {
                        let data = format!("status XML {STATUS_CONTEXT}");
                        actions.push(action("execute_extension", data, line));
                    }
                }
                Ok(Doing::Hangup(cause)) => {
                    actions.push(action("hangup", cause, line));
                    commented(&mut actions, from, line);
                    return actions;
                }
                Ok(Doing::Return) => return actions,
                Ok(Doing::Goto(place)) => {
                    let jump = self.jump(&place, c, e, &names);
                    actions.extend(self.jump_actions(jump, line, (c, e), false));
                    commented(&mut actions, from, line);
                    return actions;
                }
                Ok(Doing::Gosub { place, arguments }) => {
                    for (argument, number) in arguments.iter().zip(1..) {
                        actions.push(action("set", format!("ARG{number}={argument}"), line));
                    }
                    let jump = self.jump(&place, c, e, &names);
                    actions.extend(self.jump_actions(jump, line, (c, e), true));
                }
                Ok(Doing::Either { condition, yes, no }) => {
                    let number = format!("{}-if", self.step_name(here));
                    let data = format!("{number} XML {}", self.steps_context);
                    actions.push(action("execute_extension", data, line));
                    self.either(here, condition, [&yes, &no], &names);
                }
                Ok(Doing::Branch { .. }) => {
                    actions.push(self.to_step(here));
                    commented(&mut actions, from, line);
                    return actions;
                }
                Ok(Doing::Background(_) | Doing::WaitExten(_)) => {
                    actions.extend(self.menu(here, &names));
                    commented(&mut actions, from, line);
                    return actions;
                }
                Err(why) => {
                    let what = format!("{}: {why}", line.shown());
                    self.gathered.notes.left_out(&line.location, what);
                    let was =
                        DraftAction::new(&line.application, &line.arguments, line.location.clone());
                    actions.push(left_out(&was));
                    // Where it would have gone is not known.
                    if line.application == "gotoif" {
                        actions.push(action("hangup", String::new(), line));
                        return actions;
                    }
                }
            }
            commented(&mut actions, from, line);
            at += 1;
        }
        actions
    }

    fn doing(&mut self, line: &Line, names: &Names, goes_on: bool) -> Result<Doing, String> {
        let Translator { gathered, sounds, folder, plan, .. } = self;
        let mut reader =
            Reader { names, globals: &plan.globals, goes_on, gathered, sounds, folder };
        reader.doing(line)
    }

    /// The number of the step that begins at a line.
    fn step_name(&mut self, place: Place) -> String {
        if let Some(name) = self.step_names.get(&place) {
            return name.clone();
        }
        let context = self.extension(place.0, place.1).map_or("", |(context, _)| &context.name);
        let line = self.line(place).map_or(0, |line| line.location.line);
        let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let mut number: String = context.chars().filter(is_word).take(40).collect();
        number += &format!("-{line}");
        while !self.numbers.insert(number.clone()) {
            number.push('x');
        }
        self.step_names.insert(place, number.clone());
        number
    }

    fn line(&self, (c, e, at): Place) -> Option<&'_ Line> {
        self.plan.contexts.get(c)?.extensions.get(e)?.lines.get(at)
    }

    /// Goes to the step that begins at a line.
    fn to_step(&mut self, place: Place) -> DraftAction {
        if self.queued.insert(place) {
            self.pending.push_back(place);
        }
        let number = self.step_name(place);
        let location =
            self.line(place).map_or_else(Location::default, |line| line.location.clone());
        let data = format!("{number} XML {}", self.steps_context);
        DraftAction::new(self.go(place.0, place.1), data, location)
    }

    /// Makes the step that begins at a line.
    fn make_step(&mut self, place: Place) {
        let (c, e, at) = place;
        let plan = self.plan;
        let line = plan.contexts.get(c).and_then(|c| c.extensions.get(e)?.lines.get(at));
        let Some(line) = line else { return };
        let names = self.names(c, e, true);
        if line.application == "gotoif"
            && let Ok(Doing::Branch { condition, yes, no }) = self.doing(line, &names, true)
        {
            return self.branch(place, condition, [&yes, &no], &names);
        }
        let number = self.step_name(place);
        let mut actions = self.block(place, true);
        if actions.is_empty() {
            actions.push(action("log", "DEBUG end of the subroutine".to_owned(), line));
        }
        self.steps.push(step(&number, Vec::new(), actions, &line.location));
    }

    /// A subroutine comes back, so what it jumps to is run within it.
    fn go(&self, c: usize, e: usize) -> &'static str {
        if self.subroutines.contains(&(c, e)) { "execute_extension" } else { "transfer" }
    }

    fn jump(&mut self, place: &str, c: usize, e: usize, names: &Names) -> Result<Jump, String> {
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
        let step = self.to_step(target);
        let step = step.data.split(' ').next().unwrap_or_default().to_owned();
        let first = self.extension(target.0, target.1).and_then(|(_, known)| known.lines.first());
        let variable = first.map(|first| exten_variable(&first.location)).unwrap_or_default();
        let set = ((target.0, target.1) != (c, e)).then(|| format!("{variable}={number}"));
        Ok(Jump { number: step, context: self.steps_context.clone(), set })
    }

    fn jump_actions(
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

    /// The step of a line that jumps on a condition.
    fn branch(&mut self, here: Place, condition: Condition, sides: [&str; 2], names: &Names) {
        let (c, e, at) = here;
        let plan = self.plan;
        let line = plan.contexts.get(c).and_then(|c| c.extensions.get(e)?.lines.get(at));
        let Some(line) = line else { return };
        let number = self.step_name(here);
        let [yes, no] = sides.map(|side| match side {
            "" => self.next(here, line),
            place => {
                let jump = self.jump(place, c, e, names);
                self.jump_actions(jump, line, (c, e), false)
            }
        });
        let conditions = vec![condition.draft(yes, no, &line.location)];
        let mut made = step(&number, conditions, Vec::new(), &line.location);
        made.comment = format!("{} {}", line.location, line.shown());
        self.steps.push(made);
    }

    /// Goes on at the line behind this one.
    fn next(&mut self, (c, e, at): Place, line: &Line) -> Vec<DraftAction> {
        match self.extension(c, e).is_some_and(|(_, known)| known.lines.len() > at + 1) {
            true => vec![self.to_step((c, e, at + 1))],
            false if self.subroutines.contains(&(c, e)) => {
                vec![action("log", "DEBUG end of the subroutine".to_owned(), line)]
            }
            false => vec![action("hangup", String::new(), line)],
        }
    }

    /// The step that runs one thing or another and comes back.
    fn either(&mut self, here: Place, condition: Condition, sides: [&str; 2], names: &Names) {
        let (c, e, at) = here;
        let plan = self.plan;
        let line = plan.contexts.get(c).and_then(|c| c.extensions.get(e)?.lines.get(at));
        let Some(line) = line else { return };
        let number = format!("{}-if", self.step_name(here));
        let [yes, no] = sides.map(|side| self.inner(side, line, names));
        let conditions = vec![condition.draft(yes, no, &line.location)];
        let mut made = step(&number, conditions, Vec::new(), &line.location);
        made.comment = format!("{} {}", line.location, line.shown());
        self.steps.push(made);
    }

    /// The actions of an application that stands within a line; only such that do not jump.
    fn inner(&mut self, text: &str, line: &Line, names: &Names) -> Vec<DraftAction> {
        let nothing = || vec![action("log", "DEBUG nothing to do".to_owned(), line)];
        if text.is_empty() {
            return nothing();
        }
        let (application, inside) = text.split_once('(').unwrap_or((text, ""));
        let inner = Line {
            priority: line.priority,
            label: None,
            application: application.trim().to_ascii_lowercase(),
            arguments: inside.strip_suffix(')').unwrap_or(inside).to_owned(),
            location: line.location.clone(),
        };
        match self.doing(&inner, names, true) {
            Ok(Doing::Actions(list)) if list.is_empty() => nothing(),
            Ok(Doing::Actions(list)) => list
                .into_iter()
                .map(|(application, data)| {
                    DraftAction::new(application, data, line.location.clone())
                })
                .collect(),
            Ok(Doing::Hangup(cause)) => vec![action("hangup", cause, line)],
            _ => {
                let what = format!("{}: it has no equivalent within ExecIf", inner.shown());
                self.gathered.notes.left_out(&line.location, what);
                nothing()
            }
        }
    }

    /// Plays the sounds from this line on, takes a number, and goes to it.
    fn menu(&mut self, here: Place, names: &Names) -> Vec<DraftAction> {
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
                Some(_) => vec![self.to_step((c, e, at))],
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

/// The extensions of a context by number, and its patterns.
fn index(context: &Context) -> (BTreeMap<&str, usize>, Vec<(usize, Pattern)>) {
    let (mut exact, mut patterns) = (BTreeMap::new(), Vec::new());
    for (at, extension) in context.extensions.iter().enumerate() {
        exact.entry(extension.pattern.as_str()).or_insert(at);
        if let Ok(Value::Expression(source)) = Number::parse(&extension.pattern).map(|n| n.value)
            && let Ok(pattern) = Pattern::parse(&source)
        {
            patterns.push((at, pattern));
        }
    }
    (exact, patterns)
}

/// The places that a line names, and whether it comes back from there.
fn places_named(line: &Line) -> Vec<(String, bool)> {
    let all = line.arguments.as_str();
    match line.application.as_str() {
        "goto" => vec![(all.to_owned(), false)],
        "gosub" => vec![(all.split('(').next().unwrap_or_default().to_owned(), true)],
        "gotoif" => {
            let sides = super::text::split(all, '?').into_iter().nth(1).unwrap_or_default();
            let sides = super::text::split(sides, ':').into_iter().filter(|side| !side.is_empty());
            sides.map(|side| (side.to_owned(), false)).collect()
        }
        _ => Vec::new(),
    }
}

/// An extension of the context of steps.
fn step(
    number: &str,
    mut conditions: Vec<DraftCondition>,
    actions: Vec<DraftAction>,
    location: &Location,
) -> DraftExtension {
    let own = test("destination_number", Value::Literal(number.to_owned()), location);
    let is_alone = conditions.is_empty();
    let first = DraftCondition {
        tests: vec![own],
        actions: if is_alone { actions } else { Vec::new() },
        location: location.clone(),
        ..DraftCondition::default()
    };
    conditions.insert(0, first);
    DraftExtension {
        name: number.to_owned(),
        comment: format!("From {location}."),
        conditions,
        location: location.clone(),
        ..DraftExtension::default()
    }
}

/// The context that turns the outcome of a bridge into DIALSTATUS.
fn dial_status(name: &str) -> DraftContext {
    let location = Location::default();
    let rows: [(&str, &[&str]); 5] = [
        ("ANSWER", &["SUCCESS", "NORMAL_CLEARING"]),
        ("BUSY", &["USER_BUSY", "CALL_REJECTED"]),
        (
            "NOANSWER",
            &["NO_ANSWER", "NO_USER_RESPONSE", "ALLOTTED_TIMEOUT", "RECOVERY_ON_TIMER_EXPIRE"],
        ),
        (
            "CONGESTION",
            &["NORMAL_CIRCUIT_CONGESTION", "SWITCH_CONGESTION", "NORMAL_TEMPORARY_FAILURE"],
        ),
        ("CANCEL", &["ORIGINATOR_CANCEL"]),
    ];
    let set = |status: &str| {
        vec![DraftAction::new("set", format!("DIALSTATUS={status}"), location.clone())]
    };
    let row = |status: &str, values: Vec<Value>| DraftExtension {
        name: status.to_owned(),
        conditions: vec![DraftCondition {
            tests: match values.is_empty() {
                true => Vec::new(),
                false => {
                    let field = "${originate_disposition}".to_owned();
                    let subject = Subject::Field { field, values };
                    vec![DraftTest { subject, location: location.clone() }]
                }
            },
            actions: set(status),
            ..DraftCondition::default()
        }],
        ..DraftExtension::default()
    };
    let mut extensions: Vec<DraftExtension> = rows
        .iter()
        .map(|(status, causes)| {
            row(status, causes.iter().map(|cause| Value::Literal((*cause).to_owned())).collect())
        })
        .collect();
    extensions.push(row("CHANUNAVAIL", Vec::new()));
    DraftContext {
        name: name.to_owned(),
        comment: "Sets DIALSTATUS after a bridge that did not end the call.".to_owned(),
        extensions,
        ..DraftContext::default()
    }
}

fn test(field: &str, value: Value, location: &Location) -> DraftTest {
    let subject = Subject::Field { field: field.to_owned(), values: vec![value] };
    DraftTest { subject, location: location.clone() }
}

fn action(application: &str, data: String, line: &Line) -> DraftAction {
    DraftAction::new(application, data, line.location.clone())
}

/// Says before the first action of a line what the line is.
fn commented(actions: &mut [DraftAction], from: usize, line: &Line) {
    if let Some(first) = actions.get_mut(from) {
        first.comment = format!("{} {}", line.location, line.shown());
    }
}

/// The variable that holds the number of an extension with steps.
fn exten_variable(first: &Location) -> String {
    format!("exten_{}", first.line)
}

fn free_name(plan: &Dialplan, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    while plan.context(&name).is_some() {
        name.push('-');
    }
    name
}

/// The variable that digits of a menu are in.
const DIGITS: &str = "menu_digits";
/// The context that sets DIALSTATUS.
const STATUS_CONTEXT: &str = "dial-status";
/// Digits that are waited for where a pattern is open.
const OPEN_DIGITS: usize = 20;
/// Milliseconds after which a number counts as whole.
const DIGIT_TIMEOUT_MS: u32 = 2_500;
/// Most numbers that a menu tells apart.
const DIALABLE_MAX: usize = 1_000;
/// Lines and patterns that are looked at for all jumps together.
const COMPARED_MAX: usize = 20_000_000;
