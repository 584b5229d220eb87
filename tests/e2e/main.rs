//! kiln from end to end: the binary, on a fake kernel tree that configures and builds in a tenth of a second.

mod affected;
mod build;
mod commands;
mod company;
mod edits;
mod equal_bits;
mod failures;
mod fixups;
mod history;
mod jobserver;
mod outputs;
mod project;
mod rules;
mod shown;
mod verify;
mod why;
