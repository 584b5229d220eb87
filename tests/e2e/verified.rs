//! Results that were built by continuing: they say so, and stay here until a run from nothing has made the same.

use std::fs;
use std::process::Command;

use crate::remote::{Shared, emptied, reader_of};
use crate::support::project::{BOOT, KERNEL, KilnOutput, OUT, Project};

const HELD: &str =
    "held back: built by continuing, and `kiln verify --continued` has not made them from nothing";

/// A builder's machine that has pushed what it built, and then continued.
fn continued(shared: &Shared) -> Project {
    let project = shared.builder();
    project.build("").exits(0).complains("pushed 5");
    project.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    project.build("").exits(0).continues(KERNEL);
    project
}

fn verify(project: &Project, args: &str) -> KilnOutput {
    project.kiln(&format!("verify --continued {args}"))
}

#[test]
fn what_was_continued_is_pushed_once_it_is_verified() {
    let shared = Shared::new();
    let builder = continued(&shared);
    builder.kiln("plan").exits(0).says(&format!("1 {HELD}"));
    assert_eq!(builder.plan("").node(KERNEL)["unverified"], true);
    assert!(builder.plan("").node(BOOT)["unverified"].is_null());
    builder.kiln("push").exits(0).says(&format!("1 {HELD}"));
    builder.kiln(&format!("why {KERNEL}")).exits(0).says("its result was built by continuing; `kiln verify");
    builder.kiln(&format!("history {KERNEL}")).exits(0).says("pass, continued");
    let runs = builder.kiln(&format!("history {KERNEL} --format json")).exits(0).json()["runs"].clone();
    assert_eq!((&runs[0]["continued"], &runs[1]["continued"]), (&true.into(), &false.into()));
    assert!(builder.read(&format!("{OUT}/metadata.json")).contains("\"continued\": true"));

    // A machine with an empty cache does not find it.
    let away = builder.path("away");
    fs::rename(builder.path("cache"), &away).unwrap();
    assert_eq!(builder.plan("").verdict(KERNEL), "stale");
    fs::remove_dir_all(builder.path("cache")).unwrap();
    fs::rename(&away, builder.path("cache")).unwrap();

    verify(&builder, "").exits(0).says(&format!("same    {KERNEL} in ")).says("1 same\n");
    builder.kiln(&format!("why {KERNEL}")).exits(0).says("and a run from nothing has made the same");
    verify(&builder, "").exits(0).says("nothing to verify: every result was built from nothing");
    builder.kiln("plan").exits(0).never_says("held back");
    builder.kiln("push").exits(0).says("pushed 1").never_says("held back");
    assert_eq!(reader_of(builder).plan("").verdict(KERNEL), "remote");
}

#[test]
fn a_plain_verification_counts_as_well() {
    let project = Project::new();
    project.build("").exits(0);
    project.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    project.build("").exits(0).continues(KERNEL);
    project.kiln(&format!("verify {KERNEL}")).exits(0).says("1 same\n");
    verify(&project, "").exits(0).says("nothing to verify");
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_remote_that_takes_it_has_it_with_the_mark() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.edit("graph.ron", "write: true", "write: true, continued: true");
    builder.build("").exits(0);
    builder.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = builder.build("").exits(0).continues(KERNEL);
    assert!(!build.said.err.contains("held back"), "{}", build.said);

    // A machine that starts empty, and verifies what others have continued.
    let nightly = emptied(builder);
    nightly.kiln("restore").exits(0);
    nightly.kiln(&format!("why {KERNEL}")).exits(0).says("its result was built by continuing; `kiln verify");
    verify(&nightly, "").exits(0).says(&format!("same    {KERNEL} in "));
    nightly.kiln("push").exits(0).says("pushed 1");
    let reader = reader_of(nightly);
    reader.kiln("restore").exits(0);
    verify(&reader, "").exits(0).says("nothing to verify");
}

#[test]
fn a_budget_verifies_those_first_that_have_waited_longest() {
    let project = Project::new();
    let from = project.path("linux");
    assert!(Command::new("cp").arg("-a").args([&from, &project.path("next")]).status().unwrap().success());
    let (one, both) = ("\"linux\": Dir(\"linux\")", "\"linux\": Dir(\"linux\"), \"next\": Dir(\"next\")");
    project.edit("graph.ron", one, both);
    project.edit("graph.ron", "sources: [\"linux\"]", "sources: [\"linux\", \"next\"]");
    project.edit("next/init/main.c", "Hello", "Hello from next");
    let next = "kernel:next/x86_64/pc/fake";
    project.build("").exits(0);
    project.edit("next/lib/string.c", "1 + strlen", "2 + strlen");
    project.build("").exits(0).continues(next);
    project.edit("linux/lib/string.c", "1 + strlen", "3 + strlen");
    project.build("").exits(0).continues(KERNEL);
    let said = verify(&project, "--budget 0s").exits(0).says(&format!("same    {next} in ")).says("1 same\n");
    said.complains("1 more left for another time");
    verify(&project, "--budget 1h").exits(0).says(&format!("same    {KERNEL} in ")).says("1 same\n");
    verify(&project, "--budget 1h").exits(0).says("nothing to verify");
}

#[test]
fn other_bits_from_nothing_are_an_error_and_nothing_goes_on_from_there() {
    let shared = Shared::new();
    let builder = continued(&shared);
    builder.has_made_other_bits(KERNEL, "system_map");
    // They are put in place from the cache.
    fs::remove_dir_all(builder.path("out")).unwrap();
    assert_eq!(builder.all_kept().len(), 1);
    verify(&builder, "").exits(1).says(&format!("differs {KERNEL} in "));
    assert!(builder.all_kept().is_empty(), "{:?}", builder.all_kept());
    builder.kiln("push").exits(0).says(&format!("1 {HELD}"));
    builder.kiln(&format!("build --clean --force {KERNEL}")).exits(0);
    verify(&builder, "").exits(0).says("nothing to verify");
    builder.kiln("push").exits(0).never_says("held back");
}
