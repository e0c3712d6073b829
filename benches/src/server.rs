//! The real binary as a child process: started on free ports, measured from outside, stopped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::Error;
use crate::net;

/// A running server. Dropped without [`Server::stop`], it is killed.
pub struct Server {
    child: Child,
    folder: TempDir,
    ready: Ready,
}

/// Memory of a process, in kB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Resident.
    pub rss_kb: f64,
    /// Its proportional share.
    pub pss_kb: f64,
}

/// CPU time by thread name.
pub type ThreadCpu = BTreeMap<String, Duration>;

#[derive(Deserialize)]
struct Ready {
    listen: Vec<Listener>,
    control: Option<SocketAddr>,
}

#[derive(Deserialize)]
struct Listener {
    kind: String,
    address: SocketAddr,
}

impl Server {
    /// Starts `binary run` with a configuration of its own, to which `further` is added, and waits
    /// until it answers calls.
    ///
    /// # Errors
    /// [`Error::Start`], and [`Error::NotReady`] with the end of its log.
    pub fn start(binary: &Path, shards: usize, further: &str) -> Result<Server, Error> {
        let folder = TempDir::with_prefix("sidetone-bench-")
            .map_err(Error::io("making a folder for the server"))?;
        let (config, ready_file) = (folder.path().join("bench.toml"), folder.path().join("ready"));
        fs::write(&config, configuration(folder.path(), shards) + further)
            .map_err(Error::io("writing the server's configuration"))?;
        let log = File::create(folder.path().join("log"))
            .map_err(Error::io("making the server's log"))?;
        let error_log = log.try_clone().map_err(Error::io("making the server's log"))?;
        let mut child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--ready-file")
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error_log)
            .spawn()
            .map_err(|source| Error::Start { path: binary.to_owned(), source })?;
        match wait_ready(&mut child, &ready_file) {
            Some(ready) => Ok(Server { child, folder, ready }),
            None => {
                // It may be gone already; either way it must not outlive us.
                drop(child.kill());
                drop(child.wait());
                Err(Error::NotReady { log: tail(&folder.path().join("log")) })
            }
        }
    }

    /// The UDP listener.
    ///
    /// # Errors
    /// [`Error::NoListener`].
    pub fn udp(&self) -> Result<SocketAddr, Error> {
        self.listener("udp")
    }

    /// The plain web listener, which also speaks SIP over WebSocket.
    ///
    /// # Errors
    /// [`Error::NoListener`].
    pub fn web(&self) -> Result<SocketAddr, Error> {
        self.listener("http").or_else(|_| self.listener("ws"))
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn control(&self) -> Option<SocketAddr> {
        self.ready.control
    }

    /// CPU time of all its threads so far.
    ///
    /// # Errors
    /// [`Error::Io`] when it has ended.
    pub fn cpu(&self) -> Result<Duration, Error> {
        net::process_cpu(self.child.id()).map_err(Error::io("reading the server's CPU clock"))
    }

    /// CPU time by thread name, for those that live; threads of one pool are summed.
    #[must_use]
    pub fn threads(&self) -> ThreadCpu {
        let mut threads = ThreadCpu::new();
        let folder = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let schedule = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let used = schedule.split(' ').next().and_then(|text| text.parse().ok());
            *threads.entry(name.trim().to_owned()).or_default() +=
                Duration::from_nanos(used.unwrap_or(0));
        }
        threads
    }

    /// Its memory now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
        };
        Memory { rss_kb: field("Rss:"), pss_kb: field("Pss:") }
    }

    /// Its process id, for a profiler.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it logged.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }

    /// Asks it to end and waits; `None` if it had to be killed.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not ours to wait for.
    pub fn stop(mut self) -> Result<Option<ExitStatus>, Error> {
        net::terminate(self.child.id()).map_err(Error::io("stopping the server"))?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) =
                self.child.try_wait().map_err(Error::io("waiting for the server"))?
            {
                return Ok(Some(status));
            }
            thread::sleep(POLL);
        }
        Ok(None)
    }

    fn listener(&self, kind: &'static str) -> Result<SocketAddr, Error> {
        let listener = self.ready.listen.iter().find(|listener| listener.kind == kind);
        listener.map(|listener| listener.address).ok_or(Error::NoListener { kind })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing is left to do about a child that can be neither killed nor waited for.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Free ports everywhere, and a quiet log.
fn configuration(folder: &Path, shards: usize) -> String {
    format!(
        "state_dir = {folder:?}\n\n\
         [[listen]]\nkind = \"udp\"\naddress = \"127.0.0.1:0\"\n\n\
         [[listen]]\nkind = \"http\"\naddress = \"127.0.0.1:0\"\n\n\
         [control]\naddress = \"127.0.0.1:0\"\n\n\
         [media]\nshards = {shards}\nwebrtc_port = 0\n\n\
         [log]\nlevel = \"warn\"\nformat = \"text\"\n"
    )
}

fn wait_ready(child: &mut Child, ready_file: &Path) -> Option<Ready> {
    let deadline = Instant::now() + READY_MAX;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        // A file that is still being written does not parse, and is read again.
        if let Ok(text) = fs::read_to_string(ready_file)
            && let Ok(ready) = serde_json::from_str(&text)
        {
            return Some(ready);
        }
        thread::sleep(POLL);
    }
    None
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
