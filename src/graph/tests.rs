//! Graphs of specs that are written here. Nothing is read from disk.

use std::sync::Arc;

use super::*;
use crate::spec::testing::spec;

const PROJECT: &str = r#"(
    version: 1,
    sources: {"linux": Dir("linux"), "old": Tarball(path: "old.tar", digest: "blake3:0000000000000000000000000000000000000000000000000000000000000000")},
    archs: {"amd64": (), "arm64": ()},
    toolchains: {"gcc": Gcc(targets: {"amd64": "", "arm64": "aarch64-"})},
    builds: [(sources: ["linux", "old"], archs: ["amd64", "arm64"], defconfigs: ["defconfig"], toolchains: ["gcc"])],
    boards: {
        "pc": (requires: "TTY", device_type: "d", labs: ["here"], tests: ["boot", "login"]),
        "far": (requires: "TTY", device_type: "d", labs: ["there"], tests: ["boot"]),
    },
    labs: {"here": Qemu, "there": Lava(url: "https://l/", user: "u", token: Env("T"))},
    tests: {"boot": Console(marker: "M"), "login": Login()},
    MORE
)"#;

const BUILD: &str = r#"per: ["source", "arch", "defconfig", "toolchain"]"#;

fn graph_with(more: &str, rules: &[(&str, &str)]) -> Result<Graph, ExpandError> {
    let rules: Vec<_> =
        rules.iter().map(|(name, fields)| (*name, format!("(version: 1, {fields})"))).collect();
    let rules: Vec<_> = rules.iter().map(|(name, text)| (*name, text.as_str())).collect();
    expand(Arc::new(spec(&PROJECT.replace("MORE", more), &rules)))
}

fn graph(rules: &[(&str, &str)]) -> Graph {
    graph_with("", rules).unwrap()
}

/// Each node with those it depends on.
fn edges(graph: &Graph) -> Vec<String> {
    let line = |id| {
        let mut deps: Vec<&str> = graph.deps(id).map(|dep| graph.name(dep).as_str()).collect();
        deps.sort_unstable();
        format!("{} <- {}", graph.name(id), deps.join(", "))
    };
    graph.ids().map(line).collect()
}

fn names(graph: &Graph, ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|&id| graph.name(id).to_string()).collect()
}

