//! Mistakes in a spec, as data: where, what, what was expected, what to do.

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

/// A value and where the spec says it.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// The texts of all files of a spec.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path as shown to people (relative to the project where it is inside), and text.
    pub files: Vec<(PathBuf, Arc<str>)>,
}

/// How grave a diagnostic is.
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
    /// How grave.
    pub severity: Severity,
    /// A stable code, such as `unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where, and what to say there; the first is the primary one. Empty where no file is to blame.
    pub labels: Vec<(Span, String)>,
    /// What to do next.
    pub help: Option<String>,
}
