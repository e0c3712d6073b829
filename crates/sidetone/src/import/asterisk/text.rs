//! Texts with `${variables}`, and lists of arguments.

/// What names mean where a text stands.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The variable that holds the number of the extension.
    pub exten: String,
    /// The context.
    pub context: String,
}

impl Names {
    /// The text in our form; in words what of it has none.
    pub(super) fn text(&self, source: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['$', '\\']) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            if let Some(inside) = from.strip_prefix("${") {
                let end = inside.find('}').ok_or("a brace is not closed")?;
                let (inside, after) = inside.split_at(end);
                text.push_str(&self.variable(inside)?);
                rest = after.get(1..).unwrap_or_default();
            } else if from.starts_with("$[") {
                return Err("a calculation $[…] has no equivalent".to_owned());
            } else if from.starts_with('$') {
                // Here a dollar before a digit means a group.
                text.push_str("\\$");
                rest = from.get(1..).unwrap_or_default();
            } else {
                // A backslash takes away the meaning of what follows it.
                let mut after = from.chars();
                after.next();
                match after.next() {
                    Some(character @ (',' | ';' | '"' | '\\' | '|' | '&')) => text.push(character),
                    Some(character) => text.extend(['\\', character]),
                    None => text.push('\\'),
                }
                rest = after.as_str();
            }
        }
        text.push_str(rest);
        Ok(text)
    }

    /// A variable: what stands between `${` and `}`.
    fn variable(&self, inside: &str) -> Result<String, String> {
        if inside.contains("${") {
            return Err("a variable within the name of another has no equivalent".to_owned());
        }
        let (name, part) = match inside.split_once(':') {
            Some((name, part)) => (name, Some(part)),
            None => (inside, None),
        };
        let name = match name.trim() {
            "EXTEN" => self.exten.clone(),
            "CALLERID(num)" | "CALLERID(number)" | "CALLERIDNUM" => "caller_id_number".to_owned(),
            "CALLERID(name)" | "CALLERIDNAME" => "caller_id_name".to_owned(),
            "CALLERID(dnid)" => self.exten.clone(),
            "CONTEXT" if part.is_none() => return Ok(self.context.clone()),
            "UNIQUEID" => "uuid".to_owned(),
            "CHANNEL" => "channel_name".to_owned(),
            other => plain_name(other)?.to_owned(),
        };
        let Some(part) = part else { return Ok(format!("${{{name}}}")) };
        let mut numbers = part.splitn(2, ':').map(|number| number.trim().parse::<i64>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(Some(offset)), None) => Ok(format!("${{{name}:{offset}}}")),
            (Some(Some(offset)), Some(Some(length))) if length > 0 => {
                Ok(format!("${{{name}:{offset}:{length}}}"))
            }
            _ => Err(format!("the part {part} of a variable has no equivalent")),
        }
    }
}

fn plain_name(name: &str) -> Result<&str, String> {
    if name.contains('(') {
        let function = name.split('(').next().unwrap_or_default();
        return Err(format!("the function {function}() has no equivalent"));
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match !name.is_empty() && name.len() <= 64 && name.bytes().all(is_fit) {
        true => Ok(name),
        false => Err("a variable has a name of letters, digits, _ - and .".to_owned()),
    }
}

/// Splits arguments at commas that stand outside of brackets and quotes.
pub(super) fn arguments(text: &str) -> Vec<&str> {
    split(text, ',')
}

/// Splits at a character that stands outside of brackets and quotes.
pub(super) fn split(text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut is_quoted, mut is_escaped, mut start) = (0_usize, false, false, 0);
    for (offset, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match character {
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' | ']' | '}' if !is_quoted => depth = depth.saturating_sub(1),
            _ if character == at && depth == 0 && !is_quoted => {
                parts.push(text.get(start..offset).unwrap_or_default().trim());
                start = offset + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default().trim());
    parts
}
