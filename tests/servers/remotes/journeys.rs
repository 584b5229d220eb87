//! The way of results: built and pushed on one machine, restored on another, and gone on from there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::buildgrid::{BuildGrid, Guarded};
use super::machines::{Access, Ci, warnings};
use super::nginx::Nginx;
use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH};

/// What is below `out/`.
pub type Outputs = BTreeMap<PathBuf, Vec<u8>>;

/// All nodes of the project.
pub const ALL: [&str; 5] = [CONFIG, INITRAMFS, BOOT, KERNEL, MATCH];

fn results_travel(access: Access) {
    let ci = Ci::new(access);
    let builder = ci.builder();
    builder.build("").exits(0).runs(&ALL);
    let built = builder.outputs();
    builder.kiln("push").exits(0).says("5 there already");

    // An empty machine needs nothing but the server.
    let reader = ci.reader_of(builder);
    let dry = reader.kiln("restore --dry-run").exits(0);
    assert!(dry.out.contains("would fetch 5 of them"), "{dry}");
    let restored = reader.kiln("restore").exits(0).says("5 from the cache").says("fetched");
    assert_eq!(warnings(&restored), 0, "{restored}");
    assert_eq!(reader.outputs(), built);
    reader.plan("").has_nothing_to_do();
    reader.build("").exits(0).runs(&[]);
    // What was fetched is here.
    reader.build("--offline").exits(0).runs(&[]);

    // With a commit of one file, an empty machine builds what that reaches, from where the last one ended.
    let reader = ci.reader_of(reader);
    reader.edit("linux/lib/string.c", "1 + strlen", "2 + strlen");
    let build = reader.build("").exits(0).runs(&[BOOT, KERNEL]).continues(KERNEL);
    let message = build.finished(KERNEL)["message"].as_str().unwrap();
    assert!(message.contains("continued from its last run: 1 file differs"), "{message}");
    reader.is_as_from_nothing();

    // A builder does the same, and pushes it: that too is there for all.
    let builder = ci.another_builder_of(reader);
    builder.build("").exits(0).runs(&[BOOT, KERNEL]).continues(KERNEL);
    let built = builder.outputs();
    let reader = ci.reader_of(builder);
    reader.build("").exits(0).runs(&[]);
    assert_eq!(reader.outputs(), built);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn results_travel_by_http() {
    let nginx = Nginx::start();
    results_travel(nginx.access());
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn results_travel_by_https() {
    let nginx = Nginx::start();
    results_travel(nginx.tls_access());
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn results_travel_by_grpc() {
    BuildGrid::each(|buildgrid| {
        results_travel(buildgrid.access());
    });
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn results_travel_by_grpc_over_tls_with_tokens() {
    let buildgrid = Guarded::start();
    results_travel(buildgrid.access());
}
