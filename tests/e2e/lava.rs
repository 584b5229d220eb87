//! Jobs at LAVA labs, as nodes: which there are, and what makes one another job. No lab is asked here.

use rusqlite::Connection;

use crate::support::project::{Project, repository};

const SMOKE: &str = "lava:linux/x86_64/pc/fake/far-pc/smoke";
const BOOT: &str = "lava:linux/x86_64/pc/fake/far-pc/boot";

/// A project with a board here and one at two labs; what a job needs has been built.
fn built() -> Project {
    let project = Project::with_graph(include_str!("lava/graph.ron"));
    for (rule, outputs) in [
        ("config", r#"{"config": File("made/config")}"#),
        ("kernel", r#"{"image": File("made/image"), "dtbs": Tree(path: "made/dtbs", optional: true)}"#),
        ("busybox", r#"{"busybox": File("made/busybox")}"#),
        ("initramfs", r#"{"initramfs": File("made/initramfs")}"#),
    ] {
        let of_an_arch = matches!(rule, "busybox" | "initramfs");
        let per =
            if of_an_arch { "[\"arch\"]" } else { "[\"source\", \"arch\", \"defconfig\", \"toolchain\"]" };
        let text = include_str!("lava/make.ron").replace("DIRECTORY", rule).replace("OUTPUTS", outputs);
        let text = text.replace("PER", per);
        project.write(&format!("rules/{rule}.ron"), &text);
    }
    for rule in ["match", "job", "lava"] {
        let rule = format!("rules/{rule}.ron");
        let text = std::fs::read_to_string(repository(&rule)).unwrap();
        let modules =
            "        \"modules\": Output(rule: \"modules\", output: \"archive\", optional: true),\n";
        project.write(&rule, &text.replace(modules, ""));
    }
    project.write("linux/Makefile", "");
    project.write("made/config/config", "CONFIG_X86_64=y\n");
    project.write("made/kernel/image", "image");
    project.write("made/kernel/dtbs/vendor/ours.dtb", "ours");
    project.write("made/kernel/dtbs/vendor/other.dtb", "other");
    project.write("made/busybox/busybox", "busybox");
    project.write("made/initramfs/initramfs", "initramfs");
    project.write("lava/qemu.yaml", "actions: []\n");
    project.write("lava/smoke.yaml", "run: {steps: [\"true\"]}\n");
    project.write("lava/more.yaml", "run: {steps: [\"true\"]}\n");
    make(&project);
    project
}

fn make(project: &Project) {
    project.build("match: kernel: busybox: initramfs:").exits(0);
}

fn key(project: &Project, node: &str) -> String {
    let plan = project.plan("");
    plan.node(node)["action-key"].as_str().unwrap_or_else(|| panic!("{node} has no key")).to_owned()
}

#[test]
fn each_board_is_booted_by_the_rule_of_its_labs() {
    let project = built();
    let plan = project.plan("");
    let mut jobs: Vec<&str> = plan.verdicts().into_keys().filter(|name| name.contains("/fake/")).collect();
    jobs.retain(|name| !name.ends_with("/*"));
    let here = "job:linux/x86_64/pc/fake/here-pc/boot";
    assert_eq!(jobs, [here, BOOT, SMOKE]);
    let deps = |node: &str| plan.node(node)["deps"].to_string();
    assert!(deps(BOOT).contains("busybox:x86_64") && !deps(BOOT).contains("initramfs"), "{}", deps(BOOT));
    assert!(deps(here).contains("initramfs:x86_64"), "{}", deps(here));
    // Before it is known which boards there are, the points that stand for them wait for what those will read.
    let fresh = Project::with_graph(include_str!("lava/graph.ron"));
    for file in ["config", "kernel", "busybox", "initramfs", "match", "job", "lava"] {
        let rule = format!("rules/{file}.ron");
        fresh.write(&rule, &project.read(&rule));
    }
    for file in ["lava/qemu.yaml", "lava/smoke.yaml", "lava/more.yaml", "linux/Makefile"] {
        fresh.write(file, &project.read(file));
    }
    for made in ["config/config", "kernel/image", "busybox/busybox", "initramfs/initramfs"] {
        fresh.write(&format!("made/{made}"), &project.read(&format!("made/{made}")));
    }
    let plan = fresh.plan("lava:");
    let point = plan.node("lava:linux/x86_64/pc/fake/*");
    assert!(point["deps"].to_string().contains("busybox:x86_64"), "{point}");
    assert!(!plan.verdicts().contains_key("initramfs:x86_64"), "{:?}", plan.verdicts());
}

#[test]
fn a_project_without_lava_labs_has_no_node_for_them() {
    let project = built();
    project.edit(
        "graph.ron",
        "labs: [\"far\", \"near\"], tests: [\"boot\", \"smoke\"]",
        "labs: [\"here\"], tests: [\"boot\"]",
    );
    let plan = project.plan("");
    assert!(plan.verdicts().keys().all(|name| !name.starts_with("lava:")), "{:?}", plan.verdicts());
}

/// Where a job is sent, when, by whom and under what name makes no other job of it.
#[test]
fn what_a_lab_is_makes_no_difference_to_a_job() {
    let project = built();
    let before = [key(&project, BOOT), key(&project, SMOKE)];
    for (from, to) in [
        ("https://far.example/", "https://further.example/"),
        ("user: \"kiln\", token: Env(\"FAR\")", "user: \"other\", token: Env(\"ELSE\")"),
        ("slots: 2", "slots: 7"),
        ("priority: 50", "priority: High"),
        ("queue: \"1h\"", "queue: \"3h\""),
        ("labs: [\"far\", \"near\"]", "labs: [\"near\", \"far\"]"),
        ("url: \"http://ci.example/\"", "url: \"http://other.example/\""),
        ("reason: \"no network\"", "reason: \"no network in this lab\""),
        ("until: \"2999-12-31\"", "until: \"2998-12-31\""),
    ] {
        project.edit("graph.ron", from, to);
        assert_eq!([key(&project, BOOT), key(&project, SMOKE)], before, "{from} -> {to}");
    }
    // Nor do device trees that another board boots.
    project.write("made/kernel/dtbs/vendor/other.dtb", "changed");
    make(&project);
    assert_eq!([key(&project, BOOT), key(&project, SMOKE)], before);
    // Nor what the board itself is called: all that its name was in is its place.
    project.edit("graph.ron", "\"far-pc\": (", "\"renamed-pc\": (");
    make(&project);
    assert_eq!(key(&project, &BOOT.replace("far-pc", "renamed-pc")), before[0]);
}

#[test]
fn what_a_job_is_made_of_makes_it_another() {
    let project = built();
    let changes = |what: &str, nodes: &[&str], change: &dyn Fn()| {
        let before = [BOOT, SMOKE].map(|node| key(&project, node));
        change();
        for (node, before) in [BOOT, SMOKE].iter().zip(before) {
            assert_eq!(key(&project, node) != before, nodes.contains(node), "{what}: {node}");
        }
    };
    let both = &[BOOT, SMOKE][..];
    let edit = |from: &'static str, to: &'static str| {
        let project = &project;
        move || project.edit("graph.ron", from, to)
    };
    changes("device type", both, &edit("device_type: \"qemu-far\"", "device_type: \"qemu-other\""));
    changes("tags", both, &edit("tags: [\"virtual\"]", "tags: [\"virtual\", \"fast\"]"));
    changes("attributes", both, &edit("\"memory\": \"512\"", "\"memory\": \"1024\""));
    changes("another device tree", both, &edit("vendor/ours.dtb", "vendor/other.dtb"));
    changes("no such device tree", both, &edit("vendor/other.dtb", "vendor/none.dtb"));
    changes("the marker", &[BOOT], &edit("marker: \"OK\"", "marker: \"READY\""));
    changes("a parameter", &[SMOKE], &edit("\"A\": \"1\"", "\"A\": \"2\""));
    changes("the skip list", &[SMOKE], &edit("case: \"0_smoke/a\"", "case: \"0_smoke/b\""));
    // A skip that has ended is none.
    changes("a skip's end", &[SMOKE], &edit("until: \"2999-12-31\"", "until: \"2000-12-31\""));
    changes("the order", &[SMOKE], &|| {
        let graph = project.read("graph.ron");
        let definition = "Inline(name: \"more\", path: \"lava/more.yaml\"),";
        let without = graph.replacen(definition, "", 1);
        project.write(
            "graph.ron",
            &without.replacen("definitions: [", &format!("definitions: [{definition}"), 1),
        );
    });
    changes("the template", both, &|| project.write("lava/qemu.yaml", "actions: [1]\n"));
    changes("a definition", &[SMOKE], &|| project.write("lava/smoke.yaml", "run: {steps: [\"false\"]}\n"));
    changes("the image", both, &|| {
        project.write("made/kernel/image", "another");
        make(&project);
    });
    changes("the rootfs", both, &|| {
        project.write("made/busybox/busybox", "another");
        make(&project);
    });
}

#[test]
fn a_result_that_is_too_old_does_not_count() {
    let project = Project::with_rule(
        "make",
        r#"(version: 1, steps: [["sh", "-c", "echo it >made"]], outputs: {"made": File("made")}, tools: ["sh"],
           export: "it", outcome: (older_than: "30days"))"#,
    );
    project.build("").exits(0).runs(&["make:it"]);
    project.plan("").has_nothing_to_do();
    let age = |days: u32| {
        let index = Connection::open(project.path("cache/index.sqlite")).unwrap();
        index.execute(&format!("UPDATE run SET started = started - {days} * 86400000"), []).unwrap();
    };
    age(29);
    project.plan("").has_nothing_to_do();
    age(2);
    let plan = project.plan("");
    assert_eq!(plan.verdict("make:it"), "stale");
    let reason = &plan.node("make:it")["reasons"][0];
    assert_eq!(reason["reason"], "too-old", "{reason}");
    assert_eq!(reason["limit-seconds"], 30 * 86_400);
    assert_eq!(reason["age-seconds"].as_u64().unwrap() / 86_400, 31);
    assert!(plan.reasons("make:it").starts_with("its result is 1month"), "{}", plan.reasons("make:it"));
    // Nor is the old result put in place where the new run would be.
    project.build("").exits(0).runs(&["make:it"]);
    project.plan("").has_nothing_to_do();
    // Without a limit nothing is too old.
    age(3000);
    project.edit("rules/make.ron", ", outcome: (older_than: \"30days\")", "");
    project.plan("").has_nothing_to_do();
}

/// Jobs that labs may have are on record nowhere else: who loses the record hears of it before anything is submitted twice.
#[test]
fn a_build_stops_once_where_it_is_not_known_any_more_which_jobs_labs_have() {
    let project = built();
    project.write("cache/index.sqlite", &"no database".repeat(1000));
    project.kiln("clean --cache").exits(4).complains("labs may have jobs").complains("--force");
    let stopped = project.kiln("build match:").exits(4);
    stopped.complains("begun anew").complains("labs may have jobs").complains("then build again");
    project.build("match:").exits(0);
}
