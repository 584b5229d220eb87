//! Outputs that are not what they should be, and steps that do what they should not.

use std::os::unix::fs::PermissionsExt;

use super::project::{Node, Project, lossy, node};

/// Outputs that can't be taken: the build fails, says why, and puts nothing in place.
#[test]
fn outputs_that_are_not_what_is_declared() {
    let cases = [
        ("true", "output o was not made"),
        ("mkdir o", "output o is not a file"),
        ("mkfifo o", "output o is not a file"),
        ("ln -s /etc/passwd o", "output o is not inside the output directory"),
        ("ln -s ../../../../../../../../../etc/passwd o", "output o is not inside the output directory"),
        ("ln -s /kiln/out/gone o", "output o was not made"),
        ("ln -s o o", "output o can't be read"),
    ];
    for (script, message) in cases {
        let project = Project::new([node("odd", script)]);
        project.build().exits(1).complains(message);
        assert_eq!(project.outputs().len(), 0, "{script}");
        project.build().exits(1).complains(message);
    }
}

#[test]
fn trees_that_hold_what_no_tree_may() {
    let cases = [
        ("mkdir t; mkfifo t/pipe", "can't be kept: it is a device, a socket or a named pipe"),
        ("mkdir t; ln -s /etc/passwd t/link", "can't be kept: it is a symlink with an absolute target"),
        ("mkdir t; ln -s ../../secret t/link", "can't be kept: it is a symlink that leads out of the tree"),
        ("echo >t", "output o is not a directory"),
        ("ln -s /etc t", "output o is not inside the output directory"),
    ];
    for (script, message) in cases {
        let project = Project::new([node("odd", script).makes(r#""o": Tree("t")"#)]);
        project.build().exits(1).complains(message);
        assert_eq!(project.outputs().len(), 0, "{script}");
    }
}

#[test]
fn of_a_files_mode_only_whether_it_is_executable_is_kept() {
    let project =
        Project::new([node("odd", "echo >o; chmod 6755 o"), node("plain", "echo >o; chmod 2666 o")]);
    project.build().exits(0);
    let mode = |path| project.path(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("out/odd/o"), mode("out/plain/o")), (0o755, 0o644));
}

#[test]
fn what_a_step_leaves_running_ends_with_it() {
    let daemon = "(setsid setsid sleep 1000 >/dev/null 2>&1 &) ; setsid sleep 1000 & echo >o";
    let project = Project::new([node("daemon", daemon)]);
    project.build().exits(0);
    assert_eq!(project.sandboxed(), [0; 0]);
}

/// A node that writes 50 MB to its log, in one line and without an end.
fn verbose(then: &str) -> Node {
    node("verbose", format!("head -c 50000000 /dev/zero | tr '\\0' x; {then}"))
}

#[test]
fn a_gigantic_log_is_kept_and_its_end_shown() {
    let project = Project::new([verbose("echo >o")]);
    project.build().exits(0);
    assert_eq!(project.run(["log", "verbose:verbose"]).exits(0).out.len(), 50_000_000);

    let project = Project::new([verbose("echo; echo the end; false")]);
    let ended =
        project.build().exits(1).complains("the end").complains("whole log: kiln log verbose:verbose");
    assert!(ended.err.len() < 200_000, "{} bytes", ended.err.len());
}

#[test]
fn a_log_that_is_not_utf8_is_kept_as_it_is() {
    let project = Project::new([node("odd", "printf 'caf\\351\\n'; false")]);
    project.build().exits(1).complains("caf\u{fffd}");
    let log = project.kiln(["log", "odd:odd"]).output().unwrap();
    assert!(log.status.success());
    assert_eq!(log.stdout, b"caf\xe9\n");
    let built = project.kiln(["build", "--format", "json-lines"]).output().unwrap();
    assert_eq!(built.status.code(), Some(1));
    let events: Vec<serde_json::Value> = built
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(events.last().unwrap()["event"], "ended", "{events:?}");
    assert!(events.iter().any(|event| event["log-tail"][0] == "caf\u{fffd}"), "{events:?}");
    assert_eq!(lossy(b"caf\xe9"), "caf\u{fffd}");
}
