//! Where a call has been: how an INVITE is known again that descends from one of ours.

use std::hash::{BuildHasher, RandomState};

/// Writes and reads the marks that INVITEs of ours carry: one for each number, in its context, that
/// was asked for on the way (RFC 3261 §16.3 step 4 in spirit). Nobody else can make or read them.
#[derive(Debug, Clone, Default)]
pub struct Trail(RandomState);

impl Trail {
    /// The mark of a number in a context.
    #[must_use]
    pub fn mark(&self, context: &str, number: &str) -> String {
        format!("{:016x}", self.0.hash_one((context, number)))
    }

    /// The marks in the value of the header field.
    #[must_use]
    pub fn read(value: &str) -> Vec<String> {
        let is_mark = |mark: &&str| mark.len() == 16 && mark.bytes().all(|c| c.is_ascii_hexdigit());
        value.split(',').map(str::trim).filter(is_mark).take(MARKS_MAX).map(str::to_owned).collect()
    }

    /// The value with which an INVITE of ours goes on.
    #[must_use]
    pub fn write(marks: &[String], next: &str) -> String {
        let skipped = (marks.len() + 1).saturating_sub(MARKS_MAX);
        let marks = marks.iter().skip(skipped).map(String::as_str);
        marks.chain([next]).collect::<Vec<_>>().join(",")
    }
}

/// More marks than Max-Forwards allows hops in any sane network.
const MARKS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_again_in_its_context_only() {
        let trail = Trail::default();
        let mark = trail.mark("internal", "3001");
        let value = Trail::write(&[trail.mark("public", "9196")], &mark);
        assert!(Trail::read(&value).contains(&mark));
        assert!(!Trail::read(&value).contains(&trail.mark("public", "3001")));
        assert!(!Trail::read(&value).contains(&Trail::default().mark("internal", "3001")));
    }

    #[test]
    fn what_others_write_is_bounded_and_harmless() {
        assert_eq!(Trail::read("x, ,\u{e9}, 123"), Vec::<String>::new());
        let many = vec!["0123456789abcdef".to_owned(); 1000].join(",");
        assert_eq!(Trail::read(&many).len(), MARKS_MAX);
        let next = Trail::write(&Trail::read(&many), "fedcba9876543210");
        assert_eq!(Trail::read(&next).len(), MARKS_MAX);
        assert!(next.ends_with("fedcba9876543210"));
    }
}
