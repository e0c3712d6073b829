//! `unset`: a variable of the call is forgotten.

use async_trait::async_trait;

use super::set::Set;
use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::facts::Facts;
use crate::text::{Scope, Text};
use crate::variables::Variables;

pub(super) const ENTRY: Entry = Entry {
    name: "unset",
    summary: "Forgets a variable of the call.",
    arguments: &[Argument { name: "name", reading: "the variable" }],
    parse,
};

#[derive(Debug)]
struct Unset {
    name: String,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    if data.split_once('=').is_some() {
        return Err("it takes the name of a variable, without a value".to_owned());
    }
    Ok(Box::new(Unset { name: Set::parse(data, globals, "")?.name().to_owned() }))
}

#[async_trait]
impl Application for Unset {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.variables_mut().unset(&self.name);
        Ok(Next::Action)
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn run_inline(
        &self,
        _: &Facts,
        variables: &mut Variables,
        _: Scope<'_>,
        _: &mut Vec<(Level, String)>,
    ) {
        variables.unset(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn a_variable_is_forgotten() {
        let call =
            actions(&[("set", "a=1"), ("set", "b=2"), ("unset", "a"), ("unset", "none")]).await;
        assert_eq!(call.variables.iter().collect::<Vec<_>>(), [("b", "2")]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_takes_a_name() {
        assert!(fault("unset", "a=1").contains("without a value"));
        assert!(fault("unset", "").contains("is not a name of a variable"));
    }
}
