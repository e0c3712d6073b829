//! `transfer`: the call goes to another extension.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Lead, Next, Parsed, Place};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text, shorten};

pub(super) const ENTRY: Entry = Entry {
    name: "transfer",
    summary: "Goes to what another number leads to, in place of the actions that are left.",
    arguments: &[
        Argument { name: "number", reading: "the number; it may come from the call" },
        Argument {
            name: "dialplan",
            reading: "XML, as in FreeSWITCH; whatever the plan is written in",
        },
        Argument {
            name: "context",
            reading: "the context the number is looked up in; the one the call is in if it is left out",
        },
    ],
    parse,
};

#[derive(Debug)]
struct Transfer {
    to: Written,
}

/// A place as it is written.
#[derive(Debug)]
pub(super) struct Written {
    number: Text,
    context: Option<String>,
}

impl Written {
    pub(super) fn parse(data: &Text, globals: &Globals) -> Result<Written, String> {
        let words = data.words();
        let mut words = words.into_iter().peekable();
        if let Some(leg) = words.next_if(|word| word.begins_with('-')) {
            let leg = leg.constant(globals).unwrap_or_default();
            if leg != "-aleg" {
                return Err(format!(
                    "{} is not supported: only the caller goes elsewhere",
                    shorten(&leg)
                ));
            }
        }
        let number = words.next().ok_or("write NUMBER, or NUMBER XML CONTEXT")?;
        if let Some(dialplan) = words.next() {
            let dialplan = dialplan.constant(globals).unwrap_or_default();
            if !dialplan.eq_ignore_ascii_case("XML") {
                return Err(format!("\"{}\" is no dialplan; write XML", shorten(&dialplan)));
            }
        }
        let context = words
            .next()
            .map(|context| {
                context.constant(globals).ok_or("the context may not come from the call")
            })
            .transpose()?;
        if words.next().is_some() {
            return Err("write NUMBER, or NUMBER XML CONTEXT".to_owned());
        }
        Ok(Written { number, context })
    }

    pub(super) fn place(&self, call: &dyn Call, scope: Scope<'_>) -> Place {
        Place { number: self.number.expand(call, scope), context: self.context.clone() }
    }

    pub(super) fn lead(&self) -> Lead<'_> {
        Lead::Extension { number: &self.number, context: self.context.as_deref() }
    }
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(Transfer { to: Written::parse(data, globals)? }))
}

#[async_trait]
impl Application for Transfer {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        Ok(Next::Transfer(self.to.place(call, scope)))
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        vec![self.to.lead()]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use std::time::Duration;

    use crate::script::{fault, load, run_plan};

    const DAY: Duration = Duration::from_secs(86_400);

    async fn run(action: &str) -> Vec<String> {
        let text = format!(
            r#"<context name="public">
                 <extension name="a"><condition field="destination_number" expression="^0701000(2000)$">
                   {action}<action application="log" data="INFO left"/></condition></extension>
                 <extension name="b"><condition field="destination_number" expression="^(2000)$">
                   <action application="log" data="INFO two thousand in ${{context}}"/></condition></extension>
               </context>
               <context name="other">
                 <extension name="c"><condition field="destination_number" expression="^(.*)$">
                   <action application="log" data="INFO $1 in ${{context}}"/></condition></extension>
               </context>"#
        );
        run_plan(&load(&text).unwrap(), DAY).await.0.log().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_to_another_number() {
        let to = |data: &str| format!("<action application=\"transfer\" data=\"{data}\"/>");
        let expected = ["0 log Info two thousand in public", "0 hang_up NORMAL_CLEARING"];
        assert_eq!(run(&to("$1")).await, expected);
        assert_eq!(run(&to("-aleg 2000 XML")).await, expected);
        assert_eq!(run(&to("2000 XML other")).await[0], "0 log Info 2000 in other");
        let nowhere = run(&to("77")).await;
        assert!(nowhere[0].contains("no match in context \"public\": a "), "{nowhere:?}");
        assert_eq!(nowhere[1], "0 hang_up NO_ROUTE_DESTINATION");
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_with_blanks_stays_one_number() {
        let set = "<action application=\"set\" data=\"x=2000 XML other\"/>";
        let log = run(&format!("{set}<action application=\"transfer\" data=\"${{x}}\"/>")).await;
        assert!(log[0].contains("\"2000 XML other\" is not"), "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn going_round_in_circles_ends_the_call() {
        let log = run("<action application=\"transfer\" data=\"07010002000\"/>").await;
        assert!(log[0].contains("goes round in circles"), "{log:?}");
        assert_eq!(log[1], "0 hang_up EXCHANGE_ROUTING_ERROR");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused() {
        for (data, says) in [
            ("", "write NUMBER"),
            ("1 LUA x", "\"LUA\" is no dialplan"),
            ("1 XML $1", "the context may not come from the call"),
            ("-bleg 1", "-bleg is not supported"),
            ("1 XML a b", "write NUMBER"),
        ] {
            assert!(fault("transfer", data).contains(says), "{data}");
        }
    }
}
