//! `redirect`: the caller is told to call somewhere else.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Lead, Next, Parsed};
use crate::bridge::Target;
use crate::call::{Call, Ended, Level};
use crate::cause::Cause;
use crate::dial::DialString;
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "redirect",
    summary: "Answers the INVITE with 302 and the addresses to call instead, which ends the call; an answered call \
              goes on as it is.",
    arguments: &[Argument {
        name: "addresses",
        reading: "sip:NUMBER@HOST, several separated by \",\"; the host may not come from the number",
    }],
    parse,
};

#[derive(Debug)]
pub(super) struct Redirect {
    name: &'static str,
    addresses: DialString,
}

fn parse(data: &Text, _: &Globals) -> Parsed {
    Ok(Box::new(Redirect::parse("redirect", data)?))
}

impl Redirect {
    pub(super) fn parse(name: &'static str, data: &Text) -> Result<Redirect, String> {
        let addresses = DialString::parse(data)?;
        if !addresses.leads().iter().all(|lead| matches!(lead, Lead::Uri { .. })) {
            return Err("write a SIP URI: sip:NUMBER@HOST".to_owned());
        }
        Ok(Redirect { name, addresses })
    }
}

#[async_trait]
impl Application for Redirect {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let (attempts, refused) = self.addresses.destinations(call, scope);
        for detail in refused {
            call.log(Level::Warning, &format!("{}: {detail}", self.name));
        }
        if call.is_answered() {
            let line = format!("{}: the call is answered; nothing is sent", self.name);
            call.log(Level::Warning, &line);
            return Ok(Next::Action);
        }
        let contacts: Vec<String> = attempts
            .into_iter()
            .flatten()
            .filter_map(|destination| match destination.target {
                Target::Uri(uri) => Some(uri),
                Target::User(_) => None,
            })
            .collect();
        if contacts.is_empty() {
            return Err(call.hang_up(Cause::INVALID_URL).await);
        }
        Err(call.redirect(&contacts).await)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn the_caller_gets_the_addresses() {
        let data = "sip:$1@192.0.2.1,sips:pbx.example";
        let call = actions(&[("redirect", data), ("log", "never")]).await;
        assert_eq!(call.log(), ["0 redirect sip:2000@192.0.2.1 sips:pbx.example"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_call_goes_on() {
        let call = actions(&[("answer", ""), ("redirect", "sip:1@192.0.2.1")]).await;
        assert!(call.log()[1].contains("the call is answered"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_call_brings_in_cannot_become_an_address() {
        let list = [("set", "x=1>,<sip:evil"), ("redirect", "sip:${x}@192.0.2.1")];
        let call = actions(&list).await;
        assert_eq!(call.log(), ["0 redirect sip:1%3E%2C%3Csip%3Aevil@192.0.2.1"]);
        let call = actions(&[("set", "x=a b"), ("redirect", "sip:1@${x}")]).await;
        assert_eq!(call.log()[1], "0 hang_up INVALID_URL");
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_no_address() {
        assert!(fault("redirect", "user/199").contains("write a SIP URI"));
        assert!(fault("redirect", "").contains("a destination is missing"));
    }
}
