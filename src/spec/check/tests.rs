//! One small project for each code.

mod configs;

use std::collections::BTreeSet;
use std::fs;

use crate::spec::diagnostic::Severity;
use crate::spec::load::{load, read};
use crate::spec::placeholders::{PlaceholderType, Placeholders};
use crate::spec::{Value, bindings};

const BASE: &str = r#"
    sources: {"linux": Dir("linux")},
    archs: {"amd64": (), "arm64": ()},
    toolchains: {"gcc": Gcc(targets: {"amd64": "", "arm64": "a-"})},
"#;
const BUILD: &str =
    r#"sources: ["linux"], archs: ["amd64", "arm64"], defconfigs: ["defconfig"], toolchains: ["gcc"]"#;
const PER: &str = r#"version: 1, per: ["source", "arch", "defconfig", "toolchain"], steps: [["true"]]"#;

/// Codes and messages for a graph.ron with these fields, and rules with these.
fn complaints(graph: &str, rules: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("graph.ron"), format!("(version: 1, {graph})")).unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    for (name, rule) in rules {
        fs::write(dir.path().join(format!("rules/{name}.ron")), format!("({rule})")).unwrap();
    }
    let loaded = load(dir.path());
    let errors = loaded.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(loaded.spec.is_none(), errors);
    loaded
        .diagnostics
        .into_iter()
        .map(|d| (d.code, format!("{} | {}", d.message, d.help.unwrap_or_default())))
        .collect()
}

#[track_caller]
fn expect(found: &[(&'static str, String)], expected: &[(&str, &str)]) {
    let good = found.len() == expected.len()
        && found.iter().zip(expected).all(|((code, text), (want, part))| code == want && text.contains(part));
    assert!(good, "expected {expected:#?}\nfound {found:#?}");
}

/// A matrix of one entry, with more fields of that entry and of the project.
fn matrix(entry: &str, more: &str) -> String {
    format!("{BASE} builds: [({BUILD}, {entry})], {more}")
}

#[test]
fn the_base_is_good() {
    expect(&complaints(&matrix("", ""), &[("r", PER)]), &[]);
}

#[test]
fn references_in_the_matrix() {
    let graph = format!(
        r#"{BASE} builds: [(extends: ["p"], sources: ["linxu"], archs: ["amd46"], defconfigs: ["tiny"],
           toolchains: ["clang"], fixups: ["@x"], include: [(arch: "amd64")])]"#
    );
    let found = complaints(&graph, &[]);
    let expected = [
        ("dangling-reference", "no preset `p` | there are no presets"),
        ("dangling-reference", "no source `linxu` | did you mean `linux`"),
        ("dangling-reference", "no arch `amd46` | did you mean `amd64`"),
        ("dangling-reference", "no config `tiny`"),
        ("dangling-reference", "no toolchain `clang` | toolchains: `gcc`"),
        ("dangling-reference", "no fixup list `x`"),
        ("missing-field", "names no source"),
        ("missing-field", "names no defconfig"),
        ("missing-field", "names no toolchain"),
    ];
    expect(&found, &expected);
}

#[test]
fn a_kbuild_target_must_be_fit_for_a_name() {
    let graph = format!("{BASE} builds: [({})]", BUILD.replace("defconfig\"", "85xx/a_defconfig\""));
    expect(&complaints(&graph, &[]), &[("bad-name", "85xx/a_defconfig")]);
}

#[test]
fn shapes_of_the_matrix() {
    expect(&complaints(&matrix("exclude: [()]", ""), &[]), &[("empty-build", "")]);
    expect(
        &complaints(
            &matrix(
                "exclude: [(arch: \"amd64\", toolchain: \"gcc\"), (arch: \"arm64\", defconfig: \"tinyconfig\")]",
                "",
            ),
            &[],
        ),
        &[("unused-arch", "amd64"), ("idle-exclude", "matches no combination")],
    );
    let graph = format!("{BASE} builds: [({BUILD}), ({BUILD})]");
    let twice = complaints(&graph, &[]);
    assert_eq!(twice.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["duplicate-build"; 2]);
    let graph = matrix("", "").replace(", \"arm64\": \"a-\"", "");
    expect(&complaints(&graph, &[]), &[("no-target", "no target for the arch `arm64`")]);
    let graph = format!("{BASE} builds: [(sources: [\"linux\"])]");
    expect(&complaints(&graph, &[]), &[("empty-axis", "`archs`, `defconfigs`, `toolchains`")]);
}

