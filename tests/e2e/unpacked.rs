//! A commit is unpacked as it is, whatever its repository and anybody's configuration say.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::repository::{
    Repository, at_commit, committed, contents, gits, graph, in_repository, project_of, tree,
};
use crate::support::project::Project;

#[test]
fn a_commit_is_unpacked_as_it_is_whatever_is_configured() {
    for git in gits() {
        let (project, repository, _) = in_repository();
        let evil = project.path("evil").display().to_string();
        project.script("evil", &format!("#!/bin/sh\ntouch {}\ncat\n", project.path("pwned").display()));
        repository.write(
            ".gitattributes",
            "* text=auto eol=crlf ident filter=evil diff=evil\n\
             hidden export-ignore\nversion export-subst\n",
        );
        repository.write("hidden", "must be there\n");
        repository.write("version", "$Format:%H$ $Id$\n");
        repository.write("dos", "a\r\nb\n");
        repository.write("empty", "");
        repository.write("odd \"name\"\n\t'$(x)", "odd\n");
        repository.write("-option", "odd\n");
        repository.write("binary", [0, 255, 13, 10]);
        fs::write(project.path("repo").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "latin\n").unwrap();
        repository.write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n");
        let commit = repository.commit("all sorts");
        let wanted = committed(&repository, &commit);
        assert_eq!(wanted.len(), 14);

        // A commit that stands for the other, and a hostile configuration.
        repository.write("file", "replaced\n");
        let other = repository.commit("another");
        repository.git(&["replace", &commit, &other]);
        let blob = repository.git(&["rev-parse", &format!("{commit}:file")]);
        repository.git(&["replace", &blob, &repository.git(&["rev-parse", &format!("{other}:file")])]);
        for (name, value) in [
            ("core.autocrlf", "true"),
            ("core.eol", "crlf"),
            ("core.fsmonitor", &evil),
            ("core.hooksPath", &project.path("hooks").display().to_string()),
            ("core.pager", &evil),
            ("core.sshCommand", &evil),
            ("core.attributesFile", &project.path("repo/.gitattributes").display().to_string()),
            ("filter.evil.smudge", &evil),
            ("filter.evil.clean", &evil),
            ("filter.evil.process", &evil),
            ("filter.evil.required", "true"),
            ("diff.external", &evil),
            ("diff.evil.textconv", &evil),
            ("remote.origin.url", "ext::sh -c evil"),
            ("remote.origin.uploadpack", &evil),
            ("remote.origin.promisor", "true"),
            ("extensions.partialClone", "origin"),
            ("protocol.ext.allow", "always"),
            ("tar.tar.command", &evil),
            ("alias.cat-file", &format!("!{evil}")),
        ] {
            repository.git(&["config", name, value]);
        }
        project.script("hooks/post-checkout", &format!("#!/bin/sh\n{evil}\n"));
        project.write("home/.gitconfig", "[core]\n\tautocrlf = true\n\teol = crlf\n");
        let path = format!("{git}:{}", std::env::var("PATH").unwrap());
        let home = project.path("home").display().to_string();
        let project = project.with_variables([("PATH", &*path), ("HOME", &*home)]);

        at_commit(&project, &commit);
        let said = project.kiln("build -j2").exits(0);
        assert!(
            said.err.contains("1 pointers of Git LFS") || said.out.contains("1 pointers of Git LFS"),
            "{said}"
        );
        assert_eq!(contents(&tree(&project)), wanted, "{git}");
        assert!(fs::read(project.path("out/it/list")).unwrap().ends_with(b"content\n"));
        assert!(!project.exists("pwned"), "{git}: a command of the repository's ran");
        project.plan("").has_nothing_to_do();
        project.kiln("cache verify").exits(0).says("1 unpacked source: all is well");
    }
}

#[test]
fn repositories_of_all_kinds_are_read() {
    // SHA-256, bare, shallow, and one of which a part is the source.
    let project = project_of("Dir(\"none\")");
    let repository = Repository::with_format(project.path("repo"), "sha256");
    repository.write("file", "content\n");
    repository.write("sub/file", "below\n");
    let commit = repository.commit("first");
    assert_eq!(commit.len(), 64);
    at_commit(&project, &commit);
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree(&project)), committed(&repository, &commit));

    let kinds: [&[&str]; 3] = [&["--bare"], &["--depth=1"], &["--no-checkout"]];
    for kind in kinds {
        let project = project_of("Dir(\"none\")");
        let origin = Repository::new(project.path("origin"));
        origin.write("file", "at first\n");
        origin.commit("first");
        origin.write("file", "content\n");
        let commit = origin.commit("second");
        let url = format!("file://{}", project.path("origin").display());
        origin.git(&[&["clone", "--quiet", &url, "../repo"], kind].concat());
        at_commit(&project, "HEAD");
        project.kiln("build").exits(0);
        assert_eq!(contents(&tree(&project)), committed(&origin, &commit), "{kind:?}");
    }

    // Two parts of one commit are two trees.
    project.write("graph.ron", &graph(&format!("Git(path: \"repo/sub\", rev: \"{commit}\")")));
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/it/list"), "./file\nbelow\n");
}

