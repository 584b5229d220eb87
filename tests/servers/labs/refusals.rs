//! Labs that are not used, and boards that no lab can boot.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::lab::Lab;
use super::project::{KilnOutput, OK, Project};

/// A build of which the boot is skipped, for that reason.
fn skipped(project: &Project, reason: &str) -> KilnOutput {
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 4, "{built}");
    assert!(built.out.contains("skipped"), "{built}");
    assert!(built.out.contains(reason), "{reason}: {built}");
    built
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn rights_over_the_lab_are_refused() {
    let lab = Lab::get();
    let before = lab.jobs();
    for (user, reason) in [
        ("STAFF", "staff"),
        ("ADMIN", "superuser"),
        ("SUPERUSER", "superuser"),
        ("OPERATOR", "change the device"),
    ] {
        let project = Project::new(&lab, OK).with_token(&lab.token(user));
        project.replace("graph.ron", "user: \"submitter\"", &format!("user: \"{}\"", user.to_lowercase()));
        let built = skipped(&project, reason);
        assert!(!format!("{built}").contains(&lab.token(user)));
        let shown = project.kiln(&["labs"]);
        assert_eq!(shown.code, 4, "{shown}");
        assert!(shown.out.contains(reason), "{shown}");
    }
    skipped(&Project::new(&lab, OK).with_token("0123456789abcdef"), "does not take the token");
    skipped(&Project::new(&lab, OK).with_token(""), "LAB_TOKEN is not set");
    skipped(&Project::new(&lab, OK).with_token(&lab.token("OTHER")), "not of \"submitter\"");
    assert!(lab.jobs_since(before).is_empty());
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn boards_without_a_usable_device_are_skipped_and_not_recorded() {
    let lab = Lab::get();
    let before = lab.jobs();
    let project = Project::new(&lab, OK);
    project.replace("graph.ron", "device_type: \"qemu\"", "device_type: \"no-such-type\"");
    skipped(&project, "no device type no-such-type");
    project.replace("graph.ron", "device_type: \"no-such-type\"", "device_type: \"qemu-aarch64\"");
    skipped(&project, "health Bad");
    project.replace(
        "graph.ron",
        "device_type: \"qemu-aarch64\"",
        "device_type: \"qemu\", tags: [\"nowhere\"]",
    );
    skipped(&project, "no tag nowhere");
    assert!(lab.jobs_since(before).is_empty());
    // Once there is a device, the same build boots it.
    project.replace("graph.ron", ", tags: [\"nowhere\"]", "");
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    let shown = project.kiln(&["labs"]);
    assert!(shown.out.contains("idle") && shown.out.contains("health Maintenance"), "{shown}");
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn boards_of_a_worker_that_is_offline_wait_until_it_is_back() {
    let lab = Lab::get();
    let before = lab.jobs();
    let project = Project::new(&lab, OK);
    Lab::script(&["stop-worker"]);
    let gone = "worker kiln-worker is Offline, Active";
    let shown = project.kiln(&["labs"]);
    // The lab itself is all right.
    assert_eq!(shown.code, 0, "{shown}");
    assert!(shown.out.contains(gone), "{shown}");
    let board = shown.out.lines().find(|line| line.starts_with("pc "));
    assert!(board.is_some_and(|line| line.trim_end().ends_with("no")), "{shown}");
    skipped(&project, gone);
    let again = skipped(&project, gone);
    assert!(again.out.contains("qemu-1: "), "{again}");
    assert!(lab.jobs_since(before).is_empty());

    Lab::script(&["start-worker"]);
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_lab_that_answers_500_or_html_leaves_the_others_alone() {
    let lab = Lab::get();
    for answer in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
    ] {
        let url = fake(answer);
        let project = Project::new(&lab, OK);
        let broken = format!(
            "\"broken\": Lava(url: \"{url}\", user: \"submitter\", token: Env(\"LAB_TOKEN\"), timeout: \"5s\"),"
        );
        project.replace("graph.ron", "labs: { ", &format!("labs: {{ {broken} "));
        project.replace("graph.ron", "labs: [\"lab\"]", "labs: [\"broken\", \"lab\"]");
        let built = project.kiln(&["build"]);
        assert_eq!(built.code, 0, "{built}");
        assert_eq!(project.results("boot")["lab"], "lab");
    }
}

/// A server that answers everything with the same.
fn fake(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}
