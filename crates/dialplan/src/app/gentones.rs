//! `gentones`: tones.

use async_trait::async_trait;

use super::playback::open;
use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended};
use crate::play::{Play, Playable};
use crate::text::{Scope, Text};
use crate::tone::ToneScript;

pub(super) const ENTRY: Entry = Entry {
    name: "gentones",
    summary: "Plays tones; answers first unless pre_answer was run.",
    arguments: &[
        Argument {
            name: "script",
            reading: "tones such as %(on ms,off ms,Hz,Hz…), keys such as 7, and v=dB, d=ms, w=ms, l=times; \
                      separated by \";\"",
        },
        Argument {
            name: "loops",
            reading: "after a \"|\": how often the script is played, -1 for ever; once",
        },
    ],
    parse,
};

#[derive(Debug)]
struct GenTones {
    script: ToneScript,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let script =
        data.constant(globals).ok_or("a script may not come from the call; write it out")?;
    let script = script.trim();
    let script = script.strip_prefix("tone_stream://").unwrap_or(script);
    Ok(Box::new(GenTones { script: ToneScript::parse(script)? }))
}

#[async_trait]
impl Application for GenTones {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        open(call).await?;
        call.play(&Play::once(vec![Playable::Tones(self.script.clone())])).await?;
        Ok(Next::Action)
    }

    fn tones(&self) -> Vec<&ToneScript> {
        vec![&self.script]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions, actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn a_script_is_played_once() {
        let call = actions(&[("gentones", "%(1000,500,1004)")]).await;
        let expected = ["0 answer", "0 play %(1000,500,1004)", "1500 hang_up NORMAL_CLEARING"];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_is_played_as_often_as_it_says() {
        let call = actions(&[("gentones", "%(100,0,440);1(50,50)|3")]).await;
        assert_eq!(call.log()[2], "600 hang_up NORMAL_CLEARING");
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_for_ever_lasts_until_the_caller_hangs_up() {
        let call =
            actions_until(Duration::from_secs(3600), &[("gentones", "%(1000,0,1004)|-1")]).await;
        assert_eq!(
            call.log(),
            ["0 answer", "0 play %(1000,0,1004)|-1", "3600000 ended by the peer"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_is_checked_at_load() {
        assert_eq!(
            fault("gentones", "$1"),
            "gentones \"$1\": a script may not come from the call; write it out"
        );
        let expected =
            "gentones \"%(1,0)\": a tone needs a frequency: %(on ms,off ms,frequency in Hz,…)";
        assert_eq!(fault("gentones", "%(1,0)"), expected);
    }
}
