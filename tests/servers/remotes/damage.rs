//! What is on the server is not what was put there.

use std::fs;
use std::path::{Path, PathBuf};

use super::contract::name;
use super::journeys::ALL;
use super::machines::{Ci, warnings};
use super::nginx::Nginx;
use crate::support::project::{KERNEL, OUT, Project};

/// All blobs that it has, or all entries.
fn files(nginx: &Nginx, kind: &str) -> Vec<PathBuf> {
    fs::read_dir(nginx.data(kind)).unwrap().map(|file| file.unwrap().path()).collect()
}

/// The file of a blob that a project has in `out/`.
fn blob(nginx: &Nginx, project: &Project, output: &str) -> PathBuf {
    let name = name(&fs::read(project.path(output)).unwrap());
    nginx.data(&format!("cas/{}", name.sha256))
}

/// Spoils blobs: an empty machine builds what they belong to, and a builder puts them right.
fn is_built_and_put_right(spoil: impl Fn(&Path)) {
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let mut machine = ci.builder();
    machine.build("").exits(0);
    let built = machine.outputs();
    let vmlinux = blob(&nginx, &machine, &format!("{OUT}/vmlinux"));
    for (blobs, lost) in [(vec![vmlinux], &[KERNEL][..]), (files(&nginx, "cas"), &ALL)] {
        let before: Vec<_> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
        for blob in &blobs {
            spoil(blob);
        }
        machine = ci.reader_of(machine);
        machine.kiln("restore").exits(0);
        machine.build("").exits(0).runs(lost);
        assert_eq!(machine.outputs(), built);
        machine = ci.reader_of(machine);
        machine.build("").exits(0).runs(lost);
        assert_eq!(machine.outputs(), built);

        machine = ci.another_builder_of(machine);
        machine.build("").exits(0).runs(lost);
        assert_eq!(machine.outputs(), built);
        machine = ci.reader_of(machine);
        let restored = machine.kiln("restore").exits(0);
        assert_eq!(warnings(&restored), 0, "{restored}");
        machine.build("").exits(0).runs(&[]);
        assert_eq!(machine.outputs(), built);
        if let ([blob], [before]) = (&blobs[..], &before[..]) {
            assert!(fs::read(blob).unwrap() == *before, "{}", blob.display());
        }
    }
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_blob_that_is_gone_is_built_again_and_put_back() {
    is_built_and_put_right(|blob| fs::remove_file(blob).unwrap());
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn wrong_content_under_a_digest_is_not_used_and_replaced() {
    is_built_and_put_right(|blob| {
        let mut bytes = fs::read(blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(blob, bytes).unwrap();
    });
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_truncated_blob_is_not_used_and_replaced() {
    is_built_and_put_right(|blob| {
        let bytes = fs::read(blob).unwrap();
        fs::write(blob, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_blob_with_more_behind_it_is_not_used_and_replaced() {
    is_built_and_put_right(|blob| {
        let mut bytes = fs::read(blob).unwrap();
        bytes.extend_from_slice(b"and more");
        fs::write(blob, bytes).unwrap();
    });
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn forged_entries_do_not_count() {
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let mut machine = ci.builder();
    machine.build("").exits(0);
    let built = machine.outputs();
    let entries = files(&nginx, "ac");
    let honest: Vec<Vec<u8>> = entries.iter().map(|entry| fs::read(entry).unwrap()).collect();

    // A bit of what is signed, or of who signed it; nothing; more than an entry ever is; another's.
    let forgeries: [&dyn Fn(usize) -> Vec<u8>; 5] = [
        &|at| {
            let mut entry = honest[at].clone();
            let middle = entry.len() / 2;
            entry[middle] ^= 1;
            entry
        },
        &|at| {
            let mut entry = honest[at].clone();
            *entry.last_mut().unwrap() ^= 1;
            entry
        },
        &|_| Vec::new(),
        &|_| vec![b'k'; (1 << 20) + 1],
        &|at| honest[(at + 1) % honest.len()].clone(),
    ];
    for forge in forgeries {
        for (at, entry) in entries.iter().enumerate() {
            fs::write(entry, forge(at)).unwrap();
        }
        machine = ci.reader_of(machine);
        machine.kiln("restore").exits(0);
        machine.build("").exits(0).runs(&ALL);
        assert_eq!(machine.outputs(), built);
    }

    // A builder writes over what does not count.
    machine = ci.another_builder_of(machine);
    machine.build("").exits(0).runs(&ALL);
    machine = ci.reader_of(machine);
    machine.build("").exits(0).runs(&[]);
    assert_eq!(machine.outputs(), built);
}
