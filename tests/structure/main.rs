//! The shape of the workspace: which crate may know which.
#![allow(clippy::unwrap_used, reason = "test code")]

mod conformance;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Arrows between our crates; there are no others.
const ARROWS: [(&str, &[&str]); 6] = [
    ("transport", &[]),
    ("transaction", &["transport"]),
    ("dialog", &["transaction", "transport"]),
    ("media", &[]),
    ("dialplan", &[]),
    ("sidetone", &["dialog", "dialplan", "media", "transaction", "transport"]),
];

/// Libraries the product stands on: each must be a real dependency of one of our crates.
const FOUNDATIONS: [&str; 8] =
    ["tokio", "webrtc", "rsip", "opus", "bytes", "dashmap", "rustls", "prometheus"];

/// Crates without a clock, a socket or a task.
const SANS_IO: [&str; 3] = ["transaction", "dialog", "dialplan"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let normal = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
            .collect();
        found.insert(package["name"].as_str().unwrap().to_owned(), normal);
    }
    found
}

#[test]
fn the_arrows_between_the_crates_are_as_drawn() {
    let found = dependencies();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let arrows: BTreeSet<&str> =
            found[name].iter().map(String::as_str).filter(|d| ours.contains(d)).collect();
        assert_eq!(arrows, allowed.iter().copied().collect(), "arrows of {name}");
    }
}

#[test]
fn every_foundation_is_depended_on() {
    let found = dependencies();
    for library in FOUNDATIONS {
        let users: Vec<&str> = ARROWS
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| found[*name].contains(library))
            .collect();
        assert!(!users.is_empty(), "no crate depends on {library}");
    }
}

#[test]
fn the_protocol_cores_know_no_runtime() {
    let found = dependencies();
    for name in SANS_IO {
        for runtime in ["tokio", "libc", "socket2", "hyper"] {
            assert!(!found[name].contains(runtime), "{name} depends on {runtime}");
        }
    }
}
