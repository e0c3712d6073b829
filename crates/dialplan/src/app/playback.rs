//! `playback`: sound files and tones, from beginning to end.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended};
use crate::play::{Play, keys};
use crate::sound::SoundName;
use crate::text::{Scope, Text};
use crate::tone::ToneScript;

/// FreeSWITCH plays to an unanswered call as early media. Here the call is answered unless `pre_answer` opened early
/// media: a caller then hears the sound in every client.
pub(super) const ENTRY: Entry = Entry {
    name: "playback",
    summary: "Plays to the end, or until one of the keys in the variable playback_terminators (*) is pressed; \
              answers first unless pre_answer was run.",
    arguments: &[
        Argument {
            name: "options",
            reading: "in front, {loops=2,volume=-6,offset=500}: how often (-1 for ever), dB, milliseconds into the \
                      first sound",
        },
        Argument {
            name: "what",
            reading: "a file below $${sounds_dir}, a recording as $${recordings_dir}/FILE, tone_stream://SCRIPT as gentones takes it, or \
                      silence_stream://MS; several are separated by \"!\"; file@@SAMPLES begins later, \
                      at 8000 samples a second whatever the file has; it may not \
                      come from the call, but for ${uuid} in the name of a recording",
        },
    ],
    parse,
};

/// Plays what it was told to, as often as it was told to.
#[derive(Debug)]
pub(super) struct Playback {
    pub(super) play: Play,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(Playback { play: Play::parse(data, globals)? }))
}

#[async_trait]
impl Application for Playback {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        play(&self.play, call).await?;
        Ok(Next::Action)
    }

    fn sounds(&self) -> Vec<&SoundName> {
        self.play.sounds().collect()
    }

    fn tones(&self) -> Vec<&ToneScript> {
        self.play.tones().collect()
    }
}

/// Plays with the keys that the call has for it, and notes the one that ended it.
pub(super) async fn play(play: &Play, call: &mut dyn Call) -> Result<(), Ended> {
    open(call).await?;
    let stop_on = keys(call.variables().get("playback_terminators").unwrap_or("*"));
    let key = call.play(&Play { stop_on, ..play.clone() }).await?;
    call.variables_mut().unset("playback_terminator_used");
    if let Some(key) = key {
        super::set(call, "playback_terminator_used", &key.to_string());
    }
    Ok(())
}

/// Answers, unless early media is open.
pub(super) async fn open(call: &mut dyn Call) -> Result<(), Ended> {
    if call.has_early_media() { Ok(()) } else { call.answer().await }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions, actions_until, fault, pressing};

    #[tokio::test(start_paused = true)]
    async fn it_answers_and_plays_to_the_end() {
        let call =
            actions(&[("playback", "$${sounds_dir}/common/a.wav"), ("playback", "b.wav")]).await;
        let expected =
            ["0 answer", "0 play common/a.wav", "2000 play b.wav", "4000 hang_up NORMAL_CLEARING"];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn several_follow_one_another_as_often_as_is_said() {
        let data = "{loops=2,volume=-6,offset=500}a.wav!tone_stream://%(100,0,440)!silence_stream://300,1400";
        let call = actions(&[("playback", data)]).await;
        let expected = [
            "0 answer",
            "0 play a.wav from 500 at -6 dB",
            "1500 play %(100,0,440)",
            "1600 play silence 300",
            "1900 play a.wav at -6 dB",
            "3900 play %(100,0,440)",
            "4000 play silence 300",
            "4300 hang_up NORMAL_CLEARING",
        ];
        assert_eq!(call.log(), expected);
        let call = actions(&[("playback", "file_string://a.wav@@8000!b.wav")]).await;
        assert_eq!(call.log()[1], "0 play a.wav from 1000");
    }

    #[tokio::test(start_paused = true)]
    async fn after_pre_answer_it_is_early_media() {
        let call = actions(&[("pre_answer", ""), ("playback", "a.wav")]).await;
        assert_eq!(call.log(), ["0 pre_answer", "0 play a.wav", "2000 hang_up NORMAL_CLEARING"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_ends_it() {
        let call =
            pressing(&[(700, '5'), (900, '*')], &[("playback", "a.wav!b.wav"), ("log", "on")])
                .await;
        assert_eq!(call.log()[1..3], ["0 play a.wav", "900 log Info on"]);
        assert_eq!(call.variables.get("playback_terminator_used"), Some("*"));
        let list = [("set", "playback_terminators=#5"), ("playback", "a.wav")];
        let call = pressing(&[(700, '5')], &list).await;
        assert_eq!(call.log()[2], "700 hang_up NORMAL_CLEARING");
        let list = [("set", "playback_terminators=none"), ("playback", "a.wav")];
        let call = pressing(&[(700, '*')], &list).await;
        assert_eq!(call.log()[2], "2000 hang_up NORMAL_CLEARING");
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
    async fn a_recording_is_named_by_its_folder() {
        let list = [
            ("playback", "$${recordings_dir}/${uuid}.wav!a.wav"),
            ("playback", "{volume=-6}${recordings_dir}/greetings/199.wav"),
        ];
        let expected = [
            "0 play recording ${uuid}.wav",
            "2000 play a.wav",
            "4000 play recording greetings/199.wav at -6 dB",
        ];
        assert_eq!(actions(&list).await.log()[1..4], expected);
        let expected = "the name of a sound may not come from the call; write it out";
        assert_eq!(
            fault("playback", "${uuid}.wav"),
            format!("playback \"${{uuid}}.wav\": {expected}")
        );
        for data in
            ["$${recordings_dir}/../x.wav", "$${recordings_dir}/$1.wav", "$${recordings_dir}/"]
        {
            assert!(!fault("playback", data).is_empty());
        }
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

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused() {
        for (data, says) in [
            ("{loops=x}a.wav", "loops=x: it takes a number of times"),
            ("{volume=13}a.wav", "volume=13: it takes dB"),
            ("{loop=2}a.wav", "there is no option loop; did you mean \"loops\"?"),
            ("{loops=2", "a closing brace is missing"),
            ("a.wav!", "the name of a sound is missing"),
            ("a.wav!b.wav@@80", "only the first sound"),
            ("a.wav@@x", "not a number of samples"),
            ("silence_stream://soon", "takes milliseconds"),
            ("tone_stream://x", "neither a tone"),
        ] {
            assert!(fault("playback", data).contains(says), "{data}: {}", fault("playback", data));
        }
    }
}
