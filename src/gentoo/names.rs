//! The names of Gentoo's stage3 tarballs.
//!
//! A stage3 is in the directory of its architecture and named after a subarchitecture, a variant and an init system:
//! `releases/arm/autobuilds/.../stage3-armv7a_hardfp_musl-hardened-openrc-DATE.tar.xz`. The parts are joined differently for
//! each architecture, so this file lists all names, as of Gentoo's release scripts of June 2026
//! (`tools/catalyst-auto-*.conf` and the specs that they name).

use std::fmt;

/// A stage3 on the mirrors: its directory and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage3 {
    dir: String,
    name: String,
}

impl Stage3 {
    /// The stage3 of a full name, such as `arm64-musl-openrc`.
    pub fn named(name: &str) -> Result<Self, NameError> {
        if let Some(found) = Self::all().find(|found| found.name == name) {
            return Ok(found);
        }
        // For a known subarchitecture, name all its stage3s.
        let is_of = |row: &&Row| {
            name.strip_prefix(row.arch).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        };
        let arch = TABLE.iter().filter(is_of).map(|row| row.arch).max_by_key(|arch| arch.len());
        Err(match arch {
            Some(arch) => {
                let existing = TABLE.iter().filter(|row| row.arch == arch).flat_map(Row::all);
                NameError::Name {
                    name: name.to_owned(),
                    existing: existing.map(|found| found.name).collect(),
                }
            }
            None => NameError::Arch { arch: name.to_owned(), near: near(name) },
        })
    }

    /// All stage3s.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().flat_map(Row::all)
    }

    /// The unique name, without `stage3-` and date: `amd64-hardened-openrc`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The architecture's directory below a mirror's `releases/`.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// The directory of its builds, relative to a mirror's root, with a trailing slash.
    pub fn builds(&self) -> String {
        format!("releases/{}/autobuilds/", self.dir)
    }

    /// The machine of its programs, in the words of qemu-user.
    pub fn machine(&self) -> &'static str {
        let arch = self.name.split(['-', '.']).next().unwrap_or_default();
        match (&*self.dir, arch) {
            ("amd64", _) => "x86_64",
            ("x86", _) => "i386",
            ("arm64", "aarch64_be") => "aarch64_be",
            ("arm64", _) => "aarch64",
            ("ppc", "ppc") => "ppc",
            ("ppc", "ppc64") => "ppc64",
            ("ppc", _) => "ppc64le",
            ("riscv", arch) if arch.starts_with("rv32") => "riscv32",
            ("riscv", _) => "riscv64",
            ("sparc", "sparc64") => "sparc64",
            ("sparc", _) => "sparc32plus",
            ("mips", arch) => of_mips(arch),
            ("s390", _) => "s390x",
            ("loong", _) => "loongarch64",
            ("alpha", _) => "alpha",
            ("arm", _) => "arm",
            ("hppa", _) => "hppa",
            ("m68k", _) => "m68k",
            (dir, _) => unreachable!("the table has no family {dir}"),
        }
    }

    /// Whether the processor that kiln was compiled for runs its programs natively.
    pub fn is_native(&self) -> bool {
        let native: &[&str] = if cfg!(target_arch = "x86_64") {
            &["x86_64", "i386"]
        } else if cfg!(target_arch = "aarch64") {
            &["aarch64"]
        } else {
            &[]
        };
        native.contains(&self.machine())
    }

    /// The path of the file that names the latest build, relative to a mirror's root.
    pub fn latest(&self) -> String {
        format!("{}latest-stage3-{}.txt", self.builds(), self.name)
    }
}

/// The machine of a mips stage3. The compiler of a multilib stage3 targets the n32 ABI.
fn of_mips(arch: &str) -> &'static str {
    let little = arch.starts_with("mipsel");
    match (arch.contains("n64"), arch.contains("mips3") || arch.contains("mipsel3")) {
        (true, _) if little => "mips64el",
        (true, _) => "mips64",
        (false, true) if little => "mipsn32el",
        (false, true) => "mipsn32",
        (false, false) if little => "mipsel",
        (false, false) => "mips",
    }
}

impl fmt::Display for Stage3 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "stage3-{}", self.name)
    }
}

