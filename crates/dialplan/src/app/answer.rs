//! `answer`: takes the call.

use async_trait::async_trait;

use super::{Application, Entry, Globals, Next, Parsed, no_arguments};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "answer",
    summary: "Answers the call and goes on when sound can flow in both directions; does nothing if it is answered.",
    arguments: &[],
    parse,
};

#[derive(Debug)]
struct Answer;

fn parse(data: &Text, globals: &Globals) -> Parsed {
    no_arguments(data, globals)?;
    Ok(Box::new(Answer))
}

#[async_trait]
impl Application for Answer {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.answer().await?;
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn it_answers_once() {
        let call = actions(&[("answer", ""), ("answer", "")]).await;
        assert_eq!(call.log(), ["0 answer", "0 hang_up NORMAL_CLEARING"]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_takes_no_arguments() {
        assert_eq!(fault("answer", "now"), "answer \"now\": it takes no arguments");
    }
}
