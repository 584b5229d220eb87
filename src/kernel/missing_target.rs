//! Finds the configuration target that a kernel tree lacks, and similar targets that it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::kconfig::variables;

/// The number of suggested names.
const MAX_NAMES: usize = 5;

/// The suffixes of defconfigs and fragments.
const DEFCONFIG: &str = "_defconfig";
const FRAGMENT: &str = ".config";

/// The targets of every tree.
const ALWAYS: [&str; 8] = [
    "defconfig",
    "allnoconfig",
    "allyesconfig",
    "allmodconfig",
    "alldefconfig",
    "randconfig",
    "tinyconfig",
    "olddefconfig",
];

/// A target that a tree lacks, with suggestions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTarget {
    /// The target, or `arch/NAME`.
    pub wanted: String,
    /// Existing targets of its kind, nearest first, at most five.
    pub nearest: Vec<String>,
    /// The number of existing targets of its kind.
    pub all: usize,
}

/// The first of these targets that make reports as missing. `arch` is kbuild's `ARCH`.
///
/// This reads the log, not the tree, as some targets are rules of the arch's Makefile and no files.
pub fn missing_target(tree: &Path, arch: &str, targets: &[String], log: &[String]) -> Option<MissingTarget> {
    let directory =
        variables(arch).into_iter().find(|(name, _)| name == "SRCARCH").map(|(_, value)| value)?;
    if !tree.join("arch").join(&directory).is_dir() {
        let archs = names(&tree.join("arch")).filter(|name| tree.join("arch").join(name).is_dir());
        return Some(nearest(
            &format!("arch/{directory}"),
            archs.map(|name| format!("arch/{name}")).collect(),
        ));
    }
    let configs = tree.join("arch").join(&directory).join("configs");
    let common = tree.join("kernel/configs");
    let said = |words: &str| log.iter().any(|line| line.contains(words));
    let wanted = targets.iter().find(|target| {
        said(&format!("configs/{target}\""))
            || said(&format!("No rule to make target '{target}'"))
            || target.ends_with(FRAGMENT)
                && said("No configuration exists for this target")
                && !configs.join(target).exists()
                && !common.join(target).exists()
    })?;
    let ending = |ending: &'static str| move |name: &String| name.ends_with(ending);
    let there: BTreeSet<String> = if wanted.ends_with(DEFCONFIG) {
        let makefile = fs::read_to_string(tree.join("arch").join(&directory).join("Makefile"));
        let made = words(&makefile.unwrap_or_default()).map(str::to_owned).collect::<Vec<_>>();
        names(&configs).filter(ending(DEFCONFIG)).chain(made).collect()
    } else if wanted.ends_with(FRAGMENT) {
        names(&configs).chain(names(&common)).filter(ending(FRAGMENT)).collect()
    } else {
        ALWAYS.map(str::to_owned).into()
    };
    Some(nearest(wanted, there))
}

/// The names in a directory; none if it can't be read.
fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The names of defconfigs in a makefile.
fn words(makefile: &str) -> impl Iterator<Item = &str> {
    let words = makefile.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
    words.filter(|word| word.strip_suffix(DEFCONFIG).is_some_and(|stem| !stem.is_empty()))
}

fn nearest(wanted: &str, there: BTreeSet<String>) -> MissingTarget {
    let all = there.len();
    let stem = |name: &str| name.trim_end_matches(DEFCONFIG).to_owned();
    // Jaro-Winkler favours common prefixes, which related names have.
    let near = |name: &str| strsim::jaro_winkler(&stem(wanted), &stem(name));
    let mut nearest: Vec<String> = there.into_iter().collect();
    nearest.sort_by(|a, b| near(b).total_cmp(&near(a)));
    nearest.truncate(MAX_NAMES);
    MissingTarget { wanted: wanted.to_owned(), nearest, all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in ["malta", "malta_kvm", "malta_qemu_32r6", "maltaup", "ath79", "bcm47xx", "generic"] {
            file(&format!("arch/mips/configs/{name}_defconfig"), "");
        }
        file(
            "arch/mips/Makefile",
            "PHONY += malta_be_defconfig\nmalta_be_defconfig: ; $(call x,$*_defconfig)\n",
        );
        file("arch/mips/configs/tiny.config", "");
        file("kernel/configs/kvm_guest.config", "");
        dir
    }

    fn lacks(target: &str, log: &str) -> Option<MissingTarget> {
        let dir = tree();
        let targets = ["defconfig".to_owned(), target.to_owned()];
        missing_target(dir.path(), "mips", &targets, &[log.to_owned(), "make: *** Error 2".to_owned()])
    }

    #[test]
    fn the_nearest_defconfigs_are_told_those_of_the_makefile_too() {
        let log = "*** Can't find default configuration \"arch/mips/configs/malta_kvm_guest_defconfig\"!";
        let found = lacks("malta_kvm_guest_defconfig", log).unwrap();
        assert_eq!(found.nearest[0], "malta_kvm_defconfig");
        for near in ["malta_defconfig", "malta_be_defconfig"] {
            assert!(found.nearest.contains(&near.to_owned()), "{found:?}");
        }
        assert_eq!((found.nearest.len(), found.all), (MAX_NAMES, 8));
    }

    #[test]
    fn fragments_and_other_targets_are_told_by_their_kind() {
        let log = "Makefile:99: *** No configuration exists for this target on this architecture.  Stop.";
        let found = lacks("kvm_gest.config", log).unwrap();
        assert_eq!(found.nearest, ["kvm_guest.config", "tiny.config"]);
        let found =
            lacks("allmodconfg", "make[2]: *** No rule to make target 'allmodconfg'.  Stop.").unwrap();
        assert_eq!(found.nearest[0], "allmodconfig");
    }

    #[test]
    fn a_target_that_failed_for_another_reason_is_not_lacking() {
        assert_eq!(lacks("malta_defconfig", "make: *** No rule to make target 'flex'.  Stop."), None);
        assert_eq!(lacks("kvm_guest.config", "No configuration exists for this target"), None);
        assert_eq!(lacks("malta_defconfig", ""), None);
    }

    #[test]
    fn an_arch_that_the_tree_lacks_is_told_first() {
        let dir = tree();
        let found = missing_target(dir.path(), "mps", &[], &[]).unwrap();
        assert_eq!((&*found.wanted, found.nearest), ("arch/mps", vec!["arch/mips".to_owned()]));
    }
}
