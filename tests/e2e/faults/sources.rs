//! Source trees that are missing, unreadable, or odd.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::project::{Project, node, not_utf8};

/// A project with one node, which lists its source.
fn lists_source() -> Project {
    let list = "cd /kiln/in/tree && find . ! -type d | LC_ALL=C sort >/kiln/out/o";
    let project = Project::new([node("list", list).reads_source("tree")]).with_source("tree");
    project.write("tree/file", "");
    project
}

/// Builds a tree that is odd and yet well, and gives what the node saw.
fn listed(project: &Project) -> Vec<u8> {
    project.build().exits(0);
    project.assert_fresh();
    fs::read(project.path("out/list/o")).unwrap()
}

#[test]
fn a_tree_that_is_missing() {
    let project = lists_source();
    fs::remove_dir_all(project.path("tree")).unwrap();
    project
        .build()
        .exits(4)
        .complains("source tree: the source tree")
        .complains("does not exist")
        .complains("help:");
}

#[test]
fn a_tree_that_is_a_file() {
    let project = lists_source();
    fs::remove_dir_all(project.path("tree")).unwrap();
    project.write("tree", "");
    project.build().exits(4).complains("is not a directory");
}

#[test]
fn files_that_may_not_be_read() {
    for (path, mode) in [("file", 0o000), ("dir", 0o000), ("dir", 0o444)] {
        let project = lists_source();
        project.write("tree/dir/below", "");
        let project = project.of_ordinary_user();
        fs::set_permissions(project.path("tree").join(path), Permissions::from_mode(mode)).unwrap();
        project
            .build()
            .exits(4)
            .complains("cannot be read\n")
            .complains(path)
            .complains("permission denied")
            .complains("chmod");
        fs::set_permissions(project.path("tree").join(path), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(listed(&project), b"./dir/below\n./file\n");
    }
}

#[test]
fn symlinks_that_loop_dangle_or_lead_out() {
    let project = lists_source();
    symlink("loop", project.path("tree/loop")).unwrap();
    symlink("..", project.path("tree/up")).unwrap();
    symlink("gone", project.path("tree/dangling")).unwrap();
    symlink("/", project.path("tree/out")).unwrap();
    assert_eq!(listed(&project), b"./dangling\n./file\n./loop\n./out\n./up\n");
    fs::remove_file(project.path("tree/dangling")).unwrap();
    symlink("file", project.path("tree/dangling")).unwrap();
    project.build().exits(0).complains("tree: dangling points elsewhere");
}

#[test]
fn fifos_and_sockets() {
    let project = lists_source();
    assert!(Command::new("mkfifo").arg(project.path("tree/fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(project.path("tree/socket")).unwrap();
    assert_eq!(listed(&project), b"./fifo\n./file\n./socket\n");
}

#[test]
fn a_name_that_is_not_utf8() {
    let project = lists_source();
    let odd = project.path("tree").join(not_utf8());
    fs::write(&odd, "").unwrap();
    assert_eq!(listed(&project), b"./caf\xe9\n./file\n");
    fs::write(&odd, "other").unwrap();
    project.build().exits(0).complains("tree: caf\u{fffd} changed");
}

#[test]
fn a_tree_that_is_too_deep() {
    let project = lists_source();
    fs::create_dir_all(project.path("tree").join("d/".repeat(300))).unwrap();
    project.build().exits(4).complains("directories deep");
    fs::remove_dir_all(project.path("tree/d")).unwrap();
    fs::create_dir_all(project.path("tree").join("d/".repeat(200))).unwrap();
    assert_eq!(listed(&project), b"./file\n");
}