#[test]
fn what_a_partial_clone_lacks_is_an_error_and_is_not_fetched() {
    for git in gits() {
        let project = project_of("Dir(\"none\")");
        let origin = Repository::new(project.path("origin"));
        origin.write("file", "content\n");
        origin.commit("first");
        origin.git(&["config", "uploadpack.allowFilter", "true"]);
        let url = format!("file://{}", project.path("origin").display());
        origin.git(&["clone", "--quiet", "--no-checkout", "--filter=blob:none", &url, "../repo"]);
        // What a fetch would run.
        project.script("evil", &format!("#!/bin/sh\ntouch {}\n", project.path("pwned").display()));
        let repository = Repository { dir: project.path("repo") };
        repository.git(&["config", "remote.origin.uploadpack", &project.path("evil").display().to_string()]);
        at_commit(&project, "HEAD");
        let path = format!("{git}:{}", std::env::var("PATH").unwrap());
        let project = project.with_variables([("PATH", &*path)]);
        let said = project.kiln("build").exits(4);
        assert!(said.err.contains("partial clone") || said.err.contains("promisor"), "{said}");
        assert!(!project.exists("pwned"), "{git}");
        // What is there is as good as ever.
        repository.git(&["config", "--unset", "remote.origin.uploadpack"]);
        repository.git(&["checkout", "--quiet", "main"]);
        project.kiln("build").exits(0);
    }
}

#[test]
fn a_damaged_object_is_an_error() {
    let (project, repository, commit) = in_repository();
    // An object with a right form and another content than its name says.
    let objects = |id: &str| project.path("repo/.git/objects").join(&id[..2]).join(&id[2..]);
    let wrong = objects(&repository.object("blob", b"another\n"));
    let file = objects(&repository.git(&["rev-parse", &format!("{commit}:file")]));
    fs::remove_file(&file).unwrap();
    fs::copy(&wrong, &file).unwrap();
    project.kiln("build").exits(4).complains("source:tree").complains("file: object").complains("damaged");
    fs::remove_file(&file).unwrap();
    project.kiln("build").exits(4).complains("file: object").complains("is not there");
    assert!(!project.exists("out/it/list"));
    let made = fs::read_dir(project.path("cache/sources")).into_iter().flatten().count();
    assert_eq!(made, 0, "nothing is left");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (project, repository, commit) = in_repository();
    let blob = repository.git(&["rev-parse", &format!("{commit}:file")]);
    let below = repository.git(&["rev-parse", &format!("{commit}:dir")]);
    let cases: [(&[(&str, &[u8], &str)], &str); 8] = [
        (&[("100644", b"..", &blob)], "leads out"),
        (&[("40000", b"..", &below)], "leads out"),
        (&[("100644", b"../../evil", &blob)], "leads out"),
        (&[("100644", b"/evil", &blob)], "leads out"),
        (&[("40000", b".GIT", &below)], "git's own data"),
        (&[("100644", b"a", &blob), ("40000", b"a", &below)], "is there twice"),
        (&[("100644", b"", &blob)], "has no name"),
        (&[("100600", b"a", &below)], "is a tree, and should be a blob"),
    ];
    for (entries, says) in cases {
        at_commit(&project, &repository.commit_of(entries));
        project.kiln("build").exits(4).complains(says);
        assert!(!project.exists("cache/evil") && !project.exists("evil"));
    }
    // A link is no directory to write through, and an empty one leads nowhere.
    let link = repository.object("blob", b"");
    at_commit(&project, &repository.commit_of(&[("120000", b"a", &link)]));
    project.kiln("build").exits(4).complains("no link can have");
    // A tree of trees of trees: few objects, and more files than any disk has.
    let mut bomb = below;
    for _ in 0..4 {
        let names: Vec<Vec<u8>> = (0..1000).map(|name| format!("{name:03}").into_bytes()).collect();
        let entries: Vec<(&str, &[u8], &str)> =
            names.iter().map(|name| ("40000", &name[..], &*bomb)).collect();
        let commit = repository.commit_of(&entries);
        bomb = repository.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
    }
    let bomb = repository.git(&["commit-tree", "-m", "bomb", &bomb]);
    at_commit(&project, &bomb);
    project.kiln("build").exits(4).complains("is one of too many");
}

