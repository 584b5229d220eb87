//! Any bytes as a `.config`: they are read, what is wrong with them is told shortly, and of what is read a projection
//! shows the same.

#![no_main]

use std::collections::BTreeSet;

use kiln::kernel::config::{KConfig, Value};
use kiln::kernel::predicate::Lookup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (config, problems) = KConfig::parse(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(problems.len() <= 101);
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line), "{problem}");
        // A byte is four when it is quoted, and a line has two parts that are.
        assert!(problem.to_string().len() < 1_500, "{problem}");
    }
    let text = String::from_utf8_lossy(bytes);
    let word = |char: char| !char.is_ascii_alphanumeric() && char != '_';
    let symbols: BTreeSet<&str> =
        text.split(word).filter_map(|word| word.strip_prefix("CONFIG_")).chain([""]).collect();
    let projection = config.projection(symbols.iter().copied());
    let set = symbols.iter().filter(|symbol| config.raw(symbol).is_some());
    assert!(set.count() <= config.len());
    for symbol in symbols {
        let value = config.value(symbol);
        assert_eq!(value.is_some(), config.raw(symbol).is_some(), "{symbol}");
        assert_eq!(
            projection.get(symbol).map(String::as_str),
            value.as_deref().filter(|value| *value != "n")
        );
        if config.raw(symbol).is_none() {
            assert_eq!(config.get(symbol), Value::Unset, "{symbol}");
        }
    }
    // Another line at the end, and the line ends of another system, are the same `.config`.
    let more = KConfig::parse(&[bytes, b"\n# the end"].concat()).0.len();
    assert_eq!(more, config.len());
});
