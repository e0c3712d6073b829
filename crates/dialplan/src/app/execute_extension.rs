//! `execute_extension`: the actions of another extension, and then on.

use async_trait::async_trait;

use super::transfer::Written;
use super::{Application, Argument, Entry, Globals, Lead, Next, Parsed};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "execute_extension",
    summary: "Runs what another number leads to, and then goes on; the call keeps its number.",
    arguments: &[
        Argument { name: "number", reading: "the number; it may come from the call" },
        Argument { name: "dialplan and context", reading: "as transfer takes them" },
    ],
    parse,
};

#[derive(Debug)]
struct ExecuteExtension {
    to: Written,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(ExecuteExtension { to: Written::parse(data, globals)? }))
}

#[async_trait]
impl Application for ExecuteExtension {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        Ok(Next::Execute(self.to.place(call, scope)))
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        vec![self.to.lead()]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use std::time::Duration;

    use crate::script::{load, run_plan};

    async fn run(number: &str) -> Vec<String> {
        let text = format!(
            r#"<extension name="a"><condition field="destination_number" expression="^0701000(2000)$">
                 <action application="execute_extension" data="{number}"/>
                 <action application="log" data="INFO back at ${{destination_number}}"/></condition></extension>
               <extension name="b"><condition field="destination_number" expression="^(5)$">
                 <action application="set" data="x=$1"/><action application="log" data="INFO in $1"/></condition></extension>"#
        );
        run_plan(&load(&text).unwrap(), Duration::from_secs(86_400)).await.0.log().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_back() {
        let expected =
            ["0 log Info in 5", "0 log Info back at 07010002000", "0 hang_up NORMAL_CLEARING"];
        assert_eq!(run("5").await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_that_leads_nowhere_is_logged_and_skipped() {
        let log = run("7").await;
        assert!(log[0].contains("no match"), "{log:?}");
        assert_eq!(log[1], "0 log Info back at 07010002000");
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_go_round_in_circles() {
        let log = run("07010002000").await;
        assert_eq!(log.last().map(String::as_str), Some("0 hang_up EXCHANGE_ROUTING_ERROR"));
        assert!(log.len() < 50);
    }
}
