//! One mistake for each code that decoding reports.

use super::*;
use crate::spec::declared::Rule;
use crate::spec::diagnostic::{FileId, Sources};
use crate::spec::model::Template;
use crate::spec::{render, syntax};

fn decode<T: Decode>(text: &str) -> (Option<T>, Vec<Diagnostic>) {
    let (node, mistakes) = syntax::parse(FileId(0), text);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mut context = Context::default();
    let value = T::decode(&node.unwrap(), &mut context);
    (value, context.diagnostics)
}

/// Codes, and the text that each first label points at.
#[track_caller]
fn expect<T: Decode>(text: &str, expected: &[(&str, &str)]) {
    let (_, diagnostics) = decode::<T>(text);
    let found: Vec<_> = diagnostics
        .iter()
        .map(|d| (d.code, &text[d.labels[0].0.start as usize..d.labels[0].0.end as usize]))
        .collect();
    let mut sources = Sources::default();
    sources.add("test.ron".into(), text.into());
    assert_eq!(found, expected, "{}", render::text(&diagnostics, &sources, 80, false));
}

#[test]
fn projects() {
    expect::<Document>("(version: 2, nonsense: 1)", &[("unknown-version", "2")]);
    expect::<Document>("()", &[("missing-field", "(")]);
    expect::<Document>("[]", &[("wrong-type", "[")]);
    expect::<Document>("Project(version: 1)", &[("wrong-type", "Project")]);
    expect::<Document>(
        "(version: 1, source: {}, cache: (pat: \"x\"))",
        &[("unknown-field", "pat"), ("unknown-field", "source")],
    );
    expect::<Document>(
        "(version: 1, archs: (a: ()), pools: {\"a b\": 1, 3: 1, \"c\": -1})",
        &[("wrong-type", "("), ("bad-name", "\"a b\""), ("wrong-type", "3"), ("out-of-range", "-1")],
    );
}

#[test]
fn sources() {
    let tarball = |digest: &str| {
        format!("(version: 1, sources: {{\"s\": Tarball(path: \"p\", digest: \"{digest}\")}})")
    };
    expect::<Document>(&tarball(&format!("sha256:{}", "0".repeat(64))), &[]);
    expect::<Document>(&tarball(&format!("blake3:{}", "0".repeat(64))), &[]);
    expect::<Document>(&tarball("md5:00"), &[("bad-digest", "\"md5:00\"")]);
    expect::<Document>(
        "(version: 1, sources: {\"a\": Dir(\"\"), \"b\": Dirr(\"x\"), \"c\": Git(\"x\"), \"d\": \"x\"})",
        &[("bad-path", "\"\""), ("unknown-variant", "Dirr"), ("wrong-type", "Git"), ("wrong-type", "\"x\"")],
    );
    expect::<Document>(
        "(version: 1, sources: {\"a\": Some(Dir(path: Some(\"x\"))), \"b\": Git(path: \"x\", rev: None)})",
        &[],
    );
}

#[test]
fn toolchains_and_fixups() {
    expect::<Document>(
        "(version: 1, toolchains: {\"a\": Gcc(targets: {}, make: [\"LLVM=1\", \"O=x\", \"V\"])})",
        &[("bad-make-variable", "\"O=x\""), ("bad-make-variable", "\"V\"")],
    );
    expect::<Document>(
        "(version: 1, fixups: {\"a\": [\"X=y\", \"CONFIG_X=\\\"t\\\"\", \"@b\", \"X\", \"=y\", \"X=\", \"a b=y\", \"@\"]})",
        &[
            ("bad-fixup", "\"X\""),
            ("bad-fixup", "\"=y\""),
            ("bad-fixup", "\"X=\""),
            ("bad-fixup", "\"a b=y\""),
            ("bad-fixup", "\"@\""),
        ],
    );
    let (document, _) = decode::<Document>("(version: 1, fixups: {\"a\": [\"CONFIG_X=y\"]})");
    assert_eq!(document.unwrap().project.fixups["a"].value[0].value.text, "X=y");
}