#[test]
fn cycles_are_named_whole() {
    let graph = matrix("extends: [\"a\"]", "presets: {\"a\": (extends: [\"b\"]), \"b\": (extends: [\"a\"])}");
    expect(&complaints(&graph, &[]), &[("preset-cycle", "a -> b -> a")]);
    let graph = matrix("fixups: [\"@a\"]", "fixups: {\"a\": [\"@a\"]}");
    expect(&complaints(&graph, &[]), &[("fixup-cycle", "a -> a")]);
    let rule = |of: &str| {
        format!(
            "{PER}, inputs: {{\"i\": Output(rule: \"{of}\", output: \"o\")}}, outputs: {{\"o\": File(\"o\")}}"
        )
    };
    let rules = [("a", &*rule("b")), ("b", &*rule("c")), ("c", &*rule("a"))];
    expect(&complaints(&matrix("", ""), &rules), &[("rule-cycle", "a -> b -> c -> a")]);
    let rule = r#"version: 1, params: {"on": (type: Node)}, inputs: {"i": Output(rule: "{on}", output: "o")},
        steps: [["true"]], outputs: {"o": File("o")}"#;
    let graph =
        r#"actions: {"x": (rule: "r", params: {"on": "r:y"}), "y": (rule: "r", params: {"on": "r:x"})}"#;
    expect(&complaints(graph, &[("r", rule)]), &[("action-cycle", "x -> y -> x")]);
}

#[test]
fn a_chain_of_many_actions_does_not_overflow() {
    let rule = r#"version: 1, params: {"on": (type: Node)}, steps: [["true"]]"#;
    let first = "version: 1, steps: [[\"true\"]]";
    let chain: String = (1..20_000)
        .map(|n| {
            format!(
                "\"n{n}\": (rule: \"r\", params: {{\"on\": \"{}\"}}),",
                if n == 1 { "first:n0".to_owned() } else { format!("r:n{}", n - 1) }
            )
        })
        .collect();
    let graph = format!("actions: {{\"n0\": (rule: \"first\"), {chain}}}");
    expect(&complaints(&graph, &[("r", rule), ("first", first)]), &[]);
}

#[test]
fn placeholders() {
    let rule = r#"version: 1, per: ["arch", "toolchain"], params: {"list": (type: Strs, default: [])},
        steps: [["{arch}", "{list}", "{arch.make}x", "{sorce}", "{in.file}", "{arch.bits}", "{fixups}"]],
        env: {"A": "{list}", "B": "{out}"}, tools: ["{toolchain.tools}", "{in.file}"],
        inputs: {"file": File("{out}")}, outputs: {"o": File("{in.file}")}, export: "{arch}/{toolchain}""#;
    let graph = matrix("", "").replace("\"amd64\": ()", "\"amd64\": (attrs: {\"bits\": \"64\"})");
    let expected = [
        ("list-in-text", "{arch.make}"),
        ("unknown-placeholder", "{sorce}` | placeholders: "),
        ("unknown-placeholder", "the arch `arm64` has no attribute `bits`"),
        ("unknown-placeholder", "{fixups}"),
        ("list-in-text", "{list}"),
        ("too-early", "{in.file}"),
        ("too-early", "{out}"),
        ("too-early", "{in.file}"),
    ];
    expect(&complaints(&graph, &[("r", rule)]), &expected);
    let rule = r#"version: 1, per: ["toolchain"], steps: [["{toolchain.cc}"]]"#;
    expect(&complaints(&matrix("", ""), &[("r", rule)]), &[("unknown-placeholder", "has no axis `arch`")]);
}

#[test]
fn axes_of_rules() {
    let rules = [
        ("a", "version: 1, per: [\"board\", \"source\", \"source\"], kind: Job"),
        ("b", "version: 1, per: [\"test\"], kind: Job, expand: (rule: \"d\", output: \"x\")"),
        ("c", "version: 1, per: [], kind: Match"),
        (
            "d",
            "version: 1, per: [\"source\"], steps: [[\"true\"]], inputs: {\"i\": Output(rule: \"e\", output: \"o\")}, outputs: {\"x\": File(\"x\")}",
        ),
        ("e", "version: 1, per: [\"source\", \"arch\"], steps: [[\"true\"]], outputs: {\"o\": File(\"o\")}"),
    ];
    let expected = [
        ("missing-field", "axis `board` and no `expand`"),
        ("duplicate-name", "axis `source`"),
        ("bad-axes", "`test` without `board`"),
        ("bad-axes", "has `expand` and no axis `board`"),
        ("bad-axes", "`d` has more axes than `b`: `source`"),
        ("empty-list", "`per` of rule `c`"),
        ("bad-axes", "`e` has more axes than `d`: `arch`"),
    ];
    expect(&complaints(&matrix("", ""), &rules), &expected);
}

