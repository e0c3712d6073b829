//! `delay_echo`: the caller hears what the caller said a while ago.

use std::time::Duration;

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Number, Parsed};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "delay_echo",
    summary: "Sends what the caller says back after a delay, until the call ends; answers first if need be.",
    arguments: &[Argument {
        name: "delay",
        reading: "milliseconds, 0 to 10000; 1000 if it is left out",
    }],
    parse,
};

#[derive(Debug)]
struct DelayEcho {
    delay_ms: Number,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let delay_ms = Number::parse(data, globals, Some(DELAY_MS), DELAY_MS_MAX)?;
    Ok(Box::new(DelayEcho { delay_ms }))
}

#[async_trait]
impl Application for DelayEcho {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let delay_ms = self.delay_ms.value(DELAY_MS_MAX, call, scope).unwrap_or(DELAY_MS);
        call.answer().await?;
        Err(call.echo(Duration::from_millis(delay_ms)).await)
    }
}

/// FreeSWITCH's default.
const DELAY_MS: u64 = 1000;
/// Bounds what a call keeps in memory.
const DELAY_MS_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn the_delay_is_in_milliseconds() {
        let call = actions_until(Duration::from_secs(6), &[("delay_echo", "5000")]).await;
        assert_eq!(call.log(), ["0 answer", "0 echo 5000", "6000 ended by the peer"]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_delay_it_is_a_second() {
        let call = actions_until(Duration::from_secs(6), &[("delay_echo", "")]).await;
        assert_eq!(call.log()[1], "0 echo 1000");
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_from_a_variable_that_cannot_be_read_is_the_default() {
        let end = Duration::from_secs(6);
        let call = actions_until(end, &[("set", "ms=2500"), ("delay_echo", "${ms}")]).await;
        assert_eq!(call.log()[1], "0 echo 2500");
        let call =
            actions_until(end, &[("set", "ms=99999999999999999999"), ("delay_echo", "${ms}")])
                .await;
        let warning =
            "0 log Warning ${ms}: \"99999999999999999999\" is not a whole number from 0 to 10000";
        assert_eq!(call.log()[..3], [warning, "0 answer", "0 echo 1000"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_out_of_range_is_refused() {
        let expected = "delay_echo \"10001\": \"10001\" is not a whole number from 0 to 10000";
        assert_eq!(fault("delay_echo", "10001"), expected);
        assert_eq!(
            fault("delay_echo", "5s"),
            "delay_echo \"5s\": \"5s\" is not a whole number from 0 to 10000"
        );
    }
}
