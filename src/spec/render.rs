//! Diagnostics for people (source line and caret, through miette) and for programs (JSON).

use std::collections::HashMap;
use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::diagnostic::{Diagnostic, FileId, Severity, Sources, Span};

/// The number of diagnostics that are shown; the rest is counted.
const SHOWN: usize = 200;

/// Lines longer than this are cut to a window around the place, in bytes.
const LONG_LINE: usize = 400;

/// The bytes of a long line that are shown before and after the place.
const WINDOW: usize = 100;

/// Renders diagnostics as text, each with its place, source line and caret, ending in a newline.
pub fn text(diagnostics: &[Diagnostic], sources: &Sources, width: usize, color: bool) -> String {
    let styles = if color { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let theme = GraphicalTheme { characters: ThemeCharacters::unicode(), styles };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let indices = Indices::new(diagnostics, sources);
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        let report = Report::new(diagnostic, &indices);
        if handler.render_report(&mut out, &report).is_err() {
            // Never lose a diagnostic to its decoration.
            out.push_str(&diagnostic.message);
        }
        for note in &report.notes {
            if handler.render_report(&mut out, note).is_err() {
                out.push_str(note.message);
            }
        }
        out.push('\n');
    }
    if let Some(rest) = diagnostics.len().checked_sub(SHOWN).filter(|rest| *rest > 0) {
        out.push_str(&format!("and {rest} more\n"));
    }
    out
}

/// A diagnostic for programs.
#[derive(serde::Serialize)]
struct Record<'d> {
    severity: &'static str,
    code: &'static str,
    message: &'d str,
    file: Option<String>,
    /// From 1.
    line: Option<usize>,
    /// From 1, in characters.
    column: Option<usize>,
    help: Option<&'d str>,
    labels: Vec<Place<'d>>,
}

#[derive(serde::Serialize)]
struct Place<'d> {
    file: String,
    line: usize,
    column: usize,
    text: &'d str,
}

/// Renders diagnostics as a JSON list. File, line and column are those of the first label, and null where no file is
/// to blame.
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> serde_json::Value {
    let indices = Indices::new(diagnostics, sources);
    let records = diagnostics.iter().map(|diagnostic| {
        let labels: Vec<_> = diagnostic
            .labels
            .iter()
            .filter_map(|(span, text)| {
                let file = indices.get(span.file)?;
                let (line, column) = file.position(span.start as usize);
                Some(Place { file: file.name.clone(), line: line + 1, column: column + 1, text })
            })
            .collect();
        let first = labels.first();
        let record = Record {
            severity: match diagnostic.severity {
                Severity::Lint => "lint",
                Severity::Error => "error",
            },
            code: diagnostic.code,
            message: &diagnostic.message,
            file: first.map(|place| place.file.clone()),
            line: first.map(|place| place.line),
            column: first.map(|place| place.column),
            help: diagnostic.help.as_deref(),
            labels,
        };
        serde_json::json!(record)
    });
    records.collect()
}

/// The files that diagnostics point into.
struct Indices<'s>(HashMap<FileId, Index<'s>>);

impl<'s> Indices<'s> {
    fn new(diagnostics: &[Diagnostic], sources: &'s Sources) -> Self {
        let mut indices = HashMap::new();
        for (span, _) in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
            if let Some((path, text)) = sources.files.get(span.file.0 as usize) {
                indices.entry(span.file).or_insert_with(|| Index::new(path.display().to_string(), text));
            }
        }
        Self(indices)
    }

    fn get(&self, file: FileId) -> Option<&Index<'s>> {
        self.0.get(&file)
    }
}

/// A text with the offsets of its lines, so that no diagnostic reads the whole file.
struct Index<'s> {
    name: String,
    text: &'s str,
    lines: Vec<usize>,
}

impl<'s> Index<'s> {
    fn new(name: String, text: &'s str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(n, _)| n + 1)).collect();
        Self { name, text, lines }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Line and column from 0; the column in characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        (line, self.text[self.lines[line]..offset].chars().count())
    }

    /// The nearest character boundary before.
    fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }

    fn line_end(&self, line: usize) -> usize {
        self.lines.get(line + 1).copied().unwrap_or(self.text.len())
    }

    /// A label cut to the first line, and short enough to be shown whole.
    fn clip(&self, span: Span) -> (usize, usize) {
        let start = self.floor(span.start as usize);
        let end = self.floor((span.end as usize).max(start));
        let line = self.text[start..end].find('\n').map_or(end, |n| start + n);
        (start, self.floor(line.min(start + WINDOW)) - start)
    }
}

impl SourceCode for Index<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        if end > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let (line, column) = self.position(start);
        let last = self.line_of(end);
        let (first, until) = (line.saturating_sub(before), (last + after).min(self.lines.len() - 1));
        // Asked for no context, miette wants the column of the place itself.
        let mut from = if before == 0 { start } else { self.lines[first] };
        let mut to = if after == 0 { end } else { self.line_end(until) };
        let (mut number, mut column) = (first, if before == 0 { column } else { 0 });
        if (first..=until).any(|line| self.line_end(line) - self.lines[line] > LONG_LINE) {
            if end - start > LONG_LINE {
                // Two places on one long line: each is shown on its own.
                return Err(MietteError::OutOfBounds);
            }
            from = from.max(self.floor(start.saturating_sub(WINDOW)));
            to = to.min(self.floor(end + WINDOW));
            number = self.line_of(from);
            column = self.position(from).1;
        }
        let data = &self.text.as_bytes()[from..to];
        let span = SourceSpan::from((from, to - from));
        let count = self.line_of(to) - number + 1;
        let contents = MietteSpanContents::new_named(self.name.clone(), data, span, number, column, count);
        Ok(Box::new(contents))
    }
}

/// A diagnostic as miette wants it: labels in the file of the first one; those in other files follow as reports of their own.
struct Report<'d> {
    message: &'d str,
    code: Option<&'static str>,
    severity: miette::Severity,
    help: Option<&'d str>,
    file: Option<&'d Index<'d>>,
    labels: Vec<LabeledSpan>,
    notes: Vec<Report<'d>>,
}

impl<'d> Report<'d> {
    fn new(diagnostic: &'d Diagnostic, indices: &'d Indices<'d>) -> Self {
        let main = diagnostic.labels.first().map(|(span, _)| span.file);
        let mut report = Self {
            message: &diagnostic.message,
            code: Some(diagnostic.code),
            severity: match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Lint => miette::Severity::Warning,
            },
            help: diagnostic.help.as_deref(),
            file: main.and_then(|file| indices.get(file)),
            labels: Vec::new(),
            notes: Vec::new(),
        };
        for (n, (span, text)) in diagnostic.labels.iter().enumerate() {
            let Some(file) = indices.get(span.file) else { continue };
            let (start, len) = file.clip(*span);
            if Some(span.file) == main {
                let label =
                    if n == 0 { LabeledSpan::new_primary_with_span } else { LabeledSpan::new_with_span };
                report.labels.push(label(Some(text.clone()), (start, len)));
            } else {
                let labels = vec![LabeledSpan::new_primary_with_span(None, (start, len))];
                let severity = miette::Severity::Advice;
                report.notes.push(Self {
                    message: text,
                    code: None,
                    severity,
                    help: None,
                    file: Some(file),
                    labels,
                    notes: Vec::new(),
                });
            }
        }
        report
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.file.map(|file| file as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
