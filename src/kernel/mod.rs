//! Kernel knowledge: `.config` and Kconfig files, CONFIG predicates, kbuild's records, log messages, unrepeatable settings.

pub mod compiler;
pub mod config;
pub mod host_paths;
pub mod kbuild;
pub mod kconfig;
pub mod make_variables;
pub mod matching;
pub mod messages;
pub mod missing_target;
pub mod predicate;
pub mod repeatable;
pub mod unmet_settings;
