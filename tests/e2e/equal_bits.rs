//! Equal inputs make equal bits, whoever makes them, wherever, and on whatever machine. `tests/real/equal_bits.rs` says the
//! same of a real kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::support::project::{KilnOutput, Project};

/// Writes down what an action sees of the world around it. `MAKEFLAGS` is left out: it has the numbers of descriptors.
const PROBE: &str = r#"(
    version: 1,
    inputs: { "source": Source("linux"), "file": File("configs/pc.config") },
    steps: [
        ["sh", "-c", "{{ uname -n; hostname; pwd; id; umask; env | grep -v ^MAKEFLAGS | sort; }} >seen"],
        ["sh", "-c", "ls -l {in.source} | sed 's/ .* / /' >>seen; ls /kiln /kiln/in /tmp $HOME >>seen"],
        ["sh", "-c", "git -C {in.source} rev-parse HEAD >>seen 2>/dev/null; test $? != 0"],
    ],
    outputs: { "seen": File("seen") },
    tools: ["sh", "uname", "hostname", "id", "env", "grep", "sort", "ls", "sed"],
    export: "probe",
)
"#;

fn project() -> Project {
    let project = Project::new();
    let actions = "    actions: { \"probe\": (rule: \"probe\") },\n    boards:";
    project.edit("graph.ron", "    boards:", actions);
    project.write("rules/probe.ron", PROBE);
    project
}

/// The same project in another place, as a git checkout with an edit that is not committed, with its cache elsewhere.
fn checkout(project: &Project) -> (Project, PathBuf) {
    let other = Project::empty();
    let root = other.path("a directory/with a longer/name");
    let at = "a directory/with a longer/name";
    std::fs::create_dir_all(root.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-r").arg(project.path("")).arg(&root).status().unwrap();
    assert!(copied.success());
    other.edit(&format!("{at}/graph.ron"), "Dir(\"linux\")", "Git(path: \"linux\")");
    other.edit(&format!("{at}/graph.ron"), "version: 1,", "version: 1, cache: (path: \"elsewhere/cache\"),");
    let file = format!("{at}/linux/Makefile");
    let text = other.read(&file);
    other.write(&file, "committed otherwise\n");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]);
        let ran = git.args(args).current_dir(root.join("linux")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "-f", "Makefile"]);
    git(&["commit", "-qm", "something"]);
    other.write(&file, &text);
    (other, root)
}

/// Runs kiln there as another user, on a host of another name, in another environment.
fn build_elsewhere(root: &Path, given_away: &Path) -> KilnOutput {
    let mut kiln = Command::new("unshare");
    let (who, script) = if geteuid().is_root() {
        let given = Command::new("chown").args(["-R", "65534:65534"]).arg(given_away).status().unwrap();
        assert!(given.success());
        (
            None,
            "hostname elsewhere; umask 077; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"",
        )
    } else {
        (Some("--map-root-user"), "hostname elsewhere; umask 077; exec \"$@\"")
    };
    kiln.args(who).args(["--uts", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_kiln"), "build", "-j1"]);
    kiln.current_dir(root).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    kiln.env("HOME", "/nowhere").env("USER", "someone").env("LANG", "de_DE.UTF-8").env("TZ", "Asia/Tokyo");
    KilnOutput::new("kiln build, elsewhere", &kiln.output().unwrap())
}

#[test]
fn another_user_host_path_cache_and_checkout_make_the_same() {
    let here = project();
    let (other, root) = checkout(&here);
    here.kiln("build -j2").exits(0);
    build_elsewhere(&root, &other.path("")).exits(0);
    let compared = Command::new("diff")
        .args(["-r", "-x", "build.log", "-x", "metadata.json"])
        .args([here.path("out"), root.join("out")])
        .output()
        .unwrap();
    let differs = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(compared.status.success(), "{differs}\n{}", here.read("out/probe/seen"));
    assert!(here.read("out/probe/seen").contains("PATH="));
}
