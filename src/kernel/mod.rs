//! Kernel knowledge: `.config` files, CONFIG predicates, toolchains.

pub mod config;
pub mod kbuild;
pub mod matching;
pub mod predicate;
