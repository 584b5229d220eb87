//! A predicate up to the first NUL, then a `.config`: a text is refused with a place in it, or means the same however
//! it is printed and asked.

#![no_main]

use kiln::kernel::config::KConfig;
use kiln::kernel::predicate::{Lookup, Predicate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let Ok(text) = std::str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let (config, _) = KConfig::parse(parts.next().unwrap_or_default());
    let predicate = match Predicate::parse(text) {
        Ok(predicate) => predicate,
        Err(error) => {
            assert!(text.get(error.start..error.end).is_some(), "{error:?}");
            assert!(!error.message.is_empty());
            return;
        }
    };
    let printed = predicate.to_string();
    assert_eq!(Predicate::parse(&printed).as_ref(), Ok(&predicate), "{printed}");
    let holds = predicate.eval(&config);
    assert_eq!(holds, predicate.failing(&config).is_none(), "{printed}");
    assert_eq!(holds, predicate.lacking(&config) == 0, "{printed}");
    let projection = config.projection(predicate.symbols());
    assert_eq!(holds, predicate.eval(&projection), "{printed}");
    // What is, is possible; and where all is known, nothing else is.
    let known =
        |symbol: &str| Some(config.value(symbol).map_or_else(|| "n".to_owned(), |value| value.into_owned()));
    assert_eq!(holds, predicate.possible(&known), "{printed}");
});
