//! Named configurations and CONFIG fixups.

use std::path::PathBuf;

use super::form::{Form, Of, Plain};

/// A named configuration.
#[derive(Clone, Debug)]
pub struct Config<F: Form = Plain> {
    /// The kbuild targets it starts from, made in turn: `allnoconfig`, or `defconfig` and `kvm_guest.config`. Not empty.
    pub base: Vec<Of<F, String>>,
    /// The seed of `randconfig`.
    pub seed: Option<Of<F, u32>>,
    /// Config fragments, merged in order.
    pub fragments: Vec<Of<F, PathBuf>>,
    /// Fixups of its own, before the build's.
    pub fixups: Vec<Of<F, Fixup>>,
}

/// A CONFIG fixup: `"SYMBOL=VALUE"`, `"@name"`, or `Optional("..")` of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// `SYMBOL=VALUE`, without `CONFIG_`, or `@name`.
    pub text: String,
    /// Whether the final `.config` may have it otherwise; of a list, all that is in it.
    pub optional: bool,
}

/// The kbuild target that makes another configuration each time, unless it is given a seed.
pub const RANDCONFIG: &str = "randconfig";

impl<F: Form> Config<F> {
    /// Whether `randconfig` is one of its targets.
    pub fn is_random(&self) -> bool {
        self.base.iter().any(|target| F::get(target) == RANDCONFIG)
    }
}

impl Fixup {
    /// The list that it takes up, where it is `@name`.
    pub fn list(&self) -> Option<&str> {
        self.text.strip_prefix('@')
    }
}
