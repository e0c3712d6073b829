//! A call for tests: it does what a script says and notes what it was asked to do, with the virtual time.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Action, BridgeOutcome, BridgeRequest, Call, Cause, Ended, Facts, Globals, Level, LoadOptions,
    Moment, Outcome, Plan, Play, Playable, RecordRequest, Recorded, Repeat, Source, Variables,
    WebhookRequest, run,
};

/// Every sound lasts this long.
const SOUND: Duration = Duration::from_secs(2);

pub(crate) struct ScriptedCall {
    pub variables: Variables,
    /// What it was asked to bridge to.
    pub bridges: Vec<BridgeRequest>,
    bridge_ends: BridgeOutcome,
    /// The applications that began.
    pub actions: Vec<&'static str>,
    pub facts: Facts,
    pub now: Moment,
    /// What a webhook answers.
    pub webhook_answers: Result<String, String>,
    /// When which keys are pressed, in order.
    keys: Vec<(Instant, char)>,
    is_early: bool,
    is_answered: bool,
    began: Instant,
    /// When the peer hangs up.
    ends: Instant,
    log: Vec<String>,
}

impl ScriptedCall {
    /// A call of 199 to 07010002000 by a peer who hangs up after `lasts`.
    pub fn new(lasts: Duration) -> Self {
        let facts = Facts {
            destination_number: "07010002000".to_owned(),
            caller_id_number: "199".to_owned(),
            uuid: "a1b2".to_owned(),
            context: "public".to_owned(),
            ..Facts::default()
        };
        let began = Instant::now();
        let (variables, log) = (Variables::default(), Vec::new());
        ScriptedCall {
            variables,
            bridges: Vec::new(),
            bridge_ends: BridgeOutcome::Completed { cause: Cause::NORMAL_CLEARING },
            actions: Vec::new(),
            facts,
            now: Moment::default(),
            webhook_answers: Ok("[]".to_owned()),
            keys: Vec::new(),
            is_early: false,
            is_answered: false,
            began,
            ends: began + lasts,
            log,
        }
    }

    pub fn whose_bridges_end(mut self, outcome: BridgeOutcome) -> Self {
        self.bridge_ends = outcome;
        self
    }

    /// What it was asked to do, each with the milliseconds since the call began.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    fn note(&mut self, text: impl std::fmt::Display) {
        let now_ms = self.began.elapsed().as_millis();
        self.log.push(format!("{now_ms} {text}"));
    }

    /// Lets time pass, unless the peer hangs up first.
    async fn pass(&mut self, duration: Duration) -> Result<(), Ended> {
        tokio::select! {
            biased;
            () = sleep_until(self.ends) => Err(self.peer_hangs_up()),
            () = sleep(duration) => Ok(()),
        }
    }

    /// Lets time pass until one of these keys is pressed.
    async fn pass_or_key(
        &mut self,
        duration: Duration,
        stop_on: &[char],
    ) -> Result<Option<char>, Ended> {
        let deadline = Instant::now() + duration;
        let found = self.keys.iter().position(|(at, key)| *at <= deadline && stop_on.contains(key));
        let Some(found) = found else {
            self.pass(duration).await?;
            return Ok(None);
        };
        let (at, key) = self.keys.remove(found);
        self.pass(at.saturating_duration_since(Instant::now())).await?;
        Ok(Some(key))
    }

    async fn play_item(
        &mut self,
        item: &Playable,
        offset: Duration,
        play: &Play,
    ) -> Result<Option<char>, Ended> {
        let from =
            if offset.is_zero() { String::new() } else { format!(" from {}", offset.as_millis()) };
        let is_loud =
            play.volume_db != 0 && matches!(item, Playable::Sound(_) | Playable::Recording(_));
        let level = if is_loud { format!(" at {} dB", play.volume_db) } else { String::new() };
        self.note(format_args!("play {item}{from}{level}"));
        let lasts = match item {
            Playable::Sound(_) | Playable::Recording(_) => SOUND - offset,
            Playable::Silence(duration) => duration.unwrap_or(Duration::from_secs(86_400)),
            Playable::Tones(script) => match script.repeat() {
                Repeat::Forever => return Err(self.last().await),
                Repeat::Times(times) => {
                    let once: u64 = script.tones().iter().map(crate::Tone::duration_ms).sum();
                    Duration::from_millis(once) * times
                }
            },
        };
        self.pass_or_key(lasts, &play.stop_on).await
    }

    async fn last(&mut self) -> Ended {
        sleep_until(self.ends).await;
        self.peer_hangs_up()
    }

    fn peer_hangs_up(&mut self) -> Ended {
        let ended = Ended::by_peer(Cause::NORMAL_CLEARING);
        self.note(format_args!("ended by the {}", ended.by));
        ended
    }
}

