//! What the dialplan's applications do to a call.

use std::time::Duration;

use async_trait::async_trait;
use dialplan::{
    BridgeOutcome, BridgeRequest, Call, Cause, Ended, Facts, Level, Moment, Play, RecordRequest,
    Recorded, Variables, WebhookRequest,
};
use media::shard::Command;
use tokio::time::Instant;

use super::LiveCall;
use super::situation::moment;
use crate::calls::leg::Notice;

impl LiveCall {
    pub(super) fn command_caller(&mut self, command: Command) -> Result<(), Ended> {
        self.caller.command_media(command).map_err(|end| self.ended(end))
    }

    /// Returns once the caller can be sent to.
    async fn wait_until_ready(&mut self) -> Result<(), Ended> {
        while !self.caller.is_ready() {
            self.wait(None, |notice| {
                matches!(notice, Notice::Agreed | Notice::Connected).then_some(())
            })
            .await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Call for LiveCall {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn reroute(&mut self, number: &str, context: &str) {
        self.go_to(number, context);
    }

    fn now(&self) -> Moment {
        moment()
    }

    fn variables(&self) -> &Variables {
        &self.variables
    }

    fn variables_mut(&mut self) -> &mut Variables {
        &mut self.variables
    }

    fn action_begins(&mut self, action: &dialplan::Action) {
        self.shared.metrics.application(action.application);
        if action.application != "hangup" {
            self.bridged = None;
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        let call_id = &self.facts.uuid;
        match level {
            Level::Console | Level::Alert | Level::Crit | Level::Err => {
                tracing::error!(call_id, text, "dialplan");
            }
            Level::Warning => tracing::warn!(call_id, text, "dialplan"),
            Level::Notice | Level::Info => tracing::info!(call_id, text, "dialplan"),
            Level::Debug => tracing::debug!(call_id, text, "dialplan"),
        }
    }

    fn is_answered(&self) -> bool {
        self.caller.answered_at().is_some()
    }

    async fn answer(&mut self) -> Result<(), Ended> {
        if self.caller.answered_at().is_none()
            && let Err(refused) = self.answer_caller(None).await
        {
            return Err(self.refuse(refused).await);
        }
        self.wait_until_ready().await
    }

    async fn sleep(&mut self, duration: Duration) -> Result<(), Ended> {
        let deadline = Instant::now() + duration;
        self.wait(Some(deadline), |_| None::<()>).await.map(|_| ())
    }

    async fn ring(&mut self) -> Result<(), Ended> {
        if !self.caller.is_heard() {
            self.caller.ring().await;
        }
        Ok(())
    }

    async fn pre_answer(&mut self) -> Result<(), Ended> {
        match self.caller.progress(None).await {
            // Whoever wants our offer hears nothing before the answer.
            Ok(_) => Ok(()),
            Err(refused) => Err(self.refuse(refused).await),
        }
    }

    fn has_early_media(&self) -> bool {
        self.caller.is_heard()
    }

    async fn respond(&mut self, status: u16, reason: Option<&str>) -> Ended {
        self.refuse_with(status, reason).await
    }

    async fn redirect(&mut self, contacts: &[String]) -> Ended {
        self.redirect_to(contacts).await
    }

    async fn play(&mut self, play: &Play) -> Result<Option<char>, Ended> {
        self.play_all(play).await
    }

    async fn digit(&mut self, timeout: Duration) -> Result<Option<char>, Ended> {
        self.next_key(timeout).await
    }

    async fn record(&mut self, request: &RecordRequest) -> Result<Recorded, Ended> {
        self.record_caller(request).await
    }

    async fn start_recording(&mut self, request: &RecordRequest) -> Result<(), Ended> {
        self.record_both(request).await
    }

    async fn stop_recording(&mut self) -> Result<(), Ended> {
        self.stop_recording_both().await
    }

    async fn webhook(&mut self, request: &WebhookRequest) -> Result<Result<String, String>, Ended> {
        self.ask_webhook(request).await
    }

    async fn echo(&mut self, delay: Duration) -> Ended {
        if let Err(ended) = self.answer().await {
            return ended;
        }
        let delay = (!delay.is_zero()).then_some(delay);
        if let Err(ended) = self.command_caller(Command::Echo { delay }) {
            return ended;
        }
        loop {
            if let Err(ended) = self.wait(None, |_| None::<()>).await {
                return ended;
            }
        }
    }

    async fn bridge(&mut self, request: &BridgeRequest) -> Result<BridgeOutcome, Ended> {
        self.bridge_to(request).await
    }

    async fn hang_up(&mut self, cause: Cause) -> Ended {
        if let Some(played_at) = self.played_at.filter(|_| self.caller.answered_at().is_some())
            && let Err(ended) = self.wait(Some(played_at + TAIL), |_| None::<()>).await
        {
            return ended;
        }
        self.hang_up_caller(cause).await;
        Ended::by_dialplan(cause)
    }
}

/// A browser closes its media when BYE comes, with what its jitter buffer still holds unheard.
const TAIL: Duration = Duration::from_millis(150);
