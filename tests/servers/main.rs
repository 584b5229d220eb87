//! kiln with the servers that it talks to: LAVA labs, remote caches, mirrors of stage3s, and KCIDB's checks.
//!
//! A test that needs a server is ignored unless the script that brings that server up asks for it (`scripts/check-*.sh`). Tests
//! with servers that this process plays itself always run.

mod kcidb;
mod labs;
mod lava_client;
mod remotes;
mod stage3;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
