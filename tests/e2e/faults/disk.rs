//! A disk without room.

use super::project::{Project, entries, is_root, node};
use crate::support::small_disk::Disk;

/// Asserts that a build on a full disk says so, and that all is well when there is room.
fn fails_until_it_grows(project: &Project, disk: &Disk, context: &str) {
    let ended = project.build();
    let said = ended.code == 4 && ended.err.contains("full");
    let named = ended.err.contains(disk.path().to_str().unwrap());
    assert!(said && named, "{context}: {}: {}", ended.code, ended.err);
    disk.grow(65536);
    project.build().exits(0);
    project.assert_as_if_clean();
    project.assert_fresh();
    assert_eq!(entries(&project.cache.join("cas/damaged")).len(), 0, "{context}");
}

#[test]
fn an_action_that_fills_the_disk() {
    if !is_root("a small disk") {
        return;
    }
    let disk = Disk::new(8 * 1024);
    let big = node("big", "head -c 10000000 /dev/zero >o").reads("small");
    let project = Project::new([node("small", "echo small >o"), big]).with_cache(&disk.path().join("cache"));
    fails_until_it_grows(&project, &disk, "the step's own write");
}

#[test]
fn an_output_that_does_not_fit_into_the_cache() {
    if !is_root("a small disk") {
        return;
    }
    // It fits once; and then, with some of the sizes, as an output, a blob and a copy on its way to `out/`.
    for mib in [9, 12, 15, 18, 21] {
        let disk = Disk::new(mib * 1024);
        let big = node("big", "head -c 8000000 /dev/zero >o");
        let project = Project::new([big]).with_cache(&disk.path().join("cache"));
        let ended = project.build();
        if ended.code == 0 {
            continue;
        }
        assert!(mib < 21, "it fits twice");
        drop(ended);
        fails_until_it_grows(&project, &disk, &format!("{mib} MiB"));
    }
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    if !is_root("a small disk") {
        return;
    }
    // From not enough for an empty index to not quite enough for the last row.
    for kib in [0, 4, 16, 64, 128, 256] {
        let disk = Disk::new(4096);
        disk.fill(kib);
        let project = Project::new([node("small", "echo small >o")]).with_cache(&disk.path().join("cache"));
        let ended = project.build();
        if ended.code != 0 {
            fails_until_it_grows(&project, &disk, &format!("{kib} KiB"));
        }
    }
}

#[test]
fn a_known_result_outlives_a_full_disk() {
    if !is_root("a small disk") {
        return;
    }
    let disk = Disk::new(24 * 1024);
    let project = Project::new([node("big", "head -c 8000000 /dev/zero >o")]);
    let project = project.with_cache(&disk.path().join("cache"));
    project.build().exits(0);
    std::fs::remove_dir_all(project.path("out")).unwrap();
    disk.fill(512);
    let ended = project.build();
    // Outputs are copied beside their place where that is on another disk: then there is room after all.
    assert!(matches!(ended.code, 0 | 4), "{}: {}", ended.code, ended.err);
    disk.grow(65536);
    project.build().exits(0);
    assert_eq!(project.runs("big", "pass"), 1);
}
