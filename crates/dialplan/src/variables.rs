//! The variables of one call, bounded in number and size.

use std::collections::BTreeMap;
use std::ops::Range;

/// Variables by name. Names are case-sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, Value>,
}

/// A value, and which parts of it the plan did not say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    text: String,
    filled_in: Vec<Range<usize>>,
}

impl Variables {
    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.text.as_str())
    }

    /// Sets `name` to `value`.
    ///
    /// # Errors
    /// If the name is empty or too long, the value is too long, or there are too many variables; nothing changes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), VariableError> {
        let all = 0..value.len();
        self.set_filled_in(name, value, vec![all])
    }

    /// Sets `name` to a `value` of which the plan said all but the parts that are `filled_in`.
    pub(crate) fn set_filled_in(
        &mut self,
        name: &str,
        value: &str,
        filled_in: Vec<Range<usize>>,
    ) -> Result<(), VariableError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(VariableError::Name);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(VariableError::ValueTooLong { bytes: value.len() });
        }
        if self.values.len() >= VARIABLES_MAX && !self.values.contains_key(name) {
            return Err(VariableError::TooMany);
        }
        self.values.insert(name.to_owned(), Value { text: value.to_owned(), filled_in });
        Ok(())
    }

    /// The value of `name`, and which parts of it the plan did not say.
    pub(crate) fn filled_in(&self, name: &str) -> Option<(&str, &[Range<usize>])> {
        self.values.get(name).map(|value| (value.text.as_str(), value.filled_in.as_slice()))
    }

    /// Forgets `name`.
    pub fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// All variables, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.text.as_str()))
    }
}

/// Why a variable could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// The name is empty or longer than [`NAME_BYTES_MAX`].
    #[error("the name of a variable has 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("a value of {bytes} bytes is over the bound of {VALUE_BYTES_MAX}")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The call has [`VARIABLES_MAX`] variables.
    #[error("the call already has {VARIABLES_MAX} variables")]
    TooMany,
}

/// Most variables of one call.
pub const VARIABLES_MAX: usize = 256;
/// Longest name of a variable, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest value of a variable and longest expanded argument, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_variable_is_set_replaced_and_forgotten() {
        let mut variables = Variables::default();
        variables.set("a", "1").unwrap();
        variables.set("a", "2").unwrap();
        assert_eq!(variables.get("a"), Some("2"));
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("a", "2")]);
        variables.unset("a");
        assert_eq!(variables.get("a"), None);
    }

    #[test]
    fn each_bound_is_refused_and_changes_nothing() {
        let mut variables = Variables::default();
        for number in 0..VARIABLES_MAX {
            variables.set(&format!("v{number}"), "").unwrap();
        }
        let before = variables.clone();
        assert_eq!(variables.set("one_more", ""), Err(VariableError::TooMany));
        assert_eq!(variables.set("", "x"), Err(VariableError::Name));
        assert_eq!(variables.set(&"n".repeat(NAME_BYTES_MAX + 1), "x"), Err(VariableError::Name));
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(
            variables.set("v0", &long),
            Err(VariableError::ValueTooLong { bytes: long.len() })
        );
        assert_eq!(variables, before);
        variables.set("v0", "an existing one may still change").unwrap();
    }
}
