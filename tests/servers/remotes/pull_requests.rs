//! Machines that read, and write nothing; and machines that don't agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::buildgrid::{BuildGrid, Guarded};
use super::machines::{Access, Ci, warnings};
use super::nginx::Nginx;
use crate::support::project::{BOOT, KERNEL};

/// A pull request's machine builds what it has changed, and nothing of that comes to the server.
fn a_pull_request_reads(access: Access, stored: &dyn Fn() -> BTreeMap<PathBuf, SystemTime>) {
    let ci = Ci::new(access);
    let builder = ci.builder();
    builder.build("").exits(0);
    let (built, before) = (builder.outputs(), stored());
    assert!(!before.is_empty());

    // Without a key nothing is tried.
    let pull = ci.reader_of(builder);
    pull.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = pull.build("").exits(0).runs(&[BOOT, KERNEL]);
    assert_eq!(warnings(&build.said), 0, "{}", build.said);
    let build = build.complains("nothing is pushed to ci: the signing key is not here");
    drop(build);
    pull.kiln("push").exits(2);
    assert_eq!(stored(), before);

    // With one of its own it is told once that it may not.
    let pull = ci.stranger_of(pull);
    let build = pull.build("").exits(0).runs(&[BOOT, KERNEL]).complains("was not pushed: remote ci");
    assert_eq!(build.said.err.matches("was not pushed").count(), 1, "{}", build.said);
    pull.kiln("push").exits(4).complains("was not pushed: remote ci");
    pull.edit("linux/lib/string.c", "2 + strlen", "1 + strlen");
    assert_eq!(stored(), before);

    // What is there is as good as before.
    let reader = ci.reader_of(pull);
    reader.build("").exits(0).runs(&[]);
    assert_eq!(reader.outputs(), built);
}

/// All files below a directory, and when they were written.
fn written(dir: PathBuf) -> BTreeMap<PathBuf, SystemTime> {
    let (mut dirs, mut found) = (vec![dir], BTreeMap::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                found.insert(entry.path(), entry.metadata().unwrap().modified().unwrap());
            }
        }
    }
    found
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_pull_request_without_a_password_reads_and_builds() {
    let nginx = Nginx::start();
    a_pull_request_reads(nginx.access(), &|| written(nginx.data("")));
    let puts: Vec<_> = nginx.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    assert!(puts.iter().any(|put| put.status == 401), "{puts:?}");
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn a_pull_request_with_a_token_to_read_reads_and_builds() {
    let buildgrid = Guarded::start();
    a_pull_request_reads(buildgrid.access(), &|| written(buildgrid.data()));
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn other_bits_for_the_same_inputs_are_kept_beside_and_told_of() {
    BuildGrid::each(|buildgrid| {
        let ci = Ci::new(buildgrid.access());
        let first = ci.builder();
        first.build("").exits(0);
        let built = first.outputs();

        // A machine that makes other bits, and has not asked.
        let second = ci.another_builder_of(first);
        second.build("--offline").exits(0);
        second.has_made_other_bits(KERNEL, "vmlinux");

        let push = || second.kiln(&format!("push {KERNEL}")).exits(0);
        let told = push().complains("has other bits, signed by ci-1, for the same inputs: vmlinux");
        // Named after what they are: told of again, they are the same evidence.
        assert_eq!(push().err, told.err);
        // Theirs stay.
        let reader = ci.reader_of(second);
        reader.kiln("restore").exits(0);
        assert_eq!(reader.outputs(), built);
    });
}
