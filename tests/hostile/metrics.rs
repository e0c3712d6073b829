//! What the server says of itself.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::Server;

pub struct Metrics(String);

impl Metrics {
    pub fn of(server: &Server) -> Self {
        let (status, text) = server.get("/metrics");
        assert_eq!(status, 200);
        Metrics(text)
    }

    /// The sum of the series of a family that have all of these labels (`name="value"`).
    pub fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let mut found = self.samples().filter(|(series, _)| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            name == family && labels.iter().all(|label| rest.contains(label))
        });
        let first = found.next().unwrap_or_else(|| panic!("no series {family} {labels:?}"));
        found.map(|(_, value)| value).sum::<f64>() + first.1
    }

    pub fn series(&self) -> BTreeSet<String> {
        self.samples().map(|(series, _)| series.to_owned()).collect()
    }

    fn samples(&self) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series, value.parse().unwrap())
        })
    }

    pub fn rss_bytes(&self) -> f64 {
        self.sum("process_resident_memory_bytes", &[])
    }

    /// Fails if Prometheus's own tool finds a fault; without the tool, nothing is checked.
    pub fn check_with_promtool(&self) {
        let tool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tool) = tool else {
            eprintln!("promtool (Debian package prometheus) is not installed");
            return;
        };
        tool.stdin.take().unwrap().write_all(self.0.as_bytes()).unwrap();
        let output = tool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "promtool: {said}");
    }
}

/// Waits until the metrics are as they should be.
pub fn wait_for(server: &Server, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let metrics = Metrics::of(server);
        if is_so(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < end, "never: {what}\n{}", short(&metrics.0));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until exactly so many calls and media legs are up.
pub fn wait_for_calls(server: &Server, count: u32) -> Metrics {
    wait_for(server, &format!("{count} calls with their media"), |metrics| {
        metrics.sum("sidetone_calls", &[]) == f64::from(count)
            && metrics.sum("sidetone_media_sessions", &[]) == f64::from(count)
    });
    // Families are not read at one moment: what counted the end of a call is there by now.
    Metrics::of(server)
}

fn short(metrics: &str) -> String {
    let is_shown = |line: &&str| {
        line.starts_with("sidetone_") && !line.ends_with(" 0") && !line.contains("_bucket")
    };
    metrics.lines().filter(is_shown).collect::<Vec<_>>().join("\n")
}
