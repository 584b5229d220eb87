//! Source trees that kiln unpacked, and that something has changed since.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::repository::{
    Repository, at_commit, committed, contents, describe, graph, in_repository, project_of, tree,
};
use crate::support::project::Project;

/// Ways to change a tree, with what is said of each.
fn tamperings() -> Vec<(&'static str, &'static str, fn(&Path))> {
    vec![
        ("removed", "dir/other is gone", |tree| fs::remove_file(tree.join("dir/other")).unwrap()),
        ("edited, and its time set back", "file changed", |tree| {
            let path = tree.join("file");
            let modified = path.metadata().unwrap().modified().unwrap();
            let mut file = File::options().write(true).open(&path).unwrap();
            file.write_all(b"CONTENT\n").unwrap();
            file.set_modified(modified).unwrap();
        }),
        ("added", "dir/new is new", |tree| fs::write(tree.join("dir/new"), "new").unwrap()),
        ("a directory too many", "empty is new", |tree| fs::create_dir(tree.join("empty")).unwrap()),
        ("a link elsewhere", "link points elsewhere", |tree| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("file", tree.join("link")).unwrap();
        }),
        ("a file that is a link now", "file is another kind of file", |tree| {
            fs::remove_file(tree.join("file")).unwrap();
            symlink("dir/other", tree.join("file")).unwrap();
        }),
        ("no program any more", "dir/program is no longer executable", |tree| {
            fs::set_permissions(tree.join("dir/program"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("a directory that is gone", "dir is gone", |tree| fs::remove_dir_all(tree.join("dir")).unwrap()),
        ("a directory that is a link now", "dir is another kind of file", |tree| {
            fs::rename(tree.join("dir"), tree.parent().unwrap().parent().unwrap().join("moved")).unwrap();
            symlink("../../moved", tree.join("dir")).unwrap();
        }),
        ("a file that is a directory now", "file is another kind of file", |tree| {
            fs::remove_file(tree.join("file")).unwrap();
            fs::create_dir_all(tree.join("file/below")).unwrap();
            fs::write(tree.join("file/below/x"), "x").unwrap();
        }),
        ("a pipe", "pipe is new", |tree| {
            assert!(Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success());
        }),
    ]
}

#[test]
fn a_tree_that_was_changed_is_noticed_and_put_right() {
    let (project, repository, commit) = in_repository();
    let wanted = committed(&repository, &commit);
    project.kiln("build").exits(0);
    let listed = project.read("out/it/list");
    let tree = tree(&project);
    for (what, says, tamper) in tamperings() {
        tamper(&tree);
        let plan = project.plan("");
        assert_eq!(plan.verdict("source:tree"), "stale", "{what}");
        let reasons = plan.reasons("source:tree");
        assert!(reasons.contains("was changed by something else"), "{what}: {reasons}");
        assert!(reasons.contains(says), "{what}: {reasons}");
        project.kiln("cache verify").exits(1).says("holds something else than what was unpacked there");
        project.kiln("cache verify --quick").exits(1);

        // What runs meanwhile sees the commit.
        describe(&project, what);
        let said = project.kiln("build").exits(0);
        assert!(format!("{}{}", said.out, said.err).contains("was put right: "), "{what}: {said}");
        assert_eq!(contents(&tree), wanted, "{what}");
        assert_eq!(project.read("out/it/list"), listed, "{what}");
        project.plan("").has_nothing_to_do();
        project.kiln("cache verify").exits(0);
    }
    // What is as it was stays where it is: another kiln may be at work in it.
    let before = fs::metadata(tree.join("dir/other")).unwrap().modified().unwrap();
    fs::remove_file(tree.join("file")).unwrap();
    let inode = |path: &str| fs::metadata(tree.join(path)).unwrap().ino();
    let kept = inode("dir/other");
    project.kiln("build").exits(0);
    assert_eq!(
        (inode("dir/other"), fs::metadata(tree.join("dir/other")).unwrap().modified().unwrap()),
        (kept, before)
    );
}

#[test]
fn a_changed_tree_is_not_reported_as_its_commit() {
    let project = Project::new();
    let repository = Repository { dir: project.path("linux") };
    repository.git(&["init", "--quiet"]);
    let commit = repository.commit("all");
    project.edit("graph.ron", "Dir(\"linux\")", &format!("Git(path: \"linux\", rev: \"{commit}\")"));
    project.kiln("build -j2").exits(0);
    let standing = project.kiln("report --format json").exits(0).json();
    assert_eq!(standing["sources"]["linux"]["exact"], true);
    let tree = tree(&project);
    fs::remove_file(tree.join("Kconfig")).unwrap();
    let kcidb = project.kiln("report --format kcidb --origin test").exits(0).json();
    assert_eq!(kcidb["checkouts"].as_array().unwrap().len(), 0, "{kcidb:#}");
    assert_eq!(kcidb["builds"].as_array().unwrap().len(), 0, "{kcidb:#}");
    project.kiln("build -j2").exits(0);
    let kcidb = project.kiln("report --format kcidb --origin test").exits(0).json();
    assert_eq!(kcidb["checkouts"][0]["patchset_hash"], "", "{kcidb:#}");
}

#[test]
fn a_tree_without_its_record_is_not_believed() {
    let (project, repository, commit) = in_repository();
    project.kiln("build").exits(0);
    let tree = tree(&project);
    let record = tree.with_file_name(format!(".tree-{}", tree.file_name().unwrap().to_str().unwrap()));
    for content in [None, Some(""), Some("kiln unpacked 1 \n"), Some("something else\n")] {
        fs::write(tree.join("file"), "changed\n").unwrap();
        match content {
            None => fs::remove_file(&record).unwrap(),
            Some(content) => fs::write(&record, content).unwrap(),
        }
        assert_eq!(project.plan("").verdict("source:tree"), "stale");
        project.kiln("build").exits(0);
        assert_eq!(contents(&tree), committed(&repository, &commit));
        project.plan("").has_nothing_to_do();
    }
    // In its place is something else altogether; where that leads is left alone.
    let elsewhere = project.path("elsewhere");
    fs::rename(&tree, &elsewhere).unwrap();
    fs::write(elsewhere.join("file"), "mine\n").unwrap();
    symlink(&elsewhere, &tree).unwrap();
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree), committed(&repository, &commit));
    assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"mine\n");
    // What cannot even be read is replaced.
    let wanted = contents(&tree);
    let project = project.of_ordinary_user();
    fs::set_permissions(tree.join("dir"), fs::Permissions::from_mode(0o000)).unwrap();
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree), wanted);
}

