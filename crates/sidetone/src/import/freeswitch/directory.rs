//! The user directory.

use roxmltree::Node;

use super::super::asterisk::endpoint::add_user;
use super::super::one_line;
use super::super::settings::User;
use super::{Gathered, Place, parameters};

/// Takes a user over, if the element is one.
pub(super) fn take(file: &Place<'_>, node: Node<'_, '_>, gathered: &mut Gathered) -> bool {
    let is_user = node.has_tag_name("user") && node.attribute("type") != Some("pointer");
    let Some(name) = node.attribute("id").filter(|_| is_user) else { return false };
    let location = file.of(node);
    let mut user = User { location: location.clone(), ..User::default() };
    let mut context = None;
    let (mut caller_name, mut caller_number) = (None, None);
    // What is closest counts: the user, its group, its domain.
    for level in node.ancestors().filter(Node::is_element) {
        let known = ["user", "group", "domain"].contains(&level.tag_name().name());
        if !known {
            continue;
        }
        for (key, (value, item)) in parameters(level, "params", &gathered.variables) {
            match key.as_str() {
                "password" => user.password = user.password.or(Some(value)),
                "a1-hash" if user.ha1_md5.is_none() => {
                    let realm = domain(node, gathered);
                    user.ha1_md5 = Some(value.to_ascii_lowercase());
                    gathered.settings.realm.get_or_insert((realm, file.of(item)));
                }
                "dial-string" | "jsonrpc-allowed-methods" | "jsonrpc-allowed-event-channels" => {}
                _ => gathered.notes.left_out(&file.of(item), one_line(&key)),
            }
        }
        for (key, (value, item)) in parameters(level, "variables", &gathered.variables) {
            match key.as_str() {
                "user_context" => context = context.or(Some((value, file.of(item)))),
                "effective_caller_id_name" => caller_name = caller_name.or(Some(value)),
                "effective_caller_id_number" => caller_number = caller_number.or(Some(value)),
                _ => gathered
                    .notes
                    .left_out(&file.of(item), format!("the variable {}", one_line(&key))),
            }
        }
    }
    if user.ha1_md5.is_some() {
        user.password = None;
    }
    let usual = || {
        let profile = gathered.private_context.clone().filter(|context| context != "public");
        (profile.unwrap_or_else(|| "default".to_owned()), location.clone())
    };
    let (context, place) = context.unwrap_or_else(usual);
    user.caller_id = caller_id(name, caller_name, caller_number);
    user.context.clone_from(&context);
    gathered.contexts.push((context, place));
    let Gathered { settings, notes, .. } = gathered;
    add_user(settings, notes, name, user);
    true
}

fn domain(node: Node<'_, '_>, gathered: &Gathered) -> String {
    let domain = node.ancestors().find(|above| above.has_tag_name("domain"));
    let name = domain.and_then(|domain| domain.attribute("name")).unwrap_or("localhost");
    gathered.variables.expand(name)
}

/// `Name <number>`, without what cannot stand in it.
fn caller_id(user: &str, name: Option<String>, number: Option<String>) -> Option<String> {
    if name.is_none() && number.is_none() {
        return None;
    }
    let clean = |text: String, bad: &[char]| -> String {
        text.chars().filter(|c| !c.is_control() && !bad.contains(c)).take(60).collect()
    };
    let number = clean(number.unwrap_or_else(|| user.to_owned()), &[' ', '<', '>', '"', '@']);
    let number = if number.is_empty() { user.to_owned() } else { number };
    let name =
        name.map(|name| clean(name, &['<', '>', '"'])).filter(|name| !name.trim().is_empty());
    Some(match name {
        Some(name) => format!("{} <{number}>", name.trim()),
        None => number,
    })
}
