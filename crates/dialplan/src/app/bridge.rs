//! `bridge`: calls someone else and joins the two.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;

use super::export::exported;
use super::{Application, Argument, Entry, Globals, Lead, Next, Parsed, set};
use crate::bridge::{BridgeOutcome, BridgeRequest, Destination};
use crate::call::{Call, Ended, Level};
use crate::cause::Cause;
use crate::dial::{DAY_S, DialString};
use crate::text::{Known, Scope, Text, shorten};
use crate::tone::ToneScript;

pub(super) const ENTRY: Entry = Entry {
    name: "bridge",
    summary: "Calls someone and joins the two; goes on after the other side has hung up or if nobody answered in \
              time, and after another failure if the variable continue_on_fail allows it.",
    arguments: &[
        Argument {
            name: "destinations",
            reading: "user/NAME, sofia/PROFILE/NUMBER@HOST or sip:NUMBER@HOST, where a domain without a port is \
                      asked for its SRV records; separated by \",\" all at once, by \"|\" one after the other; \
                      ${name} for such as the plan has set name to",
        },
        Argument {
            name: "variables",
            reading: "in front of all {name=value,name=value}, in front of one [name=value]: leg_timeout and \
                      leg_delay_start in seconds, call_timeout for all of them, origination_caller_id_name, \
                      origination_caller_id_number, ignore_early_media and others",
        },
    ],
    parse,
};

#[derive(Debug)]
struct Bridge {
    dial: DialString,
    data: Text,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let dial = DialString::parse(data)?;
    dial.check_times(globals)?;
    Ok(Box::new(Bridge { dial, data: data.clone() }))
}

#[async_trait]
impl Application for Bridge {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let request = match self.dial(call, scope) {
            Ok(dial) => request(&dial, call, scope),
            Err(detail) => {
                call.log(Level::Warning, &format!("bridge: {detail}"));
                BridgeRequest::default()
            }
        };
        let outcome = if request.attempts.is_empty() {
            BridgeOutcome::Failed { cause: Cause::INVALID_URL, status: None }
        } else {
            call.bridge(&request).await?
        };
        match outcome {
            BridgeOutcome::Completed { cause } => {
                note(call, Cause::SUCCESS, cause);
                if is_true(call.variables().get("hangup_after_bridge")) {
                    return Err(call.hang_up(Cause::NORMAL_CLEARING).await);
                }
                Ok(Next::Action)
            }
            BridgeOutcome::Failed { cause, status } => {
                note(call, cause, cause);
                call.variables_mut().unset("sip_invite_failure_status");
                if let Some(status) = status {
                    set(call, "sip_invite_failure_status", &status.to_string());
                }
                if goes_on(call, cause) { Ok(Next::Action) } else { Err(call.hang_up(cause).await) }
            }
        }
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        self.dial.leads()
    }
}

