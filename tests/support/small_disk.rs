//! Disks that are soon full.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A small disk.
pub struct Disk(TempDir);

impl Disk {
    /// One of so many KiB.
    pub fn new(kib: u32) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={kib}k");
        mount(Some("small"), disk.0.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives it another size.
    pub fn grow(&self, kib: u32) {
        let size = format!("size={kib}k");
        let none = None::<&str>;
        mount(none, self.path(), none, MsFlags::MS_REMOUNT, Some(size.as_str())).unwrap();
    }

    /// Fills it to the brim, but for so much.
    pub fn fill(&self, but_kib: u64) {
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
