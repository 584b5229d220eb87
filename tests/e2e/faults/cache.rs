//! A cache that is damaged, foreign, or not ours to write to: a miss and a warning, never a wrong result.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use super::project::{Node, Project, entries, node};

/// `hidden` makes something that `reader` reads, and `tree` a directory.
fn nodes() -> Vec<Node> {
    vec![
        node("hidden", "echo precious >o").hidden(),
        node("reader", "cat /kiln/in/hidden >o; echo read >>o").reads("hidden"),
        node("tree", "mkdir -p t/dir; echo leaf >t/dir/leaf; echo twig >t/twig").makes(r#""o": Tree("t")"#),
    ]
}

fn built() -> Project {
    let project = Project::new(nodes());
    project.build().exits(0);
    project
}

/// Gives `reader` something new to do with what it reads.
fn change_reader(project: &mut Project) {
    project.replace(node("reader", "cat /kiln/in/hidden >o; echo read anew >>o").reads("hidden"));
}

/// A way to damage a file.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 4] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("truncated", |path| writable(path).set_len(3).unwrap()),
    ("with a flipped bit", |path| {
        let mut byte = [0];
        let file = writable(path);
        file.read_exact_at(&mut byte, 2).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 2).unwrap();
    }),
    ("a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

fn writable(path: &Path) -> File {
    // Blobs are read-only, also to their owner.
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_damaged_blob_that_is_read_is_made_again() {
    for (how, damage) in DAMAGES {
        let mut project = built();
        damage(&project.blob("precious\n"));
        project.assert_fresh();
        change_reader(&mut project);
        let ended = project.build().exits(0);
        let told = ["is missing from the cache", "the cache's copy was damaged"];
        assert!(told.iter().any(|told| ended.err.contains(told)), "{how}: {}", ended.err);
        assert_eq!(project.runs("hidden", "pass"), 2, "{how}");
        project.assert_as_if_clean();
        project.assert_fresh();
    }
}

#[test]
fn a_damaged_blob_that_is_put_in_place_is_made_again() {
    for (how, damage) in DAMAGES {
        for (content, placed, maker) in
            [("precious\nread\n", "out/reader/o", "reader"), ("leaf\n", "out/tree/o/dir/leaf", "tree")]
        {
            let project = built();
            damage(&project.blob(content));
            fs::remove_file(project.path(placed)).unwrap();
            let ended = project.build().exits(0);
            let told = ["is missing from the cache", "the cache's copy was damaged", "the cache lacks it"];
            assert!(told.iter().any(|told| ended.err.contains(told)), "{how}: {}", ended.err);
            assert_eq!(project.runs(maker, "pass"), 2, "{how}");
            project.assert_as_if_clean();
            project.assert_fresh();
        }
    }
}

/// A node may run as soon as its inputs are known, and those are read from the cache, not from `out/`.
#[test]
fn a_result_is_read_while_it_is_put_in_place() {
    for jobs in ["-j1", "-j2", "-j4"] {
        let mut nodes = Vec::new();
        for number in 0..8 {
            let maker = format!("maker{number}");
            nodes.push(node(&format!("reader{number}"), format!("cat /kiln/in/{maker} >o")).reads(&maker));
            nodes.push(node(&maker, format!("echo {number} >o")));
        }
        let mut project = Project::new(nodes);
        project.build().exits(0);
        fs::remove_dir_all(project.path("out")).unwrap();
        for number in 0..8 {
            let maker = format!("maker{number}");
            let script = format!("cat /kiln/in/{maker} >o; echo anew >>o");
            project.replace(node(&format!("reader{number}"), script).reads(&maker));
        }
        project.run(["build", jobs]).exits(0);
        project.assert_as_if_clean();
        assert_eq!(project.runs("maker0", "pass"), 1);
    }
}

#[test]
fn all_blobs_are_gone() {
    let mut project = built();
    fs::remove_dir_all(project.cache.join("cas")).unwrap();
    fs::remove_dir_all(project.path("out")).unwrap();
    change_reader(&mut project);
    project.build().exits(0);
    project.assert_as_if_clean();
    project.assert_fresh();
}

/// A match reads its `.config` already when kiln plans, and a job is planned from the boards that the match has found.
#[test]
fn a_blob_that_a_plan_reads_is_made_again() {
    for (how, damage) in DAMAGES {
        for (content, makers) in
            [("CONFIG_GOOD=y\n", ["config:", "match:"]), ("[\"pc\"]", ["match:", "match:"])]
        {
            let project = Project::new([]);
            project.write("tree/file", "");
            project.write(
                "graph.ron",
                r#"(
                    version: 1,
                    sources: {"tree": Dir("tree")},
                    archs: {"here": ()},
                    toolchains: {"gcc": Gcc(targets: {"here": ""})},
                    builds: [(sources: ["tree"], archs: ["here"], defconfigs: ["defconfig"], toolchains: ["gcc"])],
                    boards: {"pc": (
                        requires: "GOOD", device_type: "qemu", labs: ["local"], tests: ["boot"],
                        qemu: (program: "true", args: [], cmdline: ""),
                    )},
                    labs: {"local": Qemu(slots: 1)},
                    tests: {"boot": Console(marker: "BOOTED", time_limit: "1min")},
                )"#,
            );
            let axes = r#"per: ["source", "arch", "defconfig", "toolchain"]"#;
            project.write(
                "rules/config.ron",
                &format!(
                    r#"(version: 1, {axes}, inputs: {{"source": Source("{{source}}")}},
                        steps: [["sh", "-c", "echo CONFIG_GOOD=y >config"]],
                        tools: ["sh"], outputs: {{"config": File("config")}})"#
                ),
            );
            let of_repo = |rule: &str| {
                fs::read_to_string(format!("{}/rules/{rule}.ron", env!("CARGO_MANIFEST_DIR"))).unwrap()
            };
            project.write("rules/match.ron", &of_repo("match"));
            project.write(
                "rules/job.ron",
                r#"(version: 1, kind: Job, per: ["source", "arch", "defconfig", "toolchain", "board", "test"],
                    expand: (rule: "match", output: "boards"),
                    inputs: {"image": Output(rule: "config", output: "config")},
                    tools: ["{board.qemu}", "sh", "cat", "echo", "sleep"], outputs: {"console": File("console.log")})"#,
            );
            let target = ["build", "match:*"];
            project.run(target).exits(0);
            damage(&project.blob(content));
            let ended = project.run(["plan"]).exits(0);
            let plan = &ended.out;
            assert!(makers.iter().any(|maker| plan.contains(maker)), "{how}: {plan}{}", ended.err);
            project.run(target).exits(0);
            project.run(["plan", "job:*"]).exits(0);
        }
    }
}

