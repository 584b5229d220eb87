//! What is told while bytes come from a remote.

use std::fs;

use serde_json::Value;

use crate::project::{Build, KERNEL};
use crate::remote::{Shared, emptied, reader_of};

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

    // Half of a blob was here.
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
