//! `respond`: a response of one's own choice.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::text::{Scope, Text, shorten};

pub(super) const ENTRY: Entry = Entry {
    name: "respond",
    summary: "Answers the INVITE with a status: 180 rings, 183 opens early media, 200 answers, 300 and more refuse \
              and end the call; an answered call goes on as it is.",
    arguments: &[
        Argument { name: "status", reading: "180, 183, 200, or 300 to 699" },
        Argument { name: "reason", reading: "what is said about it, in the header Reason" },
    ],
    parse,
};

#[derive(Debug)]
struct Respond {
    status: u16,
    reason: Option<Text>,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let (status, reason) = match data.split_once(' ') {
        Some((status, reason)) => (status, Some(reason)),
        None => (data.clone(), None),
    };
    let written = status.constant(globals).ok_or("the status may not come from the call")?;
    let status = written.trim().parse().ok();
    let status = status.filter(|status| matches!(status, 180 | 183 | 200 | 300..=699));
    let status = status.ok_or_else(|| {
        format!("\"{}\" is not a status; 180, 183, 200 and 300 to 699 are", shorten(&written))
    })?;
    Ok(Box::new(Respond { status, reason }))
}

#[async_trait]
impl Application for Respond {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        if call.is_answered() {
            call.log(Level::Warning, "respond: the call is answered; nothing is sent");
            return Ok(Next::Action);
        }
        match self.status {
            180 => call.ring().await?,
            183 => call.pre_answer().await?,
            200 => call.answer().await?,
            status => {
                let reason = self.reason.as_ref().map(|reason| reason.expand(call, scope));
                return Err(call.respond(status, reason.as_deref()).await);
            }
        }
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn a_final_status_ends_the_call() {
        let call = actions(&[("respond", "486 Busy $1"), ("log", "never")]).await;
        assert_eq!(call.log(), ["0 respond 486 Busy 2000"]);
        let call = actions(&[("respond", "604")]).await;
        assert_eq!(call.log(), ["0 respond 604 "]);
    }

    #[tokio::test(start_paused = true)]
    async fn other_statuses_go_on() {
        let list = [("respond", "180"), ("respond", "183"), ("respond", "200"), ("respond", "486")];
        let call = actions(&list).await;
        let expected = [
            "0 ring",
            "0 pre_answer",
            "0 answer",
            "0 log Warning respond: the call is answered; nothing is sent",
            "0 hang_up NORMAL_CLEARING",
        ];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_status_is_refused() {
        for data in ["", "100", "202", "700", "busy", "$1"] {
            assert!(fault("respond", data).contains("status"), "{data}");
        }
    }
}
