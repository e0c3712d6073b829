//! `log`: a line in the log of the server.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "log",
    summary: "Writes a line to the log of the server.",
    arguments: &[
        Argument {
            name: "level",
            reading: "CONSOLE, ALERT, CRIT, ERR, WARNING, NOTICE, INFO or DEBUG, or 0 to 7; INFO if the first word \
                      is none of them, and that word is logged too",
        },
        Argument { name: "text", reading: "the rest of the line" },
    ],
    parse,
};

#[derive(Debug)]
struct Log {
    level: Level,
    text: Text,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let split = data.split_once(' ').and_then(|(word, text)| {
        let level = Level::parse(&word.constant(globals)?)?;
        Some(Log { level, text })
    });
    Ok(Box::new(split.unwrap_or_else(|| Log { level: Level::Info, text: data.clone() })))
}

#[async_trait]
impl Application for Log {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let text = self.text.expand(call, scope);
        call.log(self.level, &text);
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::actions;

    async fn logged(data: &str) -> String {
        actions(&[("log", data)]).await.log()[0].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_word_is_the_level() {
        assert_eq!(
            logged("ALERT ==== TRUNK CALL  ====").await,
            "0 log Alert ==== TRUNK CALL  ===="
        );
        assert_eq!(logged("warning disk").await, "0 log Warning disk");
        assert_eq!(logged("7 quiet").await, "0 log Debug quiet");
        assert_eq!(logged("8 is no level").await, "0 log Info 8 is no level");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_level_is_text() {
        assert_eq!(logged("hello world").await, "0 log Info hello world");
        assert_eq!(logged("ALERT").await, "0 log Info ALERT");
        assert_eq!(logged("").await, "0 log Info ");
    }

    #[tokio::test(start_paused = true)]
    async fn variables_captures_and_facts_are_filled_in_once() {
        let expected = "0 log Info 199 called 07010002000 2000 \\$1 $";
        assert_eq!(
            logged("INFO ${caller_id_number} called $0 $1${unknown} \\\\$1 \\$").await,
            expected
        );
        let call = actions(&[("set", "a=\\${caller_id_number} \\$1"), ("log", "INFO ${a}")]).await;
        assert_eq!(call.log()[0], "0 log Info ${caller_id_number} $1");
    }
}
