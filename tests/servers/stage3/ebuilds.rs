//! The tree of ebuilds that packages are made by.

use std::fs;

use super::mirror::{Mirror, flip};
use super::project::{ANSWER, ASK, BINPKG, Project, copy, repository};

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_later_tree_is_taken_when_it_is_asked_for_and_makes_what_is_new() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.build("").exits(0).runs(&[]);
    // Another recipe of a package that is wanted, and of one that nobody wants.
    let tree = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ebuilds = tree.path().join("gentoo");
    copy(&repository("tests/gentoo"), &ebuilds);
    let bc = ebuilds.join("sys-devel/bc");
    fs::rename(bc.join("bc-1.07.1.ebuild"), bc.join("bc-1.08.ebuild")).unwrap();
    let variables = [("KILN_EBUILDS", ebuilds.to_str().unwrap())];
    mirror.publish_with("amd64", "20260201T000000Z", "release", &variables);
    project.assert_fresh();

    project
        .kiln("update ebuilds")
        .exits(0)
        .mentions("ebuilds: from 20260101 to 20260201")
        .never_says("amd64");
    project.kiln(&format!("why {BINPKG}")).exits(0).mentions("ebuilds");
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    let log = project
        .kiln(&format!("log {BINPKG}"))
        .exits(0)
        .mentions("snapshots/squashfs/gentoo-20260201.xz.sqfs");
    assert!(log.out.contains("sys-devel/bc-1.08") && log.out.contains("Emerging binary ("), "{log}");
    assert!(project.read(ANSWER).contains("/usr/bin/bc"));
    project.assert_fresh();
    // Both trees are kept, and nothing of them is in the root.
    assert_eq!(project.cached(".xz.sqfs").len(), 2);
    project.ask("ls -A /var/db/repos/gentoo | wc -l");
    project.build("").exits(0).runs(&[ASK]);
    assert_eq!(project.read(ANSWER), "0\n");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_tree_counts_by_the_signature_of_who_signs_trees() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    project.kiln("update amd64-openrc").exits(0);
    project
        .kiln("plan")
        .mentions(BINPKG)
        .mentions("no tree of ebuilds is locked")
        .mentions("kiln update ebuilds");
    project.kiln("doctor").mentions("kiln.lock").mentions("no tree of ebuilds is locked");

    // Who signs stage3s does not sign trees.
    mirror.publish_with("amd64", "20260201T000000Z", "release", &[("KILN_EBUILDS_KEY", "release")]);
    let said =
        project.kiln("update").exits(4).mentions("the tree of ebuilds").mentions("none of the pinned keys");
    said.mentions("amd64-openrc: from 20260101T000000Z to 20260201T000000Z");
    assert!(!project.read("kiln.lock").contains("\nebuilds"));
    mirror.publish("amd64", "20260301T000000Z", "release");
    project.kiln("update").exits(0).mentions("ebuilds: 20260301, new");

    // Back in time.
    let list = mirror.data("snapshots/squashfs/sha512sum.txt");
    let later = fs::read(&list).unwrap();
    fs::remove_file(mirror.data("snapshots/squashfs/gentoo-20260301.xz.sqfs")).unwrap();
    mirror.publish("amd64", "20260215T000000Z", "release");
    let lock = project.read("kiln.lock");
    project
        .kiln("update ebuilds")
        .exits(4)
        .mentions("goes back in time")
        .mentions("20260215")
        .mentions("20260301");
    assert_eq!(project.read("kiln.lock"), lock);
    fs::write(&list, later).unwrap();

    // It is not there; it is not what was signed.
    project.kiln("build").exits(4).mentions(BINPKG).mentions("the tree of ebuilds").mentions("kiln update");
    let tree = mirror.data("snapshots/squashfs/gentoo-20260301.xz.sqfs");
    fs::copy(mirror.ebuilds(), &tree).unwrap();
    mirror.change(&tree, |file| flip(file, 100));
    project.kiln("build").exits(4).mentions(BINPKG).mentions("other digests");
    assert!(project.cached(".xz.sqfs").is_empty());
    assert!(!project.path("out").exists());
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_root_without_a_tree_says_what_is_missing() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    let graph = project.read("graph.ron");
    let start = graph.find("        ebuilds: (").unwrap();
    let end = start + graph[start..].find('\n').unwrap();
    project.write("graph.ron", &format!("{}{}", &graph[..start], &graph[end..]));
    project.kiln("update").exits(0).never_says("ebuilds");
    project.kiln("update ebuilds").exits(2).mentions("`ebuilds` in `gentoo`");
    project
        .kiln("build")
        .exits(1)
        .mentions(BINPKG)
        .mentions("no tree of ebuilds")
        .mentions("`ebuilds` in `gentoo`");

    // Where nothing is installed, none is missed.
    project.edit("graph.ron", "(stage3: \"amd64-openrc\")", "(stage3: \"amd64-openrc\", packages: [])");
    project.ask("command -v bc || echo no bc");
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert_eq!(project.read(ANSWER), "no bc\n");
}
