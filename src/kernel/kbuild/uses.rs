//! What a build uses a source file for, which decides whether kbuild rebuilds everything that depends on it.

use std::path::Path;

use super::{Records, parent};

/// The use of a file. The greatest of several uses counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// Only compilations of kernel code read it. Their records name it, so kbuild recompiles older targets.
    Compiled,
    /// It is a script or the source of a program that runs during the build.
    Program,
    /// Anything else: a table, data, or a header that is read by other commands than compilations.
    Other,
    /// It is a makefile.
    Makefile,
}

/// Directories of scripts, and of programs that run during the build.
const OF_PROGRAMS: [&[u8]; 2] = [b"scripts", b"tools"];

/// An option of all compilations of kernel code and device trees, but not of host programs.
const KERNEL_CODE: [&[u8]; 2] = [b"-D__KERNEL__", b"-D__DTS__"];

/// The record of a check that runs in every build.
const OF_A_CHECK: &str = ".missing-syscalls.d";

impl Records {
    /// The use of a file. A file without a record was read by something that keeps none.
    pub fn used_for(&self, path: &[u8]) -> Use {
        let dir = parent(path).unwrap_or_default();
        if is_makefile(&path[dir.len()..]) {
            return Use::Makefile;
        }
        if dir.split(|&byte| byte == b'/').any(|dir| OF_PROGRAMS.contains(&dir)) {
            return Use::Program;
        }
        self.uses.get(path).copied().unwrap_or(Use::Other)
    }
}

/// The use of the files that a record names, if the record tells.
pub(super) fn of_record(record: &Path, text: &[u8]) -> Option<Use> {
    if record.ends_with(super::OF_KCONFIG) || record.file_name().is_some_and(|name| name == OF_A_CHECK) {
        return None;
    }
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    let has_list = has(b"\ndeps_") || record.extension().is_some_and(|extension| extension == "d");
    Some(match has_list {
        true if KERNEL_CODE.iter().any(|option| has(option)) => Use::Compiled,
        true => Use::Program,
        false => Use::Other,
    })
}

fn is_makefile(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"/").unwrap_or(name);
    name.starts_with(b"Makefile") || name.starts_with(b"Kbuild") || name.ends_with(b".mk")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &[u8] = b"savedcmd_a.o := gcc -D__KERNEL__ -c -o a.o\n\ndeps_a.o := \\\n";

    #[test]
    fn a_record_tells_what_its_files_are_used_for() {
        let of = |record: &str, text: &[u8]| of_record(Path::new(record), text);
        assert_eq!(of("lib/.a.o.cmd", KERNEL), Some(Use::Compiled));
        assert_eq!(
            of("arch/arm64/boot/dts/.a.dtb.cmd", b"cmd_a.dtb := gcc -D__DTS__\n\ndeps_a.dtb := \\\n"),
            Some(Use::Compiled)
        );
        assert_eq!(of("lib/.gen.cmd", b"cmd_gen := gcc -o gen\n\ndeps_gen := \\\n"), Some(Use::Program));
        assert_eq!(of("lib/.gen.o.d", b"gen.o: a.h\n"), Some(Use::Program));
        assert_eq!(of("lib/.built-in.a.cmd", b"cmd_lib/built-in.a := ar cDPrST\n"), Some(Use::Other));
        assert_eq!(of("include/config/auto.conf.cmd", b"deps_config := Kconfig\n"), None);
        assert_eq!(of(".missing-syscalls.d", b"-: include/a.h\n"), None);
    }

    #[test]
    fn places_and_names_count_besides_records() {
        let mut records = Records::default();
        for path in ["lib/ctype.c", "scripts/kallsyms.c", "tools/objtool/check.c", "arch/x86/tools/relocs.c"]
        {
            records.uses.insert(path.as_bytes().to_vec(), Use::Compiled);
        }
        let used_for = |path: &str| records.used_for(path.as_bytes());
        assert_eq!(used_for("lib/ctype.c"), Use::Compiled);
        for path in ["scripts/kallsyms.c", "tools/objtool/check.c", "arch/x86/tools/relocs.c", "scripts/a.sh"]
        {
            assert_eq!(used_for(path), Use::Program, "{path}");
        }
        for path in ["arch/x86/entry/syscalls/syscall_64.tbl", "lib/mkheader.sh", "lib/no.c"] {
            assert_eq!(used_for(path), Use::Other, "{path}");
        }
        for path in ["Makefile", "lib/Makefile", "mm/Kbuild", "scripts/Kbuild.include", "a/Makefile_32.cpu"] {
            assert_eq!(used_for(path), Use::Makefile, "{path}");
        }
    }
}
