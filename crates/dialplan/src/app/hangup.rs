//! `hangup`: ends the call.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed, suggest};
use crate::call::{Call, Ended, Level};
use crate::cause::Cause;
use crate::text::{Scope, Text, shorten};

pub(super) const ENTRY: Entry = Entry {
    name: "hangup",
    summary: "Ends the call; one that was not answered is refused with the status of the cause.",
    arguments: &[Argument {
        name: "cause",
        reading: "a name such as USER_BUSY or its number in Q.850; NORMAL_CLEARING if it is left out",
    }],
    parse,
};

#[derive(Debug)]
enum Hangup {
    Fixed(Cause),
    FromCall(Text),
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(match data.constant(globals) {
        Some(constant) => Hangup::Fixed(read_cause(&constant)?),
        None => Hangup::FromCall(data.clone()),
    }))
}

fn read_cause(text: &str) -> Result<Cause, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Cause::NORMAL_CLEARING);
    }
    Cause::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Cause::all().map(Cause::name).collect();
        format!("\"{}\" is not a cause; {}", shorten(text), suggest(text, &names))
    })
}

#[async_trait]
impl Application for Hangup {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let cause = match self {
            Hangup::Fixed(cause) => *cause,
            Hangup::FromCall(text) => {
                let read = read_cause(&text.expand(call, scope));
                read.unwrap_or_else(|detail| {
                    call.log(Level::Warning, &format!("{}: {detail}", text.source()));
                    Cause::NORMAL_CLEARING
                })
            }
        };
        Err(call.hang_up(cause).await)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_a_name_a_number_or_nothing() {
        for (data, cause) in
            [("NORMAL_CLEARING", "NORMAL_CLEARING"), ("17", "USER_BUSY"), ("", "NORMAL_CLEARING")]
        {
            let call = actions(&[("hangup", data), ("log", "never")]).await;
            assert_eq!(call.log(), [format!("0 hang_up {cause}")]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_may_come_from_a_variable() {
        let call = actions(&[("set", "why=call_rejected"), ("hangup", "${why}")]).await;
        assert_eq!(call.log(), ["0 hang_up CALL_REJECTED"]);
        let call = actions(&[("hangup", "$1")]).await;
        assert_eq!(call.log()[1], "0 hang_up NORMAL_CLEARING");
        assert!(call.log()[0].starts_with("0 log Warning $1: \"2000\" is not a cause; "));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_cause_is_refused() {
        let expected = "\"NORMAL_CLEARNING\" is not a cause; did you mean \"NORMAL_CLEARING\"?";
        assert_eq!(
            fault("hangup", "NORMAL_CLEARNING"),
            format!("hangup \"NORMAL_CLEARNING\": {expected}")
        );
    }
}
