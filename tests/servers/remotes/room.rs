//! What comes finds no room.

use std::fs;
use std::os::unix::fs::symlink;

use super::machines::{Ci, LARGE, with_large_output};
use super::nginx::Nginx;
use super::outages::LARGE_OUT;
use crate::support::small_disk::Disk;

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_full_disk_ends_a_restore_and_leaves_no_half_of_an_output() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a small disk needs root");
        return;
    }
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let mut machine = ci.builder_of(with_large_output());
    machine.build("").exits(0);
    let large = fs::read(machine.path(LARGE_OUT)).unwrap();
    let mib = u32::try_from(LARGE >> 20).unwrap();

    // Of the cache, and of the outputs.
    for dir in ["cache", "out"] {
        machine = ci.reader_of(machine);
        let disk = Disk::new(mib / 2 * 1024);
        symlink(disk.path(), machine.path(dir)).unwrap();
        for command in ["restore", "build", "restore"] {
            let said = machine.kiln(command).exits(4);
            assert!(said.err.contains("No space left") || said.err.contains("full"), "{said}");
            assert!(!machine.exists(LARGE_OUT), "a part of it is there: {said}");
        }
        disk.grow(4 * mib * 1024);
        machine.kiln("restore").exits(0).says("1 from the cache");
        assert!(fs::read(machine.path(LARGE_OUT)).unwrap() == large);
        machine.build("").exits(0).runs(&[]);
        fs::remove_file(machine.path(dir)).unwrap();
    }
}
