//! The figures of a run: a table for people, JSON for programs.

use std::fmt;

use serde::Serialize;

use crate::baseline::Baseline;

/// Everything that one run measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One part for each scenario.
    pub sections: Vec<Section>,
    /// What did not work at all: calls lost, a server that died. Empty: the run counts.
    pub failures: Vec<String>,
}

/// One scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// What was done.
    pub title: String,
    /// What a bare datagram cost right before, with as many receivers as there are calls.
    pub baseline: Option<Baseline>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// The load generator's own report.
    pub load: serde_json::Value,
}

/// One figure.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// As a multiple of what a bare `sendto` costs: of the baseline before, or, where the section
    /// has such a row, of the one in the same seconds.
    pub multiple: Option<f64>,
    /// What the multiple, or without one the value, should not exceed.
    pub target: Option<f64>,
}

impl Row {
    /// A figure.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Row {
        Row { name: name.into(), value, unit, ..Row::default() }
    }

    /// Compares it to the cost of a bare datagram, both in the same unit.
    #[must_use]
    pub fn times(self, unit_value: f64) -> Row {
        let multiple = self.value / unit_value;
        self.multiple(multiple)
    }

    /// With a multiple that was found elsewhere.
    #[must_use]
    pub fn multiple(mut self, multiple: f64) -> Row {
        self.multiple = Some(multiple);
        self
    }

    /// What it should not exceed.
    #[must_use]
    pub fn target(mut self, target: f64) -> Row {
        self.target = Some(target);
        self
    }

    /// Whether the target is met; `None` without one.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.multiple.unwrap_or(self.value) <= target)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            writeln!(f, "{section}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        if let Some(baseline) = &self.baseline {
            baseline_rows(baseline).iter().try_for_each(|row| writeln!(f, "{row}"))?;
        }
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

fn baseline_rows(baseline: &Baseline) -> [Row; 4] {
    let Baseline { tight_ns, paced_ns, rhythm_ns, received } = *baseline;
    let unit = tight_ns / 1e3;
    [
        Row::new("before: bare sendto of 172 bytes, thread CPU", unit, "µs").times(unit),
        Row::new("before: in the rhythm of a media thread", paced_ns / 1e3, "µs").times(unit),
        Row::new("before: with the sleep between", rhythm_ns / 1e3, "µs").times(unit),
        Row::new("before: of these arrived", received * 100.0, "%"),
    ]
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, value, unit, multiple, target } = self;
        let places = if *value == value.trunc() { 0 } else { 2 };
        write!(f, "  {name:<44} {value:>12.places$} {unit:<6}")?;
        match multiple {
            Some(multiple) => write!(f, " {multiple:>7.2} x")?,
            None => write!(f, "          ")?,
        }
        match (target, self.is_met()) {
            (Some(target), Some(true)) => write!(f, "  target {target}: met"),
            (Some(target), _) => write!(f, "  target {target}: MISSED"),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_for_the_multiple_where_there_is_one() {
        let row = Row::new("per packet", 6.0, "µs").times(3.0).target(1.5);
        assert_eq!(row.is_met(), Some(false));
        assert!(row.to_string().contains("2.00 x  target 1.5: MISSED"), "{row}");
        assert_eq!(Row::new("memory", 30.0, "kB").target(32.0).is_met(), Some(true));
        assert_eq!(Row::new("calls", 3.0, "").is_met(), None);
    }
}