/// There is no such stage3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no such subarchitecture.
    #[error("Gentoo has no stage3 for {arch}; there are: {}", near.join(", "))]
    Arch {
        /// The requested name.
        arch: String,
        /// Similar names, or all.
        near: Vec<String>,
    },
    /// The subarchitecture exists, but has no stage3 of that name.
    #[error("Gentoo has no stage3 {name}; there are: {}", existing.join(", "))]
    Name {
        /// The requested name.
        name: String,
        /// Its stage3s.
        existing: Vec<String>,
    },
}

/// The subarchitectures with a common prefix, or all of them.
fn near(arch: &str) -> Vec<String> {
    let mut all: Vec<_> = TABLE.iter().map(|row| row.arch.to_owned()).collect();
    all.dedup();
    let start: String = arch.chars().take(3).collect();
    let near: Vec<_> = all.iter().filter(|name| name.starts_with(&start)).cloned().collect();
    if near.is_empty() { all } else { near }
}

/// A subarchitecture and its variants.
struct Row {
    dir: &'static str,
    arch: &'static str,
    /// The separator between the subarchitecture and `musl`.
    musl: char,
    /// Variants that exist for both init systems, as in the name.
    both: &'static [&'static str],
    /// Variants that exist for `OpenRC` only.
    openrc: &'static [&'static str],
}

impl Row {
    /// Its stage3s.
    fn all(&self) -> impl Iterator<Item = Stage3> {
        let both = self.both.iter().flat_map(|words| [(*words, "openrc"), (*words, "systemd")]);
        let openrc = self.openrc.iter().map(|words| (*words, "openrc"));
        both.chain(openrc)
            .map(|(words, init)| Stage3 { dir: self.dir.to_owned(), name: self.name(words, init) })
    }

    fn name(&self, words: &str, init: &str) -> String {
        let arch = self.arch;
        match words {
            "" => format!("{arch}-{init}"),
            // The only variant after the init system.
            "splitusr" => format!("{arch}-{init}-{words}"),
            _ if words.starts_with("musl") => format!("{arch}{}{words}-{init}", self.musl),
            _ => format!("{arch}-{words}-{init}"),
        }
    }
}

const fn row(dir: &'static str, arch: &'static str, both: &'static [&'static str]) -> Row {
    Row { dir, arch, musl: '-', both, openrc: &[] }
}

const fn row_(dir: &'static str, arch: &'static str, both: &'static [&'static str]) -> Row {
    Row { dir, arch, musl: '_', both, openrc: &[] }
}

