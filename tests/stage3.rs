//! Roots of stage3s, from `graph.ron` to what is built in them: a real Portage, a real compiler, a real nginx.
//!
//! `make check-stage3` makes the mirror that they take (`KILN_TEST_STAGE3`) and runs this, as root.

#[path = "stage3/arm64.rs"]
mod arm64;
#[path = "stage3/arm64_kernel.rs"]
mod arm64_kernel;
#[path = "stage3/ebuilds.rs"]
mod ebuilds;
#[path = "stage3/mirror.rs"]
mod mirror;
#[path = "stage3/mirror_faults.rs"]
mod mirror_faults;
#[path = "stage3/packages.rs"]
mod packages;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "remote_servers/process.rs"]
mod process;
#[path = "stage3/project.rs"]
mod project;
#[path = "stage3/real_kernel.rs"]
mod real_kernel;
#[path = "stage3/rootless.rs"]
mod rootless;
#[path = "stage3/roots.rs"]
mod roots;
