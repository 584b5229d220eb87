//! Builds and boots in every state, for tests of reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::status::{Boot, Build, Messages, Node, STATUS_VERSION, State, Status, Tree};
use crate::digest::Digest;

fn node(rule: &str, build: &str, state: State, message: Option<&str>) -> Node {
    let known = state.is_known();
    Node {
        name: format!("{rule}:{build}"),
        rule: rule.to_owned(),
        state,
        message: message.map(str::to_owned),
        started: known.then(|| "2026-11-22T20:00:00.25Z".parse().unwrap()),
        duration: known.then(|| Duration::from_millis(61_500)),
        key: known.then(|| Digest::of_bytes(rule.as_bytes())),
        ..Node::default()
    }
}

fn boot(build: &str, board: &str, test: &str, state: State, message: Option<&str>) -> Boot {
    let rule = "lava";
    let node = node(rule, &format!("{build}/{board}/{test}"), state, message);
    Boot { board: board.into(), device_type: "qemu".into(), test: test.into(), node, results: None }
}

fn at_lab(build: &str, board: &str, test: &str, results: &str) -> Boot {
    let record: crate::lab::record::Record = serde_json::from_str(results).unwrap();
    let state = if record.outcome == "pass" { State::Pass } else { State::Fail };
    let mut boot = boot(build, board, test, state, Some(&record.message));
    if state == State::Fail {
        boot.node.log_tail = "[    1.5] booting\u{1b}[31m\0\r\n]]> <end>\n".to_owned();
    }
    Boot { results: Some(record), ..boot }
}

fn build(source: &str, defconfig: &str, nodes: Vec<Node>, boots: Vec<Boot>) -> Build {
    Build {
        source: source.into(),
        arch: "amd64".into(),
        kernel_arch: "x86_64".into(),
        defconfig: defconfig.into(),
        toolchain: "gcc".into(),
        whole: true,
        nodes,
        boots,
        open: None,
    }
}

/// Every state of a node, and every result of a case.
pub fn every_outcome() -> Status {
    let mut builds = BTreeMap::new();
    let mut add = |source: &str, defconfig: &str, nodes: &dyn Fn(&str) -> Vec<Node>, boots: Vec<Boot>| {
        let id = format!("{source}/amd64/{defconfig}/gcc");
        let nodes = nodes(&id);
        builds.insert(id, build(source, defconfig, nodes, boots));
    };
    let good = "linux/amd64/good/gcc";
    add(
        "linux",
        "good",
        &|id| {
            let mut kernel = node("kernel", id, State::Pass, None);
            kernel.messages = Some(Messages { warnings: 2, ..Messages::default() });
            vec![node("config", id, State::Pass, None), kernel]
        },
        vec![
            at_lab(good, "imx8", "ltp", include_str!("testdata/failed.json")),
            at_lab(good, "qemu-lava", "boot", include_str!("testdata/panicked.json")),
            at_lab(good, "qemu-lava", "smoke", include_str!("testdata/passed.json")),
            boot(good, "qemu-pc", "boot", State::Pass, None),
            boot(good, "qemu-pc", "infra", State::Infra, Some("its last run came to no outcome")),
            boot(good, "qemu-pc", "login", State::Stale, Some("input init changed (a -> b)")),
            boot(good, "qemu-pc", "new", State::Unknown, Some("never ran")),
            boot(good, "qemu-pc", "later", State::Skipped, Some("what it needs has failed: initramfs:amd64")),
        ],
    );
    add(
        "linux",
        "broken",
        &|id| {
            let error = "drivers/a.c:2: \"x\" undeclared ]]>";
            let mut kernel = node("kernel", id, State::Fail, Some(error));
            kernel.messages = Some(Messages { warnings: 0, errors: 1, first_errors: vec![error.to_owned()] });
            kernel.log = Some("linux/amd64/broken/gcc/build.log".into());
            kernel.log_tail = "  CC a.o\nmake: *** [a.o] Error 1\n".to_owned();
            let modules = "what it needs has failed: kernel:linux/amd64/broken/gcc";
            let modules = node("modules", id, State::Skipped, Some(modules));
            vec![node("config", id, State::Pass, None), kernel, modules]
        },
        vec![],
    );
    let no_tool = Some("`ld` is not installed");
    add("stable", "infra", &|id| vec![node("config", id, State::Infra, no_tool)], vec![]);
    add(
        "stable",
        "stale",
        &|id| {
            let config = node("config", id, State::Pass, None);
            vec![config, node("kernel", id, State::Stale, Some("stable: Makefile changed (a -> b)"))]
        },
        vec![],
    );
    add("stable", "unknown", &|id| vec![node("config", id, State::Unknown, Some("never ran"))], vec![]);
    let unknown = builds.get_mut("stable/amd64/unknown/gcc").unwrap();
    unknown.open = Some("not known before match:stable/amd64/unknown/gcc has passed".to_owned());
    let commit = "0123456789abcdef0123456789abcdef01234567".to_owned();
    let tree = |commit, exact| Tree { digest: Digest::of_bytes(b"tree"), commit, exact };
    Status {
        version: STATUS_VERSION,
        sources: BTreeMap::from([
            ("linux".to_owned(), tree(Some(commit), true)),
            ("stable".to_owned(), tree(None, false)),
        ]),
        builds,
        others: vec![node("initramfs", "amd64", State::Fail, Some("its log ends with: no such file"))],
    }
}
