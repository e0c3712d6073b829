//! Takes values as what they are to be, and says what else is wrong with them and where.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Reader;
use crate::app::suggest;
use crate::error::{Fault, Location};
use crate::text::shorten;

/// A key, where it stands, and its value.
pub(super) type Entry<'a, 'i> = (&'a str, Range<usize>, &'a Spanned<DeValue<'i>>);

impl Reader<'_, '_> {
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = self.string(key, value) else { return T::default() };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                let detail =
                    format!("\"{}\" is unknown; {}", shorten(&text), suggest(&text, &names));
                self.key(key, &value.span(), detail);
                T::default()
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.key(key, &value.span(), "write true or false".to_owned());
            false
        })
    }

    pub(super) fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.key(key, &value.span(), "write a text in quotes".to_owned());
        }
        text
    }

    /// A text, or a number as it is written.
    pub(super) fn scalar(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => self.string(key, value),
        }
    }

    /// A text or several of them.
    pub(super) fn strings(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(String, Range<usize>)> {
        if let DeValue::Array(items) = value.get_ref() {
            let texts =
                items.iter().filter_map(|item| Some((self.string(key, item)?, item.span())));
            return texts.collect();
        }
        self.string(key, value).map(|text| (text, value.span())).into_iter().collect()
    }

    /// What a test wants: at least one text.
    pub(super) fn wanted(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(String, Range<usize>)> {
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            self.key(key, &value.span(), "an empty list never holds; write a value".to_owned());
        }
        self.strings(key, value)
    }

    pub(super) fn array<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> &'v [Spanned<DeValue<'i>>] {
        match value.get_ref().as_array() {
            Some(items) => items_of(items),
            None => {
                self.key(key, &value.span(), "write a list in brackets".to_owned());
                &[]
            }
        }
    }

    pub(super) fn tables<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> Vec<&'v Spanned<DeValue<'i>>> {
        let mut tables = Vec::new();
        for item in self.array(key, value) {
            if item.get_ref().is_table() {
                tables.push(item);
            } else {
                self.key(key, &item.span(), format!("write [[…{key}]], or tables in braces"));
            }
        }
        tables
    }

    /// The entries of a table, in the order in which they are written.
    pub(super) fn table<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> Vec<Entry<'v, 'i>> {
        match value.get_ref().as_table() {
            Some(table) => entries(table),
            None => {
                self.key(key, &value.span(), "write a table".to_owned());
                Vec::new()
            }
        }
    }

    pub(super) fn unknown(&mut self, key: &str, span: &Range<usize>, known: &[&str]) {
        self.key(key, span, format!("there is no such key here; {}", suggest(key, known)));
    }

    pub(super) fn key(&mut self, key: &str, span: &Range<usize>, detail: String) {
        self.at(span, Fault::Key { key: shorten(key), detail });
    }

    pub(super) fn at(&mut self, span: &Range<usize>, fault: Fault) {
        let location = self.location(span);
        self.reading.findings.add(&location, fault);
    }

    pub(super) fn location(&self, span: &Range<usize>) -> Location {
        Location { line: self.lines.line(span.start), ..self.place.clone() }
    }
}

pub(super) fn entries<'v, 'i>(table: &'v DeTable<'i>) -> Vec<Entry<'v, 'i>> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

fn items_of<'v, 'i>(items: &'v DeArray<'i>) -> &'v [Spanned<DeValue<'i>>] {
    items
}
