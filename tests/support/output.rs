//! What a kiln process printed, and its exit code.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use serde_json::Value;

/// What a kiln process printed, and its exit code.
pub struct KilnOutput {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; 128 and the signal's number if it was killed, as in a shell.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl KilnOutput {
    /// The output of a process that was not killed and printed nothing but UTF-8.
    #[track_caller]
    pub fn new(command: impl Into<String>, output: &Output) -> Self {
        let command = command.into();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{command}: {}", output.status));
        Self { command, code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The output of a process that may have been killed, or printed what is not UTF-8.
    pub fn of_any(command: impl Into<String>, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let signal = || 128 + output.status.signal().expect("it exited or was killed");
        let code = output.status.code().unwrap_or_else(signal);
        Self { command: command.into(), code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Standard output contains this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in\n{self}");
        self
    }

    /// Standard error contains this text.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in\n{self}");
        self
    }

    /// Standard output or standard error contains this text.
    #[track_caller]
    pub fn mentions(self, text: &str) -> Self {
        assert!(self.out.contains(text) || self.err.contains(text), "no {text:?} in\n{self}");
        self
    }

    /// Neither standard output nor standard error contains this text.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.out.contains(text) && !self.err.contains(text), "{text:?} in\n{self}");
        self
    }

    /// Standard output, which is JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in\n{self}"))
    }
}

impl fmt::Display for KilnOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, out, err } = self;
        write!(f, "$ {command}\n{out}--- stderr\n{err}--- exit code {code}")
    }
}