#[test]
fn a_tarball_that_was_unpacked_is_compared_too() {
    let project = project_of("Dir(\"none\")");
    project.write("packed/linux/file", "content\n");
    project.write("packed/linux/dir/other", "other\n");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(project.path("packed")).arg("-czf").arg(project.path("packed.tar.gz")).arg("linux");
    assert!(tar.status().unwrap().success());
    let digest = kiln::digest::Digest::of_bytes(&fs::read(project.path("packed.tar.gz")).unwrap());
    project.write(
        "graph.ron",
        &graph(&format!("Tarball(path: \"packed.tar.gz\", digest: \"blake3:{digest}\")")),
    );
    project.kiln("build").exits(0);
    let tree = tree(&project);
    let wanted = contents(&tree);
    assert_eq!(wanted.len(), 2);
    fs::remove_file(tree.join("dir/other")).unwrap();
    fs::write(tree.join("file"), "changed\n").unwrap();
    let reasons = project.plan("").reasons("source:tree");
    assert!(reasons.contains("dir/other is gone") && reasons.contains("file changed"), "{reasons}");
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree), wanted);
    project.plan("").has_nothing_to_do();
}

#[test]
fn killed_while_it_unpacks_the_next_kiln_unpacks_all_of_it() {
    let (project, repository, _) = in_repository();
    for number in 0..3000 {
        repository.write(&format!("many/{}/{number}", number % 50), format!("{number}\n"));
    }
    let commit = repository.commit("many");
    at_commit(&project, &commit);
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    for round in 0..8_u32 {
        let mut kiln =
            project.command("build -q").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(u64::from((seed >> round) % 400)));
        kiln.kill().unwrap();
        kiln.wait().unwrap();
    }
    // Two at once, after all these.
    let mut kilns: Vec<_> =
        (0..2).map(|_| project.command("build -q").stdout(Stdio::null()).spawn().unwrap()).collect();
    assert!(kilns.iter_mut().all(|kiln| kiln.wait().unwrap().success()));
    let found = contents(&tree(&project));
    assert_eq!(found.len(), 3004);
    for number in 0..3000 {
        let (_, content) = &found[format!("many/{}/{number}", number % 50).as_bytes()];
        assert_eq!(content, format!("{number}\n").as_bytes());
    }
    project.plan("").has_nothing_to_do();
    assert_eq!(fs::read_dir(project.path("cache/work")).unwrap().count(), 0);
}
