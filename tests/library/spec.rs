//! Specs through the front door: files in, values or rendered mistakes out.

use std::fs;
use std::path::Path;

use kiln::spec::{self, Value, diagnostic::Severity, render};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specs").join(name)
}

fn rendered(root: &Path) -> String {
    let loaded = spec::load(root);
    render::text(&loaded.diagnostics, &loaded.texts, 110, false)
}

/// A project of one graph.ron.
fn project(graph: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("graph.ron"), graph).unwrap();
    dir
}

#[test]
fn a_good_spec_has_nothing_to_complain_about() {
    let loaded = spec::load(&fixture("good"));
    assert_eq!(rendered(&fixture("good")), "");
    let spec = loaded.spec.expect("no errors");
    let ids: Vec<_> = spec.builds.iter().map(|build| build.id.to_string()).collect();
    insta::assert_snapshot!(ids.join("\n"));
    let clang = spec.builds.iter().find(|build| build.id.to_string() == "linux/amd64/tiny/clang").unwrap();
    assert_eq!(clang.fixups, ["PRINTK=y", "SERIAL_8250_CONSOLE=y", "DEBUG_INFO=n", "SERIAL_8250=m"]);
    insta::assert_snapshot!(bound(&spec, clang, "pc", "boot"));
    insta::assert_snapshot!(bound(&spec, clang, "far-pc", "suite"));
}

/// What placeholders stand for.
fn bound(spec: &spec::model::Spec, build: &spec::Build, board: &str, test: &str) -> String {
    let bindings = spec::bindings(spec, build, Some(board), Some(test));
    let lines = bindings.iter().map(|(name, value)| match value {
        Value::Text(text) => format!("{name} = {text}"),
        Value::List(list) => format!("{name} = {list:?}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn all_mistakes_are_reported_in_one_go() {
    let loaded = spec::load(&fixture("bad"));
    assert!(loaded.spec.is_none());
    insta::assert_snapshot!(render::text(&loaded.diagnostics, &loaded.texts, 110, false));
}

/// All that can be said of labs, and of what boards and tests have to do with them.
#[test]
fn mistakes_about_labs_are_reported_in_one_go() {
    insta::assert_snapshot!(rendered(&fixture("labs")));
}

/// A spec that is right, and likely not what was meant.
#[test]
fn warnings_about_labs_name_what_to_do() {
    let loaded = spec::load(&fixture("labs_doubtful"));
    assert!(loaded.spec.is_some());
    insta::assert_snapshot!(render::text(&loaded.diagnostics, &loaded.texts, 110, false));
}

#[test]
fn a_secret_in_a_lab_is_not_shown() {
    for lab in [
        r#"url: "https://kiln:hunter2@lava.example/", user: "kiln", token: Env("T")"#,
        r#"url: "https://lava.example/", user: "kiln", token: "hunter2""#,
    ] {
        let dir = project(&format!("(version: 1, labs: {{\"far\": Lava({lab}), \"x\": Nothing}})"));
        let text = rendered(dir.path());
        assert!(text.contains("secret-in-spec") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn all_syntax_errors_are_reported_in_one_go() {
    insta::assert_snapshot!(rendered(&fixture("syntax")));
}

#[test]
fn a_missing_spec_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let text = rendered(dir.path());
    assert!(text.contains("there is no graph.ron in") && text.contains("kiln init"), "{text}");
}

#[test]
fn files_that_are_not_text_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("graph.ron"), b"(\nversion: \xff)").unwrap();
    assert!(rendered(dir.path()).contains("can't read graph.ron: not UTF-8: line 2"));

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("graph.ron")).unwrap();
    assert!(rendered(dir.path()).contains("can't read graph.ron: Is a directory"));
}

#[test]
fn import_cycles_are_named_whole() {
    let dir = project("(version: 1, import: [\"a.ron\"])");
    fs::write(dir.path().join("a.ron"), "(version: 1, import: [\"./b.ron\"])").unwrap();
    fs::write(dir.path().join("b.ron"), "(version: 1, import: [\"a.ron\"])").unwrap();
    let text = rendered(dir.path());
    assert!(text.contains("files import each other: a.ron -> b.ron -> a.ron"), "{text}");
}

#[test]
fn a_file_imported_on_two_ways_is_merged_once() {
    let dir = project("(version: 1, import: [\"a.ron\", \"b.ron\"])");
    fs::write(dir.path().join("a.ron"), "(version: 1, import: [\"b.ron\"])").unwrap();
    fs::write(dir.path().join("b.ron"), "(version: 1, pools: {\"p\": 1})").unwrap();
    let loaded = spec::load(dir.path());
    assert!(loaded.spec.is_some(), "{:?}", loaded.diagnostics);
    assert_eq!(loaded.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["unused-pool"]);
}

#[test]
fn imports_that_are_not_there_or_outside_are_reported() {
    let dir = project("(version: 1, import: [\"none.ron\", \"../x.ron\", \"/etc/passwd\"])");
    let loaded = spec::load(dir.path());
    let codes: Vec<_> = loaded.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["missing-file", "bad-path", "bad-path"]);
}

#[test]
fn json_has_file_line_and_column() {
    let dir = project("(\n  version: 1,\n  bords: {},\n)");
    let loaded = spec::load(dir.path());
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&render::json(&loaded.diagnostics, &loaded.texts)).unwrap()
    );
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let filler = "x".repeat(5_000_000);
    let dir = project(&format!(
        "(version: 1, cache: (path: \"{filler}\"), bords: {{}}, pools: {{\"{filler}\": 0}})"
    ));
    let text = rendered(dir.path());
    assert!(text.len() < 10_000, "{} bytes", text.len());
    assert!(text.contains("did you mean `boards`?") && text.contains("graph.ron:1:5000033"), "{text}");
}

