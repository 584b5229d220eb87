//! Which Debian package has what a build needs.

/// Something that a package provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provided {
    /// The name of a program, or an absolute path.
    pub what: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

const fn provided(what: &'static str, package: &'static str) -> Provided {
    Provided { what, package }
}

/// Programs that kernel builds, boots and roots run, sorted by name.
pub const PROGRAMS: &[Provided] = &[
    provided("ar", "binutils"),
    provided("as", "binutils"),
    provided("awk", "mawk"),
    provided("bash", "bash"),
    provided("bc", "bc"),
    provided("bison", "bison"),
    provided("bzip2", "bzip2"),
    provided("cc", "gcc"),
    provided("clang", "clang"),
    provided("cpio", "cpio"),
    provided("depmod", "kmod"),
    provided("dtc", "device-tree-compiler"),
    provided("flex", "flex"),
    provided("g++", "g++"),
    provided("gcc", "gcc"),
    provided("git", "git"),
    provided("gzip", "gzip"),
    provided("ld", "binutils"),
    provided("ld.lld", "lld"),
    provided("llvm-ar", "llvm"),
    provided("lz4", "lz4"),
    provided("lzop", "lzop"),
    provided("make", "make"),
    provided("mkfs.erofs", "erofs-utils"),
    provided("mksquashfs", "squashfs-tools"),
    provided("modprobe", "kmod"),
    provided("newuidmap", "uidmap"),
    provided("nm", "binutils"),
    provided("objcopy", "binutils"),
    provided("objdump", "binutils"),
    provided("openssl", "openssl"),
    provided("pahole", "pahole"),
    provided("patch", "patch"),
    provided("perl", "perl"),
    provided("python3", "python3"),
    provided("qemu-system-aarch64", "qemu-system-arm"),
    provided("qemu-system-alpha", "qemu-system-misc"),
    provided("qemu-system-arm", "qemu-system-arm"),
    provided("qemu-system-hppa", "qemu-system-misc"),
    provided("qemu-system-i386", "qemu-system-x86"),
    provided("qemu-system-loongarch64", "qemu-system-misc"),
    provided("qemu-system-m68k", "qemu-system-misc"),
    provided("qemu-system-microblaze", "qemu-system-misc"),
    provided("qemu-system-mips", "qemu-system-mips"),
    provided("qemu-system-mips64", "qemu-system-mips"),
    provided("qemu-system-mips64el", "qemu-system-mips"),
    provided("qemu-system-mipsel", "qemu-system-mips"),
    provided("qemu-system-or1k", "qemu-system-misc"),
    provided("qemu-system-ppc", "qemu-system-ppc"),
    provided("qemu-system-ppc64", "qemu-system-ppc"),
    provided("qemu-system-riscv32", "qemu-system-misc"),
    provided("qemu-system-riscv64", "qemu-system-misc"),
    provided("qemu-system-s390x", "qemu-system-misc"),
    provided("qemu-system-sh4", "qemu-system-misc"),
    provided("qemu-system-sparc", "qemu-system-sparc"),
    provided("qemu-system-sparc64", "qemu-system-sparc"),
    provided("qemu-system-x86_64", "qemu-system-x86"),
    provided("qemu-system-xtensa", "qemu-system-misc"),
    provided("readelf", "binutils"),
    provided("rsync", "rsync"),
    provided("squashfuse", "squashfuse"),
    provided("strip", "binutils"),
    provided("tar", "tar"),
    provided("xz", "xz-utils"),
    provided("zstd", "zstd"),
];

/// Headers that the host programs of a kernel build include.
pub const PATHS: &[Provided] = &[
    provided("/usr/include/gelf.h", "libelf-dev"),
    provided("/usr/include/gmp.h", "libgmp-dev"),
    provided("/usr/include/libelf.h", "libelf-dev"),
    provided("/usr/include/mpc.h", "libmpc-dev"),
    provided("/usr/include/ncurses.h", "libncurses-dev"),
    provided("/usr/include/openssl", "libssl-dev"),
    provided("/usr/include/stdio.h", "libc6-dev"),
];

/// The Debian package that has the program of that name, or what is at that path.
///
/// Of the programs with a version or a target in their name, Debian names the packages after them.
pub fn package_of(what: &str) -> Option<String> {
    let table = if what.starts_with('/') { PATHS } else { PROGRAMS };
    if let Some(found) = table.iter().find(|provided| provided.what == what) {
        return Some(found.package.to_owned());
    }
    // A header in a directory that is listed.
    if let Some(found) = table
        .iter()
        .find(|provided| what.strip_prefix(provided.what).is_some_and(|rest| rest.starts_with('/')))
    {
        return Some(found.package.to_owned());
    }
    if let Some((name, version)) = what.rsplit_once('-')
        && ["gcc", "g++", "clang"].contains(&name)
        && version.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(what.to_owned());
    }
    let (target, tool) = what.rsplit_once('-')?;
    // Debian has binutils for ia64, and no compiler.
    if !target.contains("-linux-gnu") || target.starts_with("ia64-") {
        return None;
    }
    let target = target.replace('_', "-");
    match tool {
        "gcc" | "g++" => Some(format!("{tool}-{target}")),
        "as" | "ld" | "ar" | "nm" | "strip" | "objcopy" | "objdump" | "readelf" | "ranlib" => {
            Some(format!("binutils-{target}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_name_version_target_and_path() {
        for (what, package) in [
            ("flex", Some("flex")),
            ("gcc-12", Some("gcc-12")),
            ("aarch64-linux-gnu-gcc", Some("gcc-aarch64-linux-gnu")),
            ("arm-linux-gnueabihf-gcc", Some("gcc-arm-linux-gnueabihf")),
            ("hppa-linux-gnu-gcc", Some("gcc-hppa-linux-gnu")),
            ("i686-linux-gnu-gcc", Some("gcc-i686-linux-gnu")),
            ("sparc64-linux-gnu-readelf", Some("binutils-sparc64-linux-gnu")),
            ("x86_64-linux-gnu-ld", Some("binutils-x86-64-linux-gnu")),
            ("/usr/include/libelf.h", Some("libelf-dev")),
            ("/usr/include/openssl/evp.h", Some("libssl-dev")),
            ("qemu-system-riscv64", Some("qemu-system-misc")),
            ("qemu-system-hppa", Some("qemu-system-misc")),
            ("qemu-system-sparc64", Some("qemu-system-sparc")),
            ("nobody-knows", None),
        ] {
            assert_eq!(package_of(what).as_deref(), package, "{what}");
        }
    }
}
