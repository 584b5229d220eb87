//! Settings that make builds unrepeatable, and how to fix them.
//!
//! Sources: `Documentation/kbuild/reproducible-builds.rst` and the kernel tree, for everything that reads random numbers, the
//! clock, the processor, or permissions and times of files. docs/rules.md has the same table.

use super::config::{KConfig, Value};

/// The key that kbuild generates if there is none.
const GENERATED_KEY: &str = "certs/signing_key.pem";

/// The first pahole version, as in `PAHOLE_VERSION`, whose threads write BTF in a fixed order.
const PAHOLE_IN_ORDER: i64 = 129;

/// The first pahole version that the kernel's scripts run with several threads.
const PAHOLE_PARALLEL: i64 = 122;

/// The inputs directory inside the sandbox: copies with fixed permissions, owners and times.
const INPUTS: &str = "/kiln/in/";

/// A setting that makes a build unrepeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepeatable {
    /// The symbol, without `CONFIG_`.
    pub symbol: &'static str,
    /// The reason.
    pub why: &'static str,
    /// How to fix it.
    pub fix: &'static str,
}

/// Facts about a build besides its `.config`.
#[derive(Clone, Copy, Debug)]
pub struct BuildFacts<'a> {
    /// Make variables, `NAME=VALUE`.
    pub make: &'a [String],
    /// The source tree inside the sandbox. Its files are mounted with their own metadata.
    pub source: &'a str,
}

struct Row {
    found: fn(&KConfig<'_>, BuildFacts<'_>) -> bool,
    what: Unrepeatable,
}

const TABLE: [Row; 7] = [
    Row {
        found: |config, _| text(config, "MODULE_SIG_KEY").as_deref() == Some(GENERATED_KEY),
        what: Unrepeatable {
            symbol: "MODULE_SIG_KEY",
            why: "every build from nothing generates another key, and the kernel holds its certificate",
            fix: "give the build a key of `module_keys` and set MODULE_SIG_KEY=\"/kiln/in/module_key\", or set \
                   MODULE_SIG_KEY=\"\" and MODULE_SIG_ALL=n",
        },
    },
    Row {
        found: |config, _| is_set(config, "RANDSTRUCT") || is_set(config, "GCC_PLUGIN_RANDSTRUCT"),
        what: Unrepeatable {
            symbol: "RANDSTRUCT",
            why: "every build from nothing draws another seed for the layout of structures",
            fix: "set RANDSTRUCT_NONE=y (GCC_PLUGIN_RANDSTRUCT=n before Linux 6.0)",
        },
    },
    Row {
        found: |config, facts| is_set(config, "GCC_PLUGIN_LATENT_ENTROPY") && !has_random_seed(facts),
        what: Unrepeatable {
            symbol: "GCC_PLUGIN_LATENT_ENTROPY",
            why: "the plugin takes random numbers from the machine that builds",
            fix: "set GCC_PLUGIN_LATENT_ENTROPY=n, or give the toolchain `make: [\"KCFLAGS=-frandom-seed=1\"]`",
        },
    },
    Row {
        found: |config, facts| {
            is_set(config, "GCOV_KERNEL") && is_set(config, "CC_IS_GCC") && !has_random_seed(facts)
        },
        what: Unrepeatable {
            symbol: "GCOV_KERNEL",
            why: "gcc marks each object with the time of the day",
            fix: "set GCOV_KERNEL=n, or give the toolchain `make: [\"KCFLAGS=-frandom-seed=1\"]`",
        },
    },
    Row {
        found: |config, facts| {
            let parallel = PAHOLE_PARALLEL..PAHOLE_IN_ORDER;
            let pahole =
                matches!(config.get("PAHOLE_VERSION"), Value::Int(version) if parallel.contains(&version));
            is_set(config, "DEBUG_INFO_BTF")
                && pahole
                && !facts.make.iter().any(|set| set.starts_with("PAHOLE_FLAGS="))
        },
        what: Unrepeatable {
            symbol: "DEBUG_INFO_BTF",
            why: "this pahole writes types in the order in which its threads end",
            fix: "use pahole 1.29 or later, or give the toolchain `make: [\"PAHOLE_FLAGS=..\"]` without `-j`",
        },
    },
    Row {
        found: |config, _| {
            ["X86_NATIVE_CPU", "MNATIVE_INTEL", "MNATIVE_AMD"]
                .into_iter()
                .any(|symbol| is_set(config, symbol))
        },
        what: Unrepeatable {
            symbol: "X86_NATIVE_CPU",
            why: "the compiler makes code for the processor that it runs on",
            fix: "set X86_NATIVE_CPU=n (MNATIVE_INTEL=n, MNATIVE_AMD=n) and choose a processor by name",
        },
    },
    Row {
        found: |config, facts| {
            let sources = text(config, "INITRAMFS_SOURCE").unwrap_or_default();
            let sources: Vec<&str> = sources.split_ascii_whitespace().collect();
            let packed = matches!(sources[..], [one] if is_archive(one));
            !packed && !sources.iter().all(|source| is_copy(source, facts.source))
        },
        what: Unrepeatable {
            symbol: "INITRAMFS_SOURCE",
            why: "permissions, owners and times of files of the source tree get into the image",
            fix: "make them an input of the kernel's rule, `\"rootfs\": File(\"..\")`, and set \
                   INITRAMFS_SOURCE=\"/kiln/in/rootfs\", or name a .cpio archive",
        },
    },
];

/// The unrepeatable settings of a final `.config`.
pub fn unrepeatable(config: &KConfig<'_>, facts: BuildFacts<'_>) -> Vec<Unrepeatable> {
    TABLE.iter().filter(|row| (row.found)(config, facts)).map(|row| row.what.clone()).collect()
}

