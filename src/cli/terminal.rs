//! The terminal: colors, width, and where messages go.

use std::io::{IsTerminal, stderr, stdin, stdout};

use clap::ValueEnum;

use super::failure::Failure;
use crate::report::{Screen, Style};

/// Prints on standard output. A closed pipe, as after `| head`, is no failure.
macro_rules! out {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*));
    }};
}

/// The same, with a newline.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::terminal::out!("{}\n", format_args!($($text)*))
    };
}

pub(super) use {out, outln};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The terminal of the user.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Colors on standard output.
    pub out: Style,
    /// Colors on standard error.
    pub err: Style,
    /// Whether only errors are printed.
    pub quiet: bool,
    /// Whether standard error can show progress bars.
    pub bars: bool,
    /// Where bars are drawn.
    pub screen: Screen,
}

impl Terminal {
    pub(super) fn new(color: ColorChoice, quiet: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = |is_terminal: bool| match color {
            ColorChoice::Always => Style::Color,
            ColorChoice::Auto if is_terminal && !no_color => Style::Color,
            ColorChoice::Auto | ColorChoice::Never => Style::Plain,
        };
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let bars = stderr().is_terminal() && !dumb && !quiet;
        let (out, err) = (style(stdout().is_terminal()), style(stderr().is_terminal()));
        Self { out, err, quiet, bars, screen: Screen::default() }
    }

    pub(super) fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        eprintln!("{} {}", self.err.bad("error:"), failure.message);
        if let Some(help) = &failure.help {
            eprintln!("{} {help}", self.err.dim(" help:"));
        }
    }

    pub(super) fn warning(&self, message: &str) {
        self.screen.aside(|| eprintln!("{} {message}", self.err.warn("warning:")));
    }

    /// Prints a note, unless only errors are printed.
    pub(super) fn note(&self, message: &str) {
        if !self.quiet {
            eprintln!("{} {message}", self.err.dim("note:"));
        }
    }

    /// The user's answer, one line; `None` without a terminal.
    pub(super) fn ask(&self, question: &str) -> Option<String> {
        if !(stdin().is_terminal() && stderr().is_terminal()) {
            return None;
        }
        self.screen.aside(|| {
            eprint!("{question} ");
            let mut answer = String::new();
            stdin().read_line(&mut answer).ok().map(|_| answer.trim().to_owned())
        })
    }

    /// Columns of standard error.
    pub(super) fn width() -> usize {
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(100)
    }
}