#[async_trait]
impl Call for ScriptedCall {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn reroute(&mut self, number: &str, context: &str) {
        self.facts.destination_number = number.to_owned();
        self.facts.context = context.to_owned();
    }

    fn now(&self) -> Moment {
        self.now
    }

    fn variables(&self) -> &Variables {
        &self.variables
    }

    fn variables_mut(&mut self) -> &mut Variables {
        &mut self.variables
    }

    fn action_begins(&mut self, action: &Action) {
        self.actions.push(action.application);
    }

    fn log(&mut self, level: Level, text: &str) {
        self.note(format_args!("log {level:?} {text}"));
    }

    fn is_answered(&self) -> bool {
        self.is_answered
    }

    async fn answer(&mut self) -> Result<(), Ended> {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.note("answer");
        }
        Ok(())
    }

    async fn sleep(&mut self, duration: Duration) -> Result<(), Ended> {
        self.note(format_args!("sleep {}", duration.as_millis()));
        self.pass(duration).await
    }

    async fn ring(&mut self) -> Result<(), Ended> {
        if !self.is_answered {
            self.note("ring");
        }
        Ok(())
    }

    async fn pre_answer(&mut self) -> Result<(), Ended> {
        if !self.has_early_media() {
            self.is_early = true;
            self.note("pre_answer");
        }
        Ok(())
    }

    fn has_early_media(&self) -> bool {
        self.is_answered || self.is_early
    }

    async fn respond(&mut self, status: u16, reason: Option<&str>) -> Ended {
        self.note(format_args!("respond {status} {}", reason.unwrap_or_default()));
        Ended::by_dialplan(Cause::from_sip_status(status))
    }

    async fn redirect(&mut self, contacts: &[String]) -> Ended {
        self.note(format_args!("redirect {}", contacts.join(" ")));
        Ended::by_dialplan(Cause::from_sip_status(302))
    }

    async fn play(&mut self, play: &Play) -> Result<Option<char>, Ended> {
        assert!(self.has_early_media(), "sound before the answer");
        assert!(!play.items.is_empty(), "nothing to play");
        let mut rounds = 0;
        loop {
            for (at, item) in play.items.iter().enumerate() {
                let begins = if rounds == 0 && at == 0 { play.offset } else { Duration::ZERO };
                if let Some(key) = self.play_item(item, begins, play).await? {
                    return Ok(Some(key));
                }
            }
            rounds += 1;
            if play.repeat == Repeat::Times(rounds) {
                return Ok(None);
            }
        }
    }

    async fn digit(&mut self, timeout: Duration) -> Result<Option<char>, Ended> {
        let deadline = Instant::now() + timeout;
        let next = self.keys.first().copied().filter(|(at, _)| *at <= deadline);
        let until = next.map_or(deadline, |(at, _)| at).max(Instant::now());
        self.pass(until - Instant::now()).await?;
        Ok(next.map(|_| self.keys.remove(0).1))
    }

    async fn record(&mut self, request: &RecordRequest) -> Result<Recorded, Ended> {
        assert!(self.is_answered, "a recording before the answer");
        let ms = |duration: Option<Duration>| {
            duration.map_or_else(String::new, |duration| format!(" {}", duration.as_millis()))
        };
        let (limit, silence) = (ms(request.limit), ms(request.silence));
        self.note(format_args!("record {}{limit}{silence}", request.name));
        let began = Instant::now();
        let limit = request.limit.unwrap_or(Duration::from_secs(86_400));
        let key = self.pass_or_key(limit, &request.stop_on).await?;
        Ok(Recorded { duration: began.elapsed(), key })
    }

    async fn start_recording(&mut self, request: &RecordRequest) -> Result<(), Ended> {
        self.note(format_args!("start_recording {}", request.name));
        Ok(())
    }

    async fn stop_recording(&mut self) -> Result<(), Ended> {
        self.note("stop_recording");
        Ok(())
    }

    async fn webhook(&mut self, request: &WebhookRequest) -> Result<Result<String, String>, Ended> {
        self.note(format_args!("webhook {} {}", request.url, request.deadline.as_millis()));
        Ok(self.webhook_answers.clone())
    }

    async fn echo(&mut self, delay: Duration) -> Ended {
        assert!(self.is_answered, "echo before the answer");
        self.note(format_args!("echo {}", delay.as_millis()));
        self.last().await
    }

    async fn bridge(&mut self, request: &BridgeRequest) -> Result<BridgeOutcome, Ended> {
        let destinations: usize = request.attempts.iter().map(Vec::len).sum();
        self.note(format_args!("bridge to {destinations}"));
        self.bridges.push(request.clone());
        Ok(self.bridge_ends)
    }

    async fn hang_up(&mut self, cause: Cause) -> Ended {
        self.note(format_args!("hang_up {cause}"));
        Ended::by_dialplan(cause)
    }
}

