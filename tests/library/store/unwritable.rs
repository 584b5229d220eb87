//! Caches on read-only and full disks.

use std::fs;
use std::process::Command;

use kiln::store::{Outcome, Store, StoreError};
use tempfile::TempDir;

use super::a_run;

#[test]
fn a_place_that_can_not_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("cache")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains(file.to_str().unwrap()) && error.help().is_some());
}

/// A file system of its own, unmounted at the end.
struct Mount(TempDir);

impl Mount {
    /// `None`, with a word on why, where this user may not mount.
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                eprintln!("skipped: can't mount a tmpfs: {other:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    let Some(mount) = Mount::tmpfs("size=8M") else { return };
    let home = mount.0.path().join("cache");
    drop(Store::open(&home).unwrap());
    mount.remount("ro");
    let error = Store::open(&home).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.help().is_some());
}

#[test]
fn a_full_disk_costs_what_did_not_fit() {
    let Some(mount) = Mount::tmpfs("size=1M") else { return };
    let home = mount.0.path().join("cache");
    let store = Store::open(&home).unwrap();
    let project = store.project(mount.0.path()).unwrap();
    let kept = store.put_bytes(b"kept").unwrap();

    let source = tempfile::tempdir().unwrap();
    let large = source.path().join("large");
    fs::write(&large, vec![1; 4 << 20]).unwrap();
    let full = |error: StoreError| {
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert!(error.help().is_some());
    };
    full(store.put_file(&large).unwrap_err());
    full(store.put_tree(source.path(), &|_| true).unwrap_err());
    // The failed ones left no room taken; now fill it, so that the index gets none.
    let error = (0..10_000u32)
        .find_map(|n| store.put_bytes(&[n.to_le_bytes().as_slice(), &[0; 1020]].concat()).err())
        .expect("the disk to fill");
    full(error);
    let error = (0..10_000)
        .find_map(|n| {
            store
                .batch(|batch| batch.record_run(project, &a_run(&format!("node {n}"), Outcome::Pass, 1)))
                .err()
        })
        .expect("the index to find no room");
    full(error);

    // What was there before is there still, and with room again it goes on.
    assert_eq!(store.read(&kept.digest, 9).unwrap(), b"kept");
    mount.remount("size=16M");
    store.batch(|batch| batch.record_run(project, &a_run("after", Outcome::Pass, 1))).unwrap();
    store.put_file(&large).unwrap();
    drop(store);
    let store = Store::open(&home).unwrap();
    assert!(store.warnings().is_empty());
    assert_eq!(store.runs(project, "after", 9).unwrap().len(), 1);
}
