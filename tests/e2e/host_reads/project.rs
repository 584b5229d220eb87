//! A project whose steps are traced: the shipped rules with a fake kernel tree, or with a real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::host_view::View;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// Files of the shipped project.
const SHIPPED: [&str; 8] = [
    "rules/config.ron",
    "rules/kernel.ron",
    "rules/modules.ron",
    "rules/match.ron",
    "rules/initramfs.ron",
    "rules/job.ron",
    "boot/init.c",
    "boot/pack.c",
];

/// One fake kernel and one fake board, with the compiler of the host.
const GRAPH: &str = r#"(
    version: 1,
    sources: { "linux": Dir("linux") },
    archs: { "x86_64": (image: "arch/x86/boot/bzImage") },
    toolchains: { "gcc": Gcc(targets: { "x86_64": "" }, path: ["bin"]) },
    configs: { "pc": (base: "x86_64_defconfig", fragments: ["configs/pc.config"]) },
    builds: [(sources: ["linux"], archs: ["x86_64"], defconfigs: ["pc"], toolchains: ["gcc"])],
    boards: {
        "qemu-pc": (
            requires: "X86_64 && SERIAL_8250_CONSOLE",
            device_type: "qemu",
            qemu: (program: "fake-qemu", args: [], cmdline: "console=ttyS0"),
            labs: ["local"],
            tests: ["boot"],
        ),
    },
    labs: { "local": Qemu(slots: 2) },
    tests: { "boot": Console(marker: "KILN-BOOT-OK", time_limit: "10s") },
)
"#;

/// A board that boots anything, with nothing but a shell.
const QEMU: &str = "#!/bin/sh\necho KILN-BOOT-OK\n";

/// Two copies of a project at the same path, each with a cache of its own: one is built from one edit to the next, the
/// other from nothing.
pub struct Project {
    dir: TempDir,
}

/// A copy.
#[derive(Clone, Copy)]
pub enum Copy {
    Kept,
    Clean,
}

impl Project {
    /// The fake kernel tree.
    pub fn fake() -> Self {
        let project = Self::shipped();
        project.write("graph.ron", GRAPH);
        project.write("configs/pc.config", "CONFIG_SMP=y\n");
        project.write("bin/fake-qemu", QEMU);
        shell(&format!("chmod 755 {0}/bin/fake-qemu", project.path("").display()));
        let tree = repository("tests/fakelinux");
        shell(&format!("cp -r {} {}", tree.display(), project.path("linux").display()));
        project.copied()
    }

    /// A real tree, and the kernel of the shipped project.
    pub fn real(tree: &Path) -> Self {
        let project = Self::shipped();
        for file in ["graph.ron", "configs/x86_64-pc.config"] {
            project.write(file, &fs::read_to_string(repository(file)).unwrap());
        }
        let project = project.copied();
        for copy in ["kept", "clean"] {
            let sources = project.dir.path().join(copy).join("cache/sources");
            fs::create_dir_all(&sources).unwrap();
            std::os::unix::fs::symlink(tree, sources.join("linux-6.1")).unwrap();
        }
        project
    }

    fn shipped() -> Self {
        let project = Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        for file in SHIPPED {
            project.write(file, &fs::read_to_string(repository(file)).unwrap());
        }
        project
    }

    fn copied(self) -> Self {
        let dir = self.dir.path().display();
        shell(&format!("cp -a {dir}/kept {dir}/clean; mkdir {dir}/project"));
        self
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("kept").join(path)
    }

    /// A directory for whoever needs one.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the shell that runs kiln in a copy. What comes before it runs there as well.
    pub fn command(&self, copy: Copy, before: &str, kiln: &str) -> String {
        let dir = self.dir.path().display();
        let name = match copy {
            Copy::Kept => "kept",
            Copy::Clean => "clean",
        };
        format!(
            "unshare --mount sh -c 'mount --bind {dir}/{name} {dir}/project && cd {dir}/project && {before} {KILN} {kiln}'"
        )
    }

    /// Builds all: whether it passed, and what was printed.
    pub fn build(&self, view: &View, copy: Copy) -> (bool, String) {
        let before = match copy {
            Copy::Kept => "",
            // Sources stay: they are what both copies read.
            Copy::Clean => {
                "mkdir -p cache && find cache -mindepth 1 -maxdepth 1 ! -name sources -exec rm -rf {} + && rm -rf out &&"
            }
        };
        view.run(&self.command(copy, before, "build -k -q"))
    }

    /// The nodes of `kiln plan` in the copy that is kept. Without its memory of the host, kiln looks at all of it again;
    /// then it has that memory back.
    pub fn plan(&self, view: &View, remembers: bool) -> Vec<Value> {
        let plan = "plan --format json";
        let command = if remembers {
            self.command(Copy::Kept, "", plan)
        } else {
            self.command(Copy::Kept, "mv cache/stat/files files &&", plan)
                + &format!(
                    "; code=$?; mv {0}/files {0}/cache/stat/files; exit $code",
                    self.path("").display()
                )
        };
        let output = view.output(&command);
        let printed = String::from_utf8_lossy(&output.stdout);
        let plan: Value = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{error}: {printed}{}", String::from_utf8_lossy(&output.stderr)));
        plan["nodes"].as_array().unwrap().clone()
    }

    /// What was made, by `diff`: nothing where both copies made the same.
    pub fn difference(&self) -> String {
        let dir = self.dir.path();
        // These tell of the run.
        let told = ["build.log", "messages.json", "metadata.json", "console.log"];
        let told = told.iter().flat_map(|file| ["-x", file]);
        let outs = [dir.join("kept/out"), dir.join("clean/out")];
        let output = Command::new("diff").arg("-rq").args(told).args(outs).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shell(command: &str) {
    assert!(Command::new("sh").args(["-ec", command]).status().unwrap().success(), "{command}");
}
