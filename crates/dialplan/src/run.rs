//! Runs the actions of an extension on a call.

use std::sync::Arc;

use crate::call::{Call, Ended};
use crate::cause::Cause;
use crate::error::Location;
use crate::model::{Extension, Globals};
use crate::pattern::Captures;
use crate::text::Scope;

/// The extension that was found for a call, and what its expressions captured.
#[derive(Clone, Debug)]
pub struct Route {
    context: String,
    extension: Arc<Extension>,
    /// One per condition of the extension.
    captures: Vec<Captures>,
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
        extension: Arc<Extension>,
        captures: Vec<Captures>,
        globals: Arc<Globals>,
    ) -> Route {
        Route { context, extension, captures, globals }
    }

    /// The context.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The extension.
    pub fn extension(&self) -> &Extension {
        &self.extension
    }
}

/// Runs the actions of a route one after another, until the call ends. When they run out the call is hung up with
/// NORMAL_CLEARING, as FreeSWITCH does. The future may be dropped at any time.
pub async fn run(route: &Route, call: &mut dyn Call) -> Outcome {
    for (condition, captures) in route.extension.conditions.iter().zip(&route.captures) {
        let scope = Scope { captures, globals: &route.globals };
        for action in &condition.actions {
            tracing::debug!(application = action.application, location = %action.location, "action begins");
            call.action_begins(action);
            if let Err(ended) = action.compiled.run(call, scope).await {
                return Outcome {
                    ended,
                    during: Some((action.application, action.location.clone())),
                };
            }
        }
    }
    Outcome { ended: call.hang_up(Cause::NORMAL_CLEARING).await, during: None }
}

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
        run(&route, &mut call).await;
        let expected = "0 log Info ${uuid}$0$${sounds_dir} ${uuid}$0$${sounds_dir}";
        assert_eq!(call.log()[0], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_call_outlives_its_plan() {
        let plan = load(GUIDE).unwrap();
        let mut call = crate::script::ScriptedCall::new(DAY);
        let route = plan.route("public", call.facts()).unwrap();
        drop(plan);
        assert_eq!(run(&route, &mut call).await.ended.by, EndedBy::Dialplan);
    }
}
