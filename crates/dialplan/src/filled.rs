//! Texts that a call has filled in, with what it brought in kept apart from what the plan says.
//!
//! A dial string may come from variables: what separates its destinations must then be what the plan wrote into
//! them, never what a caller sent.

use std::ops::Range;

use crate::model::Globals;
use crate::pattern::Captures;
use crate::text::{Known, Piece, Scope, Text, cut, push_literal};
use crate::variables::VALUE_BYTES_MAX;

impl Text {
    /// The text with all that the call knows filled in: what it brought in is a value, also within variables.
    pub(crate) fn fill(&self, known: Known<'_>, scope: Scope<'_>) -> Text {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for piece in &self.pieces {
            let from = pieces.len().saturating_sub(1);
            match piece {
                Piece::Literal(literal) => push_literal(&mut pieces, literal),
                Piece::Value(value) => pieces.push(Piece::Value(value.clone())),
                Piece::Capture(number) => {
                    pieces.push(Piece::Value(scope.captures.get(*number).to_owned()));
                }
                Piece::Variable { name, part: None } if known.variables.get(name).is_some() => {
                    push_variable(name, known, &mut pieces);
                }
                Piece::Variable { name, part } => {
                    let fact = || known.facts.value(name).map(|value| value.into_owned());
                    match known.variables.get(name).map(str::to_owned).or_else(fact) {
                        Some(value) => pieces.push(Piece::Value(cut(&value, *part).to_owned())),
                        None => {
                            let value = scope.globals.get(name).unwrap_or_default();
                            push_literal(&mut pieces, cut(value, *part));
                        }
                    }
                }
            }
            bytes += pieces.iter().skip(from).map(Piece::bytes).sum::<usize>();
            if bytes > 2 * VALUE_BYTES_MAX {
                break;
            }
        }
        self.with(pieces)
    }

    /// A text that was filled in as one, up to [`VALUE_BYTES_MAX`] bytes, and where in it the values are.
    pub(crate) fn flatten(&self) -> (String, Vec<Range<usize>>) {
        let (mut text, mut values) = (String::new(), Vec::new());
        for piece in &self.pieces {
            let from = text.len();
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Value(value) => {
                    text.push_str(value);
                    values.push(from..text.len());
                }
                Piece::Variable { .. } | Piece::Capture(_) => {}
            }
        }
        text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
        for value in &mut values {
            *value = value.start.min(text.len())..value.end.min(text.len());
        }
        values.retain(|value| !value.is_empty());
        (text, values)
    }

    /// Whether all that a call fills in is the variable `name`.
    pub(crate) fn only_fills_in(&self, name: &str, globals: &Globals) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Literal(_) => true,
            Piece::Variable { name: known, .. } => known == name || globals.get(known).is_some(),
            Piece::Capture(_) | Piece::Value(_) => false,
        })
    }

    /// The variable that the text consists of.
    pub(crate) fn only_variable(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Variable { name, part: None }] => Some(name),
            _ => None,
        }
    }

    /// The text for a call to `number` of which nothing else is known; `None` if it depends on more.
    pub(crate) fn for_number(
        &self,
        number: &str,
        captures: &Captures,
        globals: &Globals,
    ) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) | Piece::Value(literal) => text.push_str(literal),
                Piece::Capture(number) => text.push_str(captures.get(*number)),
                Piece::Variable { name, part } if name == "destination_number" => {
                    text.push_str(cut(number, *part));
                }
                Piece::Variable { name, part } => text.push_str(cut(globals.get(name)?, *part)),
            }
        }
        Some(text)
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Piece::Literal(text) | Piece::Value(text) => text.len(),
            Piece::Variable { .. } | Piece::Capture(_) => 0,
        }
    }
}

fn push_variable(name: &str, known: Known<'_>, pieces: &mut Vec<Piece>) {
    let Some((text, filled_in)) = known.variables.filled_in(name) else { return };
    let mut at = 0;
    for value in filled_in {
        push_literal(pieces, text.get(at..value.start).unwrap_or_default());
        pieces.push(Piece::Value(text.get(value.clone()).unwrap_or_default().to_owned()));
        at = value.end;
    }
    push_literal(pieces, text.get(at..).unwrap_or_default());
}
