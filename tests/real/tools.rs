//! Configurations of distributions, and real kernels that take every optional tool: each builds with what the shipped rules
//! declare, and each tool is part of the key, also by its absence.
//!
//! Rust is left out: Linux 6.1 asks for exactly rustc 1.62 and bindgen 0.56 (`scripts/min-tool-version.sh`), which no Debian
//! has, and elsewhere `RUST_IS_AVAILABLE` is off. That rustc and bindgen are absent is part of the keys like any absence.
//!
//! It takes minutes, root, an unpacked kernel tree, and Debian's package linux-config-6.1, so plain `cargo test` leaves it
//! out; `make check-long` runs it. The tree is the one in `KILN_TEST_TREE`, or else the example project's
//! `cache/sources/linux-6.1`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use kiln::kernel::config::{KConfig, Value as Setting};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::host_view::View;
use crate::support::project::kernel_tree;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// What the environment of rules/kernel.ron sets, for a make outside of kiln.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("KBUILD_BUILD_USER", "kiln"),
    ("KBUILD_BUILD_HOST", "kiln"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LOCALVERSION", ""),
    ("LC_ALL", "C"),
];

/// Modules of a small kernel.
const MODULES: &str = "CONFIG_PRINTK=y\nCONFIG_MODULES=y\nCONFIG_CRC7=m\nCONFIG_CRC_ITU_T=m\n";

/// Modules that a key of the project signs, and zstd for modules and image.
const SIGNED: &str = "CONFIG_KERNEL_ZSTD=y
CONFIG_MODULE_COMPRESS_ZSTD=y
CONFIG_MODULE_SIG=y
CONFIG_MODULE_SIG_ALL=y
CONFIG_MODULE_SIG_SHA256=y
CONFIG_MODULE_SIG_KEY=\"/kiln/in/module_key\"
";

/// LZ4, types for BPF, headers in a module, firmware of the tree, objtool, and a key that openssl generates.
const TYPED: &str = "CONFIG_KERNEL_LZ4=y
CONFIG_MODULE_COMPRESS_XZ=y
CONFIG_MODULE_SIG=y
CONFIG_MODULE_SIG_ALL=y
CONFIG_MODULE_SIG_SHA256=y
CONFIG_BPF_SYSCALL=y
CONFIG_DEBUG_KERNEL=y
CONFIG_DEBUG_INFO_DWARF4=y
CONFIG_DEBUG_INFO_BTF=y
CONFIG_UNWINDER_ORC=y
CONFIG_SYSFS=y
CONFIG_IKHEADERS=m
CONFIG_FW_LOADER=y
CONFIG_EXTRA_FIRMWARE=\"Kconfig.debug\"
CONFIG_EXTRA_FIRMWARE_DIR=\"lib\"
";

/// xz for the image.
const SMALL: &str = "CONFIG_KERNEL_XZ=y\n";

/// What a distribution of Gentoo's kind lays over a defconfig: what its user space asks for, then what its installer and its
/// initramfs do.
const GENTOO: [(&str, &str); 2] = [
    (
        "base.config",
        "CONFIG_LOCALVERSION=\"-gentoo-dist\"
CONFIG_DEVTMPFS=y
CONFIG_DEVTMPFS_MOUNT=y
CONFIG_TMPFS_POSIX_ACL=y
CONFIG_TMPFS_XATTR=y
CONFIG_CGROUPS=y
CONFIG_FHANDLE=y
CONFIG_USER_NS=y
CONFIG_BPF_SYSCALL=y
CONFIG_CGROUP_BPF=y
CONFIG_DMIID=y
CONFIG_AUTOFS_FS=y
# CONFIG_SYSFS_DEPRECATED is not set
# CONFIG_FW_LOADER_USER_HELPER is not set
",
    ),
    (
        "dist.config",
        "CONFIG_MODULES=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_RD_ZSTD=y
CONFIG_KERNEL_ZSTD=y
CONFIG_MODULE_COMPRESS_XZ=y
CONFIG_MODULE_DECOMPRESS=y
CONFIG_DEBUG_INFO_DWARF5=y
CONFIG_DEBUG_INFO_BTF=y
CONFIG_SQUASHFS=m
CONFIG_SQUASHFS_XZ=y
CONFIG_SQUASHFS_ZSTD=y
CONFIG_OVERLAY_FS=m
CONFIG_EXT4_FS=y
CONFIG_BTRFS_FS=m
CONFIG_XFS_FS=m
",
    ),
];

/// A project with a view of the host of its own.
struct Project {
    view: View,
    dir: TempDir,
}

