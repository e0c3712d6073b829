//! From the lines of `extensions.conf` to our dialplan.
//!
//! An extension becomes an extension whose actions are its lines. Our actions have no jumps: where a line is jumped
//! to, or jumps on a condition, a step begins: an extension of a context that nobody can dial, to which the actions
//! before it transfer.

mod branch;
mod jump;
mod menu;
mod status;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dialplan::{
    Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest, Location,
    PatternSet, Subject, Value,
};

use super::super::finish::left_out;
use super::super::folder::Folder;
use super::super::note::one_line;
use super::super::sounds::Sounds;
use super::Gathered;
use super::application::{Doing, Reader, recorded_name};
use super::extensions::{Context, Dialplan, Extension, Line};
use super::pattern::Number;
use super::text::Names;

use jump::{index, places_named};
use status::dial_status;

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

/// The extensions of a context by number, and its patterns.
struct Index<'a> {
    exact: BTreeMap<&'a str, usize>,
    patterns: PatternSet,
    /// The extension of each pattern.
    extensions: Vec<usize>,
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
    index: Vec<Index<'a>>,
    /// How much may still be compared.
    budget: Cell<usize>,
    /// Lines that are jumped to.
    targets: BTreeSet<Place>,
    /// Extensions that are gone to and come back from.
    subroutines: BTreeSet<(usize, usize)>,
    uses_status: bool,
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
                    if line.application == "record" {
                        let file = line.arguments.split(',').next().unwrap_or_default();
                        self.sounds.recorded.insert(recorded_name(file));
                    }
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
                actions.push(self.step_at(here));
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
                    actions.push(self.step_at(here));
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
    fn step_at(&mut self, place: Place) -> DraftAction {
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

/// The context that sets DIALSTATUS.
const STATUS_CONTEXT: &str = "dial-status";
/// Lines and patterns that are looked at for all jumps together.
const COMPARED_MAX: usize = 20_000_000;
