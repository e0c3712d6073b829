//! `echo`: the caller hears what the caller says.

use std::time::Duration;

use async_trait::async_trait;

use super::{Application, Entry, Globals, Next, Parsed, no_arguments};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "echo",
    summary: "Sends what the caller says back at once, until the call ends; answers first if need be.",
    arguments: &[],
    parse,
};

#[derive(Debug)]
struct Echo;

fn parse(data: &Text, globals: &Globals) -> Parsed {
    no_arguments(data, globals)?;
    Ok(Box::new(Echo))
}

#[async_trait]
impl Application for Echo {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.answer().await?;
        Err(call.echo(Duration::ZERO).await)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions, actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn it_answers_and_lasts_until_the_caller_hangs_up() {
        let call = actions_until(Duration::from_secs(30), &[("echo", ""), ("log", "never")]).await;
        assert_eq!(call.log(), ["0 answer", "0 echo 0", "30000 ended by the peer"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_call_is_not_answered_again() {
        let call = actions(&[("answer", ""), ("echo", "")]).await;
        assert_eq!(call.log().iter().filter(|line| line.contains("answer")).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_takes_no_arguments() {
        assert_eq!(fault("echo", "5"), "echo \"5\": it takes no arguments");
    }
}
