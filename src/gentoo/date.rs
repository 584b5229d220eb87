//! The dates that identify stage3 builds and ebuild trees.

use std::fmt;
use std::str::FromStr;

/// When a stage3 build started, in the mirrors' form: `20250928T170227Z`. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildDate(String);

impl BuildDate {
    /// The date in the mirrors' form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildDate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = text.len() == 16
            && text.is_ascii()
            && are_digits(&text[..8])
            && &text[8..9] == "T"
            && are_digits(&text[9..15])
            && text.ends_with('Z');
        if fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for BuildDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The day of an ebuild tree, in the mirrors' form: `20250928`. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotDay(String);

impl FromStr for SnapshotDay {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() == 8 && are_digits(text) { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for SnapshotDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
