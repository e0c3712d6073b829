//! What a reader of an imported configuration must know: what was left out, and what was put in its place.

use std::fmt;

use dialplan::Location;

/// One thing to know, with the place it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What kind of thing.
    pub kind: NoteKind,
    /// Where it is written; `None` if it is about the folder.
    pub location: Option<Location>,
    /// What it is.
    pub text: String,
}

/// Kinds of notes, in the order they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// It has no equivalent, or cannot be read.
    LeftOut,
    /// It was not there, or fits only nearly, and something stands in for it.
    Supplied,
    /// It is so in any case.
    NotNeeded,
}

/// Notes as they are gathered, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<Note>,
    dropped: usize,
}

impl Notes {
    pub(super) fn left_out(&mut self, location: &Location, text: impl Into<String>) {
        self.add(NoteKind::LeftOut, Some(location), text.into());
    }

    pub(super) fn supplied(&mut self, location: Option<&Location>, text: impl Into<String>) {
        self.add(NoteKind::Supplied, location, text.into());
    }

    pub(super) fn not_needed(&mut self, location: &Location, text: impl Into<String>) {
        self.add(NoteKind::NotNeeded, Some(location), text.into());
    }

    fn add(&mut self, kind: NoteKind, location: Option<&Location>, text: String) {
        let text = one_line(&text);
        let note = Note { kind, location: location.cloned(), text };
        if self.list.len() >= NOTES_MAX {
            self.dropped += 1;
        } else if !self.list.contains(&note) {
            self.list.push(note);
        }
    }

    /// All of them: by kind, file and line.
    pub(super) fn into_list(self) -> Vec<Note> {
        let Notes { mut list, dropped } = self;
        let place = |note: &Note| note.location.as_ref().map(|l| (l.file.to_string(), l.line));
        list.sort_by_cached_key(|note| (note.kind, place(note)));
        if dropped > 0 {
            let text = format!("{dropped} more things, which are not listed");
            list.push(Note { kind: NoteKind::LeftOut, location: None, text });
        }
        list
    }
}

impl NoteKind {
    const ALL: [NoteKind; 3] = [NoteKind::LeftOut, NoteKind::Supplied, NoteKind::NotNeeded];

    fn title(self) -> &'static str {
        match self {
            NoteKind::LeftOut => "Not carried over:",
            NoteKind::Supplied => "Supplied, because it was missing or fits only nearly:",
            NoteKind::NotNeeded => "Needs no setting here:",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{location}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The list as it is printed.
pub(super) fn report(notes: &[Note]) -> String {
    let mut report = String::new();
    for kind in NoteKind::ALL {
        let mut lines = notes.iter().filter(|note| note.kind == kind).peekable();
        if lines.peek().is_none() {
            continue;
        }
        if !report.is_empty() {
            report.push('\n');
        }
        report += &format!("{}\n", kind.title());
        for note in lines {
            report += &format!("  {note}\n");
        }
    }
    if report.is_empty() {
        report.push_str("Everything was carried over.\n");
    }
    report
}

/// The beginning of a text, without what would break a line.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(LINE_CHARS_MAX).map(printable).collect();
    if text.chars().nth(LINE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

/// More is counted and not listed.
const NOTES_MAX: usize = 2_000;
/// Longest line of the list.
const LINE_CHARS_MAX: usize = 300;