#[test]
fn a_rule_has_a_node_for_each_value_of_its_axes() {
    for (per, expected) in [
        (r"per: []", vec!["r:all"]),
        (r#"per: ["arch"]"#, vec!["r:amd64", "r:arm64"]),
        (r#"per: ["arch", "source"]"#, vec!["r:amd64/linux", "r:arm64/linux", "r:amd64/old", "r:arm64/old"]),
        (
            BUILD,
            vec![
                "r:linux/amd64/defconfig/gcc",
                "r:linux/arm64/defconfig/gcc",
                "r:old/amd64/defconfig/gcc",
                "r:old/arm64/defconfig/gcc",
            ],
        ),
    ] {
        let graph = graph(&[("r", per)]);
        let found: Vec<_> =
            graph.ids().map(|id| graph.name(id).as_str()).filter(|name| name.starts_with('r')).collect();
        assert_eq!(found, expected, "{per}");
    }
}

#[test]
fn only_a_node_of_one_build_has_its_identity() {
    let graph = graph(&[("all", BUILD), ("some", r#"per: ["arch"]"#)]);
    let build =
        |name| graph.node(graph.find(name).unwrap()).action().unwrap().build.as_ref().map(BuildId::to_string);
    assert_eq!(build("all:linux/arm64/defconfig/gcc").as_deref(), Some("linux/arm64/defconfig/gcc"));
    assert_eq!(build("some:arm64"), None);
}

#[test]
fn references_become_edges_and_nodes_come_after_those_they_read() {
    let graph = graph_with(
        r#"actions: {"one": (rule: "act")}"#,
        &[
            ("act", r#"outputs: {"o": File("o")}"#),
            ("tree", r#"per: ["source"], inputs: {"in": Source("{source}")}, outputs: {"o": File("o")}"#),
            (
                "user",
                r#"per: ["source", "arch"], inputs: {"tree": Output(rule: "tree", output: "o"), "one": Output(rule: "act:one", output: "o")}"#,
            ),
        ],
    );
    let expected = [
        "source:old <- ",
        "tree:linux <- ",
        "tree:old <- source:old",
        "act:one <- ",
        "user:linux/amd64 <- act:one, tree:linux",
        "user:linux/arm64 <- act:one, tree:linux",
        "user:old/amd64 <- act:one, tree:old",
        "user:old/arm64 <- act:one, tree:old",
    ];
    assert_eq!(edges(&graph.unwrap()), expected);
}

#[test]
fn what_has_no_graph_says_why() {
    let output = |rule: &str| format!(r#"inputs: {{"i": Output(rule: "{rule}", output: "o")}}"#);
    let per = r#"per: ["arch"], outputs: {"o": File("o")}"#;
    for (rules, message) in [
        (
            vec![("a", format!("{per}, {}", output("b"))), ("b", format!("{per}, {}", output("a")))],
            "the graph has a cycle: a:amd64 -> b:amd64 -> a:amd64",
        ),
        (
            vec![("a", format!("{per}, {}", output("x:y")))],
            "a:amd64: input i names x:y, which is no node of this graph",
        ),
        (
            vec![("a", format!("{per}, {}", output("x")))],
            "a:amd64: input i names x, which is no node of this graph",
        ),
        (
            vec![
                ("a", format!("{per}, {}", output("b"))),
                ("b", r#"per: ["arch"], outputs: {"p": File("p")}"#.to_owned()),
            ],
            "a:amd64: input i wants output o of b:amd64, which has only: p",
        ),
        (
            vec![("a", format!("{per}, params: {{\"p\": (type: Str)}}"))],
            "a:amd64: rule a needs a value for parameter p; give it in `params`",
        ),
        (vec![("a", format!("{per}, export: \"{{x}}\""))], "a:amd64: placeholder {x} has no value here"),
        (vec![("a", format!("{per}, export: \"d\""))], "a:amd64 and a:arm64 both put an output at out/d/o"),
    ] {
        let rules: Vec<_> = rules.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(graph_with("", &rules).unwrap_err().to_string(), message);
    }
    let named_as_a_source = graph_with(r#"actions: {"old": (rule: "source")}"#, &[("source", "")]);
    assert_eq!(named_as_a_source.unwrap_err().to_string(), "two nodes are named source:old");
}

const BOOTS: [(&str, &str); 4] = [
    (
        "match",
        r#"per: ["source", "arch", "defconfig", "toolchain"], kind: Match, outputs: {"boards": File("b")}"#,
    ),
    ("kernel", r#"per: ["source", "arch", "defconfig", "toolchain"], outputs: {"image": File("i")}"#),
    (
        "job",
        r#"per: ["source", "arch", "defconfig", "toolchain", "board", "test"], kind: Job, export: "{board}/{test}/{arch}/{source}",
           expand: (rule: "match", output: "boards"), inputs: {"image": Output(rule: "kernel", output: "image")},
           outputs: {"console": File("console")}"#,
    ),
    (
        "board",
        r#"per: ["source", "arch", "defconfig", "toolchain", "board"], expand: (rule: "match", output: "boards")"#,
    ),
];

#[test]
fn an_expansion_point_becomes_a_node_for_each_value_that_its_rule_is_for() {
    let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
    for (point, listed, expected) in [
        ("job:linux/amd64/defconfig/gcc", vec![], vec![]),
        ("job:linux/amd64/defconfig/gcc", vec!["pc", "far", "pc"], vec!["pc/boot", "pc/login"]),
        ("board:linux/amd64/defconfig/gcc", vec!["pc", "far"], vec!["pc", "far"]),
    ] {
        let mut graph = graph(&BOOTS);
        let id = graph.find(&format!("{point}/*")).unwrap();
        assert_eq!(graph.expansion(id), None);
        let added = graph.expand(id, &values(&listed)).unwrap();
        let expected: Vec<_> = expected.iter().map(|rest| format!("{point}/{rest}")).collect();
        assert_eq!(names(&graph, &added), expected);
        assert_eq!(graph.expansion(id), Some(&*added));
        let matched = graph.find("match:linux/amd64/defconfig/gcc").unwrap();
        assert!(added.iter().all(|&id| graph.deps(id).any(|dep| dep == matched)), "each depends on the list");
    }
    let mut graph = graph(&BOOTS);
    let id = graph.find("job:linux/amd64/defconfig/gcc/*").unwrap();
    let unknown = graph.expand(id, &values(&["pc", "nowhere"])).unwrap_err();
    assert_eq!(unknown.to_string(), "job:linux/amd64/defconfig/gcc/*: \"nowhere\" is no board of this spec");
}

#[test]
fn an_expansion_point_comes_after_all_that_its_nodes_read() {
    let graph = graph(&BOOTS);
    let line = edges(&graph).into_iter().find(|line| line.starts_with("job:old/arm64")).unwrap();
    assert_eq!(
        line,
        "job:old/arm64/defconfig/gcc/* <- kernel:old/arm64/defconfig/gcc, match:old/arm64/defconfig/gcc"
    );
}

#[test]
fn targets_select_nodes_with_what_they_need() {
    let graph = graph(&BOOTS);
    for (targets, expected) in [
        (&["kernel:linux/arm64/defconfig/gcc"][..], &["kernel:linux/arm64/defconfig/gcc"][..]),
        (&["kernel:*amd64*"], &["kernel:linux/amd64/defconfig/gcc", "kernel:old/amd64/defconfig/gcc"]),
        (
            &["match:linux/amd64*", "match:linux/*"],
            &["match:linux/amd64/defconfig/gcc", "match:linux/arm64/defconfig/gcc"],
        ),
        (
            &["job:linux/amd64/defconfig/gcc/pc/boot"],
            &[
                "kernel:linux/amd64/defconfig/gcc",
                "match:linux/amd64/defconfig/gcc",
                "job:linux/amd64/defconfig/gcc/*",
            ],
        ),
    ] {
        let targets: Vec<_> = targets.iter().map(|&target| target.to_owned()).collect();
        let mut found = names(&graph, &Selection::parse(&targets, &graph).unwrap().nodes(&graph));
        let mut expected: Vec<_> = expected.iter().map(|&name| name.to_owned()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{targets:?}");
    }
    let build = ["old/amd64/defconfig/gcc".to_owned()];
    let of_build = Selection::parse(&build, &graph).unwrap();
    let wanted: Vec<_> = graph.ids().filter(|&id| of_build.wants(&graph, id)).collect();
    assert!(wanted.iter().all(|&id| graph.name(id).instance().starts_with("old/amd64/")));
    assert_eq!(wanted.len(), 4, "kernel, match, and both points");
}

#[test]
fn a_target_that_means_nothing_is_an_error_with_near_names() {
    let graph = graph(&BOOTS);
    for (target, message, near) in [
        ("kernle:", "no node is named \"kernle:\"", "kernel:"),
        (
            "kernel:linux/amd64/defconfig/gc",
            "no node is named \"kernel:linux/amd64/defconfig/gc\"",
            "kernel:linux/amd64/defconfig/gcc",
        ),
    ] {
        let errors = Selection::parse(&[target.to_owned()], &graph).unwrap_err();
        assert_eq!(errors[0].to_string(), message);
        let UnknownTarget::NoMatch { similar, .. } = &errors[0] else { panic!("{errors:?}") };
        assert!(similar.iter().any(|name| name == near), "{similar:?}");
    }
    assert!(matches!(
        Selection::parse(&["kernel:[".to_owned()], &graph).unwrap_err()[..],
        [UnknownTarget::BadGlob { .. }]
    ));
}

#[test]
fn closures_and_paths_follow_the_edges() {
    let graph = graph(&[
        ("a", r#"per: ["arch"], outputs: {"o": File("o")}"#),
        ("b", r#"per: ["arch"], outputs: {"o": File("o")}, inputs: {"a": Output(rule: "a", output: "o")}"#),
        ("c", r#"per: ["arch"], inputs: {"b": Output(rule: "b", output: "o")}"#),
    ]);
    let id = |name| graph.find(name).unwrap();
    let (a, b, c) = (id("a:amd64"), id("b:amd64"), id("c:amd64"));
    assert_eq!(graph.closure([c]), [a, b, c]);
    assert_eq!(graph.closure([b, a]), [a, b]);
    assert_eq!(graph.closure_until([c], |id| id == b), [c]);
    assert_eq!(graph.closure_until([b], |id| id == b), []);
    assert_eq!(graph.reached([a]), [a, b, c]);
    assert_eq!(graph.path(c, a), Some(vec![c, b, a]));
    assert_eq!(graph.path(a, a), Some(vec![a]));
    assert_eq!(graph.path(a, c), None);
    assert_eq!(graph.path(c, id("a:arm64")), None);
}
