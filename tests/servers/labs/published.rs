//! What kiln publishes, by way of a web server that is not kiln's.

use std::fs;

use super::lab::Lab;
use super::project::{OK, Project};
use super::web::Web;

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn nginx_serves_what_is_published() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let web = Web::start(&lab, &project.path("published"));
    let project = project.served_at(&web.files());
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
    let asked = web.asked();
    // kiln looks, and the lab fetches.
    for method in ["HEAD", "GET"] {
        for file in ["image", "rootfs.gz"] {
            let found = asked.iter().any(|line| {
                line.contains(&format!("\"{method} /")) && line.contains(&format!("/{file} HTTP/1.1\" 200 "))
            });
            assert!(found, "{method} {file}: {asked:?}");
        }
    }
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn nothing_is_submitted_that_another_web_server_does_not_have() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    fs::create_dir(project.path("elsewhere")).unwrap();
    let web = Web::start(&lab, &project.path("elsewhere"));
    let project = project.served_at(&web.files());
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 4, "{built}");
    for part in [&*web.files(), "is not served", "serves another directory", "/published"] {
        assert!(built.err.contains(part), "{part}: {built}");
    }
    assert!(lab.jobs_since(before).is_empty(), "{built}");
    assert!(project.kiln(&["cancel", "--dry-run"]).out.contains("no job"));
    // It was no result: as soon as the files are there, the same build boots.
    fs::remove_dir(project.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("published", project.path("elsewhere")).unwrap();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
}
