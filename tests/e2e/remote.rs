//! Results that travel: from one machine to another by way of a directory that both reach.

use std::fs;
use std::path::{Path, PathBuf};

use kiln::remote::SigningKey;
use tempfile::TempDir;

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, OUT, Project};

/// A directory that several machines reach.
pub struct Shared {
    dir: TempDir,
    key: SigningKey,
}

impl Shared {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("kiln-shared-").tempdir().unwrap();
        Self { dir, key: SigningKey::generate("ci-1").unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Lets a project use it; `settings` are those of the remote, and of the project.
    pub fn joins(&self, project: &Project, remote: &str, settings: &str) {
        let url = self.path().display();
        let text =
            format!("version: 1, remotes: [(name: \"shared\", url: \"dir:{url}\", {remote})], {settings}");
        project.edit("graph.ron", "version: 1,", &text);
    }

    /// A builder's machine: it pushes what it makes, signed.
    pub fn builder(&self) -> Project {
        let project = Project::new();
        self.joins(
            &project,
            "write: true",
            &format!("keys: [\"{}\"], sign: File(\"ci.secret\"),", self.key.public()),
        );
        self.key.write(&project.path("ci.secret")).unwrap();
        project
    }

    /// All blobs.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in fs::read_dir(self.path().join("cas")).unwrap() {
            found.extend(fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        found.retain(|path| path.is_file());
        found
    }

    /// All entries.
    pub fn entries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in fs::read_dir(self.path().join("ac")).unwrap() {
            found.extend(fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        found.retain(|path| path.is_file());
        found
    }
}

/// Another machine with the same project at the same place, as the fake toolchain is part of it: nothing is built there,
/// and it does not have the key.
pub fn reader_of(builder: Project) -> Project {
    fs::remove_file(builder.path("ci.secret")).unwrap();
    emptied(builder)
}

/// The same project at the same place, where nothing has been built.
pub fn emptied(project: Project) -> Project {
    fs::remove_dir_all(project.path("cache")).unwrap();
    // There is none after an import alone.
    let _ = fs::remove_dir_all(project.path("out"));
    project
}

pub const ALL: [&str; 5] = [CONFIG, INITRAMFS, BOOT, KERNEL, MATCH];

#[test]
fn what_one_machine_has_built_another_restores_and_runs_nothing() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0).runs(&ALL);
    let built = builder.outputs();

    let reader = reader_of(builder);
    let plan = reader.kiln("plan --all").exits(0);
    assert_eq!(plan.out.matches("remote shared has its result, signed by ci-1").count(), 5, "{}", plan.out);
    let dry = reader.kiln("restore --dry-run").exits(0);
    assert!(dry.out.contains("would fetch 5 of them"), "{}", dry.out);
    assert!(!reader.exists("out"), "a dry run puts nothing in place");

    let restored = reader.kiln("restore").exits(0);
    assert!(restored.out.contains("5 from the cache"), "{}", restored.out);
    assert!(restored.out.contains("fetched"), "{}", restored.out);
    assert_eq!(reader.outputs(), built);
    reader.plan("").has_nothing_to_do();
    // Also without the remote: what was fetched is here now.
    fs::remove_dir_all(shared.path()).unwrap();
    reader.plan("").has_nothing_to_do();
    reader.build("").exits(0).runs(&[]);
    let history = reader.kiln(&format!("history {KERNEL}")).exits(0);
    assert!(history.out.contains("remote shared has its result"), "{}", history.out);
}

#[test]
fn a_build_takes_what_is_elsewhere_and_runs_the_rest() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);

    let reader = reader_of(builder);
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = reader.build("").exits(0);
    assert!(!build.ran().contains(&CONFIG), "its path set does not have that file");
    assert!(build.ran().contains(&KERNEL));
    reader.is_as_from_nothing();
}

#[test]
fn what_nobody_needs_is_left_where_it_is() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);

    let reader = reader_of(builder);
    reader.kiln(&format!("restore {KERNEL}")).exits(0);
    assert!(reader.exists(&format!("{OUT}/vmlinux")));
    assert!(
        !reader.exists(&format!("{OUT}/config")),
        "the config is no target, and nothing that runs reads it"
    );
    reader.build(KERNEL).exits(0).runs(&[]);
    // One that runs reads it: then it comes.
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    reader.build(KERNEL).exits(0).runs(&[KERNEL]);
}

#[test]
fn a_result_counts_only_with_a_signature_of_a_listed_key() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);

    // Signed by somebody else.
    let reader = reader_of(builder);
    let other = SigningKey::generate("other-1").unwrap().public().to_string();
    reader.edit("graph.ron", &shared.key.public().to_string(), &other);
    let plan =
        reader.kiln("plan").exits(0).complains("signed by ci-1, which is not among the project's keys");
    assert!(!plan.out.contains("remote shared has"), "{}", plan.out);
    reader.build("").exits(0).runs(&ALL);

    // By nobody, into a remote that does not ask for it; and then read by one that does.
    let (open, strict) = (Shared::new(), Project::new());
    open.joins(&strict, "write: true, unsigned: true", "");
    strict.build("").exits(0);
    let trusting = emptied(strict);
    trusting.kiln("restore").exits(0);
    trusting.build("").exits(0).runs(&[]);
    let careful = emptied(trusting);
    careful.edit("graph.ron", "write: true, unsigned: true", "");
    careful.kiln("plan").exits(0).complains("nobody has signed it");
}

