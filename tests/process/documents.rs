//! What the documents tell a newcomer to write and to run.

use std::path::Path;
use std::process::Command;

use crate::server;

#[test]
fn the_files_of_the_dialplan_in_a_page_are_right_and_do_what_it_says() {
    let folder = server::folder();
    let page = include_str!("../../docs/dialplan.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let (name, _) = block.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        std::fs::write(folder.join(name), block).unwrap();
    }
    let said = run(&folder, &["check"]);
    assert!(said.starts_with("nothing is wrong: 2 contexts"), "{said}");
    for (to, runs) in [
        ("9196", "echo"),
        ("3001", "bridge user/3001"),
        ("8000", "transfer menu-"),
        ("menu-1", "playback {loops=3}tone_stream://%(500,500,1004)"),
        ("8001", "webhook https://pbx.example.com/calls 2000"),
    ] {
        let said = run(&folder, &["explain", "--user", "199", "--to", to]);
        assert!(said.lines().any(|line| line.trim().starts_with(runs)), "{said}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.args(arguments).arg("--config").arg(folder.join("sidetone.toml"));
    let done = command.env("STATE_DIRECTORY", folder).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}
