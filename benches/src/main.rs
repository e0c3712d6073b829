//! The command line of the load generator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use benches::allocator::Counting;
use benches::error::Error;
use benches::plain_calls::{PlainLoad, PlainOptions};
use benches::report::{Report, Row, Section};
use benches::scenario::{self, Flood, Plan, Second};
use benches::webrtc_calls::{WebRtcLoad, WebRtcOptions};
use benches::{baseline, micro};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Loads a SIP server and measures it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every scenario against the server's binary, as multiples of a bare sendto.
    All(AllArguments),
    /// Calls over UDP with PCMU over plain RTP, to any server; prints JSON.
    Plain(PlainArguments),
    /// WebRTC calls with Opus over DTLS-SRTP, to any server; prints JSON.
    Webrtc(WebRtcArguments),
    /// What a bare sendto costs here.
    Baseline {
        /// Sockets that receive.
        #[arg(long, default_value_t = 500)]
        receivers: usize,
    },
    /// Media between two legs, without signalling.
    Bridged {
        /// Pairs of legs.
        #[arg(long, default_value_t = 100)]
        pairs: usize,
        /// Seconds of each window.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Calls set up and ended at a high rate, and what the server keeps of them.
    Setups(SetupsArguments),
    /// Operations without a network.
    Micro,
}

#[derive(Args)]
struct ServerArguments {
    /// The server's binary; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Media threads of the server; 0: as it decides.
    #[arg(long, default_value_t = 0)]
    shards: usize,
}

#[derive(Args)]
struct SetupsArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Calls a second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds that the server is watched afterwards.
    #[arg(long, default_value_t = 40)]
    rest: u64,
    /// Bridge each call to a phone.
    #[arg(long)]
    bridged: bool,
}

#[derive(Args)]
struct AllArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// PCMU calls that listen.
    #[arg(long, default_value_t = 500)]
    calls: usize,
    /// WebRTC calls.
    #[arg(long, default_value_t = 100)]
    webrtc_calls: usize,
    /// PCMU calls that are echoed.
    #[arg(long, default_value_t = 100)]
    echo_calls: usize,
    /// Pairs of legs that hear each other, and calls of two legs.
    #[arg(long, default_value_t = 100)]
    bridged_pairs: usize,
    /// Users who register.
    #[arg(long, default_value_t = 1000)]
    users: usize,
    /// Set-ups a second.
    #[arg(long, default_value_t = 200.0)]
    setup_rate: f64,
    /// Set-ups a second in the floods of them.
    #[arg(long, default_value_t = 2000.0)]
    flood_rate: f64,
    /// Seconds that are measured in each scenario.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(scenario::names()))]
    only: Vec<String>,
    /// Also writes all figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct PlainArguments {
    /// The server's UDP address.
    server: SocketAddr,
    #[command(flatten)]
    load: LoadArguments,
    /// Hang up each call this many milliseconds after its answer.
    #[arg(long)]
    hold_ms: Option<u64>,
}

#[derive(Args)]
struct WebRtcArguments {
    /// The server's WebSocket, such as ws://127.0.0.1:8088/.
    url: String,
    #[command(flatten)]
    load: LoadArguments,
}

#[derive(Args)]
struct LoadArguments {
    /// The number to call.
    #[arg(long, default_value = "9197")]
    number: String,
    /// Calls in all.
    #[arg(long, default_value_t = 10)]
    calls: usize,
    /// Calls placed in a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds until everything is hung up.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Send audio.
    #[arg(long)]
    talk: bool,
}

