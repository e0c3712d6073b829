//! `X-PRE-PROCESS`: variables that are filled in as `$${name}`.

use std::collections::BTreeMap;

use roxmltree::Node;

/// The variables, with what FreeSWITCH sets by itself.
#[derive(Debug)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
}

impl Default for Variables {
    fn default() -> Self {
        let own = OWN.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Variables { values: own.collect() }
    }
}

impl Variables {
    /// Takes a variable over, if the element sets one.
    pub(super) fn take(&mut self, node: Node<'_, '_>) {
        if !node.has_tag_name("X-PRE-PROCESS") {
            return;
        }
        // What a STUN server says is asked for when the server starts.
        let is_set = matches!(node.attribute("cmd"), Some("set" | "stun-set"));
        let data = node.attribute("data").and_then(|data| data.split_once('='));
        let Some((name, value)) = data.filter(|_| is_set) else { return };
        let value = self.expand(value);
        if self.values.len() < VARIABLES_MAX && value.len() <= VALUE_BYTES_MAX {
            self.values.insert(name.trim().to_owned(), value);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Fills in the variables of a text; unknown ones stay.
    pub(super) fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$${") {
            expanded.push_str(before);
            let known =
                after.split_once('}').and_then(|(name, after)| Some((self.get(name)?, after)));
            match known {
                Some((value, after)) if expanded.len() <= VALUE_BYTES_MAX => {
                    expanded.push_str(value);
                    rest = after;
                }
                _ => {
                    expanded.push_str("$${");
                    rest = after;
                }
            }
        }
        expanded.push_str(rest);
        expanded
    }
}

/// What FreeSWITCH knows without being told, as far as it has a meaning here.
const OWN: [(&str, &str); 10] = [
    ("local_ip_v4", "0.0.0.0"),
    ("local_ip_v6", "::"),
    ("domain", "localhost"),
    ("hostname", "localhost"),
    ("base_dir", "/usr/local/freeswitch"),
    ("conf_dir", "/usr/local/freeswitch/conf"),
    ("certs_dir", "/usr/local/freeswitch/certs"),
    ("sounds_dir", "/usr/local/freeswitch/sounds"),
    ("recordings_dir", "/usr/local/freeswitch/recordings"),
    ("log_dir", "/usr/local/freeswitch/log"),
];
/// Most variables.
const VARIABLES_MAX: usize = 1_000;
/// Longest value.
const VALUE_BYTES_MAX: usize = 4_096;
