//! Servers that are busy, slow, dead, or die: each costs a bounded time and a warning.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use super::buildgrid::BuildGrid;
use super::journeys::ALL;
use super::machines::{Access, Ci, LARGE, partial, warnings, with_large_output};
use super::nginx::Nginx;
use crate::support::process::{Server, free_ports, wait_for};
use crate::support::project::{KilnOutput, Project};

/// Runs kiln, and does something while it runs.
fn meanwhile(project: &Project, args: &str, act: impl FnOnce()) -> KilnOutput {
    let mut command = project.command(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    act();
    KilnOutput::new(format!("kiln {args}"), &child.wait_with_output().unwrap())
}

/// Asserts that it went on without the server, and said so once.
#[track_caller]
fn goes_on_without(said: &KilnOutput) {
    assert_eq!(said.err.matches("warning: remote ci: ").count(), 1, "{said}");
    assert!(said.err.contains("going on without it"), "{said}");
}

// ---- Busy ----

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn who_is_busy_for_a_while_is_waited_for() {
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let mut machine = ci.builder();
    machine.build("").exits(0);
    let built = machine.outputs();
    for (state, status) in [("busy", 503), ("limiting", 429)] {
        machine = ci.reader_of(machine);
        nginx.is(state, true);
        let restored = meanwhile(&machine, "restore", || {
            wait_for("the first answer", || nginx.asked().iter().any(|asked| asked.status == status));
            nginx.is(state, false);
        });
        let restored = restored.exits(0).says("5 from the cache");
        assert_eq!(warnings(&restored), 0, "{restored}");
        assert_eq!(machine.outputs(), built);
    }
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn who_stays_busy_or_fails_is_gone_on_without() {
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let mut machine = ci.builder();
    machine.build("").exits(0);
    let built = machine.outputs();
    for (state, status) in [("busy", 503), ("limiting", 429), ("failing", 500)] {
        machine = ci.reader_of(machine);
        nginx.is(state, true);
        goes_on_without(&machine.kiln("restore").exits(0));
        let refused = nginx.asked().iter().filter(|asked| asked.status == status).count();
        // Three tries of a request; several may be under way at once.
        assert!(refused <= 3 * 8, "{refused}");
        if state != "busy" {
            nginx.is(state, false);
            continue;
        }
        goes_on_without(&machine.build("").exits(0).runs(&ALL).said);
        assert_eq!(machine.outputs(), built);
        // A builder, too, has its result, and tells that it is not pushed.
        machine = ci.another_builder_of(machine);
        let build = machine.build("").exits(0).runs(&ALL);
        assert_eq!(machine.outputs(), built);
        goes_on_without(&build.said);
        nginx.is(state, false);
    }
}

// ---- Dead ----

fn on_a_dead_server(machine: Project, ci: &Ci, built: &super::journeys::Outputs) {
    let machine = ci.reader_of(machine);
    goes_on_without(&machine.kiln("restore").exits(0));
    assert!(!machine.exists("out/linux"));
    goes_on_without(&machine.kiln("restore --dry-run").exits(0));
    goes_on_without(&machine.build("").exits(0).runs(&ALL).said);
    assert_eq!(machine.outputs(), *built);
    let machine = ci.another_builder_of(machine);
    goes_on_without(&machine.build("").exits(0).runs(&ALL).said);
    machine.kiln("push").exits(4).complains("remote ci");
}

fn dead_and_deaf(access: Access, server: &mut Server) {
    let ci = Ci::new(Access { fields: format!("{}, timeout: \"2s\"", access.fields), ..access });
    let machine = ci.builder();
    machine.build("").exits(0);
    let built = machine.outputs();
    server.freeze();
    let machine = ci.reader_of(machine);
    goes_on_without(&machine.kiln("restore").exits(0));
    goes_on_without(&machine.build("").exits(0).runs(&ALL).said);
    assert_eq!(machine.outputs(), built);
    server.thaw();
    server.kill();
    on_a_dead_server(machine, &ci, &built);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn an_nginx_that_stands_still_or_is_dead_is_gone_on_without() {
    let mut nginx = Nginx::start();
    dead_and_deaf(nginx.access(), &mut nginx.server);
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn a_buildgrid_that_stands_still_or_is_dead_is_gone_on_without() {
    BuildGrid::each(|mut buildgrid| {
        dead_and_deaf(buildgrid.access(), &mut buildgrid.server);
    });
}

#[test]
#[ignore = "belongs to the tests with servers: scripts/check-remote.sh runs it"]
fn who_takes_connections_and_never_answers_is_gone_on_without() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["http", "grpc"] {
        let fields = format!("url: \"{scheme}://127.0.0.1:{port}\", timeout: \"2s\"");
        let ci = Ci::new(Access { fields, writer: None, reader: None });
        let machine = ci.builder();
        goes_on_without(&machine.kiln("restore").exits(0));
        goes_on_without(&machine.build("").exits(0).runs(&ALL).said);
    }
    let [port] = free_ports();
    for scheme in ["http", "grpc"] {
        let fields = format!("url: \"{scheme}://127.0.0.1:{port}\"");
        let ci = Ci::new(Access { fields, writer: None, reader: None });
        goes_on_without(&ci.builder().build("").exits(0).runs(&ALL).said);
    }
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn who_sends_hardly_anything_is_gone_on_without() {
    let nginx = Nginx::start();
    let access = nginx.access();
    let ci = Ci::new(Access { fields: format!("{}, timeout: \"2s\"", access.fields), ..access });
    let builder = ci.builder_of(with_large_output());
    builder.build("").exits(0).runs(&["large:it"]);
    let machine = ci.reader_of(builder);
    nginx.is("standing", true);
    goes_on_without(&machine.kiln("restore").exits(0));
    goes_on_without(&machine.build("").exits(0).runs(&["large:it"]).said);
}

// ---- Dying ----

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_restore_goes_on_where_a_dead_server_left_it() {
    let mut nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let builder = ci.builder_of(with_large_output());
    builder.build("").exits(0).runs(&["large:it"]);
    let large = fs::read(builder.path(LARGE_OUT)).unwrap();

    let machine = ci.reader_of(builder);
    nginx.is("slow", true);
    let broken = meanwhile(&machine, "restore", || {
        wait_for("a part of the blob", || partial(&machine) > LARGE / 8);
        nginx.server.kill();
    });
    goes_on_without(&broken.exits(0));
    assert!(!machine.exists(LARGE_OUT), "a part of it is there");
    let part = partial(&machine);
    assert!((1..LARGE).contains(&part), "{part}");

    nginx.is("slow", false);
    nginx.start_again();
    let before = nginx.asked().len();
    let restored = machine.kiln("restore").exits(0).says("1 from the cache");
    assert_eq!(warnings(&restored), 0, "{restored}");
    let parts: Vec<u64> =
        nginx.asked()[before..].iter().filter(|asked| asked.status == 206).map(|asked| asked.sent).collect();
    assert_eq!(parts, [LARGE - part], "the rest is all that was sent");
    assert!(fs::read(machine.path(LARGE_OUT)).unwrap() == large);
    assert_eq!(partial(&machine), 0);
    machine.build("").exits(0).runs(&[]);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_server_that_is_back_at_once_is_gone_on_with() {
    let mut nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let builder = ci.builder_of(with_large_output());
    builder.build("").exits(0);
    let machine = ci.reader_of(builder);
    nginx.is("slow", true);
    let restored = meanwhile(&machine, "restore", || {
        wait_for("a part of the blob", || partial(&machine) > LARGE / 8);
        nginx.is("slow", false);
        nginx.server.kill();
        nginx.start_again();
    });
    // On a busy machine nginx may take too long: that is the fault above.
    if warnings(&restored) == 0 {
        let restored = restored.exits(0).says("1 from the cache");
        assert!(nginx.asked().iter().any(|asked| asked.status == 206 && asked.sent < LARGE), "{restored}");
    }
    machine.build("").exits(0);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn what_came_of_another_blob_is_fetched_again() {
    let nginx = Nginx::start();
    let ci = Ci::new(nginx.access());
    let builder = ci.builder_of(with_large_output());
    builder.build("").exits(0);
    let large = fs::read(builder.path(LARGE_OUT)).unwrap();
    let digest = super::contract::name(&large).blake3;
    let machine = ci.reader_of(builder);
    machine.kiln("plan --offline").exits(0);
    machine.write(&format!("cache/partial/{digest}"), "something that a power cut left");
    let restored = machine.kiln("restore").exits(0).says("1 from the cache");
    assert_eq!(warnings(&restored), 0, "{restored}");
    assert!(fs::read(machine.path(LARGE_OUT)).unwrap() == large);
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn a_restore_goes_on_where_a_buildgrid_stood_still() {
    BuildGrid::each(|buildgrid| {
        let access = buildgrid.access();
        let ci = Ci::new(Access { fields: format!("{}, timeout: \"2s\"", access.fields), ..access });
        let builder = ci.builder_of(with_large_output());
        builder.build("").exits(0);
        let large = fs::read(builder.path(LARGE_OUT)).unwrap();

        let machine = ci.reader_of(builder);
        let broken = meanwhile(&machine, "restore", || {
            wait_for("a part of the blob", || partial(&machine) > 0);
            buildgrid.server.freeze();
        });
        goes_on_without(&broken.exits(0));
        assert!(!machine.exists(LARGE_OUT), "a part of it is there");
        assert!((1..LARGE).contains(&partial(&machine)), "{}", partial(&machine));
        buildgrid.server.thaw();
        machine.kiln("restore").exits(0).says("1 from the cache");
        assert!(fs::read(machine.path(LARGE_OUT)).unwrap() == large);
        machine.build("").exits(0).runs(&[]);
    });
}

/// Where the large output appears.
pub const LARGE_OUT: &str = "out/it/large";
