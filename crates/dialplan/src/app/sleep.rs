//! `sleep`: lets time pass.

use std::time::Duration;

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Number, Parsed};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "sleep",
    summary: "Waits; the caller hears silence if the call is answered.",
    arguments: &[Argument { name: "duration", reading: "milliseconds, 0 to 86400000" }],
    parse,
};

#[derive(Debug)]
struct Sleep {
    duration_ms: Number,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let duration_ms = Number::parse(data, globals, None, DURATION_MS_MAX)?;
    Ok(Box::new(Sleep { duration_ms }))
}

#[async_trait]
impl Application for Sleep {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        if let Some(duration_ms) = self.duration_ms.value(DURATION_MS_MAX, call, scope) {
            call.sleep(Duration::from_millis(duration_ms)).await?;
        }
        Ok(Next::Action)
    }
}

/// A day.
const DURATION_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions, actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn it_waits_that_many_milliseconds() {
        let call = actions(&[("sleep", "500"), ("sleep", " 250 ")]).await;
        assert_eq!(call.log(), ["0 sleep 500", "500 sleep 250", "750 hang_up NORMAL_CLEARING"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_hangs_up_ends_it() {
        let call =
            actions_until(Duration::from_millis(100), &[("sleep", "500"), ("log", "never")]).await;
        assert_eq!(call.log(), ["0 sleep 500", "100 ended by the peer"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_variable_that_cannot_be_read_is_logged_and_skipped() {
        let call = actions(&[("sleep", "${nothing}")]).await;
        let warning = "0 log Warning ${nothing}: \"\" is not a whole number from 0 to 86400000";
        assert_eq!(call.log(), [warning, "0 hang_up NORMAL_CLEARING"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_duration_is_needed() {
        assert_eq!(fault("sleep", ""), "sleep \"\": \"\" is not a whole number from 0 to 86400000");
    }
}
