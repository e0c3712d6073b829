//! The configurations of three guides, imported by the real binary, and calls through what it writes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::client::{Client, status};
use crate::phone::Phone;
use crate::server::{self, Server};

#[test]
fn the_trunk_of_the_freeswitch_guide_plays_its_prompt() {
    let (config, server) = imported("freeswitch", "freeswitch-trunk");
    for (kind, port) in [("ws", 5067), ("wss", 7444)] {
        let listener = format!("kind = \"{kind}\"\naddress = \"0.0.0.0:{port}\"\n");
        assert!(config.contains(&listener), "{config}");
    }
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("07010002000");
    let heard = phone.listen_until_bye(Duration::from_secs(15));
    assert!(heard.level_of_first_frame() > 100.0, "no prompt");
    let bye = phone.last_request();
    assert!(bye.contains("NORMAL_CLEARING"), "{bye}");
}

#[test]
fn the_phones_of_the_asterisk_guides_register_and_call_each_other() {
    let (config, server) = imported("asterisk", "asterisk-web-phones");
    for (kind, port) in [("udp", 5060), ("ws", 8088), ("wss", 8089)] {
        let listener = format!("kind = \"{kind}\"\naddress = \"0.0.0.0:{port}\"\n");
        assert!(config.contains(&listener), "{config}");
    }
    let phone = |user, password| registered(&server, user, password);
    let mut browser = phone("199", "199@pass1");
    let desk = phone("3001", "3001pass");
    calls(&mut browser, "3001", desk);
    calls(&mut browser, "3002", phone("3002", "3002pass"));
    let mut caller = phone("1060", "password");
    calls(&mut caller, "1061", phone("1061", "password"));
    let mut wrong = Client::udp(server.address("udp"), "199", "199@pass1 ");
    assert_eq!(status(&wrong.register_with_password()), 401, "the blank is no part of it");
    let challenge = browser.invite("9999", None);
    assert_eq!(status(&browser.invite("9999", Some(&challenge))), 404);
}

#[test]
fn the_web_client_of_the_asterisk_guide_registers() {
    let (config, server) = imported("asterisk", "asterisk-web-client");
    let listener = "kind = \"wss\"\naddress = \"0.0.0.0:8089\"\n";
    assert!(config.contains(listener), "{config}");
    let client = registered(&server, "webrtc_client", "webrtc_client");
    // The guide has one user, who may be in several places.
    let mut elsewhere = Client::udp(server.address("udp"), "webrtc_client", "webrtc_client");
    calls(&mut elsewhere, "webrtc_client", client);
}

#[test]
fn what_cannot_be_imported_is_said_with_file_and_line_and_nothing_is_written() {
    let folder = server::folder();
    for (file, text, says) in [
        ("pjsip.conf", &b"[199]\ntype=\xff\n"[..], "pjsip.conf:2: is not UTF-8"),
        ("pjsip.conf", b"\n#include pjsip.conf\n", "pjsip.conf:2: pjsip.conf includes itself"),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
        let output = folder.join("out");
        let done = import("asterisk", &folder, &output);
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{error}");
        assert!(error.starts_with("sidetone: ") && error.contains(says), "{error}");
        assert!(!output.exists());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_that_are_there_are_kept() {
    let folder = server::folder();
    std::fs::write(folder.join("dialplan.toml"), "mine").unwrap();
    let done = import("asterisk", &guide("asterisk-web-client"), &folder);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("--output"));
    assert_eq!(std::fs::read_to_string(folder.join("dialplan.toml")).unwrap(), "mine");
    assert!(!folder.join("sidetone.toml").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

fn registered(server: &Server, user: &str, password: &str) -> Client {
    let mut client = Client::udp(server.address("udp"), user, password);
    let answer = client.register_with_password();
    assert_eq!(status(&answer), 200, "{answer}");
    client
}

/// Calls a number and expects that the callee is asked and its answer comes back.
fn calls(caller: &mut Client, number: &str, mut callee: Client) {
    let asked = std::thread::spawn(move || callee.refuse_call());
    let challenge = caller.invite(number, None);
    assert_eq!(status(&challenge), 401, "{challenge}");
    let answer = caller.invite(number, Some(&challenge));
    assert_eq!(status(&answer), 486, "{answer}");
    let invite = asked.join().unwrap();
    assert!(invite.contains("m=audio"), "{invite}");
}

/// Imports a guide and starts the server on free ports of the loopback address; what was written, and the server.
fn imported(kind: &str, name: &str) -> (String, Server) {
    let folder = server::folder();
    let done = import(kind, &guide(name), &folder);
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{done:?}");
    let list = std::fs::read_to_string(folder.join("import.txt")).unwrap();
    assert!(
        output.starts_with(&list) && list.contains(".pem is not there")
            || list.contains(".crt is not there")
    );
    let config = std::fs::read_to_string(folder.join("sidetone.toml")).unwrap();
    let mut moved = String::from("[control]\naddress = \"127.0.0.1:0\"\n");
    if !config.contains("[media]") {
        moved += "[media]\nwebrtc_port = 0\n";
    }
    if !config.contains("kind = \"udp\"") {
        // The client of these tests speaks UDP only.
        moved += "[[listen]]\nkind = \"udp\"\naddress = \"127.0.0.1:0\"\n";
    }
    for line in config.lines() {
        match line.split_once(" = \"0.0.0.0:") {
            Some(("address", _)) => moved += "address = \"127.0.0.1:0\"\n",
            _ if line.starts_with("webrtc_port") => moved += "webrtc_port = 0\n",
            _ => moved += &format!("{line}\n"),
        }
    }
    std::fs::write(folder.join("config.toml"), moved).unwrap();
    (config, Server::start_in(folder))
}

fn import(kind: &str, from: &Path, output: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.args(["import", kind]).arg(from).arg("--output").arg(output).output().unwrap()
}

fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/process/guides").join(name)
}
