//! The base of configurations, and fixups that contradict each other.

use std::collections::HashMap;

use super::Checker;
use crate::spec::declared::Config;
use crate::spec::decode::fixup_symbol;
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::{Fixup, RANDCONFIG};

/// The suffix of configuration fragments in a kernel tree.
const FRAGMENT: &str = ".config";

/// Kbuild targets that make a configuration of what runs on this machine.
const READING: [&str; 2] = ["localmodconfig", "localyesconfig"];

/// Kbuild targets that ask.
const ASKING: [&str; 8] =
    ["config", "menuconfig", "nconfig", "xconfig", "gconfig", "oldconfig", "oldaskconfig", "silentoldconfig"];

impl Checker<'_, '_> {
    pub(super) fn configs(&mut self) {
        let project = &self.spec.project;
        for config in project.configs.values() {
            self.base(&config.value);
            self.seed(&config.value);
        }
        // As written, not flattened: what an entry says over its preset is no contradiction.
        let parts = || project.presets.values().chain(&project.builds).map(|part| &part.value);
        for part in parts() {
            let included = part.include.iter().filter_map(|filter| filter.value.defconfig.as_ref());
            for target in part.defconfigs.iter().chain(included) {
                if !project.configs.contains_key(&target.value) {
                    self.named_directly(target);
                }
            }
        }
        let lists = project.fixups.values().map(|list| list.value.as_slice());
        let lists = lists.chain(project.configs.values().map(|config| config.value.fixups.as_slice()));
        for list in lists.chain(parts().map(|part| part.fixups.as_slice())) {
            self.contradictions(list);
        }
    }

    fn base(&mut self, config: &Config) {
        for target in &config.base {
            self.of_host(target);
        }
        let Some(first) = config.base.first().filter(|first| first.value.ends_with(FRAGMENT)) else { return };
        let name = &first.value;
        let message =
            format!("`{name}` is a fragment of the kernel tree: there is nothing yet to merge it into");
        let diagnostic = Diagnostic::error("bad-base", message).label(first.span, "this can't come first");
        let help =
            format!("begin with a target that makes a configuration: `base: [\"defconfig\", \"{name}\"]`");
        self.push(diagnostic.help(help));
    }

    /// A target that reads this machine or asks the user: no key covers its result.
    fn of_host(&mut self, target: &Spanned<String>) {
        let name = target.value.as_str();
        let (why, help) = if READING.contains(&name) {
            (
                "reads which modules this machine has loaded",
                "run it once by hand, and give what it makes as a fragment: `(base: \"allnoconfig\", fragments: [..])`",
            )
        } else if ASKING.contains(&name) {
            (
                "asks questions, which a build can't answer",
                "keep your answers in a fragment: `(base: \"defconfig\", fragments: [..])`",
            )
        } else {
            return;
        };
        let message = format!("`{name}` {why}");
        let diagnostic = Diagnostic::error("bad-base", message).label(target.span, "not as a base");
        self.push(diagnostic.help(help));
    }

    fn seed(&mut self, config: &Config) {
        match &config.seed {
            None => {
                let random = config.base.iter().find(|target| target.value == RANDCONFIG);
                if let Some(target) = random {
                    let help = "write `seed: 7`, or any other number, beside it";
                    self.push(without_seed(target).help(help));
                }
            }
            Some(seed) if !config.is_random() => {
                let message = format!("only `{RANDCONFIG}` goes by a seed");
                let diagnostic = Diagnostic::error("idle-seed", message).label(seed.span, "does nothing");
                let label = format!("not `{RANDCONFIG}`");
                let labelled = config
                    .base
                    .iter()
                    .fold(diagnostic, |diagnostic, target| diagnostic.label(target.span, label.clone()));
                self.push(labelled.help(format!("take `seed` out, or make the base `{RANDCONFIG}`")));
            }
            Some(_) => {}
        }
    }

    /// A build that names a kbuild target itself, which leaves no room for more than that.
    fn named_directly(&mut self, target: &Spanned<String>) {
        self.of_host(target);
        let name = &target.value;
        if name == RANDCONFIG {
            let help = format!(
                "write `\"random-7\": (base: \"{RANDCONFIG}\", seed: 7)` in `configs`, and `\"random-7\"` here"
            );
            self.push(without_seed(target).help(help));
        } else if name.ends_with(FRAGMENT) {
            let message =
                format!("`{name}` is a fragment of the kernel tree, and no configuration by itself");
            let diagnostic = Diagnostic::error("bad-base", message).label(target.span, "merged into what?");
            let bare = name.trim_end_matches(FRAGMENT);
            let help = format!(
                "write `\"{bare}\": (base: [\"defconfig\", \"{name}\"])` in `configs`, and `\"{bare}\"` here"
            );
            self.push(diagnostic.help(help));
        }
    }

    /// Two settings of one symbol, side by side in one list. What a list takes up may be set otherwise after it, as
    /// may what a config sets in a build: that is what the order is for.
    fn contradictions(&mut self, list: &[Spanned<Fixup>]) {
        let mut first: HashMap<&str, &Spanned<Fixup>> = HashMap::new();
        for fixup in list.iter().filter(|fixup| fixup.value.list().is_none()) {
            let text = fixup.value.text.as_str();
            let symbol = fixup_symbol(text);
            let Some(earlier) = first.insert(symbol, fixup).filter(|earlier| earlier.value.text != text)
            else {
                continue;
            };
            let message = format!("`{symbol}` is set to two values in one list");
            let diagnostic = Diagnostic::error("contradiction", message)
                .label(fixup.span, format!("`{text}` here"))
                .label(earlier.span, format!("`{}` here", earlier.value.text));
            let help =
                "take one out; to set a list's symbol otherwise, write it after the list's `\"@name\"`";
            self.push(diagnostic.help(help));
        }
    }
}

fn without_seed(target: &Spanned<String>) -> Diagnostic {
    let message = format!("`{RANDCONFIG}` without a seed is another configuration each time");
    Diagnostic::error("missing-seed", message).label(target.span, "no seed")
}
