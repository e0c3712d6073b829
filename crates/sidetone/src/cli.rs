//! The command line.

mod dialplan;
mod import;
mod reload;
mod secrets;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};

pub use dialplan::{CheckArguments, ExplainArguments, PlanCommandError, applications};
pub use import::{ImportArguments, ImportFrom};
pub use reload::{ReloadArguments, ReloadCommandError};
pub use secrets::{Error, HashPasswordArguments, TokenArguments};

/// A SIP B2BUA with its own media plane: answers browsers and phones, plays prompts, in one binary.
#[derive(Debug, Parser)]
#[command(name = "sidetone", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer calls until Ctrl-C or SIGTERM.
    Run(RunArguments),
    /// Let the running server take its changed configuration; live calls go on.
    Reload(ReloadArguments),
    /// Say what is wrong with a configuration and its dialplan, all of it.
    Check(CheckArguments),
    /// Say which extension a call reaches and what would run, or why none.
    Explain(ExplainArguments),
    /// List the applications of the dialplan.
    Applications,
    /// Write a configuration anew that was made for another server.
    #[command(subcommand)]
    Import(ImportFrom),
    /// Print what to keep in the configuration in place of a user's password.
    HashPassword(HashPasswordArguments),
    /// Print a token that stands in for a password for some time.
    Token(TokenArguments),
}

/// Arguments of `sidetone run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// TOML file that overrides the embedded default key by key.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve this address of the machine in place of the configured ones (0.0.0.0 or :: for all);
    /// ports stay as they are. May be given once for IPv4 and once for IPv6.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<IpAddr>,
    /// Write the bound addresses to this file as JSON once calls are answered.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

impl RunArguments {
    /// Reads the configuration as it is now, with what was given on the command line over it.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        for (family, is_v6) in [("IPv4", false), ("IPv6", true)] {
            if self.listen.iter().filter(|ip| ip.is_ipv6() == is_v6).count() > 1 {
                return Err(ConfigError::ListenTwice { family });
            }
        }
        self.apply(&mut config);
        Ok(config)
    }

    /// Applies what was given on the command line over the configuration.
    pub fn apply(&self, config: &mut Config) {
        if self.listen.is_empty() {
            return;
        }
        let configured = std::mem::take(&mut config.listen);
        for entry in configured {
            for ip in &self.listen {
                let mut moved = entry.clone();
                moved.address = entry.address.with_ip(*ip);
                if !config.listen.contains(&moved) {
                    config.listen.push(moved);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn listen_moves_every_listener_and_keeps_the_ports() {
        let arguments =
            RunArguments { listen: vec!["192.0.2.4".parse().unwrap()], ..Default::default() };
        let mut config = Config::default();
        arguments.apply(&mut config);
        let shown: Vec<String> = config.listen.iter().map(|l| l.address.to_string()).collect();
        assert_eq!(
            shown,
            [
                "192.0.2.4:5060",
                "192.0.2.4:5060",
                "192.0.2.4:5061",
                "192.0.2.4:8088",
                "192.0.2.4:8089"
            ]
        );
        assert!(config.control.address.ip().is_loopback());
    }

    #[test]
    fn listen_takes_one_address_of_a_family() {
        let load = |addresses: [&str; 2]| {
            let listen = addresses.map(|address| address.parse().unwrap()).to_vec();
            RunArguments { listen, ..Default::default() }.load().map(|config| config.listen.len())
        };
        assert_eq!(load(["127.0.0.1", "::1"]).unwrap(), 10);
        let error = load(["127.0.0.1", "127.0.0.2"]).unwrap_err().to_string();
        assert!(error.contains("twice for IPv4"), "{error}");
    }
}