#[test]
fn references_of_rules() {
    let rule = format!(
        r#"{PER}, params: {{"s": (type: Str, default: "")}}, resources: (pools: {{"p": 3, "q": 1}}), inputs: {{
            "a": Output(rule: "nine", output: "o"), "b": Output(rule: "r2", output: "oo"),
            "c": Output(rule: "{{s}}", output: "o"), "d": Output(rule: "once", output: "o"),
            "e": Output(rule: "once:two", output: "o"), "f": Source("linus"), "g": File("none.c"),
        }}"#
    );
    let rules = [
        ("r", &*rule),
        ("r2", &*format!("{PER}, outputs: {{\"out\": File(\"o\")}}")),
        ("once", "version: 1, steps: [[\"true\"]], outputs: {\"o\": File(\"o\")}"),
    ];
    let expected = [
        ("dangling-reference", "no pool `q`"),
        ("pool-too-small", "`p` has 2 slots"),
        ("dangling-reference", "no rule `nine`"),
        ("dangling-reference", "`oo` | outputs: `out`"),
        ("bad-reference", "does not name a rule | there are no parameters of type `Node`"),
        ("bad-axes", "the rule `once` has no axes"),
        ("dangling-reference", "no action `once:two`"),
        ("dangling-reference", "no source `linus` | did you mean `linux`"),
        ("missing-file", "none.c: No such file"),
    ];
    let mut found =
        complaints(&matrix("", "pools: {\"p\": 2}, actions: {\"one\": (rule: \"once\")}"), &rules);
    // The pool's bound stands in graph.ron; its complaint is at the rule like the others. Order within a line is free.
    found.sort_by_key(|(code, text)| expected.iter().position(|(c, part)| c == code && text.contains(part)));
    expect(&found, &expected);
}

#[test]
fn board_images_must_be_made() {
    let job = r#"version: 1, kind: Job, per: ["source", "arch", "defconfig", "toolchain", "board"],
        expand: (rule: "match", output: "boards"), inputs: {"k": Output(rule: "kernel", output: "{board.image}")}"#;
    let made = |name: &str| format!("{PER}, outputs: {{\"{name}\": File(\"x\")}}");
    let rules = [("job", job), ("match", &*made("boards")), ("kernel", &*made("image"))];
    let boards = r#"boards: {"pc": (requires: "X", device_type: "d", image: "imag", labs: ["l"], tests: ["t"])},
        labs: {"l": Qemu()}, tests: {"t": Console(marker: "M")}"#;
    expect(
        &complaints(&matrix("", boards), &rules),
        &[("dangling-reference", "`imag`, which rule `kernel` does not make | did you mean `image`")],
    );
}

#[test]
fn boards_that_contradict_every_build() {
    let boards = r#"boards: {"pc": (requires: "SERIAL && TTY", device_type: "d", labs: ["l"], tests: ["t"])},
        labs: {"l": Qemu}, tests: {"t": Console(marker: "M")}"#;
    expect(&complaints(&matrix("fixups: [\"TTY=n\"]", boards), &[]), &[("board-never-matches", "`pc`")]);
    expect(&complaints(&matrix("fixups: [\"TTY=y\"]", boards), &[]), &[]);
    // The value of an optional fixup is not known.
    expect(&complaints(&matrix("fixups: [Optional(\"TTY=n\")]", boards), &[]), &[]);
}

