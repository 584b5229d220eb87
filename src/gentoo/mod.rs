//! Gentoo's formats and mirrors: stage3s, ebuild trees, signatures, the lock file, images, Portage.

pub mod date;
pub mod digests;
pub mod download;
pub mod ebuilds;
pub mod fetch;
pub mod image;
pub mod latest;
pub mod lock;
pub mod lock_file;
pub mod names;
pub mod portage;
pub mod signed;

#[cfg(test)]
mod tests;
