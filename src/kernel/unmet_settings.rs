//! Compares a final `.config` with requested settings: Kconfig silently drops settings that it can't apply.

use super::config::{KConfig, Value};

/// A requested setting that a `.config` does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetSetting<'a> {
    /// The symbol, without `CONFIG_`.
    pub symbol: &'a str,
    /// The requested value, as a `.config` writes it.
    pub asked: &'a str,
    /// The actual value; `None` if the symbol is absent or `is not set`.
    pub found: Option<String>,
}

/// The settings (`SYMBOL=VALUE`, where `n` means not set) that the `.config` does not have, in order.
pub fn unmet_settings<'a>(
    config: &KConfig<'_>,
    settings: impl IntoIterator<Item = &'a str>,
) -> Vec<UnmetSetting<'a>> {
    let pairs = settings.into_iter().filter_map(|setting| setting.split_once('='));
    let other = |(symbol, asked): (&'a str, &'a str)| {
        let raw = config.raw(symbol).filter(|raw| *raw != b"n");
        let found = raw.map(|raw| String::from_utf8_lossy(raw).into_owned());
        let as_asked = match &found {
            None => asked == "n",
            Some(found) => found == asked || same(found, asked),
        };
        (!as_asked).then_some(UnmetSetting { symbol, asked, found })
    };
    pairs.filter_map(other).collect()
}

/// Whether two texts are the same value: `0x10` and `0X10`, and `10` for a hexadecimal symbol.
fn same(found: &str, asked: &str) -> bool {
    let line = format!("CONFIG_A={found}\nCONFIG_B={asked}\nCONFIG_C=0x{asked}\n");
    let (config, _) = KConfig::parse(line.as_bytes());
    match config.get("A") {
        Value::Unset => false,
        found @ Value::Hex(_) => found == config.get("B") || found == config.get("C"),
        found => found == config.get("B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &[u8] =
        b"CONFIG_A=y\nCONFIG_M=m\n# CONFIG_OFF is not set\nCONFIG_HZ=100\nCONFIG_AT=0x1000\n\
        CONFIG_NAME=\"a\\\"b\"\n";

    fn found(setting: &str) -> Option<String> {
        let (config, problems) = KConfig::parse(CONFIG);
        assert_eq!(problems, []);
        unmet_settings(&config, [setting]).pop().map(|other| other.found.unwrap_or_else(|| "-".to_owned()))
    }

    #[test]
    fn met_settings_are_not_reported() {
        for setting in [
            "A=y",
            "M=m",
            "OFF=n",
            "ABSENT=n",
            "HZ=100",
            "HZ=0100",
            "AT=0x1000",
            "AT=0X1000",
            "AT=1000",
            "NAME=\"a\\\"b\"",
        ] {
            assert_eq!(found(setting), None, "{setting}");
        }
    }

    #[test]
    fn what_is_otherwise_is_told_with_what_it_is() {
        let cases = [
            ("A=n", "y"),
            ("A=m", "y"),
            ("M=y", "m"),
            ("OFF=y", "-"),
            ("ABSENT=\"\"", "-"),
            ("HZ=250", "100"),
            ("AT=0x10", "0x1000"),
            ("NAME=\"b\"", "\"a\\\"b\""),
            ("NAME=a", "\"a\\\"b\""),
        ];
        for (setting, is) in cases {
            assert_eq!(found(setting).as_deref(), Some(is), "{setting}");
        }
    }
}
