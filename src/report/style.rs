//! Colors, and the notation of durations.

use std::fmt::Display;
use std::time::Duration;

/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With escape sequences.
    Color,
    /// Without colors.
    Plain,
}

impl Style {
    /// Success.
    pub fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// Failure.
    pub fn bad(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    /// A warning.
    pub fn warn(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    /// Something secondary.
    pub fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    /// Emphasis.
    pub fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        match self {
            Self::Color => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_string(),
        }
    }
}

/// A duration for people: `0.31 s`, `4.2 s`, `1 min 28 s`, `2 h 3 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match whole {
        _ if seconds < 0.995 => format!("{seconds:.2} s"),
        0..60 if seconds < 59.95 => format!("{seconds:.1} s"),
        0..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!(shown(310), "0.31 s");
        assert_eq!(shown(4_240), "4.2 s");
        assert_eq!(shown(88_400), "1 min 28 s");
        assert_eq!(shown(7_380_000), "2 h 3 min");
    }
}
