//! A mirror of our own with a small stage3, on a real nginx, and what goes wrong with it.

use std::fs;
use std::ops::ControlFlow;

use super::*;
use crate::gentoo::digests::Hashing;
use crate::gentoo::fetch::TransferLimits;
use crate::gentoo::lock::Lock;
use crate::gentoo::tests::{Home, Nginx};

const OLD: (&str, u64) = ("20250921T170227Z", 1_758_475_800);
const NEW: (&str, u64) = ("20250928T170227Z", 1_759_080_600);

fn stage3() -> Stage3 {
    Stage3::named("arm64-openrc").unwrap()
}

fn path(date: &str) -> String {
    format!("{}{date}/stage3-arm64-openrc-{date}.tar.xz", stage3().builds())
}

fn content(date: &str) -> Vec<u8> {
    date.repeat(10_000).into_bytes()
}

/// Puts a build on a mirror, and signs it with a home's key.
fn publish(nginx: &Nginx, home: &Home, (date, as_of): (&str, u64)) {
    let (content, path) = (content(date), path(date));
    let file = path.rsplit('/').next().unwrap();
    let (digests, size) = Hashing::of(&*content).unwrap();
    let listed = format!(
        "# BLAKE2B HASH\n{}  {file}\n# SHA512 HASH\n{}  {file}\n",
        digests.blake2b(),
        digests.sha512()
    );
    nginx.put(&path, &content);
    nginx.put(&format!("{path}.asc"), &home.detached(&["--armor"], &content));
    nginx.put(&format!("{path}.DIGESTS"), &home.clear_signed(&[], &listed));
    let latest = format!("# Latest as of some day\n# ts={as_of}\n{date}/{file} {size}\n");
    nginx.put(&stage3().latest(), &home.clear_signed(&[], &latest));
}

fn mirrors(of: &[&Nginx]) -> Mirrors {
    let limits = TransferLimits { timeout: Duration::from_secs(5), min_rate: 1000 };
    Mirrors::new(of.iter().map(|nginx| &*nginx.address), limits).unwrap()
}

fn resolve(
    of: &[&Nginx],
    keys: &Keyring,
    locked: Option<&LockedStage3>,
) -> Result<LockedStage3, DownloadError> {
    latest_stage3(&mirrors(of), &stage3(), keys, locked, None, SystemTime::now())
}

fn get(
    of: &[&Nginx],
    keys: &Keyring,
    locked: &LockedStage3,
) -> (tempfile::TempDir, Result<Signer, DownloadError>) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("stage3.tar.xz");
    let watch = &mut |_: crate::gentoo::fetch::Progress<'_>| ControlFlow::Continue(());
    let got = super::stage3(&mirrors(of), &stage3(), locked, keys, &to, SystemTime::now(), Vec::new, watch);
    (
        dir,
        got.map(|(signer, seen)| {
            assert!(seen == fs::read(&to).unwrap());
            signer
        }),
    )
}

fn says(error: impl std::fmt::Display, parts: &[&str]) {
    let error = error.to_string();
    for part in parts {
        assert!(error.contains(part), "{error} does not say {part:?}");
    }
}

#[test]
fn the_latest_build_is_locked_and_comes() {
    let (home, nginx) = (Home::new(), Nginx::new(""));
    publish(&nginx, &home, NEW);
    let locked = resolve(&[&nginx], &home.ring(), None).unwrap();
    let (dir, got) = get(&[&nginx], &home.ring(), &locked);
    assert_eq!(got.unwrap().primary, home.primary);
    assert_eq!(fs::read(dir.path().join("stage3.tar.xz")).unwrap(), content(NEW.0));
    // What is locked comes from a lock file as well as from a mirror.
    let mut lock = Lock::default();
    lock.update(&stage3(), locked.clone());
    assert_eq!(Lock::parse(&lock.text()).unwrap().get(&stage3()), Some(&locked));
    // The same build again is no step back.
    assert_eq!(resolve(&[&nginx], &home.ring(), Some(&locked)).unwrap(), locked);
}

#[test]
fn a_mirror_that_goes_back_in_time_is_passed_over() {
    let (home, behind, current) = (Home::new(), Nginx::new(""), Nginx::new(""));
    publish(&behind, &home, OLD);
    publish(&current, &home, NEW);
    let keys = home.ring();
    let locked = resolve(&[&current], &keys, None).unwrap();
    let error = resolve(&[&behind], &keys, Some(&locked)).unwrap_err();
    says(error, &["stage3-arm64-openrc", "goes back in time", OLD.0, NEW.0]);
    assert_eq!(resolve(&[&behind, &current], &keys, Some(&locked)).unwrap(), locked);
    // Without a lock, nobody can know; a bound on the age helps then.
    assert!(resolve(&[&behind], &keys, None).is_ok());
    let error = latest_stage3(
        &mirrors(&[&behind]),
        &stage3(),
        &keys,
        None,
        Some(Duration::from_hours(240)),
        SystemTime::now(),
    );
    says(error.unwrap_err(), &["days ago"]);
}