impl Project {
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: overlays over /usr take root");
            return None;
        }
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let project = Self { view: View::new(&dir.path().join("layers")), dir };
        fs::create_dir(project.path("")).unwrap();
        assert!(project.kiln("init").0);
        Some(project)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("project").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Has the graph configure, and build, these: names, bases with fragments, parameters.
    fn builds(&self, builds: &[(&str, &str, &str)]) {
        let configs = builds.iter().map(|(name, config, _)| format!("        {name:?}: ({config}),\n"));
        let entries = builds.iter().map(|(name, _, more)| {
            format!(
                "        (sources: [\"linux\"], archs: [\"x86_64\"], defconfigs: [{name:?}], toolchains: [\"gcc\"], {more}),\n"
            )
        });
        let key = "module_keys: { \"release\": (certificate: \"keys/release.pem\", key: File(\"keys/release.key\")) },";
        let keys = if self.path("keys").exists() { key } else { "" };
        let graph = format!(
            "(\n    version: 1,\n    sources: {{ \"linux\": Dir(\"{}\") }},\n    \
             archs: {{ \"x86_64\": (image: \"arch/x86/boot/bzImage\") }},\n    \
             toolchains: {{ \"gcc\": Gcc(targets: {{ \"x86_64\": \"\" }}) }},\n    \
             {keys}\n    \
             configs: {{\n{}    }},\n    builds: [\n{}    ],\n)\n",
            tree().display(),
            configs.collect::<String>(),
            entries.collect::<String>()
        );
        self.write("graph.ron", &graph);
    }

    /// Runs kiln as the host is now: whether it passed, and what it printed.
    fn kiln(&self, args: &str) -> (bool, String) {
        let began = Instant::now();
        let (passed, printed) = self.view.run(&format!("cd {} && {KILN} {args}", self.path("").display()));
        println!("kiln {args} took {:.1?}\n{printed}", began.elapsed());
        (passed, printed)
    }

    #[track_caller]
    fn passes(&self, args: &str) {
        assert!(self.kiln(args).0, "kiln {args}");
    }

    /// What `kiln plan` says of a node.
    fn verdict(&self, node: &str) -> String {
        let command = format!("cd {} && {KILN} plan --format json {node}", self.path("").display());
        let plan: Value = serde_json::from_slice(&self.view.output(&command).stdout).unwrap();
        let nodes = plan["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|known| known["name"] == node).unwrap();
        node["verdict"].as_str().unwrap().to_owned()
    }

    /// A node is fresh with a tool as it is, and only so. `does_without` is told what comes of it where the tool is absent.
    fn depends_on(&self, node: &str, tool: &str, does_without: Option<&dyn Fn()>) {
        let was = self.dir.path().join("was");
        let tool = fs::canonicalize(tool).unwrap();
        let tool = tool.display();
        let run = |script: &str| assert!(self.view.run(script).0, "{script}");
        assert_eq!(self.verdict(node), "fresh", "{node}");
        run(&format!("printf x >>{tool}"));
        assert_eq!(self.verdict(node), "stale", "{node} with another {tool}");
        run(&format!("truncate -s -1 {tool}"));
        assert_eq!(self.verdict(node), "fresh", "{node} with {tool} as it was");
        run(&format!("cp -a {tool} {0} && rm {tool}", was.display()));
        assert_ne!(self.verdict(node), "fresh", "{node} without {tool}");
        if let Some(does_without) = does_without {
            does_without();
        }
        run(&format!("mv {} {tool}", was.display()));
    }

    fn out(&self, name: &str) -> PathBuf {
        self.path(&format!("out/linux/x86_64/{name}/gcc"))
    }
}

fn tree() -> PathBuf {
    fs::canonicalize(kernel_tree()).unwrap()
}

/// Runs a command of the shell, which must pass.
fn shell(dir: &Path, command: &str) -> String {
    let mut shell = Command::new("sh");
    let Output { status, stdout, stderr } = shell
        .args(["-ec", command])
        .current_dir(dir)
        .envs(ENVIRONMENT)
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command}\n{}{stderr}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// The symbols that a text sets and a final `.config` has otherwise, and how many it sets.
fn otherwise(asked: &str, found: &str) -> (Vec<String>, usize) {
    let (values, has) = (KConfig::parse(asked.as_bytes()).0, KConfig::parse(found.as_bytes()).0);
    let symbols: Vec<&str> = asked
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").strip_prefix("CONFIG_"))
        .filter_map(|line| line.split([' ', '=']).next())
        .collect();
    let differs = symbols.iter().filter(|symbol| values.get(symbol) != has.get(symbol));
    (differs.map(|symbol| (*symbol).to_owned()).collect(), symbols.len())
}

