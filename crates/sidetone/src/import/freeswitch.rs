//! FreeSWITCH: SIP profiles, the user directory and the dialplan, wherever in the folder they are.

mod directory;
mod plan;
mod profile;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;

use dialplan::Location;
use roxmltree::{Document, Node, ParsingOptions};

use super::finish::Parts;
use super::folder::{File, Folder, too_large};
use super::note::{Notes, one_line};
use super::settings::Settings;
use super::sounds::Sounds;
use super::{ImportError, Imported};
use variables::Variables;

/// What is gathered from the files.
#[derive(Debug, Default)]
struct Gathered {
    settings: Settings,
    notes: Notes,
    variables: Variables,
    /// Contexts that users start in.
    contexts: Vec<(String, Location)>,
    /// That of profiles whose callers need no password.
    public_context: Option<(String, Location)>,
    /// That of profiles whose callers do.
    private_context: Option<String>,
}

/// Reads the folder.
pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut folder = Folder::open(path)?;
    let mut gathered = Gathered::default();
    let mut files = Vec::new();
    for name in folder.all(".xml") {
        let file = folder.read(&name)?;
        if let Some(file) = well_formed(file, &mut gathered.notes)? {
            files.push(file);
        }
    }
    // Variables are set before they are used.
    files.sort_by_key(|file| !file.name.ends_with("vars.xml"));
    for file in &files {
        each(file, &mut |_, node| gathered.variables.take(node));
    }
    let mut has_any = false;
    for file in &files {
        each(file, &mut |file, node| has_any |= profile::take(file, node, &mut gathered));
    }
    for file in &files {
        each(file, &mut |file, node| has_any |= directory::take(file, node, &mut gathered));
    }
    gathered.settings.public_context = public(&gathered, &files);
    let draft = plan::read(&folder, files, &mut gathered);
    if !has_any && draft.contexts.is_empty() {
        let wanted = "SIP profiles, users and a dialplan in XML";
        return Err(ImportError::Empty { path: path.to_owned(), wanted });
    }
    let sounds_dir = gathered.variables.get("sounds_dir").map(Into::into);
    let Gathered { settings, notes, contexts, .. } = gathered;
    let sounds = Sounds { elsewhere: sounds_dir.into_iter().collect(), ..Sounds::default() };
    let origin = format!("the FreeSWITCH configuration in {}", path.display());
    Parts { folder, settings, draft, notes, sounds, contexts, origin }.finish()
}

/// The context of callers without a password: that of a profile which asks for none.
fn public(gathered: &Gathered, files: &[File]) -> String {
    if let Some((context, _)) = &gathered.public_context {
        return context.clone();
    }
    if gathered.private_context.is_some() {
        return "unauthenticated".to_owned();
    }
    let mut has_public = false;
    for file in files {
        each(file, &mut |_, node| {
            has_public |= node.has_tag_name("context") && node.attribute("name") == Some("public");
        });
    }
    if has_public { "public" } else { "default" }.to_owned()
}

/// A file as a document of its own: several elements side by side are put into one. What is not well-formed is
/// noted.
fn well_formed(file: File, notes: &mut Notes) -> Result<Option<File>, ImportError> {
    let location = |line| Location::new(&file.name, line);
    let too_deep = |document: &Document<'_>| {
        let line = deep_line(document)?;
        Some(too_large(location(line), "the depth of elements", DEPTH_MAX as u64))
    };
    let error = match parse(&file.text) {
        Ok(document) => match too_deep(&document) {
            Some(error) => return Err(error),
            None => None,
        },
        Err(error) => Some(error),
    };
    let Some(error) = error else { return Ok(Some(file)) };
    let wrapped = format!("<include>{}</include>", without_declaration(&file.text));
    if let Ok(document) = parse(&wrapped) {
        return match too_deep(&document) {
            Some(error) => Err(error),
            None => Ok(Some(File { name: file.name.clone(), text: wrapped.clone() })),
        };
    }
    let what = format!("the file: {}", one_line(&error.to_string()));
    notes.left_out(&location(error.pos().row), what);
    Ok(None)
}

/// The line of the first element that is nested too deeply.
fn deep_line(document: &Document<'_>) -> Option<u32> {
    let (mut node, mut depth) = (document.root(), 0_usize);
    loop {
        if depth > DEPTH_MAX {
            return Some(document.text_pos_at(node.range().start).row);
        }
        if let Some(child) = node.first_child() {
            (node, depth) = (child, depth + 1);
            continue;
        }
        while node.next_sibling().is_none() {
            (node, depth) = (node.parent()?, depth.saturating_sub(1));
        }
        node = node.next_sibling()?;
    }
}

fn without_declaration(text: &str) -> &str {
    let text = text.trim_start();
    let after = text.strip_prefix("<?xml").and_then(|text| text.split_once("?>"));
    after.map_or(text, |(_, after)| after)
}

fn parse(text: &str) -> Result<Document<'_>, roxmltree::Error> {
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text, options)
}

/// Calls `look` for each element of a file.
fn each(file: &File, look: &mut dyn FnMut(&Place<'_>, Node<'_, '_>)) {
    let Ok(document) = parse(&file.text) else { return };
    let starts: Vec<usize> =
        file.text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
    let place = Place { name: &file.name, starts: &starts };
    for node in document.descendants().filter(Node::is_element) {
        look(&place, node);
    }
}

/// Tells the lines of elements.
struct Place<'a> {
    name: &'a str,
    /// Where the lines end.
    starts: &'a [usize],
}

impl Place<'_> {
    fn of(&self, node: Node<'_, '_>) -> Location {
        let line = self.starts.partition_point(|end| *end < node.range().start) + 1;
        Location::new(self.name, u32::try_from(line).unwrap_or(u32::MAX))
    }
}

/// The `<param>` or `<variable>` elements below `<params>`, `<variables>` or `<settings>` of an element.
fn parameters<'a>(
    node: Node<'a, 'a>,
    list: &str,
    variables: &Variables,
) -> BTreeMap<String, (String, Node<'a, 'a>)> {
    let lists = node.children().filter(|child| child.has_tag_name(list));
    let items = lists.flat_map(|list| list.children()).filter(Node::is_element);
    items
        .filter_map(|item| {
            let value = variables.expand(item.attribute("value")?);
            Some((item.attribute("name")?.to_owned(), (value, item)))
        })
        .collect()
}

/// Most nodes of a file.
const NODES_MAX: u32 = 500_000;
/// Deepest nesting of elements.
const DEPTH_MAX: usize = 64;
