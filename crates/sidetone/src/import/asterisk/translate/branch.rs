//! GotoIf and ExecIf: steps with a condition.

use dialplan::DraftAction;

use super::super::application::Doing;
use super::super::expression::Condition;
use super::super::extensions::Line;
use super::super::text::Names;
use super::{Place, Translator, action, step};

impl Translator<'_> {
    /// The step of a line that jumps on a condition.
    pub(super) fn branch(
        &mut self,
        here: Place,
        condition: Condition,
        sides: [&str; 2],
        names: &Names,
    ) {
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
            true => vec![self.step_at((c, e, at + 1))],
            false if self.subroutines.contains(&(c, e)) => {
                vec![action("log", "DEBUG end of the subroutine".to_owned(), line)]
            }
            false => vec![action("hangup", String::new(), line)],
        }
    }

    /// The step that runs one thing or another and comes back.
    pub(super) fn either(
        &mut self,
        here: Place,
        condition: Condition,
        sides: [&str; 2],
        names: &Names,
    ) {
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
}
