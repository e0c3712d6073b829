//! Golden files of the tables: every state and input, one line each.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::PathBuf;

/// Compares the whole table with `tests/golden/<name>.txt`; `UPDATE_GOLDEN=1` rewrites the file.
pub fn check<S, I, N: Debug + PartialEq + IsUnchanged<S>>(
    name: &str,
    states: &[S],
    inputs: &[I],
    step: impl Fn(S, I) -> N,
) where
    S: Debug + Copy,
    I: Debug + Copy,
{
    let mut table = String::new();
    for &state in states {
        for &input in inputs {
            let next = step(state, input);
            let outcome =
                if next.is_unchanged(state) { "ignored".to_owned() } else { format!("{next:?}") };
            writeln!(table, "{:<16} {:<20} -> {outcome}", name_of(state), name_of(input)).unwrap();
        }
        writeln!(table).unwrap();
    }
    compare(name, &table);
}

/// Compares `table` with `tests/golden/<name>.txt`; `UPDATE_GOLDEN=1` rewrites the file.
pub fn compare(name: &str, table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, table).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, table, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

/// Whether an outcome of a table changes nothing.
pub trait IsUnchanged<S> {
    /// Whether the state is still `state` and there is nothing to do.
    fn is_unchanged(&self, state: S) -> bool;
}

impl<S: PartialEq, A> IsUnchanged<S> for (S, &[A]) {
    fn is_unchanged(&self, state: S) -> bool {
        self.0 == state && self.1.is_empty()
    }
}

impl<S: PartialEq, E> IsUnchanged<S> for Result<S, E> {
    fn is_unchanged(&self, _: S) -> bool {
        false
    }
}

/// The name as a `String`: a derived `Debug` does not pad.
fn name_of(item: impl Debug) -> String {
    format!("{item:?}")
}
