//! Golden files of the tables: every state and input, one line each.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::PathBuf;

/// Compares the whole table with `tests/golden/<name>.txt`; `UPDATE_GOLDEN=1` rewrites the file.
pub fn check<S, I, A>(
    name: &str,
    entry: (S, &[A]),
    states: &[S],
    inputs: &[I],
    step: impl Fn(S, I) -> (S, &'static [A]),
) where
    S: Debug + Copy + PartialEq,
    I: Debug + Copy,
    A: Debug + 'static,
{
    let mut table = String::new();
    let (state, actions) = entry;
    writeln!(table, "{:<16} {:<16} -> {:<16} {actions:?}", "-", "Entry", name_of(state)).unwrap();
    for &state in states {
        writeln!(table).unwrap();
        for &input in inputs {
            let (next, actions) = step(state, input);
            let outcome = if next == state && actions.is_empty() {
                "ignored".to_owned()
            } else {
                format!("{:<16} {actions:?}", name_of(next))
            };
            writeln!(table, "{:<16} {:<16} -> {outcome}", name_of(state), name_of(input)).unwrap();
        }
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, table, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

/// The name as a `String`: a derived `Debug` does not pad.
fn name_of(item: impl Debug) -> String {
    format!("{item:?}")
}
