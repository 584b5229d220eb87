//! The fake kernel tree in a kept O=: what bare make builds again, and what it overlooks, as the real kbuild does.
//! Tests of kiln count on both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

struct Kernel(TempDir);

impl Kernel {
    /// A tree of its own that has been built once.
    fn new() -> Self {
        let kernel = Self(tempfile::tempdir().unwrap());
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakelinux");
        let copied = Command::new("cp").arg("-r").arg(tree).arg(kernel.path("")).status().unwrap();
        assert!(copied.success());
        kernel.make("x86_64_defconfig");
        kernel.makes(
            "all",
            &[
                "SYNC",
                "CC init/main.o",
                "LD vmlinux",
                "LD drivers/virtio_blk.ko",
                "IMAGE arch/x86/boot/bzImage",
            ],
        );
        kernel.settle();
        kernel
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.0.path().to_owned() } else { self.0.path().join("fakelinux").join(path) }
    }

    /// What the next edit writes is newer than what was built: clocks of file systems are coarse.
    fn settle(&self) {
        let built = fs::metadata(self.0.path().join("o/.config")).unwrap().modified().unwrap();
        let newest =
            fs::metadata(self.0.path().join("o/vmlinux")).map_or(built, |stat| stat.modified().unwrap());
        loop {
            fs::write(self.0.path().join("clock"), "").unwrap();
            if fs::metadata(self.0.path().join("clock")).unwrap().modified().unwrap() > newest {
                return;
            }
        }
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn append(&self, path: &str, text: &str) {
        self.write(path, &(fs::read_to_string(self.path(path)).unwrap() + text));
    }

    fn run(&self, target: &str) -> Output {
        let mut make = Command::new("make");
        make.arg("-C").arg(self.path("Makefile").parent().unwrap());
        make.arg(format!("O={}", self.0.path().join("o").display())).args(["ARCH=x86_64", "-j2", target]);
        make.env_remove("MAKEFLAGS").output().unwrap()
    }

    /// What make says it does: `CC init/main.o` and its like.
    fn make(&self, target: &str) -> BTreeSet<String> {
        let output = self.run(target);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let steps = text.lines().filter_map(|line| line.strip_prefix("  "));
        steps.map(|step| step.replace(" [M]", "").split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// These begin some of what make does.
    #[track_caller]
    fn makes(&self, target: &str, wanted: &[&str]) -> BTreeSet<String> {
        let steps = self.make(target);
        for wanted in wanted {
            assert!(steps.iter().any(|step| step.starts_with(wanted)), "no {wanted:?} in {steps:?}");
        }
        self.settle();
        steps
    }

    /// These are all the objects that are compiled.
    #[track_caller]
    fn compiles(&self, wanted: &[&str]) {
        let steps = self.make("all");
        let compiled: Vec<&str> = steps.iter().filter_map(|step| step.strip_prefix("CC ")).collect();
        assert_eq!(compiled, wanted, "{steps:?}");
        self.settle();
    }

    #[track_caller]
    fn does_nothing(&self) {
        assert_eq!(self.make("all"), BTreeSet::new());
    }
}

#[test]
fn only_what_changed_is_built_again() {
    let kernel = Kernel::new();
    kernel.does_nothing();
    kernel.append("include/linux/virtio.h", "int more;\n");
    kernel.compiles(&["drivers/virtio.o", "drivers/virtio_blk.o"]);
    kernel.append("arch/x86/entry/syscalls.tbl", "2\topen\n");
    kernel.compiles(&["arch/x86/entry/syscall.o"]);
    kernel.append("drivers/Makefile", "ccflags-virtio.o := -DMORE\n");
    kernel.compiles(&["drivers/virtio.o"]);
    kernel.write("drivers/plug_new.c", "int plug;\n");
    kernel.compiles(&["drivers/plug_new.o"]);
    fs::remove_file(kernel.path("drivers/plug_new.c")).unwrap();
    assert!(kernel.makes("all", &["AR drivers/built-in.a"]).contains("LD vmlinux"));
    kernel.write("localversion-new", "-new\n");
    assert!(kernel.makes("all", &["LD vmlinux"]).iter().all(|step| !step.starts_with("CC")));
    kernel.write("Makefile.local", "ccflags-y := -DALL\n");
    assert!(kernel.makes("all", &["CC init/main.o", "CC lib/string.o"]).contains("CC drivers/8250.o"));
    kernel.does_nothing();
}

#[test]
fn a_symbol_rebuilds_those_who_name_it() {
    let kernel = Kernel::new();
    let config = kernel.0.path().join("o/.config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("CONFIG_LOCALVERSION=\"\"", "CONFIG_LOCALVERSION=\"-x\"")).unwrap();
    kernel.compiles(&["init/version.o"]);
    // Kconfig is asked again, and says the same.
    kernel.append("drivers/Kconfig", "# A word.\n");
    assert_eq!(kernel.makes("all", &[]), BTreeSet::from(["SYNC include/config/auto.conf".to_owned()]));
    kernel.does_nothing();
}

#[test]
fn make_overlooks_what_the_real_one_overlooks() {
    let kernel = Kernel::new();
    // Found before include/uapi/linux/types.h, once anything looks.
    kernel.write("arch/x86/include/linux/types.h", "typedef int u64;\n");
    kernel.does_nothing();
    kernel.append("lib/string.c", "int more;\n");
    kernel.compiles(&["lib/string.o"]);
    let recorded = fs::read_to_string(kernel.0.path().join("o/lib/.string.o.cmd")).unwrap();
    assert!(recorded.contains("arch/x86/include/linux/types.h"), "{recorded}");
    fs::remove_file(kernel.path("arch/x86/include/linux/types.h")).unwrap();
    kernel.does_nothing();
    fs::remove_file(kernel.path("include/compat")).unwrap();
    kernel.does_nothing();
    kernel.write("lib/errata.h", "int erratum;\n");
    kernel.write("lib/feature_new", "");
    kernel.does_nothing();
    let makefile = fs::read_to_string(kernel.path("lib/Makefile")).unwrap();
    kernel.write("lib/Makefile", &makefile.replace("digit_&", "number_&"));
    kernel.does_nothing();
    let (before, _) = makefile.split_once("$(obj)/digits.h: $(src)").unwrap();
    kernel.write("lib/Makefile", before);
    kernel.does_nothing();
}

#[test]
fn from_nothing_it_sees_all_of_that() {
    let built = |edit: &dyn Fn(&Kernel)| {
        let kernel = Kernel::new();
        edit(&kernel);
        fs::remove_dir_all(kernel.0.path().join("o")).unwrap();
        kernel.make("x86_64_defconfig");
        kernel.run("all");
        fs::read(kernel.0.path().join("o/vmlinux")).unwrap_or_default()
    };
    let plain = built(&|_| ());
    assert!(!plain.is_empty());
    let makefile = |kernel: &Kernel, edit: &dyn Fn(&str) -> String| {
        let text = fs::read_to_string(kernel.path("lib/Makefile")).unwrap();
        kernel.write("lib/Makefile", &edit(&text));
    };
    let edits: [&dyn Fn(&Kernel); 4] = [
        &|kernel| kernel.write("lib/errata.h", "int erratum;\n"),
        &|kernel| kernel.write("lib/feature_new", ""),
        &|kernel| kernel.write("lib/digits.txt", "7\n"),
        &|kernel| makefile(kernel, &|text| text.replace("digit_&", "number_&")),
    ];
    for (number, edit) in edits.iter().enumerate() {
        let edited = built(edit);
        assert!(!edited.is_empty() && edited != plain, "edit {number}");
    }
    let without_rule = |text: &str| text.split_once("$(obj)/digits.h: $(src)").unwrap().0.to_owned();
    assert!(built(&|kernel| makefile(kernel, &without_rule)).is_empty());
}
