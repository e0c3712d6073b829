//! `record`: what the caller says, into a file.

use std::time::Duration;

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed, read_number, set};
use crate::call::{Call, Ended, Level};
use crate::play::keys;
use crate::recording::{RecordName, RecordRequest};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "record",
    summary: "Records the caller until a key of playback_terminators (*) is pressed, the time is over or the caller is \
              silent; sets record_seconds and record_ms; answers first if need be.",
    arguments: &[
        Argument {
            name: "file",
            reading: "a path below $${recordings_dir} that ends in .wav; of the call, ${uuid} may be part of it; a \
                      recording of that name is replaced",
        },
        Argument { name: "limit", reading: "seconds, 1 to 86400; none if it is left out" },
        Argument {
            name: "threshold",
            reading: "read and left out: what is silence is found by itself",
        },
        Argument {
            name: "silence",
            reading: "seconds of silence that end it; none if it is left out",
        },
    ],
    parse,
};

#[derive(Debug)]
struct Record {
    name: RecordName,
    limit: Option<Duration>,
    silence: Option<Duration>,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let words = data.words();
    let (name, rest) = words.split_first().ok_or("the name of the recording is missing")?;
    if rest.len() > 3 {
        return Err("write FILE LIMIT THRESHOLD SILENCE".to_owned());
    }
    let seconds = |at: usize| -> Result<Option<Duration>, String> {
        let Some(word) = rest.get(at) else { return Ok(None) };
        let word = word.constant(globals).ok_or("seconds may not come from the call")?;
        let seconds = read_number(&word, SECONDS_MAX)?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    };
    seconds(1)?;
    Ok(Box::new(Record {
        name: RecordName::parse(name, globals)?,
        limit: seconds(0)?,
        silence: seconds(2)?,
    }))
}

#[async_trait]
impl Application for Record {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let name = match self.name.expand(call, scope) {
            Ok(name) => name,
            Err(detail) => {
                call.log(Level::Warning, &format!("record: {detail}"));
                return Ok(Next::Action);
            }
        };
        call.answer().await?;
        let stop_on = keys(call.variables().get("playback_terminators").unwrap_or("*"));
        let (limit, silence) = (self.limit, self.silence);
        let recorded = call.record(&RecordRequest { name, limit, silence, stop_on }).await?;
        let ms = recorded.duration.as_millis();
        set(call, "record_ms", &ms.to_string());
        set(call, "record_seconds", &(ms / 1000).to_string());
        let key = recorded.key.map(String::from).unwrap_or_default();
        set(call, "playback_terminator_used", &key);
        Ok(Next::Action)
    }
}

/// A day.
const SECONDS_MAX: u64 = 86_400;

#[cfg(test)]
mod tests {
    use crate::script::{fault, pressing};

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_a_key_or_its_time() {
        let list = [
            ("record", "in/${uuid}.wav 30 200 3"),
            ("log", "${record_ms} ${playback_terminator_used}"),
        ];
        let call = pressing(&[(4500, '*')], &list).await;
        let expected = ["0 answer", "0 record in/a1b2.wav 30000 3000", "4500 log Info 4500 *"];
        assert_eq!(call.log()[..3], expected);
        let call = pressing(&[], &list).await;
        assert_eq!(call.log()[2], "30000 log Info 30000 ");
        assert_eq!(call.variables.get("record_seconds"), Some("30"));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_the_call_names_a_file() {
        let expected = "of the call, only ${uuid} can be part of the name of a recording";
        for data in ["${caller_id_number}.wav", "$1.wav", "${uuid}${x}.wav"] {
            assert_eq!(fault("record", data), format!("record \"{data}\": {expected}"));
        }
        let call =
            pressing(&[], &[("set", "uuid=../../etc/$1"), ("record", "${uuid}.wav 1")]).await;
        assert_eq!(call.log()[1], "0 record a1b2.wav 1000");
        for data in ["/etc/passwd", "../a.wav", "a/../../b", ""] {
            assert!(fault("record", data).contains("recording"), "{}", fault("record", data));
        }
        assert!(fault("record", "a.wav soon").contains("whole number"));
        assert!(fault("record", "a.mp3").contains("let the name end in .wav"));
    }
}
