//! The binary: arguments, configuration, run until a signal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use sidetone::cli::{Arguments, Command, RunArguments, applications};
use sidetone::{Config, Server, banner, logging};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Reload(arguments) => arguments.reload().map(say).map_err(Into::into),
        Command::Check(arguments) => arguments.check().map(say).map_err(Into::into),
        Command::Explain(arguments) => arguments.explain().map(say).map_err(Into::into),
        Command::Applications => {
            say(applications());
            Ok(())
        }
        Command::Import(from) => from.run().map(say).map_err(Into::into),
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
    let config = arguments.load()?;
    let _log = logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, arguments))
}

async fn serve(config: Config, arguments: &RunArguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let had_terminal = std::io::stdin().is_terminal();
    let reread = arguments.clone();
    let mut server = tokio::select! {
        started = Server::start(config, Arc::new(move || reread.load())) => started?,
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    };
    if let Some(path) = &arguments.ready_file {
        banner::write_ready_file(server.addresses(), path).map_err(|error| {
            let path = path.display();
            format!("{path}: cannot write the addresses there ({error}); check --ready-file")
        })?;
    }
    say(banner::Banner(server.addresses()));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            // A terminal that is gone reads as none.
            _ = hangup.recv() => match had_terminal && !std::io::stdin().is_terminal() {
                true => break,
                false => reload(&server),
            },
            () = server.failed() => {
                return Err("signalling failed; this is a fault of Sidetone".into());
            }
        }
    }
    say("Ending live calls; press Ctrl-C again to stop at once.");
    tokio::select! {
        () = server.shut_down() => Ok(()),
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
}

/// What becomes of it is in the log.
fn reload(server: &Server) {
    let reloader = server.reloader();
    tokio::spawn(async move { reloader.reload().await });
}

/// A reader that is gone is no reason to stop.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
