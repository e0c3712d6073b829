//! `playback`: a sound file, from its beginning to its end.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended};
use crate::sound::SoundName;
use crate::text::{Scope, Text};

/// FreeSWITCH plays to an unanswered call as early media. Here the call is answered: a caller hears the sound in
/// every client, and `pre_answer` can be added without changing what this means.
pub(super) const ENTRY: Entry = Entry {
    name: "playback",
    summary: "Plays a sound file to its end; answers first if need be.",
    arguments: &[Argument {
        name: "file",
        reading: "a path below $${sounds_dir}, written in full or relative to it; it may not come from the call",
    }],
    parse,
};

#[derive(Debug)]
struct Playback {
    sound: SoundName,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let path = data
        .constant(globals)
        .ok_or("the name of a sound may not come from the call; write it out")?;
    let sound = SoundName::parse(&path, globals.get("sounds_dir"))?;
    Ok(Box::new(Playback { sound }))
}

#[async_trait]
impl Application for Playback {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.answer().await?;
        call.play(&self.sound).await?;
        Ok(Next::Action)
    }

    fn sounds(&self) -> Vec<&SoundName> {
        vec![&self.sound]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions, actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn it_answers_and_plays_to_the_end() {
        let call =
            actions(&[("playback", "$${sounds_dir}/common/a.wav"), ("playback", "b.wav")]).await;
        let expected =
            ["0 answer", "0 play common/a.wav", "2000 play b.wav", "4000 hang_up NORMAL_CLEARING"];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_hangs_up_ends_it() {
        let call =
            actions_until(Duration::from_secs(1), &[("playback", "a.wav"), ("log", "never")]).await;
        assert_eq!(call.log(), ["0 answer", "0 play a.wav", "1000 ended by the peer"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_global_may_be_written_as_a_variable() {
        let call = actions(&[("playback", "${sounds_dir}/a.wav")]).await;
        assert_eq!(call.log()[1], "0 play a.wav");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_outside_of_the_folder_and_nothing_from_the_call() {
        let expected = "the name of a sound may not come from the call; write it out";
        for data in ["$1.wav", "${destination_number}.wav", "${unknown}/a.wav"] {
            assert_eq!(fault("playback", data), format!("playback \"{data}\": {expected}"));
        }
        let expected = "the sound is not below $${sounds_dir}; only files there can be played";
        assert_eq!(
            fault("playback", "/etc/passwd"),
            format!("playback \"/etc/passwd\": {expected}")
        );
        let expected = "a part of the name of a sound is empty or starts with \".\"";
        assert_eq!(fault("playback", "a/../../b"), format!("playback \"a/../../b\": {expected}"));
    }
}
