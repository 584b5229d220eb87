//! What a build in a kept output directory makes anew by itself.

/// What kbuild compiles or includes, by the ends of names.
const COMPILED: [&str; 6] = [".c", ".h", ".S", ".dts", ".dtsi", ".dtso"];

/// Whether a build that continues in its output directory makes anew all that a file went into once the file is newer,
/// given that kbuild's records name it, or that it is the makefile of a directory that was visited.
///
/// It does for what the compilers read. Scripts and tables are prerequisites of what is made with them in some places
/// and not in others. Programs that run during the build are made anew, and what they made before is not always. In
/// makefiles above those of single directories there are recipes whose commands kbuild does not compare.
pub fn follows(path: &[u8]) -> bool {
    let mut dirs: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let name = dirs.pop().unwrap_or_default();
    if dirs.first() == Some(&&b"scripts"[..]) || dirs.contains(&&b"tools"[..]) {
        return false;
    }
    if super::MAKEFILES.iter().any(|makefile| makefile.as_bytes() == name) {
        // Those of header directories say which headers are made; one that goes away is not missed.
        if dirs.contains(&&b"include"[..]) {
            return false;
        }
        let of_the_arch = dirs.len() == 2 && dirs[0] == b"arch";
        return !dirs.is_empty() && !of_the_arch;
    }
    COMPILED.iter().any(|end| name.ends_with(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::follows;

    #[test]
    fn only_what_compilers_read_and_makefiles_of_directories_are_followed() {
        for path in
            ["lib/ctype.c", "include/linux/fs.h", "arch/x86/lib/memcpy_64.S", "lib/Makefile", "mm/Kbuild"]
        {
            assert!(follows(path.as_bytes()), "{path}");
        }
        let others = [
            "Makefile",
            "Kbuild",
            "arch/x86/Makefile",
            "arch/x86/include/asm/Kbuild",
            "scripts/kallsyms.c",
            "scripts/Makefile.build",
            "scripts/link-vmlinux.sh",
            "tools/objtool/check.c",
            "arch/x86/tools/relocs.c",
            "arch/x86/entry/syscalls/syscall_64.tbl",
            "kernel/time/timeconst.bc",
        ];
        for path in others {
            assert!(!follows(path.as_bytes()), "{path}");
        }
    }
}
