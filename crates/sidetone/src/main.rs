//! The binary: arguments, configuration, run until a signal.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sidetone::cli::{Arguments, Command, RunArguments, applications};
use sidetone::config::Config;
use sidetone::{Server, banner, logging};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Check(arguments) => arguments.check().map(say).map_err(Into::into),
        Command::Explain(arguments) => arguments.explain().map(say).map_err(Into::into),
        Command::Applications => {
            say(applications());
            Ok(())
        }
        Command::HashPassword(arguments) => arguments.section().map(say).map_err(Into::into),
        Command::Token(arguments) => arguments.token().map(say).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidetone: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    arguments.apply(&mut config);
    let _log = logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, arguments))
}

async fn serve(config: Config, arguments: &RunArguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut server = tokio::select! {
        started = Server::start(config) => started?,
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    };
    if let Some(path) = &arguments.ready_file {
        banner::write_ready_file(server.addresses(), path)?;
    }
    say(banner::Banner(server.addresses()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = server.failed() => return Err("signalling failed; this is a fault of Sidetone".into()),
    }
    say("Ending live calls; press Ctrl-C again to stop at once.");
    tokio::select! {
        () = server.shut_down() => Ok(()),
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
}

/// A reader that is gone is no reason to stop.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
