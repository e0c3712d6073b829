//! Reads the files of Asterisk: sections that may have the same name, templates, `key = value` and `key => value`,
//! comments, and files that are included.

use std::collections::BTreeMap;

use dialplan::Location;

use super::super::folder::{Folder, too_large};
use super::super::note::Notes;
use super::super::{ImportError, one_line};

/// A section, with what its templates brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub name: String,
    /// In the order they count: those of templates first.
    pub entries: Vec<Entry>,
    pub is_template: bool,
    pub location: Location,
}

/// One line of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In lower case.
    pub key: String,
    /// As it is written.
    pub name: String,
    pub value: String,
    pub location: Location,
}

impl Section {
    /// The entry that counts for a key: the last one.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }
}

/// Reads a file and what it includes.
pub(super) fn read(
    folder: &mut Folder,
    name: &str,
    notes: &mut Notes,
) -> Result<Vec<Section>, ImportError> {
    let mut reader = Reader {
        folder,
        notes,
        sections: Vec::new(),
        by_name: BTreeMap::new(),
        current: None,
        entries: 0,
        is_comment: false,
    };
    reader.file(name, &mut Vec::new())?;
    Ok(reader.sections)
}

struct Reader<'a> {
    folder: &'a mut Folder,
    notes: &'a mut Notes,
    sections: Vec<Section>,
    /// The last section of each name.
    by_name: BTreeMap<String, usize>,
    /// The one that lines belong to.
    current: Option<usize>,
    entries: usize,
    /// Whether a comment over several lines is open.
    is_comment: bool,
}

impl Reader<'_> {
    fn file(&mut self, name: &str, path: &mut Vec<String>) -> Result<(), ImportError> {
        let file = self.folder.read(name)?;
        path.push(name.to_owned());
        self.is_comment = false;
        for (line, number) in file.text.lines().zip(1..) {
            let location = Location::new(name, number);
            let line = self.without_comment(line);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if let Some(directive) = line.strip_prefix('#') {
                self.directive(directive, &location, path)?;
            } else if line.starts_with('[') {
                self.section(line, &location)?;
            } else {
                self.entry(line, &location)?;
            }
        }
        path.pop();
        Ok(())
    }

    /// What of a line is not comment: `;` begins one unless a backslash stands before it, `;--` and `--;` enclose one.
    fn without_comment(&mut self, line: &str) -> String {
        let mut kept = String::new();
        let mut rest = line;
        loop {
            if self.is_comment {
                let Some((_, after)) = rest.split_once("--;") else { return kept };
                self.is_comment = false;
                rest = after;
            }
            let Some(at) = rest.find([';', '\\']) else {
                kept.push_str(rest);
                return kept;
            };
            let (before, from) = rest.split_at(at);
            kept.push_str(before);
            if let Some(after) = from.strip_prefix("\\;") {
                kept.push(';');
                rest = after;
            } else if let Some(after) = from.strip_prefix('\\') {
                kept.push('\\');
                rest = after;
            } else if from.starts_with(";--") && !from.starts_with(";---") {
                self.is_comment = true;
                rest = from.get(3..).unwrap_or_default();
            } else {
                return kept;
            }
        }
    }

    fn directive(
        &mut self,
        directive: &str,
        location: &Location,
        path: &mut Vec<String>,
    ) -> Result<(), ImportError> {
        let (command, wanted) = directive.split_once([' ', '\t']).unwrap_or((directive, ""));
        let wanted = wanted.trim().trim_matches(['"', '<', '>', '\'']);
        if !matches!(command, "include" | "tryinclude") {
            self.notes.left_out(location, format!("#{}: programs are not run", one_line(command)));
            return Ok(());
        }
        let from = path.last().cloned().unwrap_or_default();
        let found = self.folder.find(&from, wanted);
        if found.is_empty() && command == "include" {
            let what = format!("#include {wanted}: there is no such file in the folder");
            self.notes.left_out(location, what);
        }
        for name in found {
            if path.contains(&name) {
                let detail = format!("{} includes itself", path.join(" -> "));
                return Err(ImportError::Circle { location: location.clone(), detail });
            }
            if path.len() >= INCLUDES_MAX {
                let what = "the depth of #include";
                return Err(too_large(location.clone(), what, INCLUDES_MAX as u64));
            }
            self.file(&name, path)?;
        }
        Ok(())
    }

    /// `[name]`, `[name](!)`, `[name](template,…)`, `[name](+)`.
    fn section(&mut self, line: &str, location: &Location) -> Result<(), ImportError> {
        let Some((name, rest)) = line.get(1..).and_then(|line| line.split_once(']')) else {
            self.notes.left_out(location, format!("{}: the bracket is not closed", one_line(line)));
            return Ok(());
        };
        let options = rest.trim().strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let options: Vec<&str> = options
            .map_or("", |(options, _)| options)
            .split(',')
            .map(str::trim)
            .filter(|option| !option.is_empty())
            .collect();
        let name = name.trim().to_owned();
        if options.contains(&"+") {
            if let Some(at) = self.by_name.get(&name).copied() {
                self.current = Some(at);
                return Ok(());
            }
            self.notes.left_out(location, format!("[{name}](+): there is no [{name}] before it"));
        }
        let mut section = Section {
            name: name.clone(),
            entries: Vec::new(),
            is_template: options.contains(&"!"),
            location: location.clone(),
        };
        for template in options.iter().filter(|option| !matches!(**option, "!" | "+")) {
            let known = self.by_name.get(*template).and_then(|at| self.sections.get(*at));
            match known {
                Some(known) => {
                    self.entries += known.entries.len();
                    if self.entries > ENTRIES_MAX {
                        return Err(entries_max(location));
                    }
                    section.entries.extend(known.entries.iter().cloned());
                }
                None => {
                    let what = format!("[{name}]: there is no template {template} before it");
                    self.notes.left_out(location, what);
                }
            }
        }
        if self.sections.len() >= ENTRIES_MAX / 10 {
            return Err(entries_max(location));
        }
        self.by_name.insert(name, self.sections.len());
        self.current = Some(self.sections.len());
        self.sections.push(section);
        Ok(())
    }

    fn entry(&mut self, line: &str, location: &Location) -> Result<(), ImportError> {
        let Some((key, value)) = line.split_once('=') else {
            let what = format!("{}: there is no \"=\" in this line", one_line(line));
            self.notes.left_out(location, what);
            return Ok(());
        };
        let value = value.strip_prefix('>').unwrap_or(value).trim();
        let open = self.current.and_then(|at| self.sections.get_mut(at));
        let Some(section) = open else {
            self.notes.left_out(location, format!("{}: no section is open", one_line(line)));
            return Ok(());
        };
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(entries_max(location));
        }
        section.entries.push(Entry {
            key: key.trim().to_ascii_lowercase(),
            name: key.trim().to_owned(),
            value: value.to_owned(),
            location: location.clone(),
        });
        Ok(())
    }
}

fn entries_max(location: &Location) -> ImportError {
    too_large(location.clone(), "the number of settings, templates filled in,", ENTRIES_MAX as u64)
}

/// Whether a value says yes.
pub(super) fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "y" | "t" | "1" | "on")
}

/// Whether a value says no.
pub(super) fn is_no(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "n" | "f" | "0" | "off")
}

/// Most entries of a file, with those that templates bring in.
const ENTRIES_MAX: usize = 500_000;
/// Deepest nesting of files.
const INCLUDES_MAX: usize = 16;