const TABLE: &[Row] = &[
    row("alpha", "alpha", &[""]),
    Row {
        dir: "amd64",
        arch: "amd64",
        musl: '-',
        both: &[
            "",
            "desktop",
            "hardened",
            "hardened-selinux",
            "llvm",
            "musl",
            "musl-hardened",
            "musl-llvm",
            "nomultilib",
        ],
        openrc: &["splitusr"],
    },
    row("amd64", "x32", &[""]),
    row_("arm", "armv4tl", &["", "t64"]),
    row_("arm", "armv5tel", &["", "t64"]),
    row_("arm", "armv6j", &["", "t64"]),
    row_("arm", "armv6j_hardfp", &["", "t64", "musl", "musl-hardened"]),
    row_("arm", "armv7a", &["", "t64"]),
    row_("arm", "armv7a_hardfp", &["", "t64", "musl", "musl-hardened"]),
    Row {
        dir: "arm64",
        arch: "arm64",
        musl: '-',
        both: &["", "desktop", "llvm", "musl", "musl-hardened", "musl-llvm"],
        openrc: &["splitusr"],
    },
    row("arm64", "aarch64_be", &[""]),
    row("hppa", "hppa1.1", &[""]),
    row("hppa", "hppa2.0", &[""]),
    row("loong", "loong", &[""]),
    row_("m68k", "m68k", &["", "musl"]),
    row_("m68k", "m68k_a32", &["t64"]),
    row_("mips", "mips2", &["", "t64", "musl"]),
    row_("mips", "mips2_softfloat", &["", "t64"]),
    row_("mips", "mips3_multilib", &["", "t64"]),
    row_("mips", "mips3_n32", &["", "t64"]),
    row_("mips", "mips3_n64", &[""]),
    row_("mips", "mipsel2", &["", "t64", "musl"]),
    row_("mips", "mipsel2_softfloat", &["", "t64"]),
    row_("mips", "mipsel3_multilib", &["", "t64"]),
    row_("mips", "mipsel3_n32", &["", "t64"]),
    row_("mips", "mipsel3_n64", &[""]),
    row("ppc", "power9le", &["", "desktop", "musl-hardened"]),
    row("ppc", "ppc", &["", "t64", "musl-hardened"]),
    row("ppc", "ppc64", &["", "musl-hardened"]),
    row("ppc", "ppc64le", &["", "musl-hardened"]),
    row_("riscv", "rv32_ilp32", &["", "musl"]),
    row_("riscv", "rv32_ilp32d", &["", "musl"]),
    row_("riscv", "rv64_lp64", &["", "musl"]),
    row_("riscv", "rv64_lp64d", &["", "musl"]),
    row_("riscv", "rv64_multilib", &[""]),
    row("s390", "s390x", &[""]),
    row("sparc", "sparc", &[""]),
    row("sparc", "sparc64", &[""]),
    row("x86", "i486", &["", "t64"]),
    Row {
        dir: "x86",
        arch: "i686",
        musl: '-',
        both: &["", "ssemath", "ssemath-t64"],
        openrc: &["hardened", "hardened-t64", "musl"],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_the_mirrors() {
        for path in [
            "amd64/amd64-openrc",
            "amd64/amd64-systemd",
            "amd64/amd64-hardened-selinux-openrc",
            "amd64/amd64-nomultilib-systemd",
            "amd64/amd64-musl-llvm-openrc",
            "amd64/amd64-openrc-splitusr",
            "amd64/x32-openrc",
            "arm64/arm64-systemd",
            "arm/armv7a_hardfp_musl-hardened-openrc",
            "arm/armv5tel-t64-openrc",
            "ppc/ppc64le-musl-hardened-openrc",
            "riscv/rv64_lp64d_musl-systemd",
            "m68k/m68k_a32-t64-openrc",
            "s390/s390x-openrc",
            "x86/i686-hardened-t64-openrc",
        ] {
            let (dir, name) = path.split_once('/').unwrap();
            assert_eq!(Stage3::named(name).unwrap().dir(), dir);
        }
    }

    #[test]
    fn paths_are_those_of_the_mirrors() {
        let found = Stage3::named("arm64-openrc").unwrap();
        assert_eq!(found.latest(), "releases/arm64/autobuilds/latest-stage3-arm64-openrc.txt");
        assert_eq!(found.to_string(), "stage3-arm64-openrc");
    }

    #[test]
    fn an_unknown_name_lists_existing_ones() {
        let error = Stage3::named("arm64-hardened-openrc").unwrap_err().to_string();
        assert!(error.contains("arm64-musl-hardened-openrc") && !error.contains("armv7"), "{error}");
        let error = Stage3::named("i686-musl-systemd").unwrap_err().to_string();
        assert!(error.contains("i686-musl-openrc"), "{error}");
        let error = Stage3::named("armv7a_hardfp-musl-openrc").unwrap_err().to_string();
        assert!(error.contains("armv7a_hardfp_musl-openrc"), "{error}");
        let error = Stage3::named("armv7-openrc").unwrap_err().to_string();
        assert!(error.contains("armv7a_hardfp") && !error.contains("amd64"), "{error}");
        let error = Stage3::named("vax").unwrap_err().to_string();
        assert!(error.contains("amd64") && error.contains("sparc64"), "{error}");
    }

    #[test]
    fn names_are_unique_and_resolve_to_themselves() {
        let all: Vec<_> = Stage3::all().collect();
        let names: BTreeSet<_> = all.iter().map(Stage3::name).collect();
        assert_eq!(names.len(), all.len());
        for stage3 in &all {
            assert_eq!(Stage3::named(stage3.name()).as_ref(), Ok(stage3));
        }
        // The count in the release scripts.
        assert_eq!(all.len(), 179);
    }
}
