//! Compilers that a kernel tree rejects, and compilers for another architecture.

/// Messages with which Kconfig and its scripts reject tools: scripts/Kconfig.include, scripts/cc-version.sh,
/// scripts/as-version.sh and scripts/ld-version.sh.
const REFUSALS: [&str; 7] = [
    "is too old.",
    "unknown C compiler",
    "unknown assembler",
    "unknown linker",
    "compiler is not supported",
    "assembler is not supported",
    "linker is not supported",
];

/// kbuild's `ARCH`, and prefixes of the GNU triples of its compilers. One compiler may target both word sizes, so these are
/// families.
const FAMILIES: [(&str, &[&str]); 26] = [
    ("alpha", &["alpha"]),
    ("arc", &["arc"]),
    ("arm", &["arm"]),
    ("arm64", &["aarch64"]),
    ("csky", &["csky"]),
    ("hexagon", &["hexagon"]),
    ("i386", &["x86_64", "i386", "i486", "i586", "i686"]),
    ("ia64", &["ia64"]),
    ("loongarch", &["loongarch"]),
    ("m68k", &["m68k"]),
    ("microblaze", &["microblaze"]),
    ("mips", &["mips"]),
    ("nios2", &["nios2"]),
    ("openrisc", &["or1k", "or32", "openrisc"]),
    ("parisc", &["hppa", "parisc"]),
    ("parisc64", &["hppa", "parisc"]),
    ("powerpc", &["powerpc", "ppc"]),
    ("riscv", &["riscv"]),
    ("s390", &["s390"]),
    ("sh", &["sh"]),
    ("sparc", &["sparc"]),
    ("sparc32", &["sparc"]),
    ("sparc64", &["sparc"]),
    ("x86", &["x86_64", "i386", "i486", "i586", "i686"]),
    ("x86_64", &["x86_64", "i386", "i486", "i586", "i686"]),
    ("xtensa", &["xtensa"]),
];

/// The messages of a log about a rejected tool, in the tree's words.
pub fn refusal(log: &[String]) -> Option<String> {
    // `***   Your GCC version:`, `***   Minimum GCC version:`
    let version = |line: &str| line.starts_with("*** ") && line.contains(" version:");
    let refuses = |line: &str| REFUSALS.iter().any(|words| line.contains(words));
    let words = log.iter().filter(|line| refuses(line) || version(line));
    let words: Vec<String> = words
        .map(|line| {
            let text = line.trim_start_matches('*').trim().trim_end_matches('.');
            // `scripts/Kconfig.include:44: Sorry, ..`
            let text = text.split_once(": Sorry").map_or(text.to_owned(), |(_, rest)| format!("Sorry{rest}"));
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// Whether a compiler for `machine`, as printed by `gcc -dumpmachine`, can't target `arch`. `false` for unknown arches.
pub fn is_foreign(machine: &str, arch: &str) -> bool {
    let family = FAMILIES.iter().find(|(name, _)| *name == arch);
    family.is_some_and(|(_, machines)| !machines.iter().any(|begin| machine.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn rejections_are_reported_in_the_trees_words() {
        let log = "  HOSTCC  scripts/basic/fixdep\n***\n*** C compiler is too old.\n***   Your GCC version:    4.9.2\n\
            ***   Minimum GCC version: 5.1.0\n***\n\
            scripts/Kconfig.include:44: Sorry, this C compiler is not supported.\n\
            make[1]: *** [Makefile:714: defconfig] Error 2\n";
        assert_eq!(
            refusal(&lines(log)).unwrap(),
            "C compiler is too old; Your GCC version: 4.9.2; Minimum GCC version: 5.1.0; \
             Sorry, this C compiler is not supported"
        );
        let unknown =
            "tcc: unknown C compiler\nscripts/Kconfig.include:44: Sorry, this C compiler is not supported.";
        assert!(refusal(&lines(unknown)).unwrap().starts_with("tcc: unknown C compiler; Sorry"));
        assert_eq!(refusal(&lines("make: *** [defconfig] Error 2")), None);
    }

    #[test]
    fn a_compiler_is_foreign_to_other_families_only() {
        for (machine, arch) in [
            ("x86_64-linux-gnu", "i386"),
            ("i686-linux-gnu", "x86_64"),
            ("aarch64-linux-gnu", "arm64"),
            ("arm-linux-gnueabihf", "arm"),
            ("powerpc64-linux-gnu", "powerpc"),
            ("mipsel-linux-gnu", "mips"),
            ("hppa-linux-gnu", "parisc"),
            ("sparc64-linux-gnu", "sparc32"),
            ("x86_64-linux-gnu", "um"),
            ("x86_64-linux-gnu", "an-arch-of-next-year"),
        ] {
            assert!(!is_foreign(machine, arch), "{machine} {arch}");
        }
        for (machine, arch) in
            [("x86_64-linux-gnu", "arm64"), ("aarch64-linux-gnu", "arm"), ("arm-linux-gnueabihf", "arm64")]
        {
            assert!(is_foreign(machine, arch), "{machine} {arch}");
        }
    }
}