#[test]
fn without_the_key_nothing_is_pushed_to_where_signatures_count() {
    let shared = Shared::new();
    let builder = shared.builder();
    fs::remove_file(builder.path("ci.secret")).unwrap();
    builder.build("").exits(0).complains("nothing is pushed to shared: the signing key is not here");
    assert!(!shared.path().join("ac").exists());
    builder.kiln("push").exits(2).complains("the signing key is not here");
}

#[test]
fn wrong_bits_are_not_used_and_what_made_them_runs_again() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    let built = builder.outputs();
    for blob in shared.blobs() {
        let mut bytes = fs::read(&blob).unwrap();
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
            fs::remove_file(&blob).unwrap();
            fs::write(&blob, bytes).unwrap();
        }
    }
    let reader = reader_of(builder);
    reader.build("").exits(0).runs(&ALL).complains("is something else; it is not used");
    assert_eq!(reader.outputs(), built);
}

#[test]
fn a_result_whose_blobs_are_gone_is_none() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    fs::remove_dir_all(shared.path().join("cas")).unwrap();
    let reader = reader_of(builder);
    reader.build("").exits(0).runs(&ALL);
}

#[test]
fn an_entry_under_another_key_does_not_count() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    // Every entry becomes what another one was.
    let entries = shared.entries();
    let mut contents: Vec<Vec<u8>> = entries.iter().map(|path| fs::read(path).unwrap()).collect();
    contents.rotate_left(1);
    for (path, content) in entries.iter().zip(contents) {
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    }
    let reader = reader_of(builder);
    reader.build("").exits(0).runs(&ALL);
}

#[test]
fn other_bits_for_the_same_inputs_are_kept_beside_and_told_of() {
    let shared = Shared::new();
    let first = shared.builder();
    first.build("").exits(0);
    let built = first.outputs();

    // A machine that makes other bits, and has not asked.
    let second = emptied(first);
    second.build("--offline").exits(0);
    second.has_made_other_bits(KERNEL, "vmlinux");

    let before = shared.entries().len();
    second
        .kiln(&format!("push {KERNEL}"))
        .exits(0)
        .complains("has other bits, signed by ci-1, for the same inputs: vmlinux");
    assert_eq!(shared.entries().len(), before + 1, "they are kept as evidence");
    // Theirs stay.
    let reader = reader_of(second);
    reader.kiln("restore").exits(0);
    assert_eq!(reader.outputs(), built);
}

#[test]
fn a_remote_that_is_not_there_costs_a_warning() {
    let project = Project::new();
    let url = "url: \"http://127.0.0.1:9/\", timeout: \"2s\"";
    let text = format!("version: 1, remotes: [(name: \"gone\", {url}, write: true, unsigned: true)],");
    project.edit("graph.ron", "version: 1,", &text);
    let build = project.build("").exits(0).runs(&ALL);
    build.complains("remote gone");
    project.kiln("restore").exits(0);
}

#[test]
fn an_output_directory_travels_and_is_continued_in() {
    let shared = Shared::new();
    let builder = Project::new();
    let settings = format!("keys: [\"{}\"], sign: File(\"ci.secret\"),", shared.key.public());
    shared.joins(&builder, "write: true, kept: true", &settings);
    shared.key.write(&builder.path("ci.secret")).unwrap();
    builder.build("").exits(0);

    let reader = reader_of(builder);
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = reader.build("").exits(0).runs(&[BOOT, KERNEL]);
    let message = build.finished(KERNEL)["message"].as_str().unwrap();
    assert!(message.contains("continued from its last run: 1 file differs"), "{message}");
    reader.is_as_from_nothing();
}

