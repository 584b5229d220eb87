use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Node<'_> {
    let (node, diagnostics) = parse(FileId(0), text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    node.unwrap()
}

fn mistakes(text: &str) -> Vec<(String, u32, u32)> {
    let (_, diagnostics) = parse(FileId(0), text);
    diagnostics.into_iter().map(|d| (d.message, d.labels[0].0.start, d.labels[0].0.end)).collect()
}

#[test]
fn texts_are_borrowed_unless_they_have_escapes() {
    assert!(matches!(read("\"plain\"").kind, SyntaxKind::Str(Cow::Borrowed("plain"))));
    assert!(matches!(read(r##"r#"a"\b"#"##).kind, SyntaxKind::Str(Cow::Borrowed("a\"\\b"))));
    let node = read(r#""a\n\x41\u{1F600}\\""#);
    assert!(matches!(node.kind, SyntaxKind::Str(Cow::Owned(text)) if text == "a\nA😀\\"));
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0b101", 5),
        ("-0o17", -15),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(read(text).kind, SyntaxKind::Int(value), "{text}");
    }
    assert_eq!(read("1.5").kind, SyntaxKind::Float(1.5));
    assert_eq!(read("-1e3").kind, SyntaxKind::Float(-1000.0));
}

#[test]
fn spans_are_exact() {
    let text = " /* a /* b */ */ Name ( a : [ 1 , \"x\" ] , ) // end";
    let node = read(text);
    let slice = |span: Span| &text[span.start as usize..span.end as usize];
    assert!(slice(node.span).starts_with("Name") && slice(node.span).ends_with(')'));
    assert_eq!(slice(node.head()), "Name");
    let SyntaxKind::Struct { fields, .. } = &node.kind else { panic!() };
    assert_eq!(slice(fields[0].name.span), "a");
    assert_eq!(slice(fields[0].value.span), "[ 1 , \"x\" ]");
}

#[test]
fn attributes_are_accepted_and_others_refused() {
    assert_eq!(
        read("#![enable(implicit_some, unwrap_newtypes,)]\n#![enable(implicit_some)]\n1").kind,
        SyntaxKind::Int(1)
    );
    assert_eq!(mistakes("#![disable(x)]\n1").len(), 1);
}

#[test]
fn every_mistake_of_a_file_is_found() {
    let found = mistakes("(a: 1 b: 'x', c = 2, d: [1,,2], e: @, a: 3, f: \"\\q\")");
    let messages: Vec<_> = found.iter().map(|(message, ..)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a comma is missing",
            "texts are written in double quotes",
            "`=` has no meaning here",
            "there is nothing before this comma",
            "this character has no meaning here",
            "this escape is unknown",
            "the field `a` is given twice",
        ]
    );
}

#[test]
fn unclosed_delimiters_name_the_innermost_once() {
    assert_eq!(mistakes("(a: [1, {\"k\": 2"), [("`{` is not closed".into(), 8, 9)]);
    assert_eq!(mistakes("(a: [1, 2, b: 3)").len(), 2);
    assert_eq!(mistakes("(a: \"never\n)"), [("this text is not closed".into(), 4, 5)]);
    assert_eq!(
        mistakes("/* never"),
        [("this comment is not closed".into(), 0, 2), ("the file is empty".into(), 8, 8)]
    );
}

#[test]
fn duplicate_keys_are_found_in_large_maps() {
    let keys: String = (0..100).map(|n| format!("\"k{}\": {n}, ", n % 99)).collect();
    let found = mistakes(&format!("{{{keys}}}"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "the name `k0` is given twice");
}

#[test]
fn nesting_is_bounded() {
    let deep = "[".repeat(100_000);
    assert_eq!(mistakes(&deep).len(), 1);
    assert_eq!(mistakes(&deep)[0].0, "values nest too deep");
    read(&("[".repeat(128) + &"]".repeat(128)));
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored reading_is_fast"]
fn reading_is_fast() {
    let entry = |n: u32| {
        format!(
            "\"node-{n:06}\": (rule: \"trivial\", params: {{\"on\": \"trivial:node-{n:06}\", \"text\": \"some longer text here\"}}),\n"
        )
    };
    let text = format!("{{{}}}", (0..100_000).map(entry).collect::<String>());
    let start = std::time::Instant::now();
    let (node, diagnostics) = parse(FileId(0), &text);
    let took = start.elapsed();
    assert!(node.is_some() && diagnostics.is_empty());
    println!("{} bytes in {took:?}", text.len());
    assert!(took.as_millis() < 300);
}

/// What the `ron` crate would read: it forgets the names of structs, and so do we here.
fn value(node: &Node<'_>) -> ron::Value {
    match &node.kind {
        SyntaxKind::Struct { name: None, fields } if fields.is_empty() => ron::Value::Unit,
        SyntaxKind::Struct { name: Some(_), fields } if fields.is_empty() => ron::Value::Seq(Vec::new()),
        SyntaxKind::Struct { fields, .. } => {
            let fields = fields.iter().map(|f| (ron::Value::String(f.name.text.into()), value(&f.value)));
            ron::Value::Map(fields.collect())
        }
        SyntaxKind::Tuple { name: Some(name), items } if name.text == "Some" && items.len() == 1 => {
            ron::Value::Option(Some(Box::new(value(&items[0]))))
        }
        SyntaxKind::Tuple { items, .. } | SyntaxKind::List(items) => {
            ron::Value::Seq(items.iter().map(value).collect())
        }
        SyntaxKind::Map(entries) => {
            ron::Value::Map(entries.iter().map(|(k, v)| (value(k), value(v))).collect())
        }
        SyntaxKind::Ident("None") => ron::Value::Option(None),
        SyntaxKind::Ident(_) => ron::Value::Unit,
        SyntaxKind::Str(text) => ron::Value::String(text.to_string()),
        SyntaxKind::Int(number) => integer(*number),
        SyntaxKind::Float(number) => ron::Value::Number(ron::value::Number::new(*number)),
        SyntaxKind::Bool(value) => ron::Value::Bool(*value),
        SyntaxKind::Bad => panic!("mistakes were reported"),
    }
}

/// `ron` takes the smallest type that fits, unsigned where it can.
fn integer(number: i64) -> ron::Value {
    ron::from_str(&number.to_string()).unwrap()
}

fn empty(value: &ron::Value) -> bool {
    match value {
        ron::Value::Seq(items) => items.is_empty(),
        value => *value == ron::Value::Unit,
    }
}

/// Equal up to how numbers are kept.
#[expect(clippy::float_cmp, reason = "infinities are equal to themselves alone")]
fn same(ours: &ron::Value, theirs: &ron::Value) -> bool {
    use ron::Value::{Map, Number, Option, Seq, Unit};
    match (ours, theirs) {
        (Number(a), Number(b)) => {
            let (a, b) = (a.into_f64(), b.into_f64());
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= a.abs() * 1e-6
        }
        (Option(Some(a)), Option(Some(b))) => same(a, b),
        (Seq(a), Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Map(a), Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|((ka, va), (kb, vb))| same(ka, kb) && same(va, vb))
        }
        // What an empty `( )` is to `ron` hangs on the blank in it.
        (Unit | Seq(_), Unit | Seq(_)) => empty(ours) && empty(theirs),
        _ => ours == theirs,
    }
}

fn agrees_with_ron(text: &str) {
    let (Some(node), diagnostics) = parse(FileId(0), text) else { return };
    if !diagnostics.is_empty() {
        return;
    }
    let theirs: ron::Value =
        ron::from_str(text).unwrap_or_else(|error| panic!("ron refuses {text:?}: {error}"));
    let ours = value(&node);
    assert!(same(&ours, &theirs), "{text:?}\nours:   {ours:?}\ntheirs: {theirs:?}");
}

/// RON text, mostly well-formed.
fn document() -> impl Strategy<Value = String> {
    let blank =
        prop_oneof![Just(""), Just(" "), Just("\n"), Just("/* c */"), Just(" // c\n"), Just("/*/**/*/")];
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "[-+]?(0x[0-9a-fA-F_]{1,4}|0b[01]{1,4}|0o[0-7]{1,4}|[0-9][0-9_]{0,4})",
        "-?[0-9]{1,3}\\.[0-9]{0,3}(e-?[0-9])?",
        "\"([a-z {}]|\\\\[nrt0\"\\\\']|\\\\x[0-7][0-9a-f]|\\\\u\\{[0-9a-f]{1,4}\\}|é)*\"",
        "r\"[a-z\\\\]*\"",
        "r#\"[a-z\\\\\"]*\"#",
        "true|false|None|Command|inf|_x1|[A-Z][a-z]{0,5}",
        Just("()".to_owned()),
    ];
    let tree = leaf.prop_recursive(4, 40, 5, move |inner| {
        let items = prop::collection::vec(inner, 0..5);
        let names = "[a-z_][a-z0-9_]{0,5}";
        (items, names, 0..6u8, any::<bool>(), blank.clone()).prop_map(|(items, name, shape, comma, blank)| {
            let comma = if comma && !items.is_empty() { "," } else { "" };
            let joined = |each: &dyn Fn(usize, &String) -> String| {
                let items: Vec<_> = items.iter().enumerate().map(|(n, item)| each(n, item)).collect();
                items.join(&format!("{blank},{blank}")) + comma
            };
            match shape {
                0 => format!("[{blank}{}]", joined(&|_, item| item.clone())),
                1 => format!("({}{blank})", joined(&|n, item| format!("{name}{n}{blank}:{blank}{item}"))),
                2 => format!("Name{blank}({})", joined(&|n, item| format!("{name}{n}:{item}"))),
                3 => format!("{{{}}}", joined(&|n, item| format!("\"k{n}\"{blank}:{item}"))),
                4 => format!("Some({})", items.first().map_or("1", String::as_str)),
                _ => format!("Dir{blank}({blank}{})", joined(&|_, item| item.clone())),
            }
        })
    });
    (tree, prop_oneof![Just(""), Just("#![enable(implicit_some)]\n"), Just("// c\n")])
        .prop_map(|(tree, head)| format!("{head}{tree}"))
}

proptest! {
    #[test]
    fn what_we_accept_ron_reads_the_same(text in document()) {
        agrees_with_ron(&text);
    }

    #[test]
    fn what_we_accept_of_damaged_text_ron_reads_the_same(
        text in document(), at in any::<prop::sample::Index>(), with in "[\\[\\](){},:\"#/*a1. -]{0,2}",
    ) {
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary(at + 1);
        agrees_with_ron(&format!("{}{with}{}", &text[..at], &text[end..]));
    }

    #[test]
    fn nothing_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        let (_, diagnostics) = parse(FileId(0), &text);
        for (span, _) in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
    }

    #[test]
    fn no_soup_of_tokens_makes_the_reader_panic(text in "([\\[\\](){},:\"'#/*=]|r#|\\\\|//|/\\*|\\*/|a|1|é| |\n){0,40}") {
        let (_, diagnostics) = parse(FileId(0), &text);
        for (span, _) in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
    }
}
