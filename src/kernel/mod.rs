//! Kernel knowledge: `.config` files and what they were asked to be, Kconfig files, CONFIG predicates, kbuild's records.

pub mod asked;
pub mod compiler;
pub mod config;
pub mod kbuild;
pub mod kconfig;
pub mod matching;
pub mod messages;
pub mod predicate;
pub mod targets;