#[test]
fn damaged_rows_are_misses() {
    let damages = [
        "DELETE FROM listing",
        "UPDATE listing SET bytes = x'00'",
        "UPDATE listing SET bytes = zeroblob(40)",
        "DELETE FROM path_set",
        "UPDATE path_set SET body = x'ff'",
        "DELETE FROM result",
        "UPDATE result SET outputs = x'ff'",
        "UPDATE result SET outputs = ''",
        "UPDATE result SET outcome = 'perhaps'",
        "UPDATE node SET record = x'ff'",
        "UPDATE node SET record = 'a text', action_key = x'00'",
        "UPDATE node SET outcome = 'perhaps'",
        "UPDATE node SET strong_key = NULL",
        "UPDATE run SET manifest = x'ff', reasons = 'none'",
        "UPDATE duration SET recent = x'ff'",
        "DELETE FROM run",
    ];
    for damage in damages {
        let mut project = built();
        project.index().execute_batch(damage).unwrap();
        fs::remove_dir_all(project.path("out")).unwrap();
        change_reader(&mut project);
        let ended = project.build();
        assert_eq!(ended.code, 0, "{damage}: {}", ended.err);
        project.assert_as_if_clean();
        project.run(["why", "reader:reader"]).exits(0);
        project.assert_fresh();
    }
}

#[test]
fn a_damaged_index_is_set_aside_and_begun_anew() {
    let damages: [Damage; 4] = [
        ("cut to a page and a half", |path| writable(path).set_len(6144).unwrap()),
        ("cut within the header", |path| writable(path).set_len(50).unwrap()),
        ("garbage", |path| fs::write(path, "no database at all, ".repeat(1000)).unwrap()),
        ("another file's content", |path| fs::write(path, "kiln\n").unwrap()),
    ];
    for (how, damage) in damages {
        let project = built();
        damage(&project.cache.join("index.sqlite"));
        let ended = project.build();
        assert_eq!(ended.code, 0, "{how}: {}", ended.err);
        assert!(ended.err.contains("warning: the cache's index was damaged"), "{how}: {}", ended.err);
        assert_eq!(
            project.runs("hidden", "pass"),
            1,
            "{how}: all of it ran, and only what ran then is known"
        );
        project.assert_as_if_clean();
        project.assert_fresh();
    }
}

