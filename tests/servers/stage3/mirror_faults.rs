//! Mirrors that are wrong, behind, broken or hostile. What can't be believed is not used, and what has nothing to do with it
//! goes on.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use super::mirror::{DATE, Liar, Mirror, flip};
use super::project::{ASK, BINPKG, Project, STAGE3};

/// A project whose lock can't be made of that mirror, for a reason.
#[track_caller]
fn is_not_locked(mirror: &Mirror, key: &str, reason: &str) {
    let project = Project::new(&[&mirror.url()]);
    project.pin(key);
    project.kiln("update").exits(4).mentions("amd64-openrc").mentions(reason);
    let lock = fs::read_to_string(project.path("kiln.lock")).unwrap_or_default();
    assert!(!lock.contains("\nstage3"), "{lock}");
    // What is not locked lacks that, and says what to do.
    project.kiln("build").exits(4).mentions("kiln update");
    assert_eq!(mirror.tarballs_asked_for(), 0);
}

/// A project that has been locked while all was well, and then can't have the tarball, for a reason.
#[track_caller]
fn is_not_had(mirror: &Mirror, spoil: impl FnOnce(), reason: &str) {
    let project = Project::new(&[&mirror.url()]);
    project.kiln("update").exits(0);
    spoil();
    project.kiln("build").exits(4).mentions(STAGE3).mentions(reason);
    // Neither that nor what stands on it has a result.
    let plan = project.plan();
    assert_ne!(plan[STAGE3], "fresh");
    assert!(!project.path("out").exists(), "{plan:?}");
    assert!(project.cached(".sqsh").is_empty() && project.cached(".gpkg.tar").is_empty());
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_key_that_is_not_pinned_signs_nothing() {
    let mirror = Mirror::signed_by("other", &["amd64"]);
    is_not_locked(&mirror, "release", "none of the pinned keys");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_key_that_has_expired_signs_nothing() {
    let mirror = Mirror::signed_by("expired", &["amd64"]);
    is_not_locked(&mirror, "expired", "expired");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_key_that_was_revoked_signs_nothing() {
    let mirror = Mirror::signed_by("revoked", &["amd64"]);
    is_not_locked(&mirror, "revoked", "revoked");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_text_without_a_signature_is_not_believed() {
    let mirror = Mirror::of(&["amd64"]);
    let text = fs::read_to_string(mirror.latest("amd64")).unwrap();
    let bare: String = text
        .lines()
        .skip(3)
        .take_while(|line| !line.starts_with("-----"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(bare.contains(DATE), "{bare}");
    mirror.change(&mirror.latest("amd64"), |file| {
        file.set_len(0).unwrap();
        file.write_all(bare.as_bytes()).unwrap();
    });
    is_not_locked(&mirror, "release", "not signed");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn digests_without_a_signature_are_not_believed() {
    let mirror = Mirror::of(&["amd64"]);
    mirror.change(&mirror.tarball("amd64", ".DIGESTS"), |file| {
        file.set_len(0).unwrap();
        file.write_all(b"# SHA512 HASH\n").unwrap();
    });
    is_not_locked(&mirror, "release", "not signed");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn what_stands_before_the_signed_text_is_not_read() {
    let mirror = Mirror::of(&["amd64"]);
    let text = fs::read_to_string(mirror.latest("amd64")).unwrap();
    let later = "20270101T000000Z";
    let evil = format!("# ts=1800000000\n{later}/stage3-amd64-openrc-{later}.tar.xz 1000\n");
    mirror
        .change(&mirror.latest("amd64"), |file| file.write_all(format!("{evil}{text}").as_bytes()).unwrap());
    let project = Project::new(&[&mirror.url()]);
    let updated = project.kiln("update");
    // Whether the rest of it counts or not.
    if updated.code == 0 {
        let lock = project.read("kiln.lock");
        assert!(lock.contains(DATE) && !lock.contains(later), "{lock}");
    } else {
        updated.exits(4).mentions("not signed");
    }
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_tarball_without_a_signature_is_not_fetched() {
    let mirror = Mirror::of(&["amd64"]);
    is_not_had(&mirror, || fs::remove_file(mirror.tarball("amd64", ".asc")).unwrap(), ".tar.xz.asc");
    assert_eq!(mirror.tarballs_asked_for(), 0);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_tarball_whose_signature_is_of_another_is_not_used() {
    let (mirror, other) = (Mirror::of(&["amd64"]), Mirror::signed_by("other", &["amd64"]));
    let spoil = || {
        fs::copy(other.tarball("amd64", ".asc"), mirror.tarball("amd64", ".asc")).unwrap();
    };
    is_not_had(&mirror, spoil, "none of the pinned keys");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn one_flipped_byte_is_seen_and_another_mirror_helps() {
    let (mirror, good) = (Mirror::of(&["amd64"]), Mirror::of(&["amd64"]));
    let tarball = mirror.tarball("amd64", "");
    is_not_had(&mirror, || mirror.change(&tarball, |file| flip(file, 20_000_000)), "digest");

    let project = Project::new(&[&mirror.url(), &good.url()]);
    project.kiln("update").exits(0);
    project.kiln("build stage3:").exits(0);
    assert_eq!(good.tarballs_asked_for(), 1);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_truncated_tarball_is_not_used() {
    let mirror = Mirror::of(&["amd64"]);
    let tarball = mirror.tarball("amd64", "");
    let half = fs::metadata(&tarball).unwrap().len() / 2;
    is_not_had(
        &mirror,
        || mirror.change(&tarball, |file| file.set_len(half).unwrap()),
        &format!("{half} bytes"),
    );
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_download_that_broke_off_goes_on() {
    let mirror = Mirror::of(&["amd64"]);
    let tarball = mirror.tarball("amd64", "");
    let project = Project::new(&[&Liar::before(&mirror, |size| size).url()]);
    project.kiln("update").exits(0);
    let size = fs::metadata(&tarball).unwrap().len();
    let whole = fs::read(&tarball).unwrap();
    // It announces all and sends half.
    mirror.change(&tarball, |file| file.set_len(size / 2).unwrap());
    let broken = Project::new(&[&Liar::before(&mirror, |size| size * 2).url(), &mirror.url()]);
    fs::copy(project.path("kiln.lock"), broken.path("kiln.lock")).unwrap();
    broken.kiln("build stage3:").exits(4).mentions(STAGE3);
    mirror.change(&tarball, |file| {
        file.seek(SeekFrom::Start(size / 2)).unwrap();
        file.write_all(&whole[whole.len() / 2..]).unwrap();
    });
    broken.kiln("build stage3:").exits(0);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_page_instead_of_the_files_is_called_one() {
    let mirror = Mirror::of(&["amd64"]);
    is_not_had(&mirror, || mirror.is("portal"), "text/html");

    let mirror = Mirror::of(&["amd64"]);
    mirror.is("portal");
    is_not_locked(&mirror, "release", "text/html");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_length_that_is_not_true_is_seen() {
    let mirror = Mirror::of(&["amd64"]);
    for (lie, reason) in [
        ((|size| size + 4096) as fn(u64) -> u64, "bytes where there should be"),
        (|size| size - 4096, "bytes where there should be"),
    ] {
        let project = Project::new(&[&Liar::before(&mirror, lie).url()]);
        project.kiln("update").exits(0);
        project.kiln("build").exits(4).mentions(STAGE3).mentions(reason);
    }
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_mirror_that_goes_back_in_time_changes_no_lock() {
    let (mirror, behind) = (Mirror::of(&["amd64"]), Mirror::of(&["amd64"]));
    mirror.publish("amd64", "20260201T000000Z", "release");
    let project = Project::new(&[&mirror.url()]);
    project.kiln("update").exits(0);
    let lock = project.read("kiln.lock");
    assert!(lock.contains("20260201T000000Z"), "{lock}");

    project.edit("graph.ron", &mirror.url(), &behind.url());
    project.kiln("update").exits(4).mentions("amd64-openrc").mentions("goes back in time").mentions(DATE);
    assert_eq!(project.read("kiln.lock"), lock);

    // Another that is not behind is taken, whichever is named first.
    let both = format!("{:?}, {:?}", behind.url(), mirror.url());
    project.edit("graph.ron", &format!("{:?}", behind.url()), &both);
    project.kiln("update").exits(0);
    assert_eq!(project.read("kiln.lock"), lock);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_mirror_that_stands_still_is_too_old_for_who_says_so() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    project.edit("graph.ron", "gentoo: (", "gentoo: (fresh: \"30days\", ");
    project.kiln("update").exits(4).mentions("amd64-openrc").mentions("at most 30 days");
    let now = Mirror::signed_by("release", &[]);
    let today = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    now.publish("amd64", &today, "release");
    project.edit("graph.ron", &mirror.url(), &now.url());
    project.kiln("update").exits(0);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_stage3_of_another_arch_is_not_taken_for_this_one() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    project.with_arm64();
    // Signed as it should be, and in the wrong place.
    let wrong = mirror.latest("arm64");
    fs::create_dir_all(wrong.parent().unwrap()).unwrap();
    fs::copy(mirror.latest("amd64"), &wrong).unwrap();
    project.kiln("update").exits(4).mentions("arm64-openrc").mentions("not what it should be");

    // The one that is right is locked, and what stands on it is built.
    let lock = project.read("kiln.lock");
    assert!(lock.contains("stage3 amd64-openrc") && !lock.contains("arm64"), "{lock}");
    let built = project.build("--keep-going").exits(4).runs(&[ASK, BINPKG, STAGE3]);
    built.mentions("stage3:arm64").mentions("kiln update arm64-openrc");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_mirror_that_is_away_costs_nothing_once_all_is_there() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    mirror.is("gone");
    project.kiln("build").exits(0);
    project.assert_fresh();
    project.kiln("update").exits(4).mentions("503");
    project.assert_fresh();
}
