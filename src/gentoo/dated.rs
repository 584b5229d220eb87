//! The dates that builds of a stage3, and trees of ebuilds, are told apart by.

use std::fmt;
use std::str::FromStr;

/// When a build began, as mirrors write it: `20250928T170227Z`. Later ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(String);

impl Date {
    /// As mirrors write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Date {
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

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The day that a tree of ebuilds is of, as mirrors write it: `20250928`. Later ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(String);

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() == 8 && are_digits(text) { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