#[test]
#[ignore = "configures kernels of distributions, which takes a minute and a package: `make check-long` runs it"]
fn configurations_of_distributions_are_as_they_ask() {
    let Some(project) = Project::new() else { return };
    let packed = Path::new("/usr/src/linux-config-6.1/config.amd64_none_amd64.xz");
    if !packed.is_file() {
        eprintln!("skipped: {} is not there, which Debian 12's linux-config-6.1 has", packed.display());
        return;
    }
    let debian = shell(Path::new("/"), &format!("xz -dc {}", packed.display()));
    project.write("configs/debian.config", &debian);
    for (name, text) in GENTOO {
        project.write(&format!("configs/{name}"), text);
    }
    project.builds(&[
        ("debian", "base: \"alldefconfig\", fragments: [\"configs/debian.config\"]", ""),
        ("gentoo", "base: \"defconfig\", fragments: [\"configs/base.config\", \"configs/dist.config\"]", ""),
    ]);
    project.passes("build config:");
    let found = |name: &str| fs::read_to_string(project.out(name).join("config")).unwrap();
    let (differs, all) = otherwise(&debian, &found("debian"));
    // Debian's kernel has patches, and this compiler and pahole may be of another version than Debian's.
    println!("debian: {} of {all} settings differ: {differs:?}", differs.len());
    assert!(all > 8000 && differs.len() * 100 < all, "{} of {all}", differs.len());
    let gentoo = GENTOO.map(|(_, text)| text).concat();
    assert_eq!(otherwise(&gentoo, &found("gentoo")).0, [""; 0]);
    for name in ["debian", "gentoo"] {
        let config = found(name);
        let (config, _) = KConfig::parse(config.as_bytes());
        assert!(matches!(config.get("PAHOLE_VERSION"), Setting::Int(version) if version > 120), "{name}");
        let node = format!("config:linux/x86_64/{name}/gcc");
        project.depends_on(
            &node,
            "/usr/bin/pahole",
            Some(&|| {
                // Kconfig does without: a version of nought, and what depends on it.
                project.passes(&format!("build {node}"));
                assert!(found(name).contains("CONFIG_PAHOLE_VERSION=0\n"), "{name}");
            }),
        );
        project.passes(&format!("build {node}"));
    }
}

/// The build's log tells of nothing that was not found.
fn nothing_was_missing(project: &Project, name: &str) -> String {
    let log = fs::read_to_string(project.out(name).join("build.log")).unwrap();
    for line in log.lines() {
        assert!(!line.contains("not found") && !line.contains("No such file"), "{name}: {line}");
    }
    // As make tells where the programs below tools/ have no jobserver.
    for warning in ["jobserver unavailable", "-j1 forced"] {
        assert!(!log.contains(warning), "{name}: {warning}");
    }
    log
}

#[test]
#[ignore = "builds real kernels, minutes for each: `make check-long` runs it"]
fn kernels_that_take_optional_tools_depend_on_them() {
    let Some(project) = Project::new() else { return };
    project.write("configs/modules.config", MODULES);
    project.write("configs/typed.config", TYPED);
    project.write("configs/small.config", SMALL);
    let config = |name: &str| {
        format!("base: \"tinyconfig\", fragments: [\"configs/modules.config\", \"configs/{name}.config\"]")
    };
    project.builds(&[("typed", &config("typed"), ""), ("small", &config("small"), "")]);
    project.passes("build");
    for (name, text) in [("typed", TYPED), ("small", SMALL)] {
        let found = fs::read_to_string(project.out(name).join("config")).unwrap();
        assert_eq!(otherwise(text, &found).0, [""; 0], "{name}");
    }
    let log = nothing_was_missing(&project, "typed");
    assert!(log.contains("BTF ") && log.contains("objtool"), "{log}");
    nothing_was_missing(&project, "small");
    shell(&project.out("typed"), "objdump -h vmlinux | grep -q '\\.BTF'");
    let archive = shell(&project.out("typed"), "tar -tf modules.tar.zst");
    assert!(archive.contains("kernel/kheaders.ko.xz") && archive.contains("crc7.ko.xz"), "{archive}");

    let typed = "kernel:linux/x86_64/typed/gcc";
    let fails = |tool: &str| {
        let (passed, printed) = project.kiln(&format!("build {typed}"));
        assert!(!passed && printed.contains(&format!("`{tool}` is not installed")), "{tool}: {printed}");
    };
    project.depends_on(typed, "/usr/bin/lz4", None);
    project.depends_on(typed, "/usr/bin/openssl", Some(&|| fails("openssl")));
    project.depends_on(typed, "/usr/bin/tar", None);
    project.depends_on(typed, "/usr/bin/xz", None);
    project.depends_on(typed, "/usr/bin/pahole", None);
    project.depends_on(typed, "/usr/bin/python3", None);
    let small = "kernel:linux/x86_64/small/gcc";
    project.depends_on(
        small,
        "/usr/bin/zstd",
        Some(&|| {
            // The configuration has no use for it, and the kernel comes out the same.
            project.passes(&format!("build {small}"));
        }),
    );
    assert_eq!(project.verdict(small), "cached");
}

