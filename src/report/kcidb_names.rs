//! Names, ids and addresses as KCIDB accepts them.

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::digest::Digest;
use crate::lab::record::Record;

/// The largest length of a name in a path.
const NAME: usize = 128;

/// The name of a CI at KCIDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// A text that KCIDB does not accept as an origin.
#[derive(Debug, thiserror::Error)]
#[error("an origin is made of small letters, digits and `_`")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || !text.chars().all(fits) { Err(BadOrigin) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An id derived from these parts.
pub(super) fn id(origin: &Origin, parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        // With lengths, so that different parts never give the same id.
        write!(text, "{}:{part}", part.len()).expect("a text takes what is written to it");
    }
    let digest = Digest::of_bytes(text.as_bytes()).to_string();
    format!("{}:{}", origin.0, &digest[..32])
}

/// A name as KCIDB uses them in paths: letters, digits, `_` and `-`, separated by dots.
pub(super) fn test_path(name: &str) -> String {
    let short: String = name.chars().take(NAME).collect();
    let parts = short.split(['.', '/']).filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.replace(|c: char| !is_word(c) && c != '-', "_"));
    let path = parts.collect::<Vec<_>>().join(".");
    if path.is_empty() { "_".to_owned() } else { path }
}

/// LAVA numbers the suites of a job: `0_smoke`.
pub(super) fn without_index(suite: &str) -> &str {
    match suite.split_once('_') {
        Some((index, name)) if !name.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => suite,
    }
}

/// Whether a character is allowed anywhere in a name.
pub(super) const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The address of a job's log at LAVA.
pub(super) fn log_url(record: &Record) -> Option<String> {
    let fits = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`".contains(c);
    let is_url = record.page.starts_with("https://") || record.page.starts_with("http://");
    (is_url && record.page.chars().all(fits))
        .then(|| format!("{}/log_file/plain", record.page.trim_end_matches('/')))
}

/// A text without characters that KCIDB rejects.
pub(super) fn no_null(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        for (name, path) in [
            ("uname", "uname"),
            ("mm/oom 01..b", "mm.oom_01.b"),
            ("..", "_"),
            ("", "_"),
            ("\0\u{fc}", "__"),
            ("a-b_c", "a-b_c"),
        ] {
            assert_eq!(test_path(name), path);
        }
        assert_eq!(test_path(&"x".repeat(1000)).len(), NAME);
        assert_eq!(
            ["0_smoke", "12_a_b", "smoke", "x_y", "3_"].map(without_index),
            ["smoke", "a_b", "smoke", "x_y", "3_"]
        );
    }

    #[test]
    fn origins_are_what_kcidb_takes() {
        "gentoo_2".parse::<Origin>().unwrap();
        for bad in ["", "Gentoo", "a-b", "a:b", "\u{fc}"] {
            bad.parse::<Origin>().unwrap_err();
        }
    }

    #[test]
    fn a_page_that_is_no_address_has_no_log() {
        let mut record: Record = serde_json::from_str(include_str!("testdata/passed.json")).unwrap();
        assert_eq!(log_url(&record).unwrap(), "https://lava.example/scheduler/job/4711/log_file/plain");
        for page in
            ["", "not an address", "javascript:x", "https://lava.example/ x", "https://lava.example/\n"]
        {
            page.clone_into(&mut record.page);
            assert_eq!(log_url(&record), None, "{page:?}");
        }
    }
}