#[test]
fn what_is_wrong_with_the_signatures_is_said() {
    let (home, other, nginx) = (Home::new(), Home::new(), Nginx::new(""));
    publish(&nginx, &home, NEW);
    let keys = home.ring();
    says(resolve(&[&nginx], &other.ring(), None).unwrap_err(), &["none of the pinned keys"]);
    let locked = resolve(&[&nginx], &keys, None).unwrap();

    // The tarball is the one that is locked, and somebody else has signed it.
    let asc = format!("{}.asc", path(NEW.0));
    nginx.put(&asc, &other.detached(&["--armor"], &content(NEW.0)));
    says(get(&[&nginx], &keys, &locked).1.unwrap_err(), &["none of the pinned keys"]);
    nginx.put(&asc, b"<html>not found</html>");
    says(get(&[&nginx], &keys, &locked).1.unwrap_err(), &["not signed as it should be"]);
    // The right key's signature of another build.
    nginx.put(&asc, &home.detached(&["--armor"], &content(OLD.0)));
    says(get(&[&nginx], &keys, &locked).1.unwrap_err(), &["its tarball", "does not fit"]);

    // A tarball with one byte flipped.
    publish(&nginx, &home, NEW);
    let mut flipped = content(NEW.0);
    flipped[5000] ^= 1;
    nginx.put(&path(NEW.0), &flipped);
    let (dir, got) = get(&[&nginx], &keys, &locked);
    says(got.unwrap_err(), &["has other digests"]);
    assert!(!dir.path().join("stage3.tar.xz").exists());

    // Digests of which somebody has changed one, and a text with a line in front of it.
    publish(&nginx, &home, NEW);
    let file = nginx.dir.path().join("www").join(stage3().latest());
    let signed = fs::read_to_string(&file).unwrap();
    let evil = format!("{}/stage3-arm64-openrc-{}.tar.xz 5\n", OLD.0, OLD.0);
    fs::write(&file, format!("{evil}{signed}")).unwrap();
    let resolved = resolve(&[&nginx], &keys, None);
    assert!(resolved.is_err() || resolved.unwrap() == locked);
    let digests = nginx.dir.path().join("www").join(format!("{}.DIGESTS", path(NEW.0)));
    publish(&nginx, &home, NEW);
    let text = fs::read_to_string(&digests).unwrap().replacen("# SHA512", "# sha512", 1);
    fs::write(&digests, text).unwrap();
    says(resolve(&[&nginx], &keys, None).unwrap_err(), &["DIGESTS", "does not fit"]);
}

#[test]
fn another_archs_stage3_is_not_taken() {
    let (home, nginx) = (Home::new(), Nginx::new(""));
    publish(&nginx, &home, NEW);
    let amd64 = Stage3::named("amd64-openrc").unwrap();
    let signed = fs::read(nginx.dir.path().join("www").join(stage3().latest())).unwrap();
    nginx.put(&amd64.latest(), &signed);
    let error =
        latest_stage3(&mirrors(&[&nginx]), &amd64, &home.ring(), None, None, SystemTime::now()).unwrap_err();
    says(error, &["stage3-amd64-openrc", "where", "was to be expected"]);
}

#[test]
fn the_latest_tree_of_ebuilds_is_locked_and_comes() {
    let (home, nginx) = (Home::new(), Nginx::new(""));
    let keys = home.ring();
    let offer = |days: &[&str]| {
        let line = |day: &&str| {
            nginx.put(&format!("snapshots/squashfs/gentoo-{day}.xz.sqfs"), day.as_bytes());
            format!("{}  gentoo-{day}.xz.sqfs\n", Hashing::of(day.as_bytes()).unwrap().0.sha512())
        };
        let list: String = days.iter().map(line).collect();
        nginx.put(&EbuildTree::list(), &home.clear_signed(&[], &list));
    };
    let resolve = |keys: &Keyring, locked: Option<&EbuildTree>| {
        latest_ebuilds(&mirrors(&[&nginx]), keys, locked, None, SystemTime::now())
    };
    let dir = tempfile::tempdir().unwrap();
    let get = |tree: &EbuildTree| {
        let to = dir.path().join(&tree.path()[20..]);
        let watch = &mut |_: crate::gentoo::fetch::Progress<'_>| ControlFlow::Continue(());
        ebuilds(&mirrors(&[&nginx]), tree, &to, watch).map(|()| fs::read_to_string(to).unwrap())
    };
    offer(&["20250927", "20250928"]);
    let locked = resolve(&keys, None).unwrap();
    assert_eq!(get(&locked).unwrap(), "20250928");
    let mut lock = Lock::default();
    lock.update_ebuilds(locked.clone());
    assert_eq!(Lock::parse(&lock.text()).unwrap().ebuilds(), Some(&locked));

    // Whoever signs stage3s alone has no say in trees.
    says(
        resolve(&Home::new().ring(), None).unwrap_err(),
        &["the tree of ebuilds", "none of the pinned keys"],
    );
    offer(&["20250926", "20250927"]);
    says(resolve(&keys, Some(&locked)).unwrap_err(), &["goes back in time", "20250927", "20250928"]);
    fs::remove_file(dir.path().join(&locked.path()[20..])).unwrap();
    nginx.put(&locked.path(), b"20250929");
    says(get(&locked).unwrap_err(), &["the tree of ebuilds", "has other digests"]);
    assert!(!dir.path().join(&locked.path()[20..]).exists());
}

#[test]
fn a_build_that_mirrors_have_dropped_says_what_to_do() {
    let (home, nginx) = (Home::new(), Nginx::new(""));
    publish(&nginx, &home, OLD);
    let locked = resolve(&[&nginx], &home.ring(), None).unwrap();
    fs::remove_dir_all(nginx.dir.path().join("www").join(path(OLD.0)).parent().unwrap()).unwrap();
    says(get(&[&nginx], &home.ring(), &locked).1.unwrap_err(), &["kiln update", OLD.0]);
}
