//! `sidetone import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::import::{self, ImportError, Imported};

/// The server that a configuration was made for.
#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// pjsip.conf, sip.conf, http.conf, rtp.conf and extensions.conf.
    Asterisk(ImportArguments),
    /// SIP profiles, users and dialplan in XML.
    Freeswitch(ImportArguments),
}

/// Arguments of `sidetone import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Folder with the configuration files.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Folder that sidetone.toml, dialplan.toml and import.txt are written to; files that are there
    /// stay as they are.
    #[arg(long, value_name = "DIR", default_value = "sidetone-imported")]
    pub output: PathBuf,
}

impl ImportFrom {
    /// Imports, writes the files, and returns what to print: the list of what could not be carried
    /// over, and how to go on.
    ///
    /// # Errors
    /// When nothing can be imported or written.
    pub fn run(&self) -> Result<String, ImportError> {
        let (arguments, imported) = match self {
            ImportFrom::Asterisk(arguments) => (arguments, import::asterisk(&arguments.folder)?),
            ImportFrom::Freeswitch(arguments) => {
                (arguments, import::freeswitch(&arguments.folder)?)
            }
        };
        write(&imported, arguments)
    }
}

fn write(imported: &Imported, arguments: &ImportArguments) -> Result<String, ImportError> {
    let output = &arguments.output;
    imported.write(output)?;
    let config = output.join("sidetone.toml");
    Ok(format!(
        "{}\nWritten to {}: sidetone.toml, dialplan.toml, and this list in import.txt.\n\
         Start it with: sidetone run --config {}",
        imported.report(),
        output.display(),
        config.display()
    ))
}
