//! The library's public interface, in the process of the test. No test here builds a project.

mod board_configs;
mod cache_bounds;
mod patch;
mod sandbox;
mod spec;
mod store;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod trace;
