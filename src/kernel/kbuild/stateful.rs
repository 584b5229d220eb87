//! Configurations whose builds use the previous content of their output directory.

use std::io;
use std::path::Path;

use super::settings::Settings;

/// Settings that make a build use files of an earlier build, and how.
const STATEFUL: [(&str, &str); 5] = [
    ("CONFIG_IKHEADERS", "packs all headers that lie in the output directory"),
    ("CONFIG_HEADERS_INSTALL", "installs all headers that lie in the output directory"),
    ("CONFIG_UAPI_HEADER_TEST", "tests all headers that lie in the output directory"),
    ("CONFIG_TRIM_UNUSED_KSYMS", "starts from the list of symbols that the last build left"),
    ("CONFIG_INITRAMFS_SOURCE", "packs files with their times"),
];

/// A setting, with its effect, that forbids to continue in the output directory `out`; `None`: there is none.
pub fn stateful(out: &Path) -> io::Result<Option<(&'static str, &'static str)>> {
    let settings = Settings::read(out)?;
    Ok(STATEFUL.into_iter().find(|(name, _)| settings.value(name).is_some()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn settings_that_take_in_what_lies_in_the_output_directory_are_known() {
        let out = tempfile::tempdir().unwrap();
        assert!(stateful(out.path()).is_err());
        fs::create_dir_all(out.path().join("include/config")).unwrap();
        let of = |settings: &str| {
            fs::write(out.path().join("include/config/auto.conf"), settings).unwrap();
            stateful(out.path()).unwrap().map(|(setting, _)| setting)
        };
        assert_eq!(of("CONFIG_IKCONFIG=y\nCONFIG_INITRAMFS_SOURCE=\"\"\n"), None);
        assert_eq!(of("CONFIG_IKCONFIG=y\nCONFIG_INITRAMFS_SOURCE=\n"), None);
        for (setting, value) in [
            ("CONFIG_IKHEADERS", "m"),
            ("CONFIG_UAPI_HEADER_TEST", "y"),
            ("CONFIG_TRIM_UNUSED_KSYMS", "y"),
            ("CONFIG_INITRAMFS_SOURCE", "\"usr/list\""),
        ] {
            assert_eq!(of(&format!("CONFIG_A=y\n{setting}={value}\n")), Some(setting));
        }
    }
}
