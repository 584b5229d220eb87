//! Why a job definition can't be rendered.

use std::fmt;

/// Why a job definition can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The template can't be parsed or rendered.
    #[error("{location}\n  {message}")]
    Template {
        /// Where.
        location: Location,
        /// Why.
        message: String,
    },
    /// The template does not use a variable of the job: a file would be published for nothing, or a test would not run.
    #[error(
        "{file} does not use {}: write it where it belongs, or take it out of the board or the rule",
        names.join(", ")
    )]
    Unused {
        /// The template.
        file: String,
        /// The variables.
        names: Vec<String>,
    },
    /// The rendered text is not YAML.
    #[error("{location}\n  not YAML: {message}")]
    Yaml {
        /// Where, in the rendered text.
        location: Location,
        /// Why.
        message: String,
    },
    /// A text is not a mapping.
    #[error("{file} is {found}, and not a mapping such as `actions: [..]`")]
    NotAMapping {
        /// The template, or the file of a test definition.
        file: String,
        /// Its actual type.
        found: &'static str,
    },
    /// A key has a value of the wrong type.
    #[error("{file}: `{key}` must be {expected}")]
    Shape {
        /// The template, or the file of a test definition.
        file: String,
        /// The key.
        key: String,
        /// The expected type.
        expected: &'static str,
    },
    /// A test definition does not declare a parameter.
    #[error("{file} has no parameter `{param}`: name it there under `params`, with its default")]
    Parameter {
        /// The file of the definition.
        file: String,
        /// The name.
        param: String,
    },
    /// The template sets a reserved key.
    #[error("{file} sets `{key}`, which kiln sets from graph.ron: take it out")]
    Reserved {
        /// The template.
        file: String,
        /// The key.
        key: String,
    },
    /// The rendered text is too large.
    #[error("{file} comes to more than {limit} bytes")]
    TooLarge {
        /// The template.
        file: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The definition can't be written as YAML.
    #[error("a job definition can't be written as YAML: {0}")]
    Unwritable(String),
}

/// A location in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, or a description of the text.
    pub file: String,
    /// The line, from 1; 0 if unknown.
    pub line: usize,
    /// The column, in characters from 0.
    pub column: usize,
    /// The length in characters; 0 if unknown.
    pub width: usize,
    /// The line.
    pub text: String,
}

/// The longest shown line, in characters.
const SHOWN: usize = 160;

impl Location {
    /// The location of a byte range. The first line is shown.
    pub(super) fn of_range(file: &str, text: &str, range: std::ops::Range<usize>) -> Self {
        let start = text.floor_char_boundary(range.start);
        let end = text.floor_char_boundary(range.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count(),
            width: text[start..end.min(line_end)].chars().count(),
            text: text[line_start..line_end].trim_end().to_owned(),
        }
    }

    /// The location of a line, from 1, and a column, from 0, if known.
    pub(super) fn of_line(file: &str, text: &str, line: usize, column: Option<usize>) -> Self {
        let shown = line.checked_sub(1).and_then(|index| text.lines().nth(index)).unwrap_or_default();
        let width = usize::from(column.is_some());
        Self {
            file: file.to_owned(),
            line,
            column: column.unwrap_or(0),
            width,
            text: shown.trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, width, text } = self;
        if *line == 0 {
            return write!(f, "{file}:");
        }
        write!(f, "{file}:{line}:")?;
        if text.is_empty() || text.chars().count() > SHOWN {
            return Ok(());
        }
        write!(f, "\n  | {text}")?;
        if *width > 0 {
            // Tabs stay tabs, so that the caret stands below what it means.
            let indent: String =
                text.chars().take(*column).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n  | {indent}{}", "^".repeat(*width))?;
        }
        Ok(())
    }
}
