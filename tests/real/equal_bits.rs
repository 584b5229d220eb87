//! Equal inputs make equal bits: a real kernel with its modules, built twice, with everything else changed in between.
//!
//! The second build is another user's, on a host of another name, in another place, with another cache, in another
//! language and time zone, one job at a time, and its tree is a git checkout with an edit that is not committed, under
//! a configuration that asks for the commit in the kernel's release. What differs is told by file.
//!
//! It takes minutes and an unpacked kernel tree, so plain `cargo test` leaves it out; `make check-long` runs it. The tree
//! is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use kiln::digest::Digest;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::support::project::kernel_tree;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// A kernel that builds fast, with all that has ever brought a date, a name or a path into one: a compressed
/// configuration, a banner, modules, file names in warnings.
const FRAGMENT: &str = "CONFIG_MODULES=y
CONFIG_CRC7=m
CONFIG_CRC_ITU_T=m
CONFIG_IKCONFIG=m
CONFIG_PRINTK=y
CONFIG_BUG=y
CONFIG_LOCALVERSION_AUTO=y
";

/// What a kernel for arm64 has beside these: device trees.
const BOARDS: &str = "CONFIG_ARCH_VEXPRESS=y\n";

const CROSS: &str = "aarch64-linux-gnu-";

/// Starts a project whose source is `tree`.
fn start(root: &Path, tree: &Path, cache: &str) {
    fs::create_dir_all(root).expect("a directory");
    run(Command::new(KILN).arg("init").current_dir(root));
    let arm64 = on_path(&format!("{CROSS}gcc"));
    if !arm64 {
        println!("arm64 and its device trees are left out: there is no {CROSS}gcc on the PATH");
    }
    let when = |text: &str| if arm64 { text.to_owned() } else { String::new() };
    let graph = format!(
        r#"(
    version: 1,
    cache: (path: {cache:?}),
    sources: {{ "linux": Dir("{tree}") }},
    archs: {{ "x86_64": (image: "arch/x86/boot/bzImage"){arch} }},
    toolchains: {{ "gcc": Gcc(targets: {{ "x86_64": ""{target} }}) }},
    configs: {{
        "tiny": (base: "tinyconfig", fragments: ["configs/tiny.config"]),
        {config}
    }},
    builds: [
        (sources: ["linux"], archs: ["x86_64"], defconfigs: ["tiny"], toolchains: ["gcc"]),
        {build}
    ],
)"#,
        tree = tree.display(),
        arch = when(", \"arm64\": (image: \"arch/arm64/boot/Image\")"),
        target = when(&format!(", \"arm64\": {CROSS:?}")),
        config = when(
            "\"boards\": (base: \"tinyconfig\", fragments: [\"configs/tiny.config\", \"configs/boards.config\"]),"
        ),
        build = when(
            "(sources: [\"linux\"], archs: [\"arm64\"], defconfigs: [\"boards\"], toolchains: [\"gcc\"]),"
        ),
    );
    fs::write(root.join("graph.ron"), graph).expect("it can be written");
    fs::write(root.join("configs/tiny.config"), FRAGMENT).expect("it can be written");
    fs::write(root.join("configs/boards.config"), BOARDS).expect("it can be written");
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a program, which must end well.
fn run(command: &mut Command) {
    let began = Instant::now();
    let Output { status, stdout, stderr } = command.output().expect("the program is there");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    // Shown where the test fails, or with --nocapture.
    println!("{command:?} took {:.1?}\n{stdout}{stderr}", began.elapsed());
    assert!(status.success(), "{command:?} failed");
}

/// Copies a tree, and makes it a checkout of a commit that has another README.
fn check_out(tree: &Path, to: &Path) {
    // Not links: what the copy's owner may write must not be the original.
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(tree).arg(to));
    let readme = to.join("README");
    let text = fs::read(&readme).expect("a kernel tree has one");
    fs::write(&readme, "as committed\n").expect("it can be written");
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"];
        run(Command::new("git").args(who).args(args).current_dir(to));
    };
    git(&["init", "-q"]);
    git(&["add", "-f", "README"]);
    git(&["commit", "-qm", "Only the README, which is as good as all of it"]);
    fs::write(&readme, text).expect("it can be written");
}

/// Builds as another user, on a host of another name, in another environment.
fn build_elsewhere(root: &Path, given: &Path) {
    let mut kiln = Command::new("unshare");
    let elsewhere = "hostname elsewhere && umask 077 && exec";
    let script = if geteuid().is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(given));
        format!("{elsewhere} setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"")
    } else {
        kiln.arg("--map-root-user");
        format!("{elsewhere} \"$@\"")
    };
    kiln.args(["--uts", "sh", "-c", &script, "sh", KILN, "build", "-j1"]).current_dir(root).env_clear();
    kiln.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    kiln.env("HOME", "/nowhere").env("USER", "someone").env("LANG", "de_DE.UTF-8").env("TZ", "Asia/Tokyo");
    run(&mut kiln);
}

/// The digest of every file below a directory.
fn digests(dir: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            // What is told of a run is of that run.
            let told = ["build.log", "messages.json", "metadata.json"];
            if path.is_dir() {
                left.push(path);
            } else if !told.iter().any(|told| path.ends_with(told)) {
                let digest = Digest::of_bytes(&fs::read(&path).expect("it can be read"));
                found.insert(path.strip_prefix(dir).expect("it is below").to_owned(), digest);
            }
        }
    }
    found
}

/// What is in an archive.
fn packed(archive: &Path) -> Vec<String> {
    let file = fs::File::open(archive).expect("it is there");
    let mut tar = tar::Archive::new(zstd::Decoder::new(file).expect("it is compressed"));
    let entries = tar.entries().expect("it is an archive");
    entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
#[ignore = "builds a kernel twice, which takes minutes: `make check-long` runs it"]
fn a_kernel_is_the_same_whoever_builds_it_and_wherever() {
    let tree = kernel_tree();
    // Below the target directory: /tmp may be a small one in memory.
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");

    let here = dir.path().join("here");
    start(&here, &fs::canonicalize(&tree).expect("it is there"), "cache");
    run(Command::new(KILN).arg("build").current_dir(&here));

    let elsewhere = dir.path().join("quite another place/with a longer name");
    start(&elsewhere, Path::new("checkout"), "cache of its own");
    check_out(&tree, &elsewhere.join("checkout"));
    build_elsewhere(&elsewhere, dir.path().join("quite another place").as_path());

    let (one, other) = (digests(&here.join("out")), digests(&elsewhere.join("out")));
    for (path, digest) in &one {
        println!("{digest}  {}", path.display());
    }
    let has = |name: &str| one.keys().any(|path| path.file_name() == Some(OsStr::new(name)));
    for name in ["vmlinux", "bzImage", "System.map", "vexpress-v2f-1xv7-ca53x2.dtb"] {
        assert!(has(name), "{name} was not made");
    }
    let archives = one.keys().filter(|path| path.ends_with("modules.tar.zst"));
    let modules: Vec<String> = archives.flat_map(|path| packed(&here.join("out").join(path))).collect();
    for name in ["crc7.ko", "crc-itu-t.ko", "configs.ko"] {
        assert!(modules.iter().any(|module| module.ends_with(name)), "{name} was not made: {modules:?}");
    }
    assert_eq!(one, other);
}