/// A repository with a submodule in a directory, which has one itself.
fn with_submodules() -> (Project, Repository, String) {
    let (project, repository, _) = in_repository();
    let inner = Repository::new(project.path("inner"));
    inner.write("innermost", "inner\n");
    inner.commit("inner");
    let outer = Repository::new(project.path("outer"));
    outer.write("outermost", "outer\n");
    outer.git(&["submodule", "--quiet", "add", "../inner", "nested"]);
    outer.commit("outer");
    repository.git(&["submodule", "--quiet", "add", "--name", "a/name", "../outer", "dir/module"]);
    let commit = repository.commit("with submodules");
    at_commit(&project, &commit);
    (project, repository, commit)
}

#[test]
fn submodules_are_included() {
    let (project, repository, commit) = with_submodules();
    // The one in the submodule was not fetched.
    let said = project.kiln("build").exits(4);
    let said = said.complains("submodules whose commits are not here: dir/module/nested (commit ");
    said.complains("submodule update --init --recursive");
    repository.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    project.kiln("build").exits(0);
    let found = contents(&tree(&project));
    assert_eq!(found[&b"dir/module/outermost"[..]].1, b"outer\n");
    assert_eq!(found[&b"dir/module/nested/innermost"[..]].1, b"inner\n");
    assert_eq!(found.len(), 4 + 1 + 2 + 1, "{found:?}");

    // Without a checkout, what the repository has of it is enough: also where that says it had one elsewhere.
    fs::remove_dir_all(project.path("cache")).unwrap();
    fs::remove_dir_all(project.path("repo/dir")).unwrap();
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree(&project)), found);

    // The other way around: a checkout of its own.
    let project2 = project_of("Dir(\"none\")");
    let repository2 = Repository::new(project2.path("repo"));
    repository2.write("file", "content\n");
    let module = Repository::new(project2.path("repo/module"));
    module.write("inside", "1\n");
    module.commit("module");
    let pinned = repository2.commit("with a module that is no submodule yet");
    at_commit(&project2, &pinned);
    project2.kiln("build").exits(0);
    assert_eq!(contents(&tree(&project2))[&b"module/inside"[..]].1, b"1\n");
    // A commit that it does not have.
    fs::remove_dir_all(project2.path("repo/module/.git")).unwrap();
    fs::remove_dir_all(project2.path("cache")).unwrap();
    project2.kiln("build").exits(4).complains("not here: module (commit ");
    drop(commit);
}

#[test]
fn what_gitmodules_names_elsewhere_is_not_looked_at() {
    let (project, repository, _) = in_repository();
    let private = Repository::new(project.path("private"));
    private.write("secret", "secret\n");
    let secret = private.commit("secret");
    let place = project.path("private/.git").display().to_string();
    for name in [place.clone(), "../../../private/.git".to_owned()] {
        let modules = format!("[submodule \"{name}\"]\n\tpath = module\n\turl = {place}\n");
        let modules = repository.object("blob", modules.as_bytes());
        let file = repository.git(&["rev-parse", "HEAD:file"]);
        let entries: [(&str, &[u8], &str); 3] = [
            ("100644", b".gitmodules", &modules),
            ("100644", b"file", &file),
            ("160000", b"module", &secret),
        ];
        at_commit(&project, &repository.commit_of(&entries));
        symlink("../private", project.path("repo/module")).unwrap();
        project.kiln("build").exits(4).complains("submodules whose commits are not here: module");
        fs::remove_file(project.path("repo/module")).unwrap();
    }
}

#[test]
fn a_hook_of_another_repository_may_run_kiln() {
    let (project, repository, commit) = in_repository();
    let other = Repository::new(project.path("other"));
    other.write("file", "of another\n");
    other.commit("other");
    let git_dir = project.path("other/.git").display().to_string();
    let project =
        project.with_variables([("GIT_DIR", &*git_dir), ("GIT_WORK_TREE", "/"), ("GIT_INDEX_FILE", "x")]);
    project.kiln("build").exits(0);
    assert_eq!(contents(&tree(&project)), committed(&repository, &commit));
}