impl Bridge {
    /// The dial string, with the destinations in it that the plan put into variables.
    fn dial(&self, call: &dyn Call, scope: Scope<'_>) -> Result<Cow<'_, DialString>, String> {
        if !self.dial.has_variable() {
            return Ok(Cow::Borrowed(&self.dial));
        }
        DialString::parse(&self.data.fill(Known::of(call), scope)).map(Cow::Owned)
    }
}

fn request(dial: &DialString, call: &mut dyn Call, scope: Scope<'_>) -> BridgeRequest {
    let (mut attempts, refused) = dial.destinations(call, scope);
    for detail in refused {
        call.log(Level::Warning, &format!("bridge: {detail}"));
    }
    for destination in attempts.iter_mut().flatten() {
        let exported = exported(call.variables());
        let own = std::mem::replace(&mut destination.variables, exported);
        destination.variables.extend(own);
        complete(destination, call);
    }
    let own = dial.variables(call, scope);
    let find = |name: &str| {
        let own = own.iter().rev().find(|(known, _)| known == name);
        own.map(|(_, value)| value.as_str()).or_else(|| call.variables().get(name))
    };
    let timeout = find("originate_timeout").or_else(|| find("call_timeout"));
    let ringback = find("ringback").map(|script| {
        let script = script.strip_prefix("tone_stream://").unwrap_or(script);
        ToneScript::parse(script)
    });
    let mut request = BridgeRequest {
        attempts,
        timeout: timeout.and_then(seconds),
        ignore_early_media: find("ignore_early_media").is_some_and(|v| !is_false(v)),
        ringback: None,
        instant_ringback: is_true(find("instant_ringback")),
    };
    match ringback {
        Some(Ok(script)) => request.ringback = Some(script),
        Some(Err(detail)) => call.log(Level::Warning, &format!("ringback: {detail}")),
        None => {}
    }
    request
}
/// Reads what the variables of a leg, or else of the call, say about it.
fn complete(destination: &mut Destination, call: &dyn Call) {
    let caller_id = |field: &str| {
        let own = destination.variable(&format!("origination_caller_id_{field}"));
        let of_call = || call.variables().get(&format!("effective_caller_id_{field}"));
        own.or_else(of_call).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let (name, number) = (caller_id("name"), caller_id("number"));
    destination.timeout = destination.variable("leg_timeout").and_then(seconds);
    destination.delay = destination.variable("leg_delay_start").and_then(seconds);
    destination.caller_id_name = name;
    destination.caller_id_number = number;
}

fn note(call: &mut dyn Call, disposition: Cause, hangup: Cause) {
    set(call, "originate_disposition", disposition.name());
    set(call, "bridge_hangup_cause", hangup.name());
    set(call, "last_bridge_hangup_cause", hangup.name());
}

/// Whether the actions after a bridge that failed are run. As in FreeSWITCH they always are if nobody answered.
fn goes_on(call: &dyn Call, cause: Cause) -> bool {
    let names = |list: &str| {
        list.split([',', ' ']).any(|name| Cause::parse(name.trim()).is_some_and(|it| it == cause))
    };
    match call.variables().get("continue_on_fail") {
        Some(value) if is_true(Some(value)) || names(value) => true,
        _ => cause == Cause::NO_ANSWER || cause == Cause::NO_USER_RESPONSE,
    }
}

fn is_true(value: Option<&str>) -> bool {
    let words = ["true", "yes", "on", "1", "enabled", "active", "allow", "t"];
    value.is_some_and(|value| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word)))
}

