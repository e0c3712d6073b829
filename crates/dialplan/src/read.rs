//! What dialplans are read from: files of FreeSWITCH's XML and of our own TOML.

use std::fmt;
use std::sync::Arc;

use crate::draft::Draft;
use crate::error::{Error, Fault, Findings, Location};
use crate::model::Globals;
use crate::{toml_read, xml};

/// One file of a dialplan, already read.
#[derive(Clone, Debug)]
pub struct Source {
    /// How it is named in messages. One that ends in `.toml` is TOML, any other is XML.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// What a dialplan is loaded with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where extensions of XML go that stand outside of a context.
    pub context: String,
    /// What `$${name}` refers to. `sounds_dir` is the folder that `playback` plays from.
    pub globals: Globals,
    /// Bounds.
    pub limits: Limits,
    /// Where files come from that a file includes.
    pub includes: Includes,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            context: "public".to_owned(),
            globals: Globals::default(),
            limits: Limits::default(),
            includes: Includes::none(),
        }
    }
}

/// Finds the files that a file includes: from the name of the including file and what it wrote, such as
/// `default/*.xml`.
#[derive(Clone)]
pub struct Includes(Arc<Find>);

type Find = dyn Fn(&str, &str) -> Result<Vec<Source>, String> + Send + Sync;

impl Includes {
    /// There are no files to include.
    pub fn none() -> Includes {
        Includes::by(|_, _| Err("files cannot be included here".to_owned()))
    }

    /// Calls `find` for each include; an error is said in words.
    pub fn by(
        find: impl Fn(&str, &str) -> Result<Vec<Source>, String> + Send + Sync + 'static,
    ) -> Includes {
        Includes(Arc::new(find))
    }

    pub(crate) fn find(&self, from: &str, wanted: &str) -> Result<Vec<Source>, String> {
        (self.0)(from, wanted)
    }
}

impl fmt::Debug for Includes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Includes")
    }
}

/// Bounds of what is loaded.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest file, in bytes.
    pub file_bytes_max: usize,
    /// Most files, included ones counted.
    pub files_max: usize,
    /// Most XML nodes of a file.
    pub nodes_max: u32,
    /// Most extensions of a plan.
    pub extensions_max: usize,
    /// Largest size of all expressions together, in states of their automata.
    pub expressions_size_max: usize,
    /// Most global variables.
    pub globals_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes_max: 16 << 20,
            files_max: 1_000,
            nodes_max: 1_000_000,
            extensions_max: 50_000,
            expressions_size_max: 2_000_000,
            globals_max: 1024,
        }
    }
}

impl Draft {
    /// Reads all sources into one draft.
    ///
    /// # Errors
    /// Everything that cannot be read.
    pub fn read(sources: &[Source], options: &LoadOptions) -> Result<Draft, Error> {
        let mut reading = Reading {
            draft: Draft::default(),
            globals: options.globals.clone(),
            findings: Findings::default(),
            files: 0,
            extensions: 0,
            options,
        };
        for source in sources {
            reading.read(source, &options.context, &mut Vec::new());
        }
        let Reading { draft, mut findings, .. } = reading;
        let is_empty = draft.contexts.iter().all(|context| context.extensions.is_empty());
        if is_empty && !findings.has_any() {
            let file = sources.first().map_or("dialplan", |source| source.file.as_str());
            findings.add(&Location::new(file, 1), Fault::Empty);
        }
        findings.into_result()?;
        Ok(draft)
    }
}

/// What is read so far.
pub(crate) struct Reading<'a> {
    pub draft: Draft,
    /// As they are at this place of the files.
    pub globals: Globals,
    pub findings: Findings,
    pub files: usize,
    pub extensions: usize,
    pub options: &'a LoadOptions,
}

impl Reading<'_> {
    /// Reads a file; `path` are those that include it.
    pub(crate) fn read(&mut self, source: &Source, context: &str, path: &mut Vec<String>) {
        let location = Location::new(&source.file, 1);
        let limits = &self.options.limits;
        self.files += 1;
        if self.files > limits.files_max {
            let fault = Fault::TooLarge { what: "the number of files", max: limits.files_max };
            return self.findings.add(&location, fault);
        }
        if source.text.len() > limits.file_bytes_max {
            let fault = Fault::TooLarge { what: "the file, in bytes,", max: limits.file_bytes_max };
            return self.findings.add(&location, fault);
        }
        path.push(source.file.clone());
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
        if source.file.ends_with(".toml") {
            toml_read::read(self, &source.file, text, context, path);
        } else {
            xml::read(self, &source.file, text, context, path);
        }
        path.pop();
    }

    /// Reads the files that `wanted` names.
    pub(crate) fn include(
        &mut self,
        wanted: &str,
        context: &str,
        location: &Location,
        path: &mut Vec<String>,
    ) {
        let refuse = |detail: String| Fault::Include { file: wanted.to_owned(), detail };
        if path.len() >= INCLUDES_MAX {
            let fault = Fault::TooLarge { what: "the depth of includes", max: INCLUDES_MAX };
            return self.findings.add(location, fault);
        }
        let from = path.last().cloned().unwrap_or_default();
        match self.options.includes.find(&from, wanted) {
            Err(detail) => self.findings.add(location, refuse(detail)),
            Ok(sources) => {
                for source in sources {
                    if path.contains(&source.file) {
                        let detail = format!("it includes itself: {}", path.join(" -> "));
                        self.findings.add(location, refuse(detail));
                    } else {
                        self.read(&source, context, path);
                    }
                }
            }
        }
    }

    /// Sets a global variable.
    pub(crate) fn set_global(&mut self, name: &str, value: &str, location: &Location) {
        let max = self.options.limits.globals_max;
        if self.globals.len() >= max && self.globals.get(name).is_none() {
            let fault = Fault::TooLarge { what: "the number of global variables", max };
            return self.findings.add(location, fault);
        }
        self.globals.set(name, value);
        self.draft.globals.retain(|(known, _)| known != name);
        self.draft.globals.push((name.to_owned(), value.to_owned()));
    }

    /// Counts an extension; false once there are too many.
    pub(crate) fn count_extension(&mut self, location: &Location) -> bool {
        let max = self.options.limits.extensions_max;
        self.extensions += 1;
        if self.extensions == max + 1 {
            let fault = Fault::TooLarge { what: "the number of extensions", max };
            self.findings.add(location, fault);
        }
        self.extensions <= max
    }
}

/// Where each line of a text starts.
pub(crate) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(text: &str) -> Lines {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines { starts: newlines.map(|(at, _)| at + 1).collect() }
    }

    /// The line, from 1, of the byte at `offset`.
    pub(crate) fn line(&self, offset: usize) -> u32 {
        let before = self.starts.partition_point(|start| *start <= offset);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// Deepest nesting of files.
const INCLUDES_MAX: usize = 16;
