//! Packages that can't be had, or are not what they should be.

use std::fs::{self, File};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mirror::{self, Mirror, fingerprint, flip};
use super::project::{ANSWER, ASK, BINPKG, Project, STAGE3, copy, repository};

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_package_that_does_not_compile_shows_the_end_of_its_log() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.wants(&["app-misc/broken"]);
    let failed = project.kiln("build").exits(1).mentions(BINPKG).mentions("app-misc/broken-1.0");
    let failed = failed.mentions("not_declared").never_says("\u{1b}");
    assert!(!failed.out.contains("Traceback"), "{failed}");
    assert!(!project.path("out").exists());

    // It fails again, and no kernel is built in half a root; without it, all is as it was.
    project.kiln("build").exits(1);
    project.edit("graph.ron", ", \"app-misc/broken\"", "");
    project.build("").exits(0);
    project.assert_fresh();
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_package_that_is_none_is_named() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.wants(&["app-misc/nothing"]);
    project.kiln("build").exits(1).mentions(BINPKG).mentions("app-misc/nothing");
    // What emerge would take for something else is refused where it is written.
    project.edit("graph.ron", "app-misc/nothing", "--unmerge");
    project.kiln("plan").exits(2).mentions("--unmerge").mentions("graph.ron");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_binary_package_that_was_tampered_with_is_made_anew() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    let packages = project.cached("bc-1.07.1-1.gpkg.tar");
    assert_eq!(packages.len(), 1, "{packages:?}");
    let middle = fs::metadata(&packages[0]).unwrap().len() / 2;
    flip(&mut File::options().read(true).write(true).open(&packages[0]).unwrap(), middle);

    // Another package makes that the others are taken from the cache.
    project.wants(&["app-misc/hello"]);
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert!(project.read(ANSWER).contains("/usr/bin/bc"));
    let log = project.kiln(&format!("log {BINPKG}")).exits(0);
    let log = log.mentions("not used: bc-1.07.1-1.gpkg.tar");
    // It is made, the others are used.
    let made = log.out.lines().find(|line| line.contains("Emerging (")).unwrap_or_else(|| panic!("{log}"));
    assert!(made.contains("sys-devel/bc") && log.out.contains("Emerging binary ("), "{log}");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn packages_outlive_the_stage3_that_they_were_made_in() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    mirror.publish_with("amd64", "20260201T000000Z", "release", &[("KILN_STAGE3_MORE", "newer")]);
    project.kiln("update").exits(0).mentions("amd64-openrc: from 20260101T000000Z to 20260201T000000Z");
    project.ask("ls /etc/newer; command -v bc");
    project.build("").exits(0).runs(&[STAGE3, BINPKG, ASK]);
    assert_eq!(project.read(ANSWER), "/etc/newer\n/usr/bin/bc\n");
    let log = project.kiln(&format!("log {BINPKG}")).exits(0);
    assert!(log.out.contains("Emerging binary (") && !log.out.contains("Emerging ("), "{log}");

    // So they do another account.
    let user = "(stage3: \"amd64-openrc\", user: (name: \"worker\", id: 4242))";
    project.edit("graph.ron", "(stage3: \"amd64-openrc\")", user);
    project.ask("id; command -v bc");
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert!(project.read(ANSWER).contains("uid=4242(worker)"));
    let log = project.kiln(&format!("log {BINPKG}")).exits(0);
    assert!(log.out.contains("Emerging binary (") && !log.out.contains("Emerging ("), "{log}");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn what_a_package_is_made_from_is_fetched_when_it_is_missing() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.wants(&["app-misc/fetched"]);
    project.ask("cat /usr/share/kiln-fetched/kiln-fetched-1.0.txt");
    // Nobody has it: that may be otherwise the next time, and says what is missing.
    let failed = project
        .kiln("build")
        .exits(4)
        .mentions(BINPKG)
        .mentions("app-misc/fetched")
        .mentions("kiln-fetched-1.0.txt");
    assert!(!failed.out.contains("Traceback"), "{failed}");
    // Something else under that name is not taken for it.
    let file = mirror.data("distfiles/kiln-fetched-1.0.txt");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "other!!\n").unwrap();
    project.kiln("build").exits(4).mentions("kiln-fetched-1.0.txt");
    fs::write(&file, "fetched\n").unwrap();
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert_eq!(project.read(ANSWER), "fetched\n");
    let asked = mirror.asked();
    project.assert_fresh();
    // Once it is made, nobody is asked for it.
    project.wants(&["app-misc/fetched", "app-misc/hello"]);
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert_eq!(mirror.asked(), asked);
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_server_of_binary_packages_is_asked_before_anything_is_compiled() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    let index = project.cached("Packages").remove(0);
    let packages = index.parent().unwrap();
    copy(packages, &mirror.data("binpkgs"));
    fs::remove_dir_all(packages).unwrap();
    let binhost = format!("(stage3: \"amd64-openrc\", binhosts: [\"{}binpkgs\"])", mirror.url());
    project.edit("graph.ron", "(stage3: \"amd64-openrc\")", &binhost);
    project.build("").exits(0);
    let asked = mirror.asked();
    assert!(asked.contains_key("bc-1.07.1-1.gpkg.tar"), "{asked:?}");
    assert!(project.read(ANSWER).contains("/usr/bin/bc"));
    project.assert_fresh();
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn of_a_server_whose_packages_have_to_be_signed_unsigned_ones_are_not_used() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    let index = project.cached("Packages").remove(0);
    let served = mirror.data("binpkgs");
    copy(index.parent().unwrap(), &served);
    let signed = format!(
        "(stage3: \"amd64-openrc\", binhosts: [\"{}binpkgs\"], packages_signed_by: (keys: \"release.asc\", signers: [\"{}\"]))",
        mirror.url(),
        fingerprint("release")
    );
    project.edit("graph.ron", "(stage3: \"amd64-openrc\")", &signed);

    // They are made here instead.
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    let log = project.kiln(&format!("log {BINPKG}")).exits(0);
    assert!(log.out.contains("not used: bc-1.07.1-1.gpkg.tar") && log.out.contains("sign"), "{log}");
    assert!(!log.out.contains("Emerging binary ("), "{log}");
    assert!(project.read(ANSWER).contains("/usr/bin/bc"));

    // Signed by somebody else, they are no better; signed by whom the spec names, they are used.
    for (key, used, account) in [("other", false, 2001), ("release", true, 2002)] {
        let key = mirror::made().join(format!("made/keys/{key}.asc"));
        let script = repository("tests/servers/stage3/sign-packages.sh");
        assert!(Command::new(script).arg(key).arg(&served).status().unwrap().success());
        // Another account is a reason to install them once more.
        let user = format!("user: (name: \"builder\", id: {account}), binhosts:");
        let before = format!("user: (name: \"builder\", id: {}), binhosts:", account - 1);
        let from = if project.read("graph.ron").contains(&before) { &before } else { "binhosts:" };
        project.edit("graph.ron", from, &user);
        project.build("").exits(0).runs(&[BINPKG, ASK]);
        let log = project.kiln(&format!("log {BINPKG}")).exits(0);
        assert_eq!(log.out.contains("Emerging binary ("), used, "{log}");
        assert_eq!(log.out.contains("not used: bc-1.07.1-1.gpkg.tar"), !used, "{log}");
    }
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_disk_that_is_full_while_an_image_is_packed_is_told_and_waited_for() {
    let mirror = Mirror::of(&["amd64"]);
    let disk = tempfile::tempdir().unwrap();
    let project = Project::new(&[&mirror.url()]).with_cache(&disk.path().join("cache"));
    project.kiln("update").exits(0);
    // Room for the tarball, and for some of the image.
    let tarball = fs::metadata(mirror.tarball("amd64", "")).unwrap().len();
    let small = format!("size={}", tarball + (16 << 20));
    mount(Some("small"), disk.path(), Some("tmpfs"), MsFlags::empty(), Some(small.as_str())).unwrap();
    let _mounted = Mounted(disk.path());
    project.kiln("build").exits(4).mentions(STAGE3).mentions("No space left on device").mentions("room");

    let none = None::<&str>;
    mount(none, disk.path(), none, MsFlags::MS_REMOUNT, Some("size=1g")).unwrap();
    project.kiln("build").exits(0);
    project.assert_fresh();
    // The image is made while the tarball comes: what had come by then is gone on with.
    assert!(mirror.tarballs_asked_for() <= 2, "{:?}", mirror.asked());
}

/// What is mounted there while this is held.
struct Mounted<'a>(&'a std::path::Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}
