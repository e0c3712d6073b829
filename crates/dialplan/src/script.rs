//! A call for tests: it does what a script says and notes what it was asked to do, with the virtual time.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Action, BridgeOutcome, BridgeRequest, Call, Cause, Ended, Facts, Globals, Level, LoadOptions,
    Moment, Outcome, Plan, Repeat, SoundName, Source, ToneScript, Variables, run,
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

    async fn play(&mut self, sound: &SoundName) -> Result<(), Ended> {
        assert!(self.is_answered, "sound before the answer");
        self.note(format_args!("play {sound}"));
        self.pass(SOUND).await
    }

    async fn tones(&mut self, script: &ToneScript) -> Result<(), Ended> {
        assert!(self.is_answered, "tones before the answer");
        self.note(format_args!("tones {script}"));
        match script.repeat() {
            Repeat::Forever => Err(self.last().await),
            Repeat::Times(times) => {
                let once: u64 = script.tones().iter().map(crate::Tone::duration_ms).sum();
                self.pass(Duration::from_millis(once) * times).await
            }
        }
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
    let globals = Globals::from_iter([("sounds_dir", "/opt/sounds")]);
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