/// Runs these actions on a call whose peer stays for a day. `$1` is 2000.
pub(crate) async fn actions(actions: &[(&str, &str)]) -> ScriptedCall {
    actions_until(Duration::from_secs(86_400), actions).await
}

/// Runs these actions on this call.
pub(crate) async fn actions_on(mut call: ScriptedCall, actions: &[(&str, &str)]) -> ScriptedCall {
    let plan = load(&extension(actions)).expect("the actions are right");
    let route = plan.route("public", call.facts()).expect("the number is in the plan");
    run(&plan, &route, &mut call).await;
    call
}

/// Runs these actions on a call whose peer presses these keys, each with the milliseconds since the call began.
pub(crate) async fn pressing(keys: &[(u64, char)], actions: &[(&str, &str)]) -> ScriptedCall {
    let mut call = ScriptedCall::new(Duration::from_secs(86_400));
    let at = |ms| call.began + Duration::from_millis(ms);
    call.keys = keys.iter().map(|(ms, key)| (at(*ms), *key)).collect();
    actions_on(call, actions).await
}

/// Routes and runs this call in the context `public`.
pub(crate) async fn run_on(plan: &Plan, call: &mut ScriptedCall) {
    let route = plan.route("public", &call.facts).expect("the number is in the plan");
    run(plan, &route, call).await;
}

/// Runs these actions on a call whose peer hangs up after `lasts`.
pub(crate) async fn actions_until(lasts: Duration, actions: &[(&str, &str)]) -> ScriptedCall {
    let plan = load(&extension(actions)).expect("the actions are right");
    run_plan(&plan, lasts).await.0
}

/// Routes and runs a call of 199 to 07010002000 in the context `public`.
pub(crate) async fn run_plan(plan: &Plan, lasts: Duration) -> (ScriptedCall, Outcome) {
    let mut call = ScriptedCall::new(lasts);
    let route = plan.route("public", call.facts()).expect("the number is in the plan");
    let outcome = run(plan, &route, &mut call).await;
    (call, outcome)
}

/// What is said of an action that is refused.
pub(crate) fn fault(application: &str, data: &str) -> String {
    let error = load(&extension(&[(application, data)])).expect_err("the action is wrong");
    let [finding] = &error.findings[..] else { panic!("{error}") };
    assert_eq!(finding.location.to_string(), "test.xml:1");
    finding.fault.to_string()
}

/// Loads a file with the global `sounds_dir`.
pub(crate) fn load(text: &str) -> Result<Plan, crate::Error> {
    let globals =
        Globals::from_iter([("sounds_dir", "/opt/sounds"), ("recordings_dir", "/opt/recordings")]);
    let source = Source { file: "test.xml".to_owned(), text: text.to_owned() };
    Plan::load(&[source], &LoadOptions { globals, ..LoadOptions::default() })
}

fn extension(actions: &[(&str, &str)]) -> String {
    let escape =
        |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let actions: String = actions
        .iter()
        .map(|(application, data)| {
            format!("<action application=\"{application}\" data=\"{}\"/>", escape(data))
        })
        .collect();
    format!(
        "<extension name=\"test\"><condition field=\"destination_number\" expression=\"^0701000(2000)$\">\
         {actions}</condition></extension>"
    )
}
