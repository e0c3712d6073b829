//! `pre_answer`: sound before the answer.

use async_trait::async_trait;

use super::{Application, Entry, Globals, Next, Parsed, no_arguments};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "pre_answer",
    summary: "Opens early media with 183, so that what is played is heard before the call is answered; does nothing \
              if it is answered.",
    arguments: &[],
    parse,
};

#[derive(Debug)]
struct PreAnswer;

fn parse(data: &Text, globals: &Globals) -> Parsed {
    no_arguments(data, globals)?;
    Ok(Box::new(PreAnswer))
}

#[async_trait]
impl Application for PreAnswer {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.pre_answer().await?;
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::actions;

    #[tokio::test(start_paused = true)]
    async fn an_answered_call_has_no_early_media() {
        let call = actions(&[("pre_answer", ""), ("answer", ""), ("pre_answer", "")]).await;
        assert_eq!(call.log(), ["0 pre_answer", "0 answer", "0 hang_up NORMAL_CLEARING"]);
    }
}
