//! Mistakes in a spec as data: place, message, expectation, and what to do next.

use std::path::PathBuf;
use std::sync::Arc;

/// A file of the spec, by its place in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A range of bytes in a file of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

/// A value and its place in the spec.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// The texts of all files of a spec.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path as shown to people (relative to the project where it is inside), and text.
    pub files: Vec<(PathBuf, Arc<str>)>,
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The spec can be used, but this is likely not what was meant.
    Lint,
    /// The spec can't be used.
    Error,
}

/// One mistake.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Its severity.
    pub severity: Severity,
    /// A stable code, such as `unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Places with a note on each. The first is the primary one. Empty if no file is to blame.
    pub labels: Vec<(Span, String)>,
    /// What to do next.
    pub help: Option<String>,
}

impl<T> Spanned<T> {
    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

/// The code of what is said of a secret in the spec. It has no place, and nothing else is said beside it: both would show
/// the secret, perhaps in the log of a CI.
pub const SECRET: &str = "secret-in-spec";

impl Diagnostic {
    /// An error that blames nothing yet.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), labels: Vec::new(), help: None }
    }

    /// A lint that blames nothing yet.
    #[must_use]
    pub fn lint(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Lint, ..Self::error(code, message) }
    }

    /// Adds a place and what to say there.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do next, if anything.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl Sources {
    /// Adds a file.
    ///
    /// # Panics
    /// If there are more than 2^32 files.
    pub fn add(&mut self, path: PathBuf, text: Arc<str>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files"));
        self.files.push((path, text));
        id
    }
}
