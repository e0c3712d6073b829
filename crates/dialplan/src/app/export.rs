//! `export`: a variable of the call and of the legs that it calls.

use async_trait::async_trait;

use super::set::Set;
use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::facts::Facts;
use crate::text::{Scope, Text};
use crate::variables::{VALUE_BYTES_MAX, Variables};

pub(super) const ENTRY: Entry = Entry {
    name: "export",
    summary: "Sets a variable of the call, and of every leg that a bridge calls from then on.",
    arguments: &[
        Argument {
            name: "name",
            reading: "as set takes it; with nolocal: in front, only of the legs",
        },
        Argument { name: "value", reading: "what follows the first \"=\"" },
    ],
    parse,
};

/// In front of the name of a variable that only legs get.
const NO_LOCAL: &str = "nolocal:";
/// The variable that lists the names.
const LIST: &str = "export_vars";

#[derive(Debug)]
struct Export {
    set: Set,
    name: String,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    let set = Set::parse(data, globals, NO_LOCAL)?;
    let name = set.name().strip_prefix(NO_LOCAL).unwrap_or(set.name()).to_owned();
    Ok(Box::new(Export { set, name }))
}

impl Export {
    fn export(
        &self,
        facts: &Facts,
        variables: &mut Variables,
        scope: Scope<'_>,
    ) -> Result<(), String> {
        self.set.set(facts, variables, scope)?;
        let list = variables.get(LIST).unwrap_or_default();
        if list.split(',').any(|name| name == self.name) {
            return Ok(());
        }
        let separator = if list.is_empty() { "" } else { "," };
        let list = format!("{list}{separator}{}", self.name);
        if list.len() > VALUE_BYTES_MAX {
            return Err(format!("{} is not exported: too many variables are", self.name));
        }
        variables.set(LIST, &list).map_err(|error| format!("{LIST} is not set: {error}"))
    }
}

#[async_trait]
impl Application for Export {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        let facts = call.facts().clone();
        if let Err(detail) = self.export(&facts, call.variables_mut(), scope) {
            call.log(Level::Warning, &detail);
        }
        Ok(Next::Action)
    }

    fn sets(&self) -> Option<(&str, &Text)> {
        self.set.assignment()
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
        if let Err(detail) = self.export(facts, variables, scope) {
            lines.push((Level::Warning, detail));
        }
    }
}

/// The variables that legs get, with their values.
pub(super) fn exported(variables: &Variables) -> Vec<(String, String)> {
    let names = variables.get(LIST).unwrap_or_default().split(',');
    let value = |name: &str| {
        let value = variables.get(&format!("{NO_LOCAL}{name}")).or_else(|| variables.get(name))?;
        Some((name.to_owned(), value.to_owned()))
    };
    names.filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn legs_get_what_is_exported() {
        let call = actions(&[
            ("export", "a=1"),
            ("export", "nolocal:b=$1"),
            ("export", "a=2"),
            ("set", "c=3"),
            ("bridge", "{b=own}user/1,user/2"),
        ])
        .await;
        assert_eq!((call.variables.get("a"), call.variables.get("b")), (Some("2"), None));
        assert_eq!(call.variables.get("export_vars"), Some("a,b"));
        let leg = &call.bridges[0].attempts[0][1];
        let get = |name| leg.variable(name);
        assert_eq!((get("a"), get("b"), get("c")), (Some("2"), Some("own"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_checked_at_load() {
        assert!(fault("export", "a b=1").contains("is not a name of a variable"));
        assert!(fault("export", "nolocal:=1").contains("is not a name of a variable"));
    }
}
