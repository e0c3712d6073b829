//! Runs the actions that were found for a call.

use std::iter::repeat_n;
use std::sync::Arc;

use crate::app::{Next, Place};
use crate::call::{Call, Ended, Level};
use crate::cause::Cause;
use crate::error::Location;
use crate::hunt::{Queued, Situation};
use crate::model::{Extension, Globals, Plan};
use crate::pattern::Captures;
use crate::text::Scope;
use crate::variables::Variables;

/// What was found for a call: the extension, and the actions with what their expressions captured.
#[derive(Clone, Debug)]
pub struct Route {
    context: String,
    extension: Option<Arc<Extension>>,
    queue: Vec<Queued>,
    /// What inline actions want in the log.
    lines: Vec<(Level, String)>,
    globals: Arc<Globals>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who ended the call, and why.
    pub ended: Ended,
    /// The application that was running, and where it is written; `None` if the actions had run out.
    pub during: Option<(&'static str, Location)>,
}

impl Route {
    pub(crate) fn new(
        context: String,
        extension: Option<Arc<Extension>>,
        queue: Vec<Queued>,
        lines: Vec<(Level, String)>,
        globals: Arc<Globals>,
    ) -> Route {
        Route { context, extension, queue, lines, globals }
    }

    /// The context.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The extension that ended the search; `None` if there are only actions of extensions that continue.
    pub fn extension(&self) -> Option<&Extension> {
        self.extension.as_deref()
    }

    /// The applications that will be run, in order, with their data filled in as far as is known now.
    pub fn actions<'a>(
        &'a self,
        facts: &'a crate::Facts,
        variables: &'a Variables,
    ) -> impl Iterator<Item = (&'static str, String)> + 'a {
        let known = crate::text::Known { facts, variables };
        self.queue.iter().map(move |Queued { action, captures }| {
            let scope = Scope { captures, globals: &self.globals, fallback: &[] };
            (action.application, action.text.expand_known(known, scope))
        })
    }

    /// Whether an extension ended the search.
    fn is_complete(&self) -> bool {
        self.extension.is_some()
    }
}

/// Runs what was found for a call one after another, until the call ends. When the actions run out the call is hung
/// up with NORMAL_CLEARING, as FreeSWITCH does, or refused if no extension had ended the search. The future may be
/// dropped at any time.
pub async fn run(plan: &Plan, route: &Route, call: &mut dyn Call) -> Outcome {
    let mut runner =
        Runner { plan, frames: Vec::new(), searches: 0, is_complete: route.is_complete() };
    runner.push(route.clone(), call);
    runner.run(call).await
}

struct Runner<'a> {
    plan: &'a Plan,
    /// What is left to run; the last is run first.
    frames: Vec<std::vec::IntoIter<Queued>>,
    /// How often the call went to another extension.
    searches: usize,
    is_complete: bool,
}

impl Runner<'_> {
    async fn run(&mut self, call: &mut dyn Call) -> Outcome {
        let globals = Arc::clone(&self.plan.globals);
        while let Some(Queued { action, captures }) = self.next() {
            let during = Some((action.application, action.location.clone()));
            tracing::debug!(application = action.application, location = %action.location, "action begins");
            call.action_begins(&action);
            let scope =
                Scope { captures: &captures, globals: &globals, fallback: &action.fallback };
            let done = match action.compiled.run(call, scope).await {
                Ok(next) => self.follow(next, &captures, call).await,
                Err(ended) => Err(ended),
            };
            if let Err(ended) = done {
                return Outcome { ended, during };
            }
        }
        let refused = !self.is_complete && !call.is_answered();
        let cause = if refused { Cause::NO_ROUTE_DESTINATION } else { Cause::NORMAL_CLEARING };
        Outcome { ended: call.hang_up(cause).await, during: None }
    }

    fn next(&mut self) -> Option<Queued> {
        loop {
            let frame = self.frames.last_mut()?;
            match frame.next() {
                Some(queued) => return Some(queued),
                None => self.frames.pop(),
            };
        }
    }

    fn push(&mut self, route: Route, call: &mut dyn Call) {
        for (level, line) in &route.lines {
            call.log(*level, line);
        }
        self.frames.push(route.queue.into_iter());
    }

    async fn follow(
        &mut self,
        next: Next,
        captures: &Arc<Captures>,
        call: &mut dyn Call,
    ) -> Result<(), Ended> {
        let (place, is_transfer) = match next {
            Next::Action => return Ok(()),
            Next::Actions(actions) => {
                let captures = || Arc::clone(captures);
                let queue: Vec<Queued> = actions
                    .into_iter()
                    .flat_map(|action| repeat_n(Arc::clone(&action), action.times as usize))
                    .map(|action| Queued { action, captures: captures() })
                    .collect();
                self.frames.push(queue.into_iter());
                return self.check(call).await;
            }
            Next::Transfer(place) => (place, true),
            Next::Execute(place) => (place, false),
        };
        self.searches += 1;
        self.check(call).await?;
        let Place { number, context } = place;
        let context = context.unwrap_or_else(|| call.facts().context.clone());
        let before = (call.facts().destination_number.clone(), call.facts().context.clone());
        call.reroute(&number, &context);
        let facts = call.facts().clone();
        let now = call.now();
        let mut situation = Situation { facts: &facts, variables: call.variables_mut(), now };
        let found = self.plan.hunt(&context, &mut situation);
        if !is_transfer {
            call.reroute(&before.0, &before.1);
        }
        match found {
            Ok(route) => {
                if is_transfer {
                    self.frames.clear();
                    self.is_complete = route.is_complete();
                }
                self.push(route, call);
                Ok(())
            }
            Err(no_match) => {
                call.log(Level::Warning, &no_match.to_string());
                if is_transfer {
                    return Err(call.hang_up(Cause::NO_ROUTE_DESTINATION).await);
                }
                Ok(())
            }
        }
    }

    /// Ends a call that goes round and round.
    async fn check(&mut self, call: &mut dyn Call) -> Result<(), Ended> {
        if self.searches <= SEARCHES_MAX && self.frames.len() <= FRAMES_MAX {
            return Ok(());
        }
        call.log(Level::Err, "the call goes round in circles between extensions; it is ended");
        Err(call.hang_up(Cause::EXCHANGE_ROUTING_ERROR).await)
    }
}

