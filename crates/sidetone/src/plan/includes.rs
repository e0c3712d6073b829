//! Files that a dialplan includes: named from the folder of the file that includes them.

use std::path::{Path, PathBuf};

use dialplan::{Includes, Source};

/// Reads included files, in the order of their names.
pub(super) fn includes() -> Includes {
    Includes::by(find)
}

fn find(from: &str, wanted: &str) -> Result<Vec<Source>, String> {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let path = folder.join(wanted);
    let Some(pattern) = path.file_name().and_then(|name| name.to_str()) else {
        return Err("it names no file".to_owned());
    };
    if !pattern.contains('*') {
        return read(path).map(|source| vec![source]);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries =
        std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && fits(name, pattern))
        .collect();
    names.sort();
    names.into_iter().map(|name| read(folder.join(name))).collect()
}

fn read(path: PathBuf) -> Result<Source, String> {
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Source { file: path.display().to_string(), text })
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (name, pattern, fit) in [
            ("01_a.xml", "*.xml", true),
            ("a.xml.bak", "*.xml", false),
            ("a.xml", "a.xml", true),
            ("ab.xml", "a.xml", false),
            ("01_users.toml", "0*_*.toml", true),
            ("x01_users.toml", "0*_*.toml", false),
            ("aa", "a*a", true),
            ("a", "a*a", false),
        ] {
            assert_eq!(fits(name, pattern), fit, "{name} {pattern}");
        }
    }
}
