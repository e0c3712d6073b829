//! The other commands of the binary, and a server that is started anew.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::Server;

impl Server {
    /// Stops the server and starts it anew with the same state and the same UDP port.
    pub fn restart(&mut self) {
        let port = self.address("udp").port();
        self.signal("TERM");
        assert_eq!(self.wait(Duration::from_secs(10)), Some(0));
        let path = self.folder.join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let udp = "kind = 'udp'\naddress = 'localhost:";
        assert!(config.contains(&format!("{udp}0'")), "{config}");
        let config = config.replacen(&format!("{udp}0'"), &format!("{udp}{port}'"), 1);
        // The folder of the old server goes with it.
        let folder = self.folder.with_extension("again");
        std::fs::rename(&self.folder, &folder).unwrap();
        std::fs::write(folder.join("config.toml"), config).unwrap();
        *self = Server::start_in(folder);
    }

    /// What a command prints that knows the server's configuration and state.
    pub fn run(&self, arguments: &[&str]) -> String {
        let config = self.folder.join("config.toml");
        let mut command = self.command(arguments);
        let output = command.arg("--config").arg(config).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// What a command prints that is given a line.
    pub fn run_with_input(&self, arguments: &[&str], line: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        command.args(arguments).env("STATE_DIRECTORY", &self.folder).stdin(Stdio::null());
        command
    }
}