/// Most transfers and executed extensions of one call.
const SEARCHES_MAX: usize = 100;
/// Deepest nesting of executed extensions and lists of webhooks.
const FRAMES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use std::time::Duration;

    use super::*;
    use crate::EndedBy;
    use crate::script::{load, run_plan};

    const GUIDE: &str = include_str!("../tests/guide.xml");
    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn the_extension_of_the_guide_runs_as_written() {
        let (call, outcome) = run_plan(&load(GUIDE).unwrap(), DAY).await;
        let expected = [
            "0 log Alert ==== TRUNK CALL from WEBRTC  ======",
            "0 answer",
            "0 sleep 500",
            "500 play common/logged_in_status.wav",
            "2500 hang_up NORMAL_CLEARING",
        ];
        assert_eq!(call.log(), expected);
        assert_eq!(call.variables.get("continue_on_fail"), Some("true"));
        assert_eq!(call.actions, ["log", "set", "answer", "sleep", "playback", "hangup"]);
        assert_eq!(outcome.ended, Ended::by_dialplan(Cause::NORMAL_CLEARING));
        let (application, location) = outcome.during.unwrap();
        assert_eq!((application, location.to_string().as_str()), ("hangup", "test.xml:8"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_hangs_up_stops_the_run_where_it_is() {
        let (call, outcome) = run_plan(&load(GUIDE).unwrap(), Duration::from_millis(700)).await;
        assert_eq!(call.log().last().map(String::as_str), Some("700 ended by the peer"));
        assert_eq!(outcome.ended.by, EndedBy::Peer);
        assert_eq!(outcome.during.map(|(application, _)| application), Some("playback"));
    }

    #[tokio::test(start_paused = true)]
    async fn when_actions_run_out_the_call_is_hung_up() {
        let plan =
            load("<extension><condition><action application=\"answer\"/></condition></extension>")
                .unwrap();
        let (call, outcome) = run_plan(&plan, DAY).await;
        assert_eq!(call.log(), ["0 answer", "0 hang_up NORMAL_CLEARING"]);
        assert_eq!(
            outcome,
            Outcome { ended: Ended::by_dialplan(Cause::NORMAL_CLEARING), during: None }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_condition_has_its_own_captures() {
        let plan = load(
            r#"<extension name="two">
                 <condition field="destination_number" expression="^(070)">
                   <action application="log" data="INFO $1"/>
                 </condition>
                 <condition field="caller_id_number" expression="(.)$">
                   <action application="log" data="INFO $1 of $0"/>
                 </condition>
               </extension>"#,
        );
        let (call, _) = run_plan(&plan.unwrap(), DAY).await;
        assert_eq!(call.log()[..2], ["0 log Info 070", "0 log Info 9 of 9"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_from_the_network_is_never_expanded_again() {
        let text = "<extension><condition field=\"caller_id_name\" expression=\"(.*)\">\
                    <action application=\"set\" data=\"name=$1\"/>\
                    <action application=\"log\" data=\"INFO ${name} $1\"/></condition></extension>";
        let plan = load(text).unwrap();
        let facts = crate::Facts {
            caller_id_name: "${uuid}$0$${sounds_dir}".to_owned(),
            ..Default::default()
        };
        let route = plan.route("public", &facts).unwrap();
        let mut call = crate::script::ScriptedCall::new(DAY);
        run(&plan, &route, &mut call).await;
        let expected = "0 log Info ${uuid}$0$${sounds_dir} ${uuid}$0$${sounds_dir}";
        assert_eq!(call.log()[0], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_call_outlives_its_plan() {
        let plan = load(GUIDE).unwrap();
        let mut call = crate::script::ScriptedCall::new(DAY);
        let route = plan.route("public", call.facts()).unwrap();
        assert_eq!(run(&plan, &route, &mut call).await.ended.by, EndedBy::Dialplan);
    }
}
