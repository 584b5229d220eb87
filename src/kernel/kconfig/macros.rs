//! `$(NAME)`: expands known variables; everything else is unknown.

use std::collections::HashMap;

/// The largest nesting depth of variables.
const MAX_DEPTH: usize = 16;

/// The longest value of a variable, in bytes: a variable that contains another one twice doubles at each step.
const MAX_LENGTH: usize = 4096;

/// Variables of the environment and of the files.
#[derive(Debug, Default)]
pub(super) struct Macros {
    values: HashMap<String, String>,
}

impl Macros {
    pub(super) fn new(vars: &[(String, String)]) -> Self {
        Self { values: vars.iter().cloned().collect() }
    }

    /// Processes `name = value`, `name := value` or `name += value`; `false` for other lines.
    pub(super) fn assign(&mut self, line: &str) -> bool {
        let Some(at) = line.find('=') else { return false };
        let (name, value) = (&line[..at], line[at + 1..].trim());
        let (name, more) = match name.strip_suffix('+') {
            Some(name) => (name, true),
            None => (name.strip_suffix(':').unwrap_or(name), false),
        };
        let name = name.trim();
        let spelt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(spelt) {
            return false;
        }
        let value = match self.values.get(name) {
            Some(before) if more => format!("{before} {value}"),
            _ => value.to_owned(),
        };
        if value.len() <= MAX_LENGTH {
            self.values.insert(name.to_owned(), value);
        }
        true
    }

    /// A text with expanded variables; `None` if one is unknown or runs a program.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        self.expand_at(text, MAX_DEPTH)
    }

    fn expand_at(&self, text: &str, depth: usize) -> Option<String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("$(") {
            expanded.push_str(&rest[..at]);
            let end = at + closing(&rest[at..])?;
            let value = self.values.get(&rest[at + 2..end])?;
            expanded.push_str(&self.expand_at(value, depth.checked_sub(1)?)?);
            rest = &rest[end + 1..];
            if expanded.len() > MAX_LENGTH {
                return None;
            }
        }
        expanded.push_str(rest);
        Some(expanded)
    }
}

/// The position of the closing parenthesis of a text that starts with `$(`.
pub(super) fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at),
            b')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}
