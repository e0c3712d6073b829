//! The binary: arguments, configuration, run until a signal.

use std::process::ExitCode;

use clap::Parser;
use sidetone::cli::{Arguments, Command, RunArguments};
use sidetone::config::Config;
use sidetone::{Server, banner, logging};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let Command::Run(arguments) = Arguments::parse().command;
    match run(&arguments) {
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
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(config).await?;
        if let Some(path) = &arguments.ready_file {
            banner::write_ready_file(server.addresses(), path)?;
        }
        println!("{}", banner::Banner(server.addresses()));
        wait_for_a_signal().await?;
        println!("Ending live calls; press Ctrl-C again to stop at once.");
        tokio::select! {
            () = server.shut_down() => Ok(()),
            second = wait_for_a_signal() => {
                second?;
                std::process::exit(130)
            }
        }
    })
}

async fn wait_for_a_signal() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
