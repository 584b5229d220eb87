//! What is told while bytes come from a remote.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::affected::{commit, git};
use crate::remote::{Shared, emptied, reader_of};
use crate::support::project::{Build, CONFIG, KERNEL, OUT};

/// What was told of bytes, in order.
fn told(build: &Build) -> Vec<&Value> {
    build.events().iter().filter(|event| event["event"] == "fetching").collect()
}

#[test]
fn how_much_has_come_is_told_and_what_an_earlier_try_left_is_told_apart() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);

    let reader = reader_of(builder);
    let restored = reader.kiln("restore").exits(0).says("5 from the cache").says("fetched ").says("B/s");
    assert!(restored.err.contains("fetch "), "{restored}");
    assert!(!restored.out.contains("earlier try"), "{restored}");

    // All of it, and each byte once.
    let reader = emptied(reader);
    let restored = Build::new(reader.kiln("restore --format json-lines")).exits(0);
    let last = told(&restored).pop().expect("it is told").clone();
    let all = last["of"].as_u64().unwrap();
    assert!(all > 0 && last["bytes"] == all && last["resumed"] == 0, "{last}");
    assert!(last["rate"].as_u64().unwrap() > 0, "{last}");

    // Half of a blob was here. One that may be written to is copied, as from a server, and not linked.
    for blob in shared.blobs() {
        fs::set_permissions(&blob, Permissions::from_mode(0o644)).unwrap();
    }
    let reader = emptied(reader);
    reader.kiln("plan --offline").exits(0);
    let content = |path: &std::path::Path| fs::read(path).unwrap();
    // Small ones are fetched together, and whole.
    let largest = shared.blobs().into_iter().max_by_key(|path| content(path).len()).unwrap();
    let (name, bytes) = (largest.file_name().unwrap().to_str().unwrap(), content(&largest));
    let half = bytes.len() / 2;
    fs::create_dir_all(reader.path("cache/partial")).unwrap();
    fs::write(reader.path("cache/partial").join(name), &bytes[..half]).unwrap();
    let restored = Build::new(reader.kiln("restore --format json-lines")).exits(0);
    let last = told(&restored).pop().expect("it is told").clone();
    assert_eq!(last["resumed"], half, "{last}");
    assert_eq!(last["bytes"], all - half as u64, "{last}");
    assert_eq!(last["of"], all, "{last}");

    // Wrong bytes that were here are none that were of use.
    let reader = emptied(reader);
    reader.kiln("plan --offline").exits(0);
    fs::create_dir_all(reader.path("cache/partial")).unwrap();
    fs::write(reader.path("cache/partial").join(name), vec![0; half]).unwrap();
    let restored = Build::new(reader.kiln("restore --format json-lines")).exits(0);
    let last = told(&restored).pop().expect("it is told").clone();
    assert_eq!(last["resumed"], 0, "{last}");
    assert_eq!(last["bytes"], last["of"], "{last}");
    assert!(last["bytes"].as_u64().unwrap() >= all, "{last}");
}

#[test]
fn a_build_tells_of_what_it_fetches_and_nothing_where_nothing_comes() {
    let shared = Shared::new();
    let builder = shared.builder();
    let build = builder.build("").exits(0);
    assert!(told(&build).is_empty(), "it made all of it");

    let reader = reader_of(builder);
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = reader.build(KERNEL).exits(0).runs(&[KERNEL]);
    let last = told(&build).pop().expect("it reads the config, which is elsewhere");
    assert!(last["bytes"].as_u64().unwrap() > 0 && last["bytes"] == last["of"], "{last}");
    let quiet = emptied(reader).kiln(&format!("build -q {KERNEL}")).exits(0);
    assert!(!quiet.err.contains("fetch "), "{quiet}");
}

#[test]
fn where_sources_have_yet_to_be_unpacked_a_restore_fetches_no_more_than_where_they_are_there() {
    let shared = Shared::new();
    let builder = shared.builder();
    let linux = builder.path("linux");
    git(&linux, &["init", "--quiet"]);
    let first = commit(&linux, "first");
    builder.edit("graph.ron", "Dir(\"linux\")", &format!("Git(path: \"linux\", rev: \"{first}\")"));
    builder.build("").exits(0);
    let config = format!("{OUT}/config");

    // Nothing runs next: only what was asked for comes.
    let reader = reader_of(builder);
    let dry = reader.kiln(&format!("restore --dry-run {KERNEL}")).exits(0);
    assert!(!dry.out.contains("fetch  "), "what is elsewhere can't be known yet: {dry}");
    reader.kiln(&format!("restore {KERNEL}")).exits(0).says("1 from the cache");
    assert!(reader.exists(&format!("{OUT}/vmlinux")) && !reader.exists(&config), "nothing reads the config");
    reader.build(KERNEL).exits(0).runs(&[]);

    // The kernel runs next, and reads the config.
    let reader = emptied(reader);
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let second = commit(&linux, "second");
    reader.edit("graph.ron", &first, &second);
    reader.kiln(&format!("restore {KERNEL}")).exits(0);
    assert!(
        !reader.exists(&format!("{OUT}/vmlinux")) && reader.exists(&config),
        "the kernel reads the config"
    );
    fs::remove_dir_all(shared.path()).unwrap();
    reader.kiln(&format!("build {KERNEL}")).exits(0);
}

#[test]
fn what_a_restore_has_in_vain_tried_to_fetch_runs_next_and_finds_what_it_reads() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    let image = fs::read(builder.path(format!("{OUT}/bzImage"))).unwrap();
    let lost = shared.blobs().into_iter().find(|blob| fs::read(blob).unwrap() == image).unwrap();
    fs::remove_file(lost).unwrap();

    let reader = reader_of(builder);
    reader.kiln(&format!("restore {KERNEL}")).exits(0).complains("has lost a blob");
    assert!(!reader.exists(&format!("{OUT}/bzImage")));
    assert!(reader.exists(&format!("{OUT}/config")), "the kernel runs next, and reads it");
    fs::remove_dir_all(shared.path()).unwrap();
    reader.build(KERNEL).exits(0).runs(&[KERNEL]);
}

#[test]
fn a_collection_and_a_verification_know_what_is_made_from_things_that_are_elsewhere() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    let reader = reader_of(builder);
    reader.kiln(&format!("restore {KERNEL}")).exits(0);
    assert!(!reader.exists(&format!("{OUT}/config")), "the kernel was made from it, and it is elsewhere");

    reader.kiln("cache gc --size 0").exits(0);
    let plan = reader.plan(KERNEL);
    assert_eq!(plan.verdict(KERNEL), "fresh", "the graph needs it");
    // It fetches what the kernel is made from.
    reader.kiln(&format!("verify {KERNEL}")).exits(0).says("1 same");
    reader.kiln(&format!("verify --offline {CONFIG}")).exits(4);
}
