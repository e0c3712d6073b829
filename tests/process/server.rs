//! Starts the binary on free ports and ends it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub struct Server {
    child: Child,
    pub folder: PathBuf,
    ready: serde_json::Value,
    output: Receiver<String>,
}

impl Server {
    /// Starts the server with `config` over free ports and waits until it answers calls.
    pub fn start(config: &str) -> Self {
        Server::start_with_files(config, |_| {})
    }

    /// The same, with files beside the configuration.
    pub fn start_with_files(config: &str, write: impl FnOnce(&Path)) -> Self {
        let folder = folder();
        write(&folder);
        let listen: String = ["udp", "tcp", "http"]
            .map(|kind| format!("[[listen]]\nkind = '{kind}'\naddress = 'localhost:0'\n"))
            .concat();
        let ports = "[control]\naddress = '127.0.0.1:0'\n";
        let media = if config.contains("[media]") {
            config.replace("[media]\n", "[media]\nwebrtc_port = 0\n")
        } else {
            format!("{config}[media]\nwebrtc_port = 0\n")
        };
        std::fs::write(folder.join("config.toml"), format!("{listen}{ports}{media}")).unwrap();
        Server::start_in(folder)
    }

    /// Starts the server with the configuration in `folder`.
    pub fn start_in(folder: PathBuf) -> Self {
        let ready_file = folder.join("ready.json");
        let mut child = command(&folder)
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines_of(child.stdout.take().unwrap());
        let mut server = Server { child, folder, ready: serde_json::Value::Null, output };
        // The banner is printed after the file is written.
        server.wait_for_output("Press Ctrl-C");
        server.ready = serde_json::from_slice(&std::fs::read(ready_file).unwrap()).unwrap();
        server
    }

    /// Starts the server with a configuration it refuses; its exit code and what it says.
    pub fn start_refused(config: &str) -> (i32, String) {
        let folder = folder();
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let output = command(&folder).stderr(Stdio::piped()).output().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub fn address(&self, kind: &str) -> SocketAddr {
        self.addresses(kind).find(SocketAddr::is_ipv4).unwrap()
    }

    pub fn address_v6(&self, kind: &str) -> SocketAddr {
        self.addresses(kind).find(SocketAddr::is_ipv6).unwrap()
    }

    fn addresses(&self, kind: &str) -> impl Iterator<Item = SocketAddr> {
        let listen = self.ready["listen"].as_array().unwrap().iter();
        listen
            .filter(move |entry| entry["kind"] == kind)
            .map(|entry| entry["address"].as_str().unwrap().parse().unwrap())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The exit code, if the process ends in time.
    pub fn wait(&mut self, most: Duration) -> Option<i32> {
        let end = Instant::now() + most;
        loop {
            // Its standard output closes when the process ends.
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait().unwrap().code()
    }

    pub fn wait_for_output(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.output.recv_timeout(left).unwrap_or_else(|_| panic!("no {text:?}"));
            if line.contains(text) {
                return;
            }
        }
    }

    /// Address of the control port.
    pub fn control(&self) -> &str {
        self.ready["control"].as_str().unwrap()
    }

    /// Status and body of a page of the control port.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "Host: localhost\r\n")
    }

    /// Status and body of what the control port answers.
    pub fn request(&self, method: &str, path: &str, lines: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.control()).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn command(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command
        .args(["run", "--config"])
        .arg(folder.join("config.toml"))
        .env("STATE_DIRECTORY", folder)
        .stdin(Stdio::null());
    command
}

pub fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("sidetone-process-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A socket for a peer's RTP. The port above it, for RTCP, is nobody's: an offer that names a port of
/// the server is refused.
pub fn media_socket(ip: IpAddr) -> UdpSocket {
    let attempt = |_| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let above = socket.local_addr().unwrap().port().checked_add(1)?;
        UdpSocket::bind((ip, above)).is_ok().then_some(socket)
    };
    (0..100).find_map(attempt).expect("a pair of ports is free")
}
