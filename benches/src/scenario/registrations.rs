//! Users who register with their passwords, and refresh.

use std::fmt::Write as _;
use std::time::Duration;

use super::measured::Measured;
use super::{Plan, end, json, wait_until};
use crate::baseline;
use crate::digest::Account;
use crate::error::Error;
use crate::registrations::{RegistrationLoad, RegistrationOptions};
use crate::report::{Report, Row, Section};
use crate::server::Server;

/// Registrations with a challenge each, and refreshes that use it again.
pub(super) fn registrations(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} users, {OUTSTANDING_MAX} at once", plan.users);
    let title = format!("Registrations over UDP by digest: {title}");
    let baseline = baseline::measure(0)?;
    let accounts: Vec<Account> = (0..plan.users).map(account).collect();
    let server =
        Server::start(&plan.binary, plan.shards, &(LIMITS.to_owned() + &sections(&accounts)))?;
    let before = server.memory();
    let load = RegistrationLoad::start(RegistrationOptions {
        server: server.udp()?,
        accounts,
        outstanding_max: OUTSTANDING_MAX,
    })?;
    wait_until(FIRST_MAX, || load.registered() >= plan.users as u64);
    let challenged = Measured::over(plan.window, &server, || load.registered())?;
    load.refresh();
    let refreshed = Measured::over(plan.window, &server, || load.registered())?;
    let kept_kb = server.memory().rss_kb - before.rss_kb;
    let load = load.stop()?;
    let mut rows = Vec::new();
    for (name, measured, answered) in [
        ("registration (401, then 200)", &challenged, &load.challenged),
        ("refresh (200)", &refreshed, &load.refreshed),
    ] {
        rows.extend([
            Row::new(format!("server CPU per {name}"), measured.windows.cost_us(), "µs")
                .times(baseline.tight_ns / 1e3),
            Row::new("so many a second", measured.windows.rate(), "1/s"),
            Row::new("REGISTER to 200, median", answered.p50_ms, "ms"),
            Row::new("REGISTER to 200, 99th percentile", answered.p99_ms, "ms"),
        ]);
    }
    refreshed.details(&mut rows, "refresh");
    rows.push(Row::new("memory grown by, with transactions of 32 s", kept_kb, "kB"));
    rows.push(Row::new("requests sent again", load.retransmissions as f64, ""));
    for (status, count) in &load.failures {
        report.failures.push(format!("{title}: {count} ended with {status}"));
    }
    end(server, &title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

fn account(index: usize) -> Account {
    Account { name: format!("u{index}"), password: format!("u{index}-pass") }
}

/// The users' part of the server's configuration.
fn sections(accounts: &[Account]) -> String {
    let mut text = String::new();
    for Account { name, password } in accounts {
        // Writing into memory does not fail.
        let _ = write!(text, "\n[users.{name}]\npassword = \"{password}\"\n");
    }
    text
}

/// A transaction over UDP lasts 32 s, so that the default bound is reached by a load like this one.
const LIMITS: &str = "\n[limits]\ntransactions_max = 1000000\n";
const OUTSTANDING_MAX: usize = 32;
const FIRST_MAX: Duration = Duration::from_secs(20);
