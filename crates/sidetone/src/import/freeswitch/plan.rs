//! The dialplan: our reader of FreeSWITCH's XML reads it; what that refuses is listed and left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use dialplan::{Draft, Fault, Globals, Includes, LoadOptions, Location, Source};
use roxmltree::Node;

use super::super::folder::{File, Folder};
use super::super::note::one_line;
use super::{Gathered, each, parse};

/// The texts of all files, and which of them were included by another.
#[derive(Debug)]
struct Files {
    folder: Folder,
    texts: BTreeMap<String, String>,
    included: BTreeSet<String>,
}

/// Reads every context and extension of the files.
pub(super) fn read(folder: &Folder, files: Vec<File>, gathered: &mut Gathered) -> Draft {
    let (mut with_context, mut bare) = (Vec::new(), Vec::new());
    for file in &files {
        let (mut contexts, mut extensions) = (false, false);
        each(file, &mut |_, node| {
            let is_elsewhere = node.ancestors().any(|above| {
                above.has_tag_name("section") && above.attribute("name") != Some("dialplan")
                    || above.has_tag_name("configuration")
            });
            contexts |= !is_elsewhere && node.has_tag_name("context");
            extensions |= !is_elsewhere && node.has_tag_name("extension");
        });
        if file.name.split('/').any(|part| part == "chatplan") {
            continue;
        }
        match (contexts, extensions) {
            (true, _) => with_context.push(file.name.clone()),
            (false, true) => bare.push(file.name.clone()),
            (false, false) => {}
        }
    }
    let used = used_variables(&files, gathered);
    let texts = files.into_iter().map(|file| (file.name.clone(), other_sections_blank(&file.text)));
    let files = Files { folder: folder.clone(), texts: texts.collect(), included: BTreeSet::new() };
    let files = Arc::new(Mutex::new(files));
    let mut draft = Draft { globals: used, ..Draft::default() };
    for name in with_context.into_iter().chain(bare) {
        let is_included = lock(&files).included.contains(&name);
        if !is_included && let Some(read) = read_file(&name, &files, gathered) {
            merge(&mut draft, read);
        }
    }
    draft
}

/// Variables that the dialplan looks up when a call runs.
fn used_variables(files: &[File], gathered: &Gathered) -> Vec<(String, String)> {
    let is_used = |name: &str| {
        let form = format!("${{{name}}}");
        files.iter().any(|file| file.name.contains("dialplan") && file.text.contains(&form))
    };
    let kept = gathered.variables.iter().filter(|(name, _)| !FOLDERS.contains(name));
    kept.filter(|(name, _)| is_used(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Reads a file with what it includes. What cannot be read is blanked, and the file is read anew.
fn read_file(name: &str, files: &Arc<Mutex<Files>>, gathered: &mut Gathered) -> Option<Draft> {
    let options = options(name, files, gathered);
    for _ in 0..ROUNDS_MAX {
        let text = lock(files).texts.get(name)?.clone();
        let source = Source { file: name.to_owned(), text };
        let error = match Draft::read(&[source], &options) {
            Ok(draft) => return Some(commented(draft)),
            Err(error) => error,
        };
        let mut is_better = false;
        for finding in &error.findings {
            if finding.fault == Fault::Empty {
                return None;
            }
            gathered.notes.left_out(&finding.location, one_line(&finding.fault.to_string()));
            is_better |= blank(files, &finding.location);
        }
        if !is_better {
            gathered.notes.left_out(&Location::new(name, 1), "the file, for what is said above");
            return None;
        }
    }
    None
}

fn options(name: &str, files: &Arc<Mutex<Files>>, gathered: &Gathered) -> LoadOptions {
    let variables = gathered.variables.iter().filter(|(name, _)| !FOLDERS.contains(name));
    let mut globals: Globals = variables.collect();
    for folder in FOLDERS {
        // They are filled in by the server that runs the plan.
        globals.set(folder, format!("$${{{folder}}}"));
    }
    let parts: Vec<&str> = name.split('/').collect();
    let context = match parts.as_slice() {
        [.., "dialplan", context, _] => (*context).to_owned(),
        _ => gathered.settings.public_context.clone(),
    };
    let files = Arc::clone(files);
    let includes = Includes::by(move |from, wanted| {
        let mut files = lock(&files);
        let found = files.folder.find(from, wanted);
        let sources = found.into_iter().filter_map(|name| {
            let text = files.texts.get(&name)?.clone();
            files.included.insert(name.clone());
            Some(Source { file: name, text })
        });
        Ok(sources.collect())
    });
    LoadOptions { context, globals, includes, ..LoadOptions::default() }
}

fn lock(files: &Mutex<Files>) -> std::sync::MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blanks the extension around a line, or else the element that begins there; false if there is none.
fn blank(files: &Mutex<Files>, location: &Location) -> bool {
    let mut files = lock(files);
    let Some(text) = files.texts.get_mut(&*location.file) else { return false };
    let range = {
        let Ok(document) = parse(text) else { return false };
        let line_of = |at: usize| document.text_pos_at(at).row;
        let holds = |node: &Node<'_, '_>| {
            line_of(node.range().start) <= location.line
                && line_of(node.range().end) >= location.line
        };
        let mut elements = document.descendants().filter(Node::is_element).filter(holds);
        let is_container = |node: &Node<'_, '_>| {
            ["document", "include", "section", "context"].contains(&node.tag_name().name())
        };
        let found = elements
            .clone()
            .find(|node| node.has_tag_name("extension"))
            .or_else(|| elements.find(|node| !is_container(node)));
        let Some(found) = found else { return false };
        found.range()
    };
    blank_range(text, range);
    true
}

/// Other sections of a file that has all of them.
fn other_sections_blank(text: &str) -> String {
    let mut blanked = text.to_owned();
    if let Ok(document) = parse(text) {
        let others = document.descendants().filter(|node| {
            node.has_tag_name("section") && node.attribute("name") != Some("dialplan")
                || node.has_tag_name("configuration")
        });
        for other in others {
            blank_range(&mut blanked, other.range());
        }
    }
    blanked
}

/// Makes a range blank; lines stay where they are.
fn blank_range(text: &mut String, range: std::ops::Range<usize>) {
    let Some(inside) = text.get(range.clone()) else { return };
    let blanks: String =
        inside.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &blanks);
}

/// Says where each part comes from.
fn commented(mut draft: Draft) -> Draft {
    for context in &mut draft.contexts {
        context.comment = format!("From {}.", context.location);
        for extension in &mut context.extensions {
            extension.comment = format!("From {}.", extension.location);
        }
    }
    draft
}

fn merge(draft: &mut Draft, more: Draft) {
    for (name, value) in more.globals {
        if !draft.globals.iter().any(|(known, _)| *known == name) {
            draft.globals.push((name, value));
        }
    }
    for context in more.contexts {
        let known = draft.context_mut(&context.name, &context.location);
        known.extensions.extend(context.extensions);
        known.includes.extend(context.includes);
        if known.comment.is_empty() {
            known.comment = context.comment;
        }
    }
}

/// Folders that the server names itself.
const FOLDERS: [&str; 2] = ["sounds_dir", "recordings_dir"];
/// How often a file is read anew.
const ROUNDS_MAX: usize = 50;
