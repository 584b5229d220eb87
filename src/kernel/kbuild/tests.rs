use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A source and an output directory.
struct Build(TempDir);

impl Build {
    fn new(source: &[&str], records: &[(&str, &str)]) -> Self {
        let build = Self(TempDir::new().unwrap());
        for path in source {
            build.write(&format!("src/{path}"), "");
        }
        for (path, text) in records {
            build.write(&format!("out/{path}"), text);
        }
        build
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self) -> Records {
        records(&self.0.path().join("out"), Path::new("/in/src"), &self.0.path().join("src")).unwrap()
    }

    #[track_caller]
    fn has(&self, files: &[&str]) {
        let records = self.read();
        assert_eq!(records.unreadable, []);
        assert_eq!((records.gone, records.unplaced), (BTreeSet::new(), BTreeSet::new()));
        assert_eq!(texts(&records.files), files);
    }
}

fn texts(names: &BTreeSet<Vec<u8>>) -> Vec<&str> {
    names.iter().map(|name| std::str::from_utf8(name).unwrap()).collect()
}

/// As fixdep writes it.
const OBJECT: &str = "\
savedcmd_lib/a.o := gcc -Wp,-MMD,lib/.a.o.d -include /in/src/include/k.h -I/in/src/lib -c -o lib/a.o /in/src/lib/a.c

source_lib/a.o := /in/src/lib/a.c

deps_lib/a.o := \\
    $(wildcard include/config/FOO) \\
  /in/src/include/k.h \\
  include/generated/autoconf.h \\
  /usr/include/string.h \\

lib/a.o: $(deps_lib/a.o)

$(deps_lib/a.o):
";

#[test]
fn an_object_has_its_source_and_its_headers() {
    let source = ["lib/a.c", "lib/b.c", "include/k.h", "include/generated/autoconf.h"];
    Build::new(&source, &[("lib/.a.o.cmd", OBJECT)]).has(&["include/k.h", "lib/a.c"]);
}

#[test]
fn files_that_only_a_command_names_count_if_they_are_there() {
    let command = "cmd_a/t.h := sh /in/src/scripts/tbl.sh --abis=x '/in/src/a/t.tbl' -I/in/src/a -DX=\\\"/in/src/no\\\" a/t.h\n";
    let build = Build::new(&["scripts/tbl.sh", "a/t.tbl", "a/t.h"], &[("a/.t.h.cmd", command)]);
    build.has(&["a/t.tbl", "scripts/tbl.sh"]);
}

#[test]
fn kconfigs_names_are_relative_to_the_source() {
    let list =
        "deps_config := \\\n\tinit/Kconfig \\\n\tKconfig\n\ninclude/config/auto.conf: $(deps_config)\n";
    let build = Build::new(&["Kconfig", "init/Kconfig"], &[("include/config/auto.conf.cmd", list)]);
    build.has(&["Kconfig", "init/Kconfig"]);
}

#[test]
fn visited_directories_and_those_above_have_their_makefiles() {
    let source = [
        "Makefile",
        "Kbuild",
        "lib/Makefile",
        "lib/x/y/Kbuild",
        "lib/x/y/a.c",
        "lib/z/Makefile",
        "lib/z/Kconfig",
        "net/Makefile",
        "net/Kconfig",
    ];
    let records = [
        ("lib/x/y/.a.o.cmd", "source_lib/x/y/a.o := /in/src/lib/x/y/a.c\n"),
        // Nothing was made in here but the empty list of what was made.
        ("net/.built-in.a.cmd", "cmd_net/built-in.a := rm -f net/built-in.a; ar cDPrST net/built-in.a\n"),
        // Kconfig was in here, and make was not.
        ("include/config/auto.conf.cmd", "deps_config := lib/z/Kconfig\n\ninclude/config/auto.conf: FORCE\n"),
    ];
    let build = Build::new(&source, &records);
    assert_eq!(texts(&build.read().dirs), ["", "lib", "lib/x", "lib/x/y", "net"]);
    build.has(&[
        "Kbuild",
        "Makefile",
        "lib/Makefile",
        "lib/x/y/Kbuild",
        "lib/x/y/a.c",
        "lib/z/Kconfig",
        "net/Makefile",
    ]);
}