/// Whether modules are signed with a PKCS#11 token, which no action key covers and steps can't access.
pub fn needs_token(config: &KConfig<'_>) -> bool {
    text(config, "MODULE_SIG_KEY").is_some_and(|key| key.starts_with("pkcs11:"))
}

fn is_set(config: &KConfig<'_>, symbol: &str) -> bool {
    config.get(symbol) == Value::Yes
}

fn text(config: &KConfig<'_>, symbol: &str) -> Option<String> {
    match config.get(symbol) {
        Value::Text(text) => Some(text.into_owned()),
        _ => None,
    }
}

fn has_random_seed(facts: BuildFacts<'_>) -> bool {
    facts.make.iter().any(|set| set.contains("-frandom-seed="))
}

/// Whether kbuild uses the file as an archive: by its name, like usr/Makefile.
fn is_archive(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".cpio").is_some() || name.contains(".cpio.")
}

fn is_copy(path: &str, source: &str) -> bool {
    let in_source = path.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path.starts_with(INPUTS) && !path.contains("/../") && !in_source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, make: &[&str]) -> Vec<&'static str> {
        let (config, problems) = KConfig::parse(config.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        let make: Vec<String> = make.iter().map(|set| (*set).to_owned()).collect();
        let facts = BuildFacts { make: &make, source: "/kiln/in/source" };
        unrepeatable(&config, facts).iter().map(|found| found.symbol).collect()
    }

    #[test]
    fn a_generated_key_is_found_and_a_given_one_is_not() {
        assert_eq!(found("CONFIG_MODULE_SIG_KEY=\"certs/signing_key.pem\"\n", &[]), ["MODULE_SIG_KEY"]);
        assert!(found("CONFIG_MODULE_SIG_KEY=\"/kiln/in/module_key\"\n", &[]).is_empty());
        assert!(found("CONFIG_MODULE_SIG_KEY=\"\"\n", &[]).is_empty());
    }

    #[test]
    fn a_token_is_told_from_a_file() {
        let needs =
            |key: &str| needs_token(&KConfig::parse(format!("CONFIG_MODULE_SIG_KEY={key}\n").as_bytes()).0);
        assert!(needs("\"pkcs11:token=a\""));
        assert!(!needs("\"certs/signing_key.pem\""));
    }

    #[test]
    fn random_numbers_are_found_unless_a_seed_is_given() {
        assert_eq!(found("CONFIG_RANDSTRUCT=y\nCONFIG_RANDSTRUCT_FULL=y\n", &[]), ["RANDSTRUCT"]);
        assert_eq!(found("CONFIG_GCC_PLUGIN_RANDSTRUCT=y\n", &[]), ["RANDSTRUCT"]);
        assert!(found("CONFIG_RANDSTRUCT_NONE=y\n# CONFIG_RANDSTRUCT is not set\n", &[]).is_empty());
        let gcov = "CONFIG_CC_IS_GCC=y\nCONFIG_GCOV_KERNEL=y\nCONFIG_GCC_PLUGIN_LATENT_ENTROPY=y\n";
        assert_eq!(found(gcov, &[]), ["GCC_PLUGIN_LATENT_ENTROPY", "GCOV_KERNEL"]);
        assert!(found(gcov, &["KCFLAGS=-O2 -frandom-seed=1"]).is_empty());
        assert!(found("CONFIG_CC_IS_CLANG=y\nCONFIG_GCOV_KERNEL=y\n", &[]).is_empty());
    }

    #[test]
    fn types_in_any_order_depend_on_the_pahole() {
        let btf = |version| format!("CONFIG_DEBUG_INFO_BTF=y\nCONFIG_PAHOLE_VERSION={version}\n");
        assert_eq!(found(&btf(122), &[]), ["DEBUG_INFO_BTF"]);
        assert_eq!(found(&btf(128), &[]), ["DEBUG_INFO_BTF"]);
        assert!(found(&btf(121), &[]).is_empty());
        assert!(found(&btf(129), &[]).is_empty());
        assert!(found(&btf(125), &["PAHOLE_FLAGS=--btf_gen_floats"]).is_empty());
    }

    #[test]
    fn an_initramfs_of_copies_or_archives_is_repeatable() {
        let of = |source| found(&format!("CONFIG_INITRAMFS_SOURCE=\"{source}\"\n"), &[]);
        assert!(of("").is_empty());
        assert!(of("/kiln/in/rootfs").is_empty());
        assert!(of("/kiln/in/rootfs /kiln/in/list").is_empty());
        assert!(of("usr/my.cpio.gz").is_empty());
        assert!(of("usr/my.cpio").is_empty());
        assert_eq!(of("usr/dir"), ["INITRAMFS_SOURCE"]);
        assert_eq!(of("/kiln/in/source/usr/dir"), ["INITRAMFS_SOURCE"]);
        assert_eq!(of("/kiln/in/rootfs/../source/usr"), ["INITRAMFS_SOURCE"]);
        assert_eq!(of("/kiln/in/rootfs usr/my.cpio"), ["INITRAMFS_SOURCE"]);
        assert!(of("/kiln/in/sources").is_empty());
    }

    #[test]
    fn a_processor_of_the_moment_is_found() {
        assert_eq!(found("CONFIG_X86_NATIVE_CPU=y\n", &[]), ["X86_NATIVE_CPU"]);
        assert_eq!(found("CONFIG_MNATIVE_AMD=y\n", &[]), ["X86_NATIVE_CPU"]);
    }
}