fn is_false(value: &str) -> bool {
    ["false", "no", "off", "0", ""].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// A duration in seconds, from one to a day.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok().filter(|seconds| (1..=DAY_S).contains(seconds));
    if seconds.is_none() {
        tracing::warn!(value = shorten(text), "not a number of seconds from 1 to {DAY_S}; ignored");
    }
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use std::time::Duration;

    use crate::script::{ScriptedCall, actions, fault};
    use crate::{BridgeOutcome, Cause};

    const DAY: Duration = Duration::from_secs(86_400);

    async fn bridged(outcome: BridgeOutcome, list: &[(&str, &str)]) -> ScriptedCall {
        let call = ScriptedCall::new(DAY).whose_bridges_end(outcome);
        crate::script::actions_on(call, list).await
    }

    fn failed(cause: Cause, status: Option<u16>) -> BridgeOutcome {
        BridgeOutcome::Failed { cause, status }
    }

    async fn dialled(data: &str) -> Vec<String> {
        let call = actions(&[("bridge", data)]).await;
        call.bridges[0]
            .attempts
            .iter()
            .map(|attempt| {
                let shown: Vec<String> = attempt.iter().map(|d| d.target.to_string()).collect();
                shown.join(" + ")
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_are_called_at_once_or_one_after_the_other() {
        assert_eq!(dialled("user/199").await, ["user/199"]);
        assert_eq!(
            dialled("user/199@pbx.example , user/3001|user/3002").await,
            ["user/199 + user/3001", "user/3002"]
        );
        assert_eq!(dialled("sofia/internal/500@192.0.2.9:5070").await, ["sip:500@192.0.2.9:5070"]);
        assert_eq!(dialled("sofia/internal/199%pbx.example").await, ["user/199"]);
        assert_eq!(
            dialled("sofia/x/sips:500@[2001:db8::1];transport=tcp").await,
            ["sips:500@[2001:db8::1];transport=tcp"]
        );
        assert_eq!(dialled("sip:192.0.2.9").await, ["sip:192.0.2.9"]);
        assert_eq!(dialled("user/$1").await, ["user/2000"]);
    }

    #[tokio::test(start_paused = true)]
    async fn variables_are_of_all_legs_or_of_one() {
        let data = "{leg_timeout=20,origination_caller_id_name='Desk, two',x=$1}[leg_timeout=5]user/1,\
                    [leg_delay_start=3,origination_caller_id_number=7]user/2";
        let call = actions(&[
            ("set", "effective_caller_id_number=900"),
            ("set", "call_timeout=30"),
            ("set", "ringback=%(2000,4000,440,480)"),
            ("bridge", data),
        ])
        .await;
        let request = &call.bridges[0];
        assert_eq!(request.timeout, Some(Duration::from_secs(30)));
        assert_eq!(request.ringback.as_ref().unwrap().source(), "%(2000,4000,440,480)");
        assert!(!request.ignore_early_media);
        let [first, second] = &request.attempts[0][..] else { panic!("two legs") };
        assert_eq!(first.timeout, Some(Duration::from_secs(5)));
        assert_eq!(second.timeout, Some(Duration::from_secs(20)));
        assert_eq!((first.delay, second.delay), (None, Some(Duration::from_secs(3))));
        assert_eq!(first.caller_id_name.as_deref(), Some("Desk, two"));
        assert_eq!(first.caller_id_number.as_deref(), Some("900"));
        assert_eq!(second.caller_id_number.as_deref(), Some("7"));
        assert_eq!(first.variable("x"), Some("2000"));
        let call =
            actions(&[("bridge", "{ignore_early_media=true,originate_timeout=9}user/1")]).await;
        assert!(call.bridges[0].ignore_early_media);
        assert_eq!(call.bridges[0].timeout, Some(Duration::from_secs(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_call_brings_in_cannot_become_a_destination() {
        let to = |value: &str, data: &'static str| {
            let set = format!("x={value}");
            async move { actions(&[("set", set.as_str()), ("bridge", data)]).await }
        };
        let call = to("1,sip:2@192.0.2.1|user/3", "user/${x}").await;
        assert_eq!(call.bridges[0].attempts.len(), 1);
        assert_eq!(call.bridges[0].attempts[0].len(), 1);
        let call = to("1@192.0.2.66;x=", "sofia/internal/${x}@192.0.2.1").await;
        let target = call.bridges[0].attempts[0][0].target.to_string();
        assert_eq!(target, "sip:1%40192.0.2.66%3Bx%3D@192.0.2.1");
        let call = to("192.0.2.1;method=BYE", "sip:1@${x}").await;
        assert!(call.bridges.is_empty());
        assert_eq!(
            call.log(),
            ["0 log Warning bridge: \"sip:1@ \" is no SIP URI", "0 hang_up INVALID_URL"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_may_come_from_variables_that_the_plan_sets() {
        let to = |value: &'static str, data: &'static str| async move {
            let mut call = ScriptedCall::new(DAY);
            call.variables.set("sent", "7,sip:8@192.0.2.1").unwrap();
            crate::script::actions_on(call, &[("set", value), ("bridge", data)]).await
        };
        let shown = |call: &ScriptedCall| -> Vec<String> {
            let attempts = call.bridges.iter().flat_map(|bridge| bridge.attempts.iter().flatten());
            attempts.map(|destination| destination.target.to_string()).collect()
        };
        let call = to("d={leg_timeout=5}user/1,[x=$1]user/$1|user/${sent}", "${d}").await;
        // What a variable holds is structure only where the plan wrote it.
        assert_eq!(shown(&call), ["user/1", "user/2000", "user/7,sip:8"]);
        assert_eq!(call.bridges[0].attempts.len(), 2);
        assert_eq!(call.bridges[0].attempts[0][0].timeout, Some(Duration::from_secs(5)));
        assert_eq!(call.bridges[0].attempts[0][1].variable("x"), Some("2000"));
        let call = to("d=user/1", "{leg_timeout=5}${d},user/${sent}|sip:9@192.0.2.1").await;
        assert_eq!(shown(&call), ["user/1", "user/7,sip:8", "sip:9@192.0.2.1"]);
        for value in ["d=$1", "d=${sip_from_user}", "d=${sent}", "d=${d}", "d=nobody"] {
            let call = to(value, "${d}").await;
            assert!(call.bridges.is_empty(), "{value}: {:?}", call.log());
            let log = call.log();
            assert!(
                log[0].contains("Warning bridge: ") && log[1] == "0 hang_up INVALID_URL",
                "{log:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_call_goes_on_after_the_other_side_has_hung_up() {
        let completed = BridgeOutcome::Completed { cause: Cause::NORMAL_CLEARING };
        let call = bridged(completed, &[("bridge", "user/1"), ("log", "after")]).await;
        assert_eq!(call.log()[1..], ["0 log Info after", "0 hang_up NORMAL_CLEARING"]);
        assert_eq!(call.variables.get("originate_disposition"), Some("SUCCESS"));
        assert_eq!(call.variables.get("bridge_hangup_cause"), Some("NORMAL_CLEARING"));
        let list = [("set", "hangup_after_bridge=true"), ("bridge", "user/1"), ("log", "never")];
        let call = bridged(completed, &list).await;
        assert_eq!(call.log()[1..], ["0 hang_up NORMAL_CLEARING"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bridge_that_fails_ends_the_call_unless_it_may_go_on() {
        let busy = failed(Cause::USER_BUSY, Some(486));
        let run = |outcome, value: &'static str| async move {
            let list = [("set", value), ("bridge", "user/1"), ("log", "after")];
            let call = bridged(outcome, &list).await;
            call.log().last().unwrap().clone()
        };
        assert_eq!(run(busy, "x=1").await, "0 hang_up USER_BUSY");
        assert_eq!(run(busy, "continue_on_fail=false").await, "0 hang_up USER_BUSY");
        assert_eq!(run(busy, "continue_on_fail=NO_ANSWER").await, "0 hang_up USER_BUSY");
        for value in
            ["continue_on_fail=true", "continue_on_fail=NO_ANSWER,USER_BUSY", "continue_on_fail=17"]
        {
            assert_eq!(run(busy, value).await, "0 hang_up NORMAL_CLEARING", "{value}");
        }
        let silence = failed(Cause::NO_ANSWER, None);
        assert_eq!(run(silence, "x=1").await, "0 hang_up NORMAL_CLEARING");
        let call = bridged(busy, &[("bridge", "user/1")]).await;
        assert_eq!(call.variables.get("originate_disposition"), Some("USER_BUSY"));
        assert_eq!(call.variables.get("last_bridge_hangup_cause"), Some("USER_BUSY"));
        assert_eq!(call.variables.get("sip_invite_failure_status"), Some("486"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_destination_is_refused() {
        for (data, says) in [
            ("", "a destination is missing"),
            ("user/1,", "a destination is missing"),
            ("199", "\"199\" is no destination; write user/NAME"),
            ("user/", "is no destination"),
            ("${x}1", "\"…1\" is no destination"),
            ("$1", "\"…\" is no destination"),
            ("sofia/gateway/carrier/1", "gateways are not supported yet: there are no trunks"),
            ("sofia/internal/199", "\"199\" has no host"),
            ("sip:$1", "has no host"),
            ("sip:a b@192.0.2.1", "is no SIP URI"),
            ("[leg_timeout=5user/1", "a closing bracket or brace is missing"),
            ("{leg_timeout}user/1", "\"leg_timeout\" is not name=value"),
            ("{$1=x}user/1", "has no name of a variable"),
            ("{leg_timeout=abc}user/1", "leg_timeout=abc is no time; write whole seconds"),
            ("user/1,[leg_delay_start=-1]user/2", "leg_delay_start=-1 is no time"),
            ("{originate_timeout=86401}user/1", "at most 86400"),
        ] {
            assert!(fault("bridge", data).contains(says), "{data}: {}", fault("bridge", data));
        }
        assert!(fault("bridge", &"user/1,".repeat(65)).contains("missing"));
        assert!(fault("bridge", &["user/1"; 65].join(",")).contains("at most 64"));
    }
}
