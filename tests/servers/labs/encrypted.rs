//! Labs behind TLS, with an authority of their own.

use super::lab::Lab;
use super::project::{OK, Project};
use super::web::Web;
use crate::support::process::wait_for;

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_lab_with_a_certificate_of_its_own_authority_is_used_and_its_events_are_heard() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let web = Web::start(&lab, &project.path("published"));
    let ca = web.certificates.path("ca.pem");
    project.replace("graph.ron", lab.url(), &web.lab());
    project.replace("graph.ron", lab.events(), &web.events());
    project.replace("graph.ron", "slots: 2", &format!("slots: 2, ca: \"{}\"", ca.display()));
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
    let shown = project.kiln(&["labs"]);
    assert_eq!(shown.code, 0, "{shown}");
    assert!(!shown.out.contains("no events"), "{shown}");
    assert_eq!(project.results("boot")["page"], format!("{}scheduler/job/{}", web.lab(), before + 1));
    // How much it was told stands in the log once the line is closed.
    let told = || {
        let asked = web.asked();
        let lines = asked.iter().filter_map(|line| line.split_once("\"GET /ws/ HTTP/1.1\" 101 "));
        lines.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok()).max()
    };
    wait_for("events", || told() > Some(100));
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_certificate_of_another_authority_is_refused_and_the_other_labs_go_on() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let web = Web::start(&lab, &project.path("published"));
    let ca = web.certificates.path("ca.pem");
    let strange = format!(
        "\"strange\": Lava(url: \"{}\", user: \"submitter\", token: Env(\"LAB_TOKEN\"), ca: \"{}\"),",
        web.strange(),
        ca.display()
    );
    project.replace("graph.ron", "labs: { ", &format!("labs: {{ {strange} "));
    project.replace("graph.ron", "labs: [\"lab\"]", "labs: [\"strange\"]");
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 4, "{built}");
    assert!(built.out.contains("skipped"), "{built}");
    for part in ["strange: shows a certificate", "invalid peer certificate", "`ca` in graph.ron"] {
        assert!(built.out.contains(part), "{part}: {built}");
    }
    let shown = project.kiln(&["labs"]);
    assert_eq!(shown.code, 4, "{shown}");
    let of = |lab: &str| {
        let line = shown.out.lines().find(|line| line.contains(&format!(" {lab}: ")));
        line.unwrap_or_else(|| panic!("{lab}: {shown}")).to_owned()
    };
    assert!(of("strange").contains("certificate"), "{shown}");
    assert!(of("lab").contains("as submitter"), "{shown}");
    assert!(lab.jobs_since(before).is_empty(), "{built}");
    // Nobody who has no right to it has seen the token.
    assert_eq!(web.asked(), Vec::<String>::new());

    // Events are of that authority too: they are missed, and everything else goes on.
    project.replace("graph.ron", lab.events(), &web.strange_events());
    project.replace("graph.ron", "slots: 2", &format!("slots: 2, ca: \"{}\"", ca.display()));
    let shown = project.kiln(&["labs", "lab"]);
    assert_eq!(shown.code, 0, "{shown}");
    assert!(shown.out.contains("no events: their line shows a certificate"), "{shown}");
    project.replace("graph.ron", "labs: [\"strange\"]", "labs: [\"strange\", \"lab\"]");
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(project.results("boot")["lab"], "lab");
    assert_eq!(web.asked(), Vec::<String>::new());
}
