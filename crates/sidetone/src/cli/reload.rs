//! `sidetone reload`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::{Config, ConfigError};
use crate::http::access::{ControlToken, ControlTokenError};
use crate::state_dir::state_dir;

/// Arguments of `sidetone reload`.
#[derive(Debug, Args)]
pub struct ReloadArguments {
    /// Configuration of the server, for its control.address and state_dir.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the control port, if it is not that of the configuration.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
}

/// Why nothing was reloaded: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadCommandError {
    /// The configuration does not even say where the server is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The token cannot be read.
    #[error(
        "{0}; run this as the server's user with its --config and STATE_DIRECTORY, or send SIGHUP to the server"
    )]
    Token(#[from] ControlTokenError),
    /// There is no folder with a token.
    #[error("the folder of the token is not known; set state_dir in the configuration")]
    NoFolder,
    /// The port is chosen anew at each start.
    #[error("control.address has no fixed port; give the server's with --address")]
    NoPort,
    /// Nobody answers there.
    #[error("no answer from {address} ({source}); is Sidetone running with this control.address?")]
    Unreachable {
        /// The control port.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server says why not.
    #[error("{0}")]
    Refused(String),
}

/// What the server answers.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    restart: Vec<String>,
    error: Option<String>,
}

impl ReloadArguments {
    /// Asks the server to reload, and says what became of it.
    ///
    /// # Errors
    /// When the server cannot be asked, or has refused; nothing has changed then.
    pub fn reload(&self) -> Result<String, ReloadCommandError> {
        let config = match &self.config {
            Some(path) => Config::load_control(path)?,
            None => Config::default(),
        };
        let address = self.address.unwrap_or(config.control.address);
        if address.port() == 0 {
            return Err(ReloadCommandError::NoPort);
        }
        let folder = state_dir(&config).ok_or(ReloadCommandError::NoFolder)?;
        let token = ControlToken::found_in(&folder)?;
        let answer = ask(address, &token)
            .map_err(|source| ReloadCommandError::Unreachable { address, source })?;
        read(&answer)
    }
}

fn ask(address: SocketAddr, token: &ControlToken) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let request = format!(
        "POST /v1/reload HTTP/1.1\r\nHost: {address}\r\nAuthorization: {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        token.credentials()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn read(answer: &str) -> Result<String, ReloadCommandError> {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1.trim();
    let read: Answer = serde_json::from_str(body).unwrap_or_default();
    match (status, read.error) {
        ("200", _) if read.restart.is_empty() => Ok("reloaded".to_owned()),
        ("200", _) => Ok(format!(
            "reloaded; restart Sidetone for what has changed in {}",
            read.restart.join(", ")
        )),
        (_, Some(error)) => Err(ReloadCommandError::Refused(error)),
        (status, None) => Err(ReloadCommandError::Refused(format!("{status} {body}"))),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Long sounds take long to encode.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(100);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