#[test]
fn a_thousand_mistakes_are_counted_not_shown() {
    let fields: String = (0..1000).map(|n| format!("f{n}: 1, ")).collect();
    let dir = project(&format!("(version: 1, {fields})"));
    let text = rendered(dir.path());
    assert!(text.ends_with("and 800 more\n"));
}

#[test]
fn color_is_only_there_when_asked_for() {
    let dir = project("(version: 2)");
    let loaded = spec::load(dir.path());
    assert!(render::text(&loaded.diagnostics, &loaded.texts, 80, true).contains('\u{1b}'));
    assert!(!render::text(&loaded.diagnostics, &loaded.texts, 80, false).contains('\u{1b}'));
    assert_eq!(loaded.diagnostics[0].code, "unknown-version");
    assert_eq!(loaded.diagnostics[0].severity, Severity::Error);
}

#[test]
#[ignore = "a measurement: cargo nextest run --release --run-ignored only -E 'test(/^spec::/)'"]
fn a_hundred_thousand_actions_load_fast() {
    let entry = |n: u32| {
        let on = n.saturating_sub(1);
        format!(
            "\"node-{n:06}\": (rule: \"step\", params: {{\"on\": \"step:node-{on:06}\", \"text\": \"some longer text here\"}}),\n"
        )
    };
    let actions: String = (1..100_000).map(entry).collect();
    let dir = project(&format!(
        "(version: 1, actions: {{\"node-000000\": (rule: \"first\"), {} }})",
        actions.replacen("step:node-000000", "first:node-000000", 1)
    ));
    fs::create_dir(dir.path().join("rules")).unwrap();
    let rule = "version: 1, steps: [[\"true\"]], outputs: {\"o\": File(\"o\")}";
    fs::write(dir.path().join("rules/first.ron"), format!("({rule})")).unwrap();
    let params = "params: {\"on\": (type: Node), \"text\": (type: Str)}, inputs: {\"on\": Output(rule: \"{on}\", output: \"o\")}";
    fs::write(dir.path().join("rules/step.ron"), format!("({rule}, {params})")).unwrap();
    let start = std::time::Instant::now();
    let loaded = spec::load(dir.path());
    println!("{} bytes loaded in {:?}", actions.len(), start.elapsed());
    assert!(loaded.spec.is_some(), "{:?}", &loaded.diagnostics[..1]);
}

/// What is in this repository is the first thing anybody reads.
#[test]
fn the_example_projects_have_no_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(rendered(root), "");
    assert_eq!(rendered(&root.join("examples/lava")), "");
}

/// All that can be said of roots, and of toolchains and rules that are in one.
#[test]
fn mistakes_about_roots_are_reported_in_one_go() {
    insta::assert_snapshot!(rendered(&fixture("roots")));
}

/// Which nodes there are, and what each takes of a root and of this machine.
#[test]
fn toolchains_in_roots_make_nodes_for_them() {
    assert_eq!(rendered(&fixture("roots_good")), "");
    let spec = spec::load(&fixture("roots_good")).spec.expect("no errors");
    let graph = kiln::graph::expand(spec.into()).unwrap();
    let lines = graph.ids().map(|id| {
        let action = graph.node(id).action().unwrap();
        let deps: Vec<_> = graph.deps(id).map(|dep| graph.name(dep).to_string()).collect();
        let root = action.root.as_ref();
        let root = root.map(|root| (&*root.name, root.mode.name(), root.compiler.as_deref(), root.user));
        format!(
            "{}\n  root {root:?}, machine {:?}, tools {:?}, host {:?}, make {:?}\n  after {deps:?}",
            graph.name(id),
            action.machine,
            action.tools.iter().map(|tool| tool.program.as_str()).collect::<Vec<_>>(),
            action.host,
            action.bindings.get("toolchain.make"),
        )
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
