//! Roots of Gentoo, from a mirror to a mounted image.

pub mod dated;
pub mod digests;
pub mod ebuilds;
pub mod fetch;
pub mod image;
pub mod latest;
pub mod lock;
pub mod lock_file;
pub mod names;
pub mod obtain;
pub mod portage;
pub mod signed;

#[cfg(test)]
mod tests;
