//! Stage3s as what a board boots: with `OpenRC` and with systemd, with the kernel's modules and its selftests in them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::lab::Lab;
use super::project::Project;
use crate::support::process::{Server, configure, free_ports};

/// What the mirror's stage3s can't pass: they are small, and made of another distribution's packages.
const SKIP: &str = r#"skip: [
    (case: "0_gentoo/profile", reason: "the mirror's stage3 has no eselect"),
    (case: "0_gentoo/libraries", reason: "nobody has run ldconfig in the mirror's stage3"),
],"#;

/// Where `scripts/stage3-mirror.sh` has put stage3s with an init.
fn made() -> PathBuf {
    let made = std::env::var_os("KILN_TEST_STAGE3").map(PathBuf::from);
    made.expect("KILN_TEST_STAGE3 is where scripts/stage3-mirror.sh has made a mirror: make check-lab")
}

/// An nginx that serves them.
struct Mirror {
    _server: Server,
    _state: TempDir,
    url: String,
}

impl Mirror {
    fn start() -> Self {
        let state = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [port] = free_ports();
        let configuration = state.path().join("nginx.conf");
        configure(
            "mirror.conf",
            &configuration,
            &[
                ("@STATE@", state.path().display().to_string()),
                ("@MIRROR@", made().display().to_string()),
                ("@PORT@", port.to_string()),
                ("@USER@", if nix::unistd::geteuid().is_root() { "user root;" } else { "" }.to_owned()),
            ],
        );
        let arguments = ["-c", configuration.to_str().unwrap(), "-p", state.path().to_str().unwrap()];
        let output = state.path().join("output");
        let server = Server::start(Path::new("/usr/sbin/nginx"), &arguments, &output, &[port]);
        Self { _server: server, _state: state, url: format!("http://127.0.0.1:{port}/") }
    }
}

/// `examples/gentoo`, with the host's gcc alone, and that mirror instead of Gentoo's.
fn gentoo(lab: &Lab, mirror: &Mirror) -> Project {
    let (project, port) = Project::copy_of_example(lab, "gentoo", "linux-6.1/x86_64/gentoo-pc/gcc");
    let key = |name: &str| fs::read_to_string(made().join("keys").join(name)).unwrap();
    project.write("keys/gentoo-release.asc", &format!("{}{}", key("release.asc"), key("ebuilds.asc")));
    for (theirs, ours) in [
        ("13EBBDBEDE7A12775DFDB1BABB572E0E2D182910", "release.fingerprint"),
        ("DCD05B71EAB94199527F44ACDB6B8C1F96D8BF6D", "ebuilds.fingerprint"),
    ] {
        project.replace("graph.ron", theirs, key(ours).trim());
    }
    project.replace("graph.ron", "https://distfiles.gentoo.org/", &mirror.url);
    project.replace("graph.ron", "toolchains: [\"gcc\", \"gentoo\"])", "toolchains: [\"gcc\"])");
    let params = "params: { \"MODULE\": \"dummy\" })],";
    project.replace("graph.ron", params, &format!("{params} {SKIP}"));
    // Only now: a clone has no keys, and a project without its keys can't be read.
    let project = project.serve(port);
    let updated = project.kiln(&["update", "ebuilds", "amd64-hardened-openrc", "amd64-systemd"]);
    assert_eq!(updated.code, 0, "{updated}");
    project
}

/// What became of the cases of a test's suite, by their names.
fn cases(results: &Value, suite: &str) -> Vec<(String, String)> {
    let suites = results["suites"].as_array().unwrap();
    let suite = suites.iter().find(|found| found["name"] == suite).unwrap_or_else(|| panic!("{results}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cases = suite["cases"].as_array().unwrap().iter();
    cases.map(|case| (text(&case["name"]), text(&case["result"]))).collect()
}

#[test]
#[ignore = "needs a LAVA and a mirror: make check-lab"]
fn stage3s_boot_with_openrc_and_with_systemd() {
    let lab = Lab::get();
    let mirror = Mirror::start();
    let project = gentoo(&lab, &mirror);
    // What an earlier run of this test has booted is known.
    let before = lab.jobs();
    let built = project.kiln(&["build", "lava:*/gentoo", "lava:*/kselftest", "--rerun", "lava:"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 4, "{built}");
    for board in ["openrc", "systemd"] {
        let gentoo = cases(&project.results(&format!("{board}/gentoo")), "0_gentoo");
        // The modules are there, and those of this kernel.
        let expected = ["root-writable", "services", "emerge-info", "compiler", "modules", "module-load"];
        for case in expected {
            let passed = gentoo.iter().any(|(name, result)| name == case && result == "pass");
            assert!(passed, "{board}: {case}: {gentoo:?}");
        }
        let kselftest = cases(&project.results(&format!("{board}/kselftest")), "0_kselftest");
        for case in ["kcmp_kcmp_test", "sigaltstack_sas", "size_get_size"] {
            assert!(kselftest.iter().any(|(name, _)| name == case), "{board}: {case}: {kselftest:?}");
        }
    }
    let console = project.out("systemd/gentoo/console.log");
    assert!(console.contains("systemd[1]"), "it is systemd that runs");

    let again = project.kiln(&["build", "lava:*/gentoo", "lava:*/kselftest"]);
    assert!(again.out.contains("everything is up to date"), "{again}");
    assert_eq!(lab.jobs_since(before).len(), 4);

    // Another module makes another disk, and that is booted.
    project.replace("configs/gentoo-pc.config", "CONFIG_DUMMY=m", "CONFIG_DUMMY=m\nCONFIG_TUN=m");
    let more = project.kiln(&["build", "lava:*/openrc/gentoo"]);
    assert_eq!(more.code, 0, "{more}");
    assert_eq!(lab.jobs_since(before).len(), 5, "{more}");
}
