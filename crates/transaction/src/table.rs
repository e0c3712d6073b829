//! When tables that a flood has made large are to give back what they took: they do not do so by
//! themselves, and do not tell how much it is.

/// The most entries that a table had of late.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    entries: usize,
    kept: usize,
}

impl Default for Peak {
    fn default() -> Self {
        Self::above(ENTRIES_KEPT)
    }
}

impl Peak {
    /// For a table that may have room for so many entries without a reason.
    pub fn above(kept: usize) -> Self {
        Self { entries: 0, kept }
    }

    /// Whether a table that now has `entries` was so much larger that it should shrink. To be asked
    /// now and then.
    pub fn has_passed(&mut self, entries: usize) -> bool {
        self.entries = self.entries.max(entries);
        let has_passed = self.entries > self.kept && entries < self.entries / 8;
        if has_passed {
            self.entries = entries;
        }
        has_passed
    }
}

/// Entries that a table may have room for without a reason.
const ENTRIES_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_has_passed_once_a_large_table_is_almost_empty() {
        let mut peak = Peak::default();
        for (entries, has_passed) in [
            (1_024, false),
            (0, false),
            (100_000, false),
            (12_500, false),
            (12_499, true),
            (12_000, false),
            (1_000, true),
            (0, false),
        ] {
            assert_eq!(peak.has_passed(entries), has_passed, "{entries}");
        }
    }
}
