//! A build's settings: `include/config/auto.conf`, as `scripts/kconfig/confdata.c` writes it.
//!
//! Linux before 5.17 quotes strings, later versions do not. An option that is off has no line.

use std::fs;
use std::io;
use std::path::Path;

/// The file, relative to the output directory.
pub(super) const SETTINGS: &str = "include/config/auto.conf";

/// The settings of a build.
pub(super) struct Settings(String);

impl Settings {
    /// Reads the settings of the build in `out`.
    pub(super) fn read(out: &Path) -> io::Result<Self> {
        fs::read_to_string(out.join(SETTINGS)).map(Self)
    }

    /// The value of an option without quotes; `None` if it is off or empty.
    pub(super) fn value(&self, option: &str) -> Option<&str> {
        let (_, value) = self.all().find(|(name, _)| *name == option)?;
        (!matches!(value, "" | "n")).then_some(value)
    }

    /// All values without quotes.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.all().map(|(_, value)| value)
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name, value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_with_and_without_quotes_are_the_same() {
        let settings = |text: &str| Settings(text.to_owned());
        for text in ["CONFIG_DIR=\"a b\"\nCONFIG_NONE=\"\"\n", "CONFIG_DIR=a b\nCONFIG_NONE=\n"] {
            let settings = settings(text);
            assert_eq!(settings.value("CONFIG_DIR"), Some("a b"));
            assert_eq!((settings.value("CONFIG_NONE"), settings.value("CONFIG_D")), (None, None));
            assert_eq!(settings.values().collect::<Vec<_>>(), ["a b", ""]);
        }
    }
}
