//! `endless_playback`: sound files and tones, again and again.

use super::playback::Playback;
use super::{Argument, Entry, Globals, Parsed};
use crate::play::Play;
use crate::text::Text;
use crate::tone::Repeat;

pub(super) const ENTRY: Entry = Entry {
    name: "endless_playback",
    summary: "Plays again and again until the call ends or a key of playback_terminators is pressed; answers first \
              unless pre_answer was run.",
    arguments: &[Argument { name: "what", reading: "as playback takes it" }],
    parse,
};

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let play = Play { repeat: Repeat::Forever, ..Play::parse(data, globals)? };
    Ok(Box::new(Playback { play }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::script::{actions_until, fault};

    #[tokio::test(start_paused = true)]
    async fn it_begins_again_until_the_caller_hangs_up() {
        let list = [("endless_playback", "a.wav"), ("log", "never")];
        let call = actions_until(Duration::from_secs(5), &list).await;
        let expected = [
            "0 answer",
            "0 play a.wav",
            "2000 play a.wav",
            "4000 play a.wav",
            "5000 ended by the peer",
        ];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sound_is_needed() {
        assert!(fault("endless_playback", "").contains("the name of a sound is missing"));
    }
}
