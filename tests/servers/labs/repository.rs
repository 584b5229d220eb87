//! Test definitions that the lab fetches from git.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::lab::Lab;
use super::project::Project;
use crate::support::certificates::run;
use crate::support::process::{Server, free_ports};

/// A repository that a git daemon serves.
struct Repository {
    dir: TempDir,
    _daemon: Server,
    port: u16,
}

impl Repository {
    fn serve() -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        run(Command::new("git").args(["init", "--quiet"]).arg(dir.path().join("tests")));
        let [port] = free_ports();
        let arguments = [
            "daemon",
            "--listen=127.0.0.1",
            &format!("--port={port}"),
            &format!("--base-path={}", dir.path().display()),
            "--export-all",
        ];
        let daemon = Server::start(Path::new("git"), &arguments, &dir.path().join("output"), &[port]);
        Self { dir, _daemon: daemon, port }
    }

    /// Commits a definition, and tells the commit.
    fn commit(&self, definition: &str) -> String {
        let tree = self.dir.path().join("tests");
        fs::create_dir_all(tree.join("automated")).unwrap();
        fs::write(tree.join("automated/greet.yaml"), definition).unwrap();
        let git = |arguments: &[&str]| {
            let who =
                ["-c", "user.name=kiln", "-c", "user.email=kiln@example.org", "-c", "commit.gpgSign=false"];
            let told = run(Command::new("git").arg("-C").arg(&tree).args(who).args(arguments));
            String::from_utf8(told).unwrap().trim().to_owned()
        };
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "tests"]);
        git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        format!("git://127.0.0.1:{}/tests", self.port)
    }
}

const GREET: &str = "\
metadata:
  format: Lava-Test Test Definition 1.0
  name: greet
  description: Whether it gets what graph.ron gives to it
params:
  GREETING: nobody
run:
  steps:
  - lava-test-case greeting --shell test \"$GREETING\" = hello
  - lava-test-case measured --result pass --measurement 2.5 --units seconds
";

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_definition_from_git_runs_as_it_is_at_its_commit() {
    let lab = Lab::get();
    let repository = Repository::serve();
    let commit = repository.commit(GREET);
    // The branch has moved on since.
    repository.commit(&GREET.replace("= hello", "= somebody"));
    let project = Project::example(&lab);
    let greet = |commit: &str| {
        format!(
            "Git(name: \"greet\", url: \"{}\", rev: \"{commit}\", path: \"automated/greet.yaml\", \
             params: {{ \"GREETING\": \"hello\" }})",
            repository.url()
        )
    };
    project.with_definition(&greet(&commit), "");
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
    let results = project.results("cases");
    let suites = results["suites"].as_array().unwrap();
    let cases = &suites.iter().find(|suite| suite["name"] == "0_greet").expect("the suite")["cases"];
    let case =
        |name: &str| cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone();
    assert_eq!(case("greeting")["result"], "pass", "{cases}");
    assert_eq!(case("measured")["measurement"], 2.5, "{cases}");
    assert!(project.kiln(&["build"]).out.contains("everything is up to date"));

    // A commit that is not there is the lab's trouble, and no result.
    let nowhere = "0123456789abcdef0123456789abcdef01234567";
    project.replace("graph.ron", &commit, nowhere);
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 4, "{built}");
    assert!(built.out.contains("Unable to fetch git repository"), "{built}");
    assert_eq!(lab.jobs_since(before).len(), 2, "it is tried again once: {built}");
    // With the commit that is there, what is known of it holds.
    project.replace("graph.ron", nowhere, &commit);
    assert_eq!(project.kiln(&["build"]).code, 0);
    assert_eq!(lab.jobs_since(before).len(), 2);
}