#[test]
fn a_fixup_may_be_optional_and_be_written_as_in_a_config() {
    let (document, _) = decode::<Document>(
        "(version: 1, fixups: {\"a\": [Optional(\"CONFIG_X=m\"), \"# CONFIG_Y is not set\", Optional(\"@b\")]})",
    );
    let list = &document.unwrap().project.fixups["a"].value;
    let fixups: Vec<_> = list.iter().map(|fixup| (fixup.value.text.as_str(), fixup.value.optional)).collect();
    assert_eq!(fixups, [("X=m", true), ("Y=n", false), ("@b", true)]);
    expect::<Document>(
        "(version: 1, fixups: {\"a\": [Optional(\"X\"), Optional(), Maybe(\"X=y\"), Optional(Optional(\"X=y\"))]})",
        &[
            ("bad-fixup", "\"X\""),
            ("wrong-type", "Optional"),
            ("unknown-variant", "Maybe"),
            ("wrong-type", "Optional"),
        ],
    );
}

#[test]
fn boards_and_tests() {
    expect::<Document>(
        "(version: 1, boards: {\"a\": (requires: \"A && \", device_type: word, labs: [], tests: [\"t\"])})",
        &[("bad-predicate", "\""), ("wrong-type", "word"), ("empty-list", "[]")],
    );
    expect::<Document>(
        "(version: 1, tests: {\"a\": Console(marker: \"\", time_limit: 60), \"b\": Console(marker: \"x\", time_limit: \"0s\")})",
        &[("bad-duration", "60"), ("empty-text", "\"\""), ("bad-duration", "\"0s\"")],
    );
}

#[test]
fn rules() {
    expect::<Rule>(
        "(version: 1, kind: Run, per: [\"srce\"], steps: [[\"{\", \"a}\", \"é{}\", 1]], time_limit: \"1 fortnight\")",
        &[
            ("unknown-variant", "Run"),
            ("unknown-axis", "\"srce\""),
            ("bad-template", "{"),
            ("bad-template", "}"),
            ("bad-template", "{}"),
            ("wrong-type", "1"),
            ("bad-duration", "\"1 fortnight\""),
        ],
    );
    expect::<Rule>(
        "(version: 1, resources: (memory: \"1 gig\", cpu: 1.5), outcome: (infra_codes: [0, 256]), retries: -1, sandbox: (network: 1))",
        &[
            ("wrong-type", "1"),
            ("wrong-type", "1.5"),
            ("bad-size", "\"1 gig\""),
            ("out-of-range", "-1"),
            ("out-of-range", "0"),
            ("out-of-range", "256"),
        ],
    );
    expect::<Rule>(
        "(version: 1, params: {\"a\": (type: Text), \"b\": (default: 1)}, inputs: {\"a\": Fil(\"x\"), \"b\": Output(\"x\")}, outputs: {\"a\": Dir(\"x\"), \"b\": File(\"x\", 1)})",
        &[
            ("unknown-variant", "Text"),
            ("missing-field", "("),
            ("unknown-variant", "Fil"),
            ("wrong-type", "Output"),
            ("unknown-variant", "Dir"),
            ("wrong-type", "File"),
        ],
    );
}

#[test]
fn carets_fall_back_to_the_literal_where_escapes_move_things() {
    expect::<Template>(r#""\n{""#, &[("bad-template", r#""\n{""#)]);
    expect::<Template>(r#""ab{""#, &[("bad-template", "{")]);
}

#[test]
fn sizes() {
    let size = |text: &str| {
        decode::<Rule>(&format!("(version: 1, resources: (memory: {text}))")).0.unwrap().resources.memory
    };
    assert_eq!(size("\"1.5GiB\""), 3 << 29);
    assert_eq!(size("\"512 MiB\""), 512 << 20);
    assert_eq!(size("\"2GB\""), 2_000_000_000);
    assert_eq!(size("4096"), 4096);
}

#[test]
fn sizes_read_well() {
    for (size, shown) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (u64::MAX, "16777216.0 TiB")]
    {
        assert_eq!(crate::spec::show_size(size), shown);
    }
}
