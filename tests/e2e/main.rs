//! kiln from end to end: the binary, on a fake kernel tree that configures and builds in a tenth of a second.

mod affected;
mod bad_rows;
mod build;
mod commands;
mod company;
mod configurations;
mod continued;
mod edits;
mod equal_bits;
mod failures;
mod fetching;
mod fixups;
mod history;
mod jobserver;
mod matching;
mod outputs;
mod project;
mod reach;
mod recipes;
mod remote;
mod rules;
mod shown;
mod told;
mod twin;
mod verify;
mod why;
