use proptest::prelude::*;

use super::*;

fn problems(bytes: &[u8]) -> Vec<String> {
    KConfig::parse(bytes).1.iter().map(ToString::to_string).collect()
}

#[test]
fn every_type_is_read() {
    let text = b"#\n# Linux/x86_64 6.1.0 Kernel Configuration\n#\n\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=n\n\
        CONFIG_E=-42\nCONFIG_F=0xffffffff80000000\nCONFIG_G=\"a \\\"b\\\" \\\\ c\"\nCONFIG_64BIT=y\nCONFIG_H=\"\"";
    let (config, problems) = KConfig::parse(text);
    assert_eq!(problems, []);
    assert_eq!(config.len(), 9);
    let expected = [
        ("A", Value::Yes),
        ("B", Value::Module),
        ("C", Value::Unset),
        ("D", Value::Unset),
        ("E", Value::Int(-42)),
        ("F", Value::Hex(0xffff_ffff_8000_0000)),
        ("G", Value::Text("a \"b\" \\ c".into())),
        ("64BIT", Value::Yes),
        ("H", Value::Text("".into())),
        ("NEVER_HEARD_OF", Value::Unset),
    ];
    for (symbol, value) in expected {
        assert_eq!(config.get(symbol), value, "{symbol}");
    }
}

#[test]
fn line_ends_of_other_systems() {
    let (config, problems) =
        KConfig::parse(b"\xef\xbb\xbfCONFIG_A=y\r\n# CONFIG_B is not set\r\n\r\nCONFIG_C=\"x\" \r\n");
    assert_eq!(problems, []);
    assert_eq!((config.get("A"), config.get("C")), (Value::Yes, Value::Text("x".into())));
    assert_eq!(config.raw("B"), Some(&b"n"[..]));
}

#[test]
fn the_last_setting_counts() {
    let text = b"CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\n";
    assert_eq!(problems(text), ["line 3: A was set in line 1 already; this line counts"]);
    assert_eq!(KConfig::parse(text).0.get("A"), Value::Unset);
}

#[test]
fn garbage_is_reported_and_passed_over() {
    let text = b"<html>\nCONFIG_A=yes\nCONFIG_=y\n CONFIG_B=y\nCONFIG_C\nCONFIG_D=\"x\n# CONFIG_E is not sat\nCONFIG_F=9999999999999999999\nCONFIG_G=y\n";
    assert_eq!(
        problems(text),
        [
            "line 1: not a line of a .config: \"<html>\"",
            "line 2: A has no value of any type: \"yes\"",
            "line 3: not a line of a .config: \"CONFIG_=y\"",
            "line 4: not a line of a .config: \" CONFIG_B=y\"",
            "line 5: not a line of a .config: \"CONFIG_C\"",
            "line 6: D has no value of any type: \"\\\"x\"",
            "line 8: F has no value of any type: \"9999999999999999999\"",
        ]
    );
    let (config, _) = KConfig::parse(text);
    assert_eq!((config.get("A"), config.get("D"), config.get("G")), (Value::Unset, Value::Unset, Value::Yes));
}

#[test]
fn huge_lines_and_many_problems_stay_small() {
    let mut text = b"CONFIG_A=\"".to_vec();
    text.resize(10_000_000, b'x');
    text.extend(b"\"\nCONFIG_B=y\n");
    text.extend(vec![b'z'; 10_000_000]);
    let (config, problems) = KConfig::parse(&text);
    assert_eq!(config.get("B"), Value::Yes);
    assert!(matches!(config.get("A"), Value::Text(text) if text.len() == 9_999_990));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().len() < 200);

    let garbage = b"?\n".repeat(5000);
    let (_, problems) = KConfig::parse(&garbage);
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100].kind, ConfigProblemKind::More { count: 4900 });
}

#[test]
fn other_encodings_are_read_with_losses() {
    let (config, problems) = KConfig::parse(b"CONFIG_A=\"caf\xe9\"\nCONFIG_B=y\n");
    assert_eq!(problems, []);
    assert_eq!(config.get("A"), Value::Text("caf\u{fffd}".into()));
    assert_eq!(config.get("B"), Value::Yes);
}

#[test]
fn a_projection_sees_what_is_set() {
    let (config, _) =
        KConfig::parse(b"CONFIG_A=y\nCONFIG_B=\"x\"\n# CONFIG_C is not set\nCONFIG_D=n\nCONFIG_E=m\n");
    let projection = config.projection(["A", "B", "C", "D", "MISSING"]);
    let pairs: Vec<_> = projection.iter().map(|(symbol, value)| (symbol.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("A", "y"), ("B", "\"x\"")]);
}

/// A line, and the setting that it is.
fn line() -> impl Strategy<Value = (String, Option<(String, String)>)> {
    let symbol =
        prop::sample::select(vec!["A", "B", "64BIT", "LONGER_THAN_EIGHT_BYTES", "LONGER_THAN_EIGHT_BITES"]);
    let value = prop::sample::select(vec!["y", "m", "n", "5", "-5", "0x1F", "\"\"", "\"a b\"", "\"=\\\"#\""]);
    prop_oneof![
        6 => (symbol.clone(), value).prop_map(|(symbol, value)| {
            (format!("CONFIG_{symbol}={value}"), Some((symbol.to_owned(), value.to_owned())))
        }),
        3 => symbol.prop_map(|symbol| (format!("# CONFIG_{symbol} is not set"), Some((symbol.to_owned(), "n".to_owned())))),
        1 => prop::sample::select(vec!["", "#", "# A menu", "# end of A", "\t"]).prop_map(|line| (line.to_owned(), None)),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_the_last_setting_counts(lines in prop::collection::vec(line(), 0..12), end in "\r?\n", last in any::<bool>()) {
        let mut text = lines.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join(&end);
        text.push_str(if last { &end } else { "" });
        let expected: BTreeMap<&str, &str> =
            lines.iter().filter_map(|(_, setting)| setting.as_ref()).map(|(symbol, value)| (symbol.as_str(), value.as_str())).collect();
        let (config, problems) = KConfig::parse(text.as_bytes());
        let settings = lines.iter().filter(|(_, setting)| setting.is_some()).count();
        prop_assert_eq!(config.len(), expected.len());
        prop_assert_eq!(problems.len(), settings - expected.len(), "each setting but the last of its symbol");
        for (symbol, value) in expected {
            prop_assert_eq!(config.raw(symbol), Some(value.as_bytes()));
        }
    }

    #[test]
    fn no_bytes_can_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = KConfig::parse(&bytes);
    }

    #[test]
    fn no_lines_can_break_it(text in "((CONFIG_|# CONFIG_)[A-C0]{0,2}(=y|=m|=\"|=\"\"|=-|=0x|=1| is not set)?\r?\n?){0,8}") {
        let (config, _) = KConfig::parse(text.as_bytes());
        for symbol in ["A", "B", "0", ""] {
            prop_assert_eq!(config.raw(symbol).is_none(), config.value(symbol).is_none());
        }
    }
}