#[test]
fn dots_and_links_are_followed_as_the_kernel_does() {
    let source = ["arch/real/include/a.h", "arch/real/b.h", "c.h"];
    let list = "deps_x := \\\n /in/src/linked/a.h \\\n /in/src/linked/../b.h \\\n /in/src/arch/./real//../../c.h \\\n /in/src/d.h\n";
    let build = Build::new(&source, &[(".x.cmd", list)]);
    let src = build.0.path().join("src");
    symlink("arch/real/include", src.join("linked")).unwrap();
    symlink("/in/src/linked/a.h", src.join("d.h")).unwrap();
    build.has(&["arch/real/b.h", "arch/real/include/a.h", "c.h"]);
}

#[test]
fn a_link_in_a_circle_or_out_of_the_tree_is_no_file() {
    let list = "deps_x := /in/src/circle /in/src/outside /in/src/b /in/src/../../etc/passwd\n";
    let build = Build::new(&["a"], &[(".x.cmd", list)]);
    let src = build.0.path().join("src");
    symlink("circle", src.join("circle")).unwrap();
    symlink("/etc/passwd", src.join("outside")).unwrap();
    let records = build.read();
    assert_eq!(records.files, BTreeSet::new());
    let names: Vec<&str> = records.unreadable.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(names, ["names ../../etc/passwd, which is not in the source"]);
    assert_eq!(texts(&records.gone), ["b", "circle", "outside"]);
}

/// As the build system below `tools/` writes it.
#[test]
fn programs_below_tools_have_names_relative_to_where_make_was() {
    let record = "source_/kiln/out/tools/o/arch/x.o := arch/x.c\n\ndeps_/kiln/out/tools/o/arch/x.o := \\\n  \
                  x.h \\\n  arch/made.h \\\n  arch/../../lib/l.h \\\n  elsewhere.h \\\n\n";
    let source = ["tools/o/arch/x.c", "tools/o/x.h", "tools/lib/l.h", "tools/lib/elsewhere.h"];
    let build = Build::new(&source, &[("tools/o/arch/.x.o.cmd", record), ("tools/o/arch/made.h", "")]);
    let records = build.read();
    assert_eq!(texts(&records.files), ["tools/lib/l.h", "tools/o/arch/x.c", "tools/o/x.h"]);
    assert_eq!(texts(&records.unplaced), ["tools/o/arch/elsewhere.h"]);
}

#[test]
fn a_list_that_only_the_compiler_wrote_counts() {
    let list = "-: /in/src/include/a.h \\\n include/generated/b.h \\\n /in/src/include/c.h\n";
    let build = Build::new(&["include/a.h", "include/c.h"], &[(".missing-syscalls.d", list)]);
    build.has(&["include/a.h", "include/c.h"]);
}

#[test]
fn the_link_back_to_the_source_is_not_searched() {
    let build = Build::new(&["lib/.b.o.cmd", "lib/a.c"], &[(".a.cmd", "source_a := /in/src/lib/a.c\n")]);
    symlink(build.0.path().join("src"), build.0.path().join("out/source")).unwrap();
    build.has(&["lib/a.c"]);
}

#[test]
fn no_records_are_an_error_and_garbage_is_not() {
    let build = Build::new(&["a"], &[("vmlinux", "")]);
    let out = build.0.path().join("out");
    let read = || records(&out, Path::new("/in/src"), Path::new("/nowhere"));
    assert!(matches!(read(), Err(KbuildError::None { .. })));
    fs::write(out.join(".x.cmd"), b"deps_ := \\\xff\0\n/in/src/ := : \\").unwrap();
    assert_eq!(read().unwrap().files, BTreeSet::new());
}
