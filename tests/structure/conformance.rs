//! `docs/CONFORMANCE.md`: which test holds which section of which RFC, read off the tests' names.
//!
//! A test whose name begins with `rfc3261_10_3_` holds RFC 3261 §10.3; the words after that say
//! what. `make docs` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Titles of the RFCs that tests name.
const TITLES: &[(u32, &str)] = &[
    (2045, "MIME bodies"),
    (2617, "HTTP digest authentication"),
    (2782, "DNS records that say where services are"),
    (3261, "SIP"),
    (3263, "Locating SIP servers"),
    (3264, "Offer and answer"),
    (3311, "UPDATE"),
    (3323, "Privacy"),
    (3326, "The Reason header field"),
    (3327, "The Path header field"),
    (3389, "Comfort noise"),
    (3398, "SIP and ISUP: what a cause means"),
    (3550, "RTP"),
    (3551, "RTP profile for audio and video"),
    (3581, "Symmetric response routing"),
    (3611, "RTCP extended reports"),
    (3605, "The port of RTCP in SDP"),
    (3711, "SRTP"),
    (4028, "Session timers"),
    (4122, "UUIDs"),
    (4320, "Timers of non-INVITE transactions"),
    (4475, "SIP torture tests"),
    (4497, "SIP and QSIG: what a cause means"),
    (4566, "SDP"),
    (4568, "SDES"),
    (4585, "RTP/AVPF"),
    (4632, "Networks and their prefixes"),
    (4733, "DTMF in RTP"),
    (5118, "SIP torture tests for IPv6"),
    (5389, "STUN"),
    (5393, "Loops of forking proxies"),
    (5407, "Races in SIP"),
    (5506, "Reduced-size RTCP"),
    (5621, "Bodies of messages"),
    (5626, "Outbound"),
    (5761, "RTP and RTCP on one port"),
    (5763, "DTLS-SRTP in SDP"),
    (5764, "DTLS-SRTP"),
    (5769, "STUN test vectors"),
    (5922, "Domain certificates in SIP"),
    (6026, "Correct handling of 2xx to INVITE"),
    (6086, "INFO"),
    (6141, "Re-INVITE and Target-Refresh Request Handling"),
    (6188, "AES-192 and AES-256 in SRTP"),
    (6337, "Offer and answer in SIP"),
    (6347, "DTLS 1.2"),
    (6432, "Reasons of responses"),
    (6455, "WebSocket"),
    (6716, "Opus"),
    (7118, "SIP over WebSocket"),
    (7515, "JSON Web Signature"),
    (7519, "JSON Web Token"),
    (7587, "Opus in RTP"),
    (7616, "HTTP digest authentication"),
    (7714, "AES-GCM in SRTP"),
    (7845, "Opus in Ogg"),
    (8122, "Fingerprints in SDP"),
    (8445, "ICE"),
    (8489, "STUN"),
    (8760, "Digest algorithms of SIP"),
    (8829, "JSEP"),
    (8839, "ICE in SDP"),
    (8842, "DTLS in SDP"),
    (8843, "BUNDLE"),
    (8866, "SDP"),
    (9143, "BUNDLE"),
];

/// A section and what a test holds of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    rfc: u32,
    section: Vec<u32>,
    what: String,
    file: String,
}

#[test]
fn the_list_of_what_is_held_of_the_rfcs_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let file = root.join("docs/CONFORMANCE.md");
    let document = document(&held(&root));
    if env::var_os("SIDETONE_WRITE_DOCS").is_some() {
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::write(&file, &document).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == document, "docs/CONFORMANCE.md is not what the tests' names say: make docs");
}

#[test]
fn a_name_is_read_as_rfc_section_and_words() {
    let held = read_name("rfc3261_10_2_2_a_register_may_star", "a.rs").unwrap();
    assert_eq!(
        (held.rfc, held.section, held.what.as_str()),
        (3261, vec![10, 2, 2], "a register may star")
    );
    let whole = read_name("rfc5118_the_archive", "a.rs").unwrap();
    assert_eq!((whole.section, whole.what.as_str()), (vec![], "the archive"));
    assert!(read_name("rfc_is_no_number", "a.rs").is_none());
}

fn held(root: &Path) -> Vec<Held> {
    let mut files = Vec::new();
    for folder in ["crates", "tests", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    let mut held = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(function) = function_name(line) {
                // Inside `proptest!` the attribute stands on the line before as well.
                held.extend(is_test.then(|| read_name(function, &name)).flatten());
                is_test = false;
            }
        }
    }
    held.sort();
    held
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_foreign = path.file_name().is_some_and(|name| name == "node_modules");
        if path.is_dir() && !is_foreign {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn read_name(function: &str, file: &str) -> Option<Held> {
    let mut words = function.split('_').peekable();
    let rfc = words.next()?.strip_prefix("rfc")?.parse().ok()?;
    let mut section = Vec::new();
    while let Some(number) = words.peek().and_then(|word| word.parse().ok())
        && number < 100
    {
        section.push(number);
        words.next();
    }
    let what = words.collect::<Vec<_>>().join(" ");
    Some(Held { rfc, section, what, file: file.to_owned() })
}

fn document(held: &[Held]) -> String {
    let mut rfcs: BTreeMap<u32, Vec<&Held>> = BTreeMap::new();
    for one in held {
        rfcs.entry(one.rfc).or_default().push(one);
    }
    let mut text = format!(
        "# Conformance\n\nWhat is tested of which RFC. Written by `make docs` from the names of {} \
         tests: a test called `rfc3261_10_3_…` holds RFC 3261 §10.3.\n",
        held.len()
    );
    for (rfc, ones) in rfcs {
        let title = TITLES.iter().find(|(number, _)| *number == rfc).map(|(_, title)| *title);
        let title = title.unwrap_or_else(|| panic!("give RFC {rfc} a title in this test"));
        writeln!(text, "\n## RFC {rfc}: {title}\n\n| § | what holds | where |\n|---|---|---|")
            .unwrap();
        for Held { section, what, file, .. } in ones {
            let section: Vec<String> = section.iter().map(u32::to_string).collect();
            writeln!(text, "| {} | {what} | `{file}` |", section.join(".")).unwrap();
        }
    }
    text
}
