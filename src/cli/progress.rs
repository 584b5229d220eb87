//! The progress of a run, as it is shown while it goes on.

use clap::ValueEnum;

use super::terminal::Terminal;
use crate::exec::event::{Event, Sink};
use crate::report::{Bars, JsonLines, Lines};

/// `--format` of `build` and `restore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Progress bars on a terminal, lines elsewhere.
    #[default]
    Text,
    /// One JSON object per line: docs/events.md.
    JsonLines,
}

/// Shows events. If that fails, it is reported once, and nothing more is shown.
pub(super) struct Progress(Option<Box<dyn Sink>>);

impl Progress {
    pub(super) fn new(format: Format, terminal: &Terminal) -> Self {
        match format {
            Format::JsonLines => Self(Some(Box::new(JsonLines(std::io::stdout())))),
            Format::Text => Self::text(terminal),
        }
    }

    /// For people, on standard error.
    pub(super) fn text(terminal: &Terminal) -> Self {
        Self(Some(if terminal.bars {
            Box::new(Bars::new(&terminal.screen, terminal.err))
        } else {
            Box::new(Lines::new(std::io::stderr(), terminal.err, terminal.quiet))
        }))
    }

    pub(super) fn show(&mut self, event: &Event) {
        if let Some(Err(error)) = self.0.as_mut().map(|sink| sink.event(event)) {
            eprintln!("warning: progress can't be shown any more: {error}");
            self.0 = None;
        }
    }
}
