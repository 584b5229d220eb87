//! Roots of stage3s, from `graph.ron` to what is built in them: a real Portage, a real compiler, a real nginx.
//!
//! `make check-stage3` makes the mirror that they take (`KILN_TEST_STAGE3`) and runs this, as root.

mod arm64;
mod arm64_kernel;
mod ebuilds;
mod mirror;
mod mirror_faults;
mod packages;
mod project;
mod real_kernel;
mod rootless;
mod roots;
