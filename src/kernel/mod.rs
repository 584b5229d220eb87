//! Kernel knowledge: `.config` files and what they were asked to be, Kconfig files, CONFIG predicates, kbuild's
//! records, and which settings make builds unrepeatable.

pub mod asked;
pub mod compiler;
pub mod config;
pub mod kbuild;
pub mod kconfig;
pub mod matching;
pub mod messages;
pub mod outside;
pub mod predicate;
pub mod repeatable;
pub mod targets;
