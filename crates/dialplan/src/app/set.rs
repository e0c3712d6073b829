//! `set`: a variable of the call.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed, variable_name};
use crate::call::{Call, Ended, Level};
use crate::facts::Facts;
use crate::text::{Known, Scope, Text};
use crate::variables::Variables;

pub(super) const ENTRY: Entry = Entry {
    name: "set",
    summary: "Sets a variable of the call, or forgets it if there is no value.",
    arguments: &[
        Argument { name: "name", reading: "letters, digits, \"_\", \"-\" and \".\"" },
        Argument { name: "value", reading: "what follows the first \"=\", up to 4096 bytes" },
    ],
    parse,
};

#[derive(Debug)]
pub(super) struct Set {
    name: String,
    value: Option<Text>,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(Set::parse(data, globals, "")?))
}

impl Set {
    /// Reads `name=value`; the name may begin with `prefix`.
    pub(super) fn parse(data: &Text, globals: &Globals, prefix: &str) -> Result<Set, String> {
        let (name, value) = match data.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (data.clone(), None),
        };
        let name =
            name.constant(globals).ok_or("the name of the variable may not come from the call")?;
        let plain = name.trim().strip_prefix(prefix).map_or_else(
            || variable_name(&name),
            |rest| variable_name(rest).map(|rest| format!("{prefix}{rest}")),
        );
        Ok(Set { name: plain?, value })
    }

    /// The name of the variable.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sets the variable, or says why it cannot be.
    /// The variable and what it is set to.
    pub(super) fn assignment(&self) -> Option<(&str, &Text)> {
        self.value.as_ref().map(|value| (self.name.as_str(), value))
    }

    pub(super) fn set(
        &self,
        facts: &Facts,
        variables: &mut Variables,
        scope: Scope<'_>,
    ) -> Result<(), String> {
        let known = Known { facts, variables };
        let value = self.value.as_ref().map(|value| value.fill(known, scope).flatten());
        match value.filter(|(value, _)| !value.is_empty()) {
            None => variables.unset(&self.name),
            Some((value, filled_in)) => variables
                .set_filled_in(&self.name, &value, filled_in)
                .map_err(|error| format!("{} is not set: {error}", self.name))?,
        }
        Ok(())
    }
}

#[async_trait]
impl Application for Set {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let facts = call.facts().clone();
        if let Err(detail) = self.set(&facts, call.variables_mut(), scope) {
            call.log(Level::Warning, &detail);
        }
        Ok(Next::Action)
    }

    fn sets(&self) -> Option<(&str, &Text)> {
        self.assignment()
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn run_inline(
        &self,
        facts: &Facts,
        variables: &mut Variables,
        scope: Scope<'_>,
        lines: &mut Vec<(Level, String)>,
    ) {
        if let Err(detail) = self.set(facts, variables, scope) {
            lines.push((Level::Warning, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn a_value_is_all_after_the_first_equals_sign() {
        let call =
            actions(&[("set", "continue_on_fail=true"), ("set", "a=b=c $1"), ("set", "b=${a}!")])
                .await;
        let variables: Vec<_> = call.variables.iter().collect();
        assert_eq!(
            variables,
            [("a", "b=c 2000"), ("b", "b=c 2000!"), ("continue_on_fail", "true")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_value_the_variable_is_forgotten() {
        let call =
            actions(&[("set", "a=1"), ("set", "b=1"), ("set", "a"), ("set", "b=${nothing}")]).await;
        assert_eq!(call.variables.iter().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_cut_at_the_bound_and_too_many_are_logged() {
        let doubling: Vec<_> = std::iter::once(("set", "a=0123456789"))
            .chain(std::iter::repeat_n(("set", "a=${a}${a}"), 12))
            .collect();
        let call = actions(&doubling).await;
        assert_eq!(call.variables.get("a").map(str::len), Some(crate::VALUE_BYTES_MAX));

        let names: Vec<String> =
            (0..=crate::VARIABLES_MAX).map(|number| format!("v{number}=x")).collect();
        let many: Vec<_> = names.iter().map(|name| ("set", name.as_str())).collect();
        let call = actions(&many).await;
        assert_eq!(
            call.log()[0],
            "0 log Warning v256 is not set: the call already has 256 variables"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_checked_at_load() {
        assert_eq!(
            fault("set", ""),
            "set \"\": \"\" is not a name of a variable; write name=value"
        );
        assert_eq!(
            fault("set", "a b=1"),
            "set \"a b=1\": \"a b\" is not a name of a variable; write name=value"
        );
        assert_eq!(
            fault("set", "$1=1"),
            "set \"$1=1\": the name of the variable may not come from the call"
        );
    }
}
