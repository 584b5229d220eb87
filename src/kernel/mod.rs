//! Kernel knowledge: `.config` files, CONFIG predicates, toolchains.

pub mod predicate;