#[test]
fn a_bundle_carries_results_and_is_the_same_file_each_time() {
    let builder = Project::new();
    let key = SigningKey::generate("ci-1").unwrap();
    let settings = format!("version: 1, keys: [\"{}\"], sign: File(\"ci.secret\"),", key.public());
    builder.edit("graph.ron", "version: 1,", &settings);
    key.write(&builder.path("ci.secret")).unwrap();
    builder.build("").exits(0);
    builder.kiln("cache export first.bundle").exits(0).says("5 results");
    builder.kiln("cache export second.bundle").exits(0);
    let bundle = fs::read(builder.path("first.bundle")).unwrap();
    assert_eq!(bundle, fs::read(builder.path("second.bundle")).unwrap());

    let reader = emptied(builder);
    reader
        .kiln("cache import first.bundle")
        .exits(0)
        .says("5 results (0 known already)")
        .never_says("warning");
    reader.build("").exits(0).runs(&[]);
    reader.kiln("cache import first.bundle").exits(0).says("5 results (5 known already), 0 B");

    // What came signed travels on as it was signed, though the key is not here.
    fs::remove_file(reader.path("ci.secret")).unwrap();
    reader.kiln("cache export third.bundle").exits(0).says("5 results").never_says("not signed");
    let reader = emptied(reader);
    reader
        .kiln("cache import third.bundle")
        .exits(0)
        .says("5 results (0 known already)")
        .never_says("warning");

    // Cut short, damaged, or of somebody else: nothing of it counts, and it says why.
    let cut = emptied(reader);
    fs::write(cut.path("cut.bundle"), &bundle[..bundle.len() / 2]).unwrap();
    cut.kiln("cache import cut.bundle").exits(4).complains("cut short");
    cut.edit(
        "graph.ron",
        &key.public().to_string(),
        &SigningKey::generate("other-1").unwrap().public().to_string(),
    );
    cut.kiln("cache import first.bundle").exits(4).complains("not among the project's keys");
    cut.kiln("cache import --unsigned first.bundle").exits(0).says("5 results");
}

#[test]
fn a_key_is_made_once_and_says_what_to_write() {
    let project = Project::new();
    let made = project.kiln("cache keygen ci-1").exits(0).says("keys: [\"ci-1:");
    let secret = project.read("ci-1.secret");
    assert!(!made.out.contains(secret.trim()), "the secret is shown");
    project.kiln("cache keygen ci-1").exits(4);
    assert_eq!(project.read("ci-1.secret"), secret, "it is left as it is");
    project.kiln("cache keygen ci").exits(2).complains("number at its end");
}

#[test]
fn a_secret_in_the_spec_is_refused_and_not_shown() {
    for remote in ["token: \"s3cr3t\"", "user: \"u\", token: \"s3cr3t\""] {
        let project = Project::new();
        let text =
            format!("version: 1, remotes: [(name: \"ci\", url: \"https://cache.example/\", {remote})],");
        project.edit("graph.ron", "version: 1,", &text);
        project.kiln("plan").exits(2).complains("a secret does not belong in the spec").never_says("s3cr3t");
    }
    let project = Project::new();
    let text = "version: 1, remotes: [(name: \"ci\", url: \"https://u:s3cr3t@cache.example/\")],";
    project.edit("graph.ron", "version: 1,", text);
    project.kiln("plan").exits(2).complains("holds a user or a password").never_says("s3cr3t");
}

#[test]
fn a_secret_that_is_empty_is_one_that_is_not_here() {
    // So a CI gives its secrets to pull requests.
    let project = Project::new().with_variables([("KILN_TEST_EMPTY", "")]);
    let key = SigningKey::generate("ci-1").unwrap().public();
    let remote = "(name: \"ci\", url: \"dir:shared\", write: true, token: Env(\"KILN_TEST_EMPTY\"))";
    let text = format!("version: 1, remotes: [{remote}], keys: [\"{key}\"], sign: Env(\"KILN_TEST_EMPTY\"),");
    project.edit("graph.ron", "version: 1,", &text);
    project.kiln("build --quiet").exits(0);
    assert!(!project.exists("shared/ac"), "nothing is pushed");
}

#[test]
fn what_another_machine_made_is_not_signed_here() {
    let (theirs, ours) = (Shared::new(), Shared::new());
    let builder = Project::new();
    theirs.joins(&builder, "write: true, unsigned: true", "");
    builder.build("").exits(0);

    let second = emptied(builder);
    second.kiln("restore").exits(0);
    let url = ours.path().display();
    let remote = format!("remotes: [(name: \"ours\", url: \"dir:{url}\", write: true), ");
    second.edit("graph.ron", "remotes: [", &remote);
    let settings = format!("version: 1, keys: [\"{}\"], sign: File(\"ci.secret\"),", ours.key.public());
    second.edit("graph.ron", "version: 1,", &settings);
    ours.key.write(&second.path("ci.secret")).unwrap();
    second.kiln("push").exits(0);
    assert!(!ours.path().join("ac").exists(), "nobody vouches for what was not made here");
}

#[test]
fn what_a_remote_has_lost_is_put_back_by_the_next_push() {
    let shared = Shared::new();
    let builder = shared.builder();
    builder.build("").exits(0);
    let (blobs, entries) = (shared.blobs(), shared.entries());
    fs::remove_file(&blobs[0]).unwrap();
    // The lists of path sets are lost as well: all entries that speak of no result.
    for entry in &entries {
        if fs::read(entry).unwrap().starts_with(b"kilnc") {
            fs::remove_file(entry).unwrap();
        }
    }
    builder.kiln("push").exits(0);
    assert_eq!((shared.blobs().len(), shared.entries().len()), (blobs.len(), entries.len()));
    let reader = reader_of(builder);
    reader.build("").exits(0).runs(&[]);
}
