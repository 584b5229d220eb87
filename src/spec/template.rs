//! Texts with `{placeholders}`.

use std::fmt;

/// A text with `{placeholders}`; `{{` and `}}` stand for the braces themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// The parts in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `{name}`, without the braces: `in.source`, `arch.make`, a parameter's name.
    Placeholder(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// Offset in the text of the first byte to blame.
    pub start: usize,
    /// Offset after the last one.
    pub end: usize,
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = |message: &str, start: usize, end: usize| {
            Err(TemplateError { message: message.into(), start, end })
        };
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(len) = text[at..].find(['{', '}']) {
            plain.push_str(&text[at..at + len]);
            at += len;
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push_str(&rest[..1]);
                at += 2;
                continue;
            }
            if rest.starts_with('}') {
                return wrong("this `}` closes nothing", at, at + 1);
            }
            let Some(len) = rest[1..].find(['{', '}']).filter(|n| rest.as_bytes()[n + 1] == b'}') else {
                return wrong("this `{` is not closed", at, at + 1);
            };
            let name = &rest[1..=len];
            let end = at + len + 2;
            if name.is_empty() {
                return wrong("this placeholder has no name", at, end);
            }
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
                return wrong("this is not the name of a placeholder", at, end);
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Placeholder(name.into()));
            at = end;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The text, if it has no placeholder.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The placeholder, if it is nothing but one: only then it may stand for a list.
    pub fn sole_placeholder(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Placeholder(name)] => Some(name),
            _ => None,
        }
    }

    /// The names of its placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

/// As it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Placeholder(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_back() {
        let text = "a{{b}}{in.source}/{x}";
        let template = Template::parse(text).unwrap();
        assert_eq!(template.placeholders().collect::<Vec<_>>(), ["in.source", "x"]);
        assert_eq!(template.parts[0], Part::Text("a{b}".into()));
        assert_eq!(template.to_string(), text);
        assert_eq!(template.literal(), None);
        assert_eq!(Template::parse("").unwrap().literal(), Some(""));
        assert_eq!(Template::parse("{{}}").unwrap().literal(), Some("{}"));
        assert_eq!(Template::parse("{a}").unwrap().sole_placeholder(), Some("a"));
    }

    #[test]
    fn mistakes_have_places() {
        let place = |text| Template::parse(text).map_err(|e| (e.start, e.end)).unwrap_err();
        assert_eq!(place("ab{"), (2, 3));
        assert_eq!(place("ab{c{d}"), (2, 3));
        assert_eq!(place("ab}"), (2, 3));
        assert_eq!(place("a{}"), (1, 3));
        assert_eq!(place("a{b c}"), (1, 6));
    }
}
