//! A disk without room.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::project::{Project, entries, is_root, node};

/// A small disk.
struct Disk(TempDir);

impl Disk {
    fn new(kib: u32) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={kib}k");
        mount(Some("small"), disk.0.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self, kib: u32) {
        let size = format!("size={kib}k");
        let none = None::<&str>;
        mount(none, self.path(), none, MsFlags::MS_REMOUNT, Some(size.as_str())).unwrap();
    }

    /// Fills it to the brim, but for so much.
    fn fill(&self, but_kib: u64) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        let full = io::copy(&mut io::repeat(1), &mut file).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.flush().unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(but_kib * 1024)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// Asserts that a build on a full disk says so, and that all is well when there is room.
fn fails_until_it_grows(project: &Project, disk: &Disk, context: &str) {
    let ended = project.build();
    let said = ended.status.code() == Some(4) && ended.err.contains("full");
    let named = ended.err.contains(disk.path().to_str().unwrap());
    assert!(said && named, "{context}: {}: {}", ended.status, ended.err);
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
        if ended.status.code() == Some(0) {
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
        if ended.status.code() != Some(0) {
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
    assert!(matches!(ended.status.code(), Some(0 | 4)), "{}: {}", ended.status, ended.err);
    disk.grow(65536);
    project.build().exits(0);
    assert_eq!(project.runs("big", "pass"), 1);
}
