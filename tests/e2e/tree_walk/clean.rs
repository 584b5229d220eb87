//! Builds from nothing: bare make in an empty directory, with the environment that the rules give it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use kiln::digest::Digest;
use tempfile::TempDir;

/// Outputs by their names below the build's directory in `out/`.
pub type Outputs = BTreeMap<String, Vec<u8>>;

/// A point of the matrix.
#[derive(Debug)]
pub struct Build {
    pub arch: &'static str,
    pub config: &'static str,
    base: &'static str,
    fragment: &'static str,
    image: &'static str,
}

impl Build {
    /// Below `out/`, and after the rule in nodes' names.
    pub fn name(&self) -> String {
        format!("linux/{}/{}/fake", self.arch, self.config)
    }
}

const X86: &str = "arch/x86/boot/bzImage";
const ARM: &str = "arch/arm64/boot/Image";

/// As in [`GRAPH`].
pub const BUILDS: &[Build] = &[
    Build {
        arch: "x86_64",
        config: "pc",
        base: "x86_64_defconfig",
        fragment: "CONFIG_SMP=y\nCONFIG_HZ=100\n",
        image: X86,
    },
    Build { arch: "arm64", config: "virt", base: "virt_defconfig", fragment: "CONFIG_HZ=100\n", image: ARM },
];

/// The same, for kiln.
pub const GRAPH: &str = r#"(
    version: 1,
    sources: { "linux": Dir("linux") },
    archs: { "x86_64": (image: "arch/x86/boot/bzImage"), "arm64": (image: "arch/arm64/boot/Image") },
    toolchains: { "fake": Gcc(targets: { "x86_64": "fake-", "arm64": "fake-" }, path: ["toolchain/bin"]) },
    configs: {
        "pc": (base: "x86_64_defconfig", fragments: ["configs/pc.config"]),
        "virt": (base: "virt_defconfig"),
    },
    presets: { "all": (sources: ["linux"], toolchains: ["fake"], fixups: ["HZ=100"]) },
    builds: [
        (extends: ["all"], archs: ["x86_64"], defconfigs: ["pc"]),
        (extends: ["all"], archs: ["arm64"], defconfigs: ["virt"]),
    ],
)
"#;

/// What the fixup in it comes to.
const FIXUP: &str = "CONFIG_HZ=100";

/// As in rules/kernel.ron.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("KBUILD_BUILD_USER", "kiln"),
    ("KBUILD_BUILD_HOST", "kiln"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LOCALVERSION", ""),
];

/// Builds from nothing, each done once: what a tree holds decides what comes out.
#[derive(Default)]
pub struct Clean(HashMap<(Digest, usize), Rc<Option<Outputs>>>);

impl Clean {
    /// What the build of that number gives for that tree; none where it fails.
    pub fn build(&mut self, tree: &Path, digest: Digest, number: usize) -> Rc<Option<Outputs>> {
        let make = || Rc::new(build(tree, &BUILDS[number]));
        Rc::clone(self.0.entry((digest, number)).or_insert_with(make))
    }
}

fn build(tree: &Path, build: &Build) -> Option<Outputs> {
    // In memory, where there is such a place.
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let out = TempDir::with_prefix_in("kiln-walk-", parent).unwrap();
    let fragment = out.path().join("fragment");
    fs::write(&fragment, build.fragment).unwrap();
    let dir = out.path().join("o");
    fs::create_dir(&dir).unwrap();
    let config = dir.join(".config");
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let make = |target: &str| {
        let options = [
            format!("O={}", dir.display()),
            format!("ARCH={}", build.arch),
            "CROSS_COMPILE=fake-".to_owned(),
        ];
        let mut command = Command::new("make");
        command.arg("-C").arg(tree).args(options).arg(target);
        command
    };
    let mut merge = Command::new(tree.join("scripts/kconfig/merge_config.sh"));
    merge.args(["-m", "-O", &text(&dir), &text(&config), &text(&fragment)]);
    let mut kernel = make("all");
    kernel.arg("-j2").envs(ENVIRONMENT.iter().copied());
    let configure = [make(build.base), merge, make("olddefconfig")].map(|mut command| {
        command.env("KCONFIG_ALLCONFIG", &fragment);
        command
    });
    let run = |mut command: Command| {
        command.env_remove("MAKEFLAGS").current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        // One that can't be started has failed, too.
        command.status().is_ok_and(|status| status.success())
    };
    // A configuration that is not as asked has failed, as it has in kiln.
    let as_asked = || fs::read_to_string(&config).is_ok_and(|text| text.lines().any(|line| line == FIXUP));
    if !(configure.into_iter().all(&run) && as_asked() && run(kernel)) {
        return None;
    }
    let installed = dir.join("installed");
    let mut install = make("modules_install");
    install.arg(format!("INSTALL_MOD_PATH={}", installed.display()));
    if dir.join("modules.order").exists() && !run(install) {
        return None;
    }
    let mut outputs = Outputs::new();
    let image = Path::new(build.image).file_name().unwrap().to_str().unwrap();
    for (name, path) in
        [(image, build.image), ("vmlinux", "vmlinux"), ("System.map", "System.map"), ("config", ".config")]
    {
        // A makefile that makes nothing passes, and has failed.
        outputs.insert(name.to_owned(), fs::read(dir.join(path)).ok()?);
    }
    let modules = installed.join("lib/modules");
    for release in fs::read_dir(&modules).into_iter().flatten() {
        for link in ["build", "source"] {
            fs::remove_file(release.as_ref().unwrap().path().join(link)).unwrap();
        }
    }
    outputs.extend(files(&modules).into_iter().map(|(path, content)| (format!("modules/{path}"), content)));
    Some(outputs)
}

/// All files below a directory, by name.
pub fn files(root: &Path) -> Outputs {
    let mut found = Outputs::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}