#[test]
#[ignore = "builds a real kernel twice, which takes minutes: `make check-long` runs it"]
fn signed_and_compressed_modules_are_those_that_make_installs() {
    let Some(project) = Project::new() else { return };
    project.write("configs/modules.config", MODULES);
    project.write("configs/signed.config", SIGNED);
    fs::create_dir(project.path("keys")).unwrap();
    shell(
        &project.path("keys"),
        "openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=kw -out release.pem -keyout release.key",
    );
    fs::set_permissions(project.path("keys/release.key"), Permissions::from_mode(0o600)).unwrap();
    let config = "base: \"tinyconfig\", fragments: [\"configs/modules.config\", \"configs/signed.config\"]";
    project.builds(&[("signed", config, "params: { \"module_key\": \"release\" }")]);
    project.passes("build");
    nothing_was_missing(&project, "signed");

    let scratch = project.dir.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let archive = project.out("signed").join("modules.tar.zst");
    shell(&scratch, &format!("mkdir archive; tar -xf {} -C archive", archive.display()));
    let modules = shell(&scratch, "find archive -name '*.ko*' | sort");
    let modules: Vec<&str> = modules.lines().collect();
    assert_eq!(modules.len(), 2, "{modules:?}");
    for module in modules {
        assert!(module.ends_with(".ko.zst"), "{module}");
        let bytes = zstd::decode_all(fs::File::open(scratch.join(module)).unwrap()).unwrap();
        let (code, signature) = signed(&bytes);
        fs::write(scratch.join("code"), code).unwrap();
        fs::write(scratch.join("signature"), signature).unwrap();
        let certificate = project.path("keys/release.pem");
        shell(
            &scratch,
            &format!(
                "openssl cms -verify -binary -inform DER -in signature -content code -certfile {} -nointern -noverify \
                 -out /dev/null",
                certificate.display()
            ),
        );
    }

    // The same by hand, with the key at the place that the configuration names.
    let key = project.path("keys");
    let tree = tree();
    let config = project.out("signed").join("config");
    let by_hand = format!(
        "mkdir o root; cp {config} o/.config; mount -t tmpfs kw /mnt; mkdir -p /mnt/in; \
         cat {key}/release.key {key}/release.pem >/mnt/in/module_key; \
         sed -i 's:/kiln/in:/mnt/in:' o/.config; \
         make -C {tree} O=$PWD/o ARCH=x86_64 -j2 all; make -C {tree} O=$PWD/o ARCH=x86_64 INSTALL_MOD_PATH=$PWD/root modules_install; \
         rm -f root/lib/modules/*/build root/lib/modules/*/source",
        config = config.display(),
        key = key.display(),
        tree = tree.display(),
    );
    fs::write(scratch.join("by-hand"), by_hand).unwrap();
    shell(&scratch, "unshare --mount sh -e by-hand");
    let difference = shell(&scratch, "diff -r archive/lib/modules root/lib/modules || true");
    assert!(difference.is_empty(), "{difference}");

    project.depends_on(
        "kernel:linux/x86_64/signed/gcc",
        "/usr/bin/zstd",
        Some(&|| {
            let (passed, printed) = project.kiln("build kernel:");
            assert!(!passed && printed.contains("`zstd` is not installed"), "{printed}");
        }),
    );
}

/// A module without its signature, and the signature: `struct module_signature` and a marker end the file.
fn signed(module: &[u8]) -> (&[u8], &[u8]) {
    let rest = module.strip_suffix(b"~Module signature appended~\n").expect("it is signed");
    let (rest, header) = rest.split_at(rest.len() - 12);
    let length = u32::from_be_bytes(header[8..].try_into().unwrap()) as usize;
    rest.split_at(rest.len() - length)
}