fn main() -> ExitCode {
    // Two sockets a call; what cannot be raised shows when one cannot be opened.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether all calls came up.
fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::All(arguments) => all(arguments),
        Command::Plain(arguments) => plain(arguments),
        Command::Webrtc(arguments) => webrtc(arguments),
        Command::Baseline { receivers } => {
            let baseline = Some(baseline::measure(receivers)?);
            let title = format!("{receivers} receivers");
            let load = serde_json::Value::Null;
            print!("{}", Section { title, baseline, rows: Vec::new(), load });
            Ok(true)
        }
        Command::Bridged { pairs, seconds } => {
            let mut report = Report { sections: Vec::new(), failures: Vec::new() };
            scenario::bridged(pairs, Duration::from_secs(seconds.max(1)), &mut report)?;
            print!("{report}");
            Ok(report.failures.is_empty())
        }
        Command::Setups(arguments) => setups(arguments),
        Command::Micro => {
            print!("{}", micro_section());
            Ok(true)
        }
    }
}

impl ServerArguments {
    fn binary(&self) -> PathBuf {
        let beside = std::env::current_exe().map(|path| path.with_file_name("sidetone"));
        self.server.clone().or(beside.ok()).unwrap_or_else(|| PathBuf::from("sidetone"))
    }
}

fn all(arguments: AllArguments) -> Result<bool, Error> {
    let plan = Plan {
        binary: arguments.server.binary(),
        shards: arguments.server.shards,
        plain_calls: arguments.calls,
        webrtc_calls: arguments.webrtc_calls,
        echo_calls: arguments.echo_calls,
        bridged_pairs: arguments.bridged_pairs,
        users: arguments.users,
        setup_rate: arguments.setup_rate,
        flood: Flood { rate: arguments.flood_rate, ..Flood::default() },
        window: Duration::from_secs(arguments.seconds.max(1)),
    };
    let mut report = scenario::run(&plan, &arguments.only)?;
    if arguments.only.is_empty() {
        report.sections.push(micro_section());
    }
    println!("{report}");
    if let Some(path) = arguments.json {
        std::fs::write(path, json(&report)).map_err(Error::io("writing the figures"))?;
    }
    Ok(report.failures.is_empty())
}

fn setups(arguments: SetupsArguments) -> Result<bool, Error> {
    let flood = Flood {
        rate: arguments.rate,
        time: Duration::from_secs(arguments.seconds.max(1)),
        rest: Duration::from_secs(arguments.rest),
        is_bridged: arguments.bridged,
    };
    let mut report = Report { sections: Vec::new(), failures: Vec::new() };
    let (binary, shards) = (arguments.server.binary(), arguments.server.shards);
    scenario::flood(&binary, shards, &flood, &mut report, |second: &Second| {
        let Second { second, placed, ended, failed, cpu_s, rss_kb } = second;
        println!(
            "{second:>4} s: {placed:>5} placed, {ended:>5} ended, {failed:>5} failed, \
             CPU {:>4.0} %, memory {rss_kb:>7.0} kB",
            cpu_s * 100.0
        );
    })?;
    print!("{report}");
    Ok(report.failures.is_empty())
}

fn plain(arguments: PlainArguments) -> Result<bool, Error> {
    let LoadArguments { number, calls, rate, seconds, talk } = arguments.load;
    let time_max = Duration::from_secs(seconds);
    let options = PlainOptions {
        server: arguments.server,
        number,
        calls,
        rate,
        hold: arguments.hold_ms.map(Duration::from_millis),
        is_talking: talk,
        time_max,
    };
    let report = PlainLoad::start(options)?.wait()?;
    println!("{}", json(&report));
    Ok(report.answered == calls as u64)
}

fn webrtc(arguments: WebRtcArguments) -> Result<bool, Error> {
    let LoadArguments { number, calls, rate, seconds, talk } = arguments.load;
    let time_max = Duration::from_secs(seconds);
    let options =
        WebRtcOptions { url: arguments.url, number, calls, rate, is_talking: talk, time_max };
    let load = WebRtcLoad::start(options)?;
    thread::sleep(time_max);
    let report = load.finish()?;
    println!("{}", json(&report));
    Ok(report.connected == calls as u64)
}

fn micro_section() -> Section {
    let micros = micro::run();
    let rows: Vec<Row> = micro::rows(&micros).collect();
    let load = serde_json::to_value(&micros).unwrap_or_default();
    Section { title: "Operations without a network".to_owned(), baseline: None, rows, load }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
