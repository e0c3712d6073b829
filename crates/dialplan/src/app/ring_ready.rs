//! `ring_ready`: the caller's phone rings.

use async_trait::async_trait;

use super::{Application, Entry, Globals, Next, Parsed, no_arguments};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "ring_ready",
    summary: "Sends 180, so that the caller hears ringing; does nothing if the call is answered.",
    arguments: &[],
    parse,
};

#[derive(Debug)]
struct RingReady;

fn parse(data: &Text, globals: &Globals) -> Parsed {
    no_arguments(data, globals)?;
    Ok(Box::new(RingReady))
}

#[async_trait]
impl Application for RingReady {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.ring().await?;
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::actions;

    #[tokio::test(start_paused = true)]
    async fn it_rings_until_the_answer() {
        let call =
            actions(&[("ring_ready", ""), ("sleep", "100"), ("answer", ""), ("ring_ready", "")])
                .await;
        let expected = ["0 ring", "0 sleep 100", "100 answer", "100 hang_up NORMAL_CLEARING"];
        assert_eq!(call.log(), expected);
    }
}
