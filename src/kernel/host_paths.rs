//! Settings that name files outside the source tree.

use super::config::{KConfig, Value};

/// Symbols whose values are paths that a build reads, each with a symbol without which it is not read.
const PATHS: [(&str, Option<&str>); 7] = [
    ("EXTRA_FIRMWARE_DIR", Some("EXTRA_FIRMWARE")),
    ("INITRAMFS_SOURCE", None),
    ("MODULE_SIG_KEY", None),
    ("SYSTEM_TRUSTED_KEYS", None),
    ("SYSTEM_REVOCATION_KEYS", None),
    ("SYSTEM_BLACKLIST_HASH_LIST", None),
    ("CFG80211_EXTRA_REGDB_KEYDIR", None),
];

/// Every absolute path in a setting, with its symbol.
pub fn host_paths(config: &KConfig<'_>) -> Vec<(&'static str, String)> {
    let text = |symbol: &str| match config.get(symbol) {
        Value::Text(text) => text.to_string(),
        _ => String::new(),
    };
    let mut found = Vec::new();
    for (symbol, needs) in PATHS {
        if needs.is_some_and(|needs| text(needs).trim().is_empty()) {
            continue;
        }
        let value = text(symbol);
        let paths = value.split_whitespace().filter(|path| path.starts_with('/'));
        found.extend(paths.map(|path| (symbol, path.to_owned())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_where_they_are_read() {
        let named = |text: &str| {
            let (config, _) = KConfig::parse(text.as_bytes());
            host_paths(&config)
                .into_iter()
                .map(|(symbol, path)| format!("{symbol} {path}"))
                .collect::<Vec<_>>()
        };
        assert!(
            named("CONFIG_EXTRA_FIRMWARE=\"\"\nCONFIG_EXTRA_FIRMWARE_DIR=\"/lib/firmware\"\n").is_empty()
        );
        assert_eq!(
            named("CONFIG_EXTRA_FIRMWARE=\"a.bin\"\nCONFIG_EXTRA_FIRMWARE_DIR=\"/lib/firmware\"\n"),
            ["EXTRA_FIRMWARE_DIR /lib/firmware"]
        );
        assert!(named("CONFIG_MODULE_SIG_KEY=\"certs/signing_key.pem\"\n").is_empty());
        assert_eq!(
            named("CONFIG_INITRAMFS_SOURCE=\"usr/list /srv/root /srv/more\"\n"),
            ["INITRAMFS_SOURCE /srv/root", "INITRAMFS_SOURCE /srv/more"]
        );
    }
}