#[test]
fn an_index_that_is_gone_is_begun_anew() {
    let project = built();
    for part in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(project.cache.join(part));
    }
    project.build().exits(0);
    project.assert_as_if_clean();
    project.assert_fresh();
}

/// Damage deep in the index is met only in use. That run may end there, and says what to do: run again.
#[test]
fn an_index_that_is_damaged_within_costs_one_run_at_most() {
    let pages = fs::metadata(built().cache.join("index.sqlite")).unwrap().len() / 4096;
    for page in 1..pages {
        let project = built();
        writable(&project.cache.join("index.sqlite")).write_all_at(&[0xa5; 4096], page * 4096).unwrap();
        fs::remove_dir_all(project.path("out")).unwrap();
        let ended = project.build();
        if ended.code != 0 {
            ended.exits(4).complains("is damaged").complains("run kiln again");
            project.build().exits(0).complains("warning: the cache's index was damaged");
        }
        project.assert_as_if_clean();
    }
}

#[test]
fn lost_caches_of_file_digests_cost_time_only() {
    let project = Project::new([node("n", "cat /kiln/in/tree/file >o").reads_source("tree")]);
    project.write("tree/file", "content\n");
    let project = project.with_source("tree");
    project.build().exits(0);
    let caches = entries(&project.cache.join("stat"));
    assert!(caches.len() >= 2, "{caches:?}");
    for damage in [
        |path: &Path| fs::write(path, "garbage").unwrap(),
        |path: &Path| writable(path).set_len(100).unwrap(),
    ] {
        for path in &caches {
            damage(path);
        }
        project.assert_fresh();
    }
    fs::remove_dir_all(project.cache.join("stat")).unwrap();
    project.assert_fresh();
}

#[test]
fn a_cache_of_another_version_is_refused_and_can_be_cleaned() {
    let project = built();
    project.write("cache/VERSION", "kiln cache 99\n");
    project.build().exits(4).complains("has format 99").complains("kiln clean --cache");
    project.run(["clean", "--cache"]).exits(0);
    project.build().exits(0);
    project.assert_as_if_clean();
}

#[test]
fn a_cache_that_may_not_be_written() {
    let project = built().of_ordinary_user();
    fs::set_permissions(&project.cache, Permissions::from_mode(0o555)).unwrap();
    for below in ["tmp", "in-use", "index.sqlite"] {
        let below = project.cache.join(below);
        let before = below.metadata().unwrap().permissions();
        fs::set_permissions(&below, Permissions::from_mode(0o444)).unwrap();
        project.build().exits(4).complains("can't write to").complains("help: mend the permissions");
        fs::set_permissions(&below, before).unwrap();
    }
    fs::set_permissions(&project.cache, Permissions::from_mode(0o755)).unwrap();
    // The outputs have another owner than when they were put in place.
    project.build().exits(0);
    project.assert_fresh();
    assert_eq!(project.runs("reader", "pass"), 1);
}

#[test]
fn a_cache_that_can_not_be_made() {
    let project = Project::new(nodes()).of_ordinary_user();
    fs::set_permissions(project.root(), Permissions::from_mode(0o555)).unwrap();
    project.build().exits(4).complains("can't write to").complains("cache");
    fs::set_permissions(project.root(), Permissions::from_mode(0o755)).unwrap();
    fs::write(&project.cache, "").unwrap();
    project.build().exits(4).complains("cache");
}

#[test]
fn a_directory_that_is_no_cache_is_left_alone() {
    let project = Project::new(nodes());
    project.write("cache/thesis.txt", "");
    project.build().exits(4).complains("is not a kiln cache").complains("thesis.txt");
    assert_eq!(entries(&project.cache), [project.cache.join("thesis.txt")]);
}

#[test]
fn outputs_that_can_not_be_put_in_place() {
    let project = Project::new(nodes()).of_ordinary_user();
    project.write("out", "in the way\n");
    project.build().exits(4).complains("/out");
    fs::remove_file(project.path("out")).unwrap();
    project.build().exits(0);
    project.assert_as_if_clean();

    // What is known stays known while it can't be put in place.
    fs::remove_dir_all(project.path("out")).unwrap();
    project.write("out", "in the way\n");
    project.build().exits(4).complains("/out");
    fs::remove_file(project.path("out")).unwrap();
    let before = project.runs("reader", "pass");
    project.build().exits(0);
    assert_eq!(project.runs("reader", "pass"), before);
}
