use std::process::Command;

use super::*;
use crate::gentoo::image::hostile::{Archive, described, hostile, make_root};
use crate::gentoo::image::tests::{apart, mount_small};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Makes an image of an archive, and gives the directory in which nothing but that is then.
fn image(archive: &[u8]) -> (tempfile::TempDir, Result<ArchiveTotals, FromTarError>) {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let made = from_tar_xz(file, &dir.path().join("image"), Limits::default(), 2);
    (dir, made)
}

#[test]
fn an_image_holds_what_the_archive_does() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, archive) = (dir.path().join("root"), dir.path().join("root.tar.xz"));
    make_root(&root);
    let status = Command::new("tar")
        .args(["--numeric-owner", "--sort=name", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&root)
        .arg("-cJf")
        .arg(&archive)
        .arg(".")
        .status()
        .unwrap();
    assert!(status.success());
    let images = ["one", "other"].map(|name| dir.path().join(name));
    for (image, processors) in images.iter().zip([1, 4]) {
        from_tar_xz(File::open(&archive).unwrap(), image, Limits::default(), processors).unwrap();
        // The time of the day is to make no difference.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap());
    let at = dir.path().join("at");
    let contents =
        Command::new("unsquashfs").args(["-quiet", "-no-progress", "-d"]).args([&at, &images[0]]).status();
    assert!(contents.unwrap().success());
    let (ours, theirs) = (described(&at, true), described(&root, true));
    for (path, text) in &theirs {
        assert_eq!(ours.get(path), Some(text), "{}", path.display());
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn what_is_behind_the_end_of_an_archive_is_not_packed() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    builder.append_data(&mut header, "file", &b"one"[..]).unwrap();
    let archive = builder.into_inner().unwrap();
    let (plain, made) = image(&packed(&archive));
    made.unwrap();
    // More than fits into a pipe.
    let indexed = [archive, vec![b'i'; 3 << 20]].concat();
    let (with_index, made) = image(&packed(&indexed));
    made.unwrap();
    let bytes = |dir: &tempfile::TempDir| fs::read(dir.path().join("image")).unwrap();
    assert!(bytes(&plain) == bytes(&with_index));
    // It belongs to the file all the same.
    let cut = packed(&indexed);
    let (_dir, made) = image(&cut[..cut.len() - 20]);
    assert!(matches!(made.unwrap_err(), FromTarError::Archive(_)));
}

#[test]
fn hostile_archives_make_no_image() {
    for (problem, archive) in hostile() {
        let (dir, made) = image(&packed(&archive.bytes()));
        let error = made.expect_err(problem);
        assert!(matches!(error, FromTarError::Archive(ArchiveError::Entry { .. })), "{problem}: {error}");
        assert!(error.to_string().contains(problem), "{error} does not say {problem:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{problem}");
    }
    let twice = Archive::new().file("f", b"one").file("f", b"two");
    assert!(image(&packed(&twice.bytes())).1.unwrap_err().to_string().contains("there twice"));
}

#[test]
fn what_is_cut_off_makes_no_image() {
    let whole = packed(&Archive::new().dir("./").file("f", &vec![b'x'; 3_000_000]).bytes());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for archive in [&whole[..whole.len() / 2], &flipped, b"<html>", b""] {
        let (dir, made) = image(archive);
        assert!(made.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    let (dir, made) = image(&whole);
    assert_eq!(made.unwrap().bytes, 3_000_000);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_disk_that_is_full_leaves_no_image() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut random = vec![0; 6_000_000];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let archive = packed(&Archive::new().dir("./").file("f", &random).bytes());
    let small = tempfile::tempdir().unwrap();
    apart(|| {
        mount_small(small.path());
        let mut file = tempfile::tempfile_in("/var/tmp").unwrap();
        file.write_all(&archive).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let to = small.path().join("image");
        let error = from_tar_xz(file, &to, Limits::default(), 2).unwrap_err().to_string();
        assert!(error.contains("space"), "{error}");
        assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0);
    });
}

#[test]
fn bombs_are_bounded() {
    let made = |archive: &[u8], limits: Limits| {
        let dir = tempfile::tempdir().unwrap();
        let made = from_tar_xz(archive, &dir.path().join("image"), limits, 1).unwrap_err().to_string();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        made
    };
    let mut many = Archive::new();
    for number in 0..50 {
        many = many.file(&format!("f{number}"), b"0123456789");
    }
    let many = packed(&many.bytes());
    let error = made(&many, Limits { bytes: 1 << 20, entries: 20 });
    assert!(error.contains("one more than the 20"), "{error}");
    let error = made(&many, Limits { bytes: 300, entries: 100 });
    assert!(error.contains("may have 300 bytes"), "{error}");
    // A few kilobytes that would be gigabytes.
    let error = made(&packed(&Archive::huge(8 << 30, 64 << 20)), Limits { bytes: 1 << 30, entries: 10 });
    assert!(error.contains("too large"), "{error}");
}