#[test]
fn an_optional_list_is_optional_with_all_that_is_in_it_and_the_last_word_counts() {
    let more = r#"configs: {"c": (base: "defconfig", fixups: [Optional("A=y"), "B=y"])},
        fixups: {"l": ["C=y", "@m", "B=n"], "m": ["D=y"]}"#;
    let graph =
        matrix(r#"fixups: [Optional("@l"), "A=n", "E=m"]"#, more).replace("[\"defconfig\"]", "[\"c\"]");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("graph.ron"), format!("(version: 1, {graph})")).unwrap();
    let spec = load(dir.path()).spec.unwrap();
    let build = &spec.builds[0];
    assert_eq!(build.fixups, ["C=y", "D=y", "B=n", "A=n", "E=m"]);
    assert_eq!(build.required().collect::<Vec<_>>(), ["A=n", "E=m"]);
}

#[test]
fn a_rule_of_kind_config_makes_one_config_for_each_build() {
    let good = format!(r#"{PER}, kind: Config, outputs: {{"config": File(".config")}}"#);
    expect(&complaints(&matrix("", ""), &[("r", &good)]), &[]);
    let no_steps = good.replace("steps: [[\"true\"]], ", "");
    let expected = [
        ("bad-axes", "`r` of kind `Config` is not one for each build"),
        ("missing-field", "makes no file `config`"),
    ];
    let less = good.replace("\"toolchain\"]", "]").replace("File(", "Tree(");
    expect(&complaints(&matrix("", ""), &[("r", &less)]), &expected);
    expect(&complaints(&matrix("", ""), &[("r", &no_steps)]), &[("bad-steps", "has no steps")]);
}

#[test]
fn kbuild_tells_only_what_it_builds() {
    let rule = |steps: &str, more: &str| {
        format!(
            r#"version: 1, per: ["source", "arch", "defconfig", "toolchain"], inputs: {{"tree": Source("{{source}}")}},
            steps: [{steps}], discover: (inputs: ["tree"], by: [Fanotify, Kbuild]), {more}"#
        )
    };
    let make = r#"["make", "-C", "{in.tree}", "O={out}", "{arch.make}", "{arch.targets}"]"#;
    let complaints = |steps: &str, more: &str| complaints(&matrix("", ""), &[("r", &rule(steps, more))]);
    expect(&complaints(make, ""), &[]);
    let wrapped = format!(
        r#"{make}, ["sh", "-c", "make \"$@\" dtbs_install", "sh", "-C", "{{in.tree}}", "O={{out}}"]"#
    );
    expect(&complaints(&wrapped, ""), &[]);
    let refused = [("bad-discoverer", "kbuild's records don't cover what this rule reads")];
    for steps in [
        r#"["true"]"#,
        r#"["make", "-C", "{in.tree}"]"#,
        r#"["make", "-C", "{in.tree}", "O={out}/o"]"#,
        r#"["make", "-C", "{in.tree}", "O={out}", "olddefconfig"]"#,
        r#"["make", "-C", "{in.tree}", "O={out}", "{defconfig.base}"]"#,
        r#"["make", "-C", "{in.tree}", "O={out}", "X={in.tree}/x"]"#,
    ] {
        expect(&complaints(steps, ""), &refused);
    }
    for step in [r#"["cat", "{in.tree}/CREDITS"]"#, r#"["cat", "/kiln/in/tree/CREDITS"]"#] {
        expect(&complaints(&format!("{make}, {step}"), ""), &refused);
    }
    expect(&complaints(make, r#"env: {"X": "{in.tree}/x"}"#), &refused);
    let config = r#"kind: Config, outputs: {"config": File(".config")}"#;
    expect(&complaints(make, config), &refused);
}

#[test]
fn parameters() {
    let rule = format!("{PER}, params: {{\"jobs\": (type: Int), \"file\": (type: Path, default: \"../x\")}}");
    expect(
        &complaints(&matrix("params: {\"job\": 1}", ""), &[("r", &rule)]),
        &[
            ("missing-param", "`jobs` of rule `r`"),
            ("unknown-param", "`job` | did you mean `jobs`"),
            ("bad-path", "`../x`"),
        ],
    );
    let rule =
        "version: 1, params: {\"n\": (type: Int), \"list\": (type: Strs, default: 1)}, steps: [[\"true\"]]";
    let graph =
        "actions: {\"a\": (rule: \"r\", params: {\"n\": \"1\"}), \"b\": (rule: \"r\", params: {\"m\": 1})}";
    expect(
        &complaints(graph, &[("r", rule)]),
        &[
            ("param-type", "`n` of rule `r` is of type `Int`, and this is a text"),
            ("missing-param", "`n`"),
            ("unknown-param", "`m` | did you mean"),
            ("param-type", "`list` of rule `r` is of type `Strs`"),
        ][..]
            .iter()
            .map(|(c, t)| (*c, if *t == "`m` | did you mean" { "`m`" } else { *t }))
            .collect::<Vec<_>>(),
    );
    let rule = "version: 1, per: [\"source\"], params: {\"n\": (type: Int)}, steps: [[\"true\"]]";
    expect(&complaints(&matrix("", ""), &[("r", rule)]), &[("missing-param", "can't be given a value")]);
}

#[test]
fn actions_of_rules_with_axes() {
    let graph = matrix("", "actions: {\"a\": (rule: \"r\"), \"b\": (rule: \"s\")}");
    expect(
        &complaints(&graph, &[("r", PER)]),
        &[("rule-has-axes", "`r`"), ("dangling-reference", "no rule `s`")],
    );
}

#[test]
fn outputs_and_exports() {
    let rule = format!(
        "{PER}, outputs: {{\"a\": File(\"x/o\"), \"b\": File(\"o\"), \"c\": Tree(\"a/../b\"), \"d\": File(\"/e\")}}, export: \"{{source}}/{{defconfig}}\""
    );
    let found = complaints(&matrix("", ""), &[("r", &rule)]);
    expect(
        &found,
        &[
            ("duplicate-output", "exported as `o`"),
            ("bad-path", "a/../b"),
            ("bad-path", "/e"),
            ("export-collision", "`r:linux/amd64/defconfig/gcc` and `r:linux/arm64/defconfig/gcc`"),
        ],
    );
    let rule = format!("{PER}, outputs: {{\"a\": File(\"o\")}}, export: \"{{source}}/{{arch}}\"");
    let found = complaints(&matrix("", ""), &[("r", &rule), ("s", &rule)]);
    expect(
        &found,
        &[("export-collision", "`r:linux/amd64/defconfig/gcc` and `s:linux/amd64/defconfig/gcc`")],
    );
    let rule = "version: 1, steps: [[\"true\"]], outputs: {\"a\": File(\"o\")}, export: \"x\"";
    let found = complaints("actions: {\"a\": (rule: \"r\"), \"b\": (rule: \"r\")}", &[("r", rule)]);
    expect(&found, &[("export-collision", "`r:a` and `r:b`")]);
}

#[test]
fn names_and_steps() {
    let graph = matrix("", "").replace("\"amd64\": ()", "\"amd64\": (attrs: {\"image\": \"64\"})");
    let rules = [
        ("a", "version: 1, per: [\"source\"], params: {\"arch\": (type: Str, default: \"\")}, steps: [[]]"),
        ("b", "version: 1, per: [\"source\"], host: [\"x\"]"),
        ("c", "version: 1, per: [\"source\"], kind: Match, steps: [[\"x\"]]"),
    ];
    expect(
        &complaints(&graph, &rules),
        &[
            ("bad-name", "{arch.image}"),
            ("bad-name", "`arch`"),
            ("empty-list", "runs nothing"),
            ("bad-steps", "`b` has no steps"),
            ("bad-path", "not a path of the host"),
            ("bad-steps", "`c` can't have steps"),
        ],
    );
}

#[test]
fn what_is_never_used() {
    let more = r#"configs: {"c": (base: "defconfig")}, presets: {"p": ()}, fixups: {"f": []}, pools: {"q": 1},
        labs: {"l": Qemu(slots: 1)}, tests: {"t": Console(marker: "M")}"#;
    let graph = matrix("", more)
        .replace("Dir(\"linux\")", "Dir(\"linux\"), \"other\": Dir(\"x\")")
        .replace("\"a-\"})", "\"a-\", \"mips\": \"\"}), \"llvm\": Clang(targets: {})")
        .replace("\"arm64\": ()", "\"arm64\": (), \"s390\": ()");
    let mut codes: Vec<_> = complaints(&graph, &[("r", "version: 1, steps: [[\"true\"]]")])
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "unused-arch",
            "unused-config",
            "unused-fixups",
            "unused-lab",
            "unused-pool",
            "unused-preset",
            "unused-rule",
            "unused-source",
            "unused-target",
            "unused-test",
            "unused-toolchain",
        ]
    );
}

/// `bindings` and `placeholders` are two lists of the same names.
#[test]
fn every_placeholder_is_bound_and_no_other() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specs/good");
    let declared = read(&root).spec.unwrap();
    let known = Placeholders::of(&declared.project, &declared.rules["job"].value).fixed;
    let spec = load(&root).spec.unwrap();
    for build in &spec.builds {
        let bound = bindings(&spec, build, Some("pc"), Some("boot"));
        assert_eq!(bound.keys().collect::<BTreeSet<_>>(), known.keys().collect::<BTreeSet<_>>());
        for (name, value) in bound {
            assert_eq!(matches!(value, Value::List(_)), known[&name] == PlaceholderType::List, "{name}");
        }
    }
}
