//! kiln from end to end: the binary, on a fake kernel tree that configures and builds in a tenth of a second, and on random
//! graphs, hosts and edits.

mod affected;
mod altered;
mod bad_rows;
mod build;
mod cache_command;
mod canonical;
mod commands;
mod company;
mod configurations;
mod continued;
mod continuing;
mod edits;
mod equal_bits;
mod failures;
mod fake_kernel;
mod faults;
mod fetching;
mod file_systems;
mod fixups;
mod hangs;
mod history;
mod host;
mod host_reads;
mod host_walk;
mod hostile;
mod jobserver;
mod lava;
mod libraries;
mod limits;
mod matching;
mod meanwhile;
mod outputs;
mod random_graphs;
mod reach;
mod recipes;
mod remote;
mod reports;
mod repository;
mod rules;
mod secrets;
mod shown;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod told;
mod tree_walk;
mod unpacked;
mod unrecorded;
mod verdicts;
mod verified;
mod verify;
mod why;
