//! Why a job definition can't be made.

use std::fmt;

/// Why a job definition can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The template can't be read, or can't be filled in.
    #[error("{place}\n  {message}")]
    Template {
        /// Where.
        place: Place,
        /// Why.
        message: String,
    },
    /// The template does not use something that the job has: it would be fetched for nothing, or not tested at all.
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
    /// What the template came to is no YAML.
    #[error("{place}\n  not YAML: {message}")]
    Yaml {
        /// Where, in the text that it came to.
        place: Place,
        /// Why.
        message: String,
    },
    /// What should be a mapping is not.
    #[error("{file} is {found}, and not a mapping such as `actions: [..]`")]
    NotAMapping {
        /// The template, or the file of a test definition.
        file: String,
        /// What it is.
        found: &'static str,
    },
    /// A key has a value of another kind than is needed.
    #[error("{file}: `{key}` must be {expected}")]
    Shape {
        /// The template, or the file of a test definition.
        file: String,
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A test definition has no parameter of that name.
    #[error("{file} has no parameter `{param}`: name it there under `params`, with its default")]
    Parameter {
        /// The file of the definition.
        file: String,
        /// The name.
        param: String,
    },
    /// The template sets what kiln sets.
    #[error("{file} sets `{key}`, which kiln sets from graph.ron: take it out")]
    Ours {
        /// The template.
        file: String,
        /// The key.
        key: String,
    },
    /// The template comes to more than a job can be.
    #[error("{file} comes to more than {limit} bytes")]
    TooLarge {
        /// The template.
        file: String,
        /// How much it may come to.
        limit: usize,
    },
    /// The definition can't be written.
    #[error("a job definition can't be written as YAML: {0}")]
    Unwritable(String),
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or what else the text is.
    pub file: String,
    /// From 1; 0 where nothing tells.
    pub line: usize,
    /// Where in the line it begins, in characters from 0.
    pub column: usize,
    /// How many characters of the line it has; 0 where nothing tells.
    pub width: usize,
    /// The line.
    pub text: String,
}

/// The longest line that is shown, in characters.
const SHOWN: usize = 160;

impl Place {
    /// A range of bytes in a text, of which the first line is shown.
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

    /// A line of a text, from 1, and the column where that is known, from 0.
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

impl fmt::Display for Place {
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
