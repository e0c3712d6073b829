//! `webhook`: another program says over HTTP what is run.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::model::Plan;
use crate::text::{Scope, Text, shorten};
use crate::webhook::{WebhookRequest, read_answer};

pub(super) const ENTRY: Entry = Entry {
    name: "webhook",
    summary: "Sends the call to a URL, POST with {\"facts\": {…}, \"variables\": {…}} as JSON, and runs the list of actions \
              that it answers with, such as [\"answer\", \"playback hello.wav\"], or, with the keys that a plan in TOML knows, \
              [{\"run\": \"webhook https://…\", \"fallback\": [\"hangup\"]}]; the fallback list is run if there is no \
              such answer in time. A server that cannot be reached or says 408, 425, 429 or 5xx is asked once more; \
              redirections are not followed. The headers webhook-id, webhook-timestamp and webhook-signature sign the \
              request with webhook.secret of the configuration, as Standard Webhooks says.",
    arguments: &[
        Argument {
            name: "url", reading: "http://… or https://…; it may not come from the call"
        },
        Argument {
            name: "deadline",
            reading: "milliseconds, 100 to 30000; 2000 if it is left out",
        },
    ],
    parse,
};

#[derive(Debug)]
struct Webhook {
    request: WebhookRequest,
    globals: Globals,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let text = data.constant(globals).ok_or("the URL may not come from the call; write it out")?;
    Ok(Box::new(Webhook { request: WebhookRequest::parse(&text)?, globals: globals.clone() }))
}

#[async_trait]
impl Application for Webhook {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let answer = call.webhook(&self.request).await?;
        let actions = answer.and_then(|text| {
            let drafts = read_answer(&text)?;
            let found = Plan::actions_from(&drafts, &self.globals);
            found.map_err(|error| error.to_string().replace('\n', "; "))
        });
        match actions {
            Ok(actions) => Ok(Next::Actions(actions)),
            Err(detail) => {
                let line = format!(
                    "webhook {}: {}; the fallback is run",
                    self.request.url,
                    shorten(&detail)
                );
                call.log(Level::Warning, &line);
                Ok(Next::Actions(scope.fallback.to_vec()))
            }
        }
    }

    fn needs_fallback(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use std::time::Duration;

    use crate::script::{ScriptedCall, load};

    async fn run(answer: Result<&str, &str>) -> Vec<String> {
        let text = r#"<extension><condition field="destination_number" expression="(2000)$">
            <action application="webhook" data="https://hooks.example/call 1500">
              <action application="log" data="INFO fallback of $1"/>
            </action>
            <action application="log" data="INFO after"/></condition></extension>"#;
        let mut call = ScriptedCall::new(Duration::from_secs(60));
        call.webhook_answers = answer.map(str::to_owned).map_err(str::to_owned);
        crate::script::run_on(&load(text).unwrap(), &mut call).await;
        call.log().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn the_actions_of_the_answer_are_run() {
        let answer = r#"{"actions": ["set x=1", {"run": "log INFO hi ${x}"}, "playback a.wav"]}"#;
        let expected = [
            "0 webhook https://hooks.example/call 1500",
            "0 log Info hi 1",
            "0 answer",
            "0 play a.wav",
            "2000 log Info after",
        ];
        assert_eq!(run(Ok(answer)).await[..5], expected);
        assert_eq!(run(Ok("[]")).await[1], "0 log Info after");
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_of_the_answer_has_the_keys_of_a_plan() {
        let answer = r#"[{"run": "log", "data": "INFO twice", "loop": 2, "inline": false},
            {"run": "webhook https://again.example/", "fallback": ["log INFO no more"]}]"#;
        let expected = [
            "0 webhook https://hooks.example/call 1500",
            "0 log Info twice",
            "0 log Info twice",
            "0 webhook https://again.example/ 2000",
        ];
        assert_eq!(run(Ok(answer)).await[..4], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_usable_answer_the_fallback_is_run() {
        for (answer, says) in [
            (Err("no answer in time"), "no answer in time"),
            (Ok("<html>"), "the answer is no JSON"),
            (Ok("{}"), "no list of actions"),
            (Ok("[5]"), "action 1 is neither a text"),
            (Ok(r#"["answer", "playbak x"]"#), "webhook:2: the application \"playbak\""),
            (Ok(r#"["playback ../../etc/passwd"]"#), "a part of the name of a sound is empty"),
            (Ok(r#"["log INFO $1"]"#), "$1 refers to group 1"),
            (
                Ok(r#"["answer", {"run": "hangup", "fallbak": []}]"#),
                "action 2 has the unknown key \"fallbak\"; did you mean \"fallback\"?",
            ),
            (
                Ok(r#"[{"run": "hangup", "loop": "often"}]"#),
                "action 1 has a wrong loop; write a number of times",
            ),
            (
                Ok(
                    r#"[{"run": "webhook https://a.example/", "fallback": [{"run": "echo", "fallback": []}]}]"#,
                ),
                "action 1 has a fallback that has the unknown key \"fallback\"",
            ),
            (Ok(r#"["webhook https://again.example/"]"#), "it needs a list"),
        ] {
            let log = run(answer).await;
            assert!(log[1].contains(says), "{log:?}");
            assert_eq!(log[2..4], ["0 log Info fallback of 2000", "0 log Info after"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_and_a_url_are_needed() {
        let fault = |data: &str, inner: &str| {
            let text = format!(
                "<extension><condition><action application=\"webhook\" data=\"{data}\">{inner}</action></condition></extension>"
            );
            load(&text).unwrap_err().to_string()
        };
        assert!(fault("https://a.example/", "").contains("it needs a list of actions"));
        let inner = "<action application=\"hangup\"/>";
        for data in
            ["", "ftp://a.example/", "https://", "https://u:p@a.example/", "https://a.example/ 50"]
        {
            assert!(fault(data, inner).contains("webhook"), "{data}");
        }
        assert!(fault("https://${x}/", inner).contains("may not come from the call"));
        let text = "<extension><condition><action application=\"answer\"><action application=\"hangup\"/></action></condition></extension>";
        assert!(load(text).unwrap_err().to_string().contains("it takes no fallback"));
    }
}
