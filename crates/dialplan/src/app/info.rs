//! `info`: all that is known of the call, in the log.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::facts::{FACTS, Facts};
use crate::text::{Scope, Text, shorten};

pub(super) const ENTRY: Entry = Entry {
    name: "info",
    summary: "Writes every fact and variable of the call to the log of the server, a line each.",
    arguments: &[Argument { name: "level", reading: "as log takes it; INFO if it is left out" }],
    parse,
};

#[derive(Debug)]
struct Info {
    level: Level,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let word = data.constant(globals).ok_or("the level may not come from the call")?;
    let level = match word.trim() {
        "" => Level::Info,
        word => {
            Level::parse(word).ok_or_else(|| format!("\"{}\" is not a level", shorten(word)))?
        }
    };
    Ok(Box::new(Info { level }))
}

#[async_trait]
impl Application for Info {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        let facts = call.facts();
        let names = FACTS.iter().map(|(name, _)| *name).chain(Facts::FURTHER);
        let headers = facts.further.keys().map(String::as_str);
        let headers = headers.filter(|name| name.starts_with(Facts::HEADER_PREFIX));
        let known = names.chain(headers).filter_map(|name| Some((name, facts.value(name)?)));
        let mut lines: Vec<String> = known
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}: [{value}]"))
            .collect();
        let variables = call.variables().iter();
        lines.extend(variables.map(|(name, value)| format!("variable_{name}: [{value}]")));
        for line in lines {
            call.log(self.level, &line);
        }
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn facts_and_variables_are_listed() {
        let call = actions(&[("set", "a=1"), ("info", "notice")]).await;
        let expected = [
            "0 log Notice destination_number: [07010002000]",
            "0 log Notice caller_id_number: [199]",
            "0 log Notice context: [public]",
            "0 log Notice uuid: [a1b2]",
            "0 log Notice variable_a: [1]",
        ];
        assert_eq!(call.log()[..5], expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_is_checked_at_load() {
        assert!(fault("info", "loud").contains("is not a level"));
    }
}
