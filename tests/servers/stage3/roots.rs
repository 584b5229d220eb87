//! Roots that are prepared once.

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::mirror::Mirror;
use super::project::{ANSWER, ASK, BINPKG, Build, KilnOutput, Project, STAGE3};

/// How long to wait for what must come to pass. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_mins(5);

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_root_is_prepared_once_and_then_it_is_there() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    project.kiln("plan").mentions("kiln update");
    project.kiln("update").exits(0).mentions("amd64-openrc");
    project.build("").exits(0).runs(&[STAGE3, BINPKG, ASK]);
    let answer = project.read(ANSWER);
    for said in ["x86_64", "buildbot", "gcc", "/usr/bin/bc", "no hello", "/usr/include/gelf.h"] {
        assert!(answer.contains(said), "no {said} in {answer}");
    }
    let asked = mirror.asked();
    project.assert_fresh();
    fs::remove_dir_all(project.path("out")).unwrap();
    project.build("").exits(0).runs(&[]);
    assert_eq!(project.read(ANSWER), answer);

    // Nor for another project that has the same root.
    let other = Project::new(&[&mirror.url()]).with_cache(&project.cache);
    other.kiln("update").exits(0);
    other.ask("echo another question");
    other.build("").exits(0).runs(&[ASK]);
    assert_eq!(mirror.tarballs_asked_for(), 1);
    assert!(asked.keys().any(|name| name.rsplit('.').next() == Some("asc")), "{asked:?}");
    assert_eq!(left_over(&project), "");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn one_package_more_costs_that_package() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.build("").exits(0).runs(&[]);
    let before = project.stored();
    project.wants(&["app-misc/hello"]);
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    let answer = project.read(ANSWER);
    assert!(answer.contains("/usr/bin/hello"), "{answer}");
    let more = project.stored() - before;
    assert!(more < 4 << 20, "{more} bytes");
    assert_eq!(mirror.tarballs_asked_for(), 0);
    // What was made before is used as it is, and what is new is kept.
    let log = project.kiln(&format!("log {BINPKG}")).exits(0);
    assert!(log.out.contains("Emerging binary (") && log.out.contains("sys-devel/bc"), "{log}");
    assert_eq!(project.cached("hello-1.0-1.gpkg.tar").len(), 1);
    project.assert_fresh();
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_later_build_is_taken_when_it_is_asked_for() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.build("").exits(0).runs(&[]);
    mirror.publish("amd64", "20260201T000000Z", "release");
    // A build is repeatable: what is new on a mirror is none of its business.
    project.assert_fresh();
    project.kiln("update").exits(0).mentions("20260201T000000Z");
    assert!(project.read("kiln.lock").contains("20260201T000000Z"));
    project.kiln("update").exits(0);
    // It is the same tarball under another date, and so the same root.
    project.kiln("build").exits(0);
    project.assert_fresh();
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn a_root_is_read_only_and_nothing_leaks_from_one_action_to_another() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.edit(
        "graph.ron",
        "defconfigs: [\"defconfig\"]",
        "defconfigs: [\"defconfig\", \"allnoconfig\", \"allyesconfig\"]",
    );
    project.ask(
        "for place in / /usr /etc /home/buildbot /var/tmp /var/lib; do
             touch $place/mine 2>/dev/null && echo $place was written to; done
         ls -d /tmp/* 2>/dev/null; touch /tmp/theirs; sleep 1; ls /tmp; id -u; grep CapEff /proc/self/status; ls /proc | grep -c '^[0-9]'",
    );
    project.kiln("build -j2").exits(0);
    let answer = project.read(ANSWER);
    assert!(!answer.contains("was written to"), "{answer}");
    assert_eq!(answer.matches("theirs").count(), 1, "{answer}");
    assert!(answer.contains("1000\n") && answer.contains("0000000000000000"), "{answer}");
    for other in ["allnoconfig", "allyesconfig"] {
        assert_eq!(project.read(&ANSWER.replace("defconfig", other)), answer);
    }
    assert_eq!(left_over(&project), "");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn owners_links_times_and_capabilities_are_those_of_the_archive() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    // Of what no package and no account changes.
    let files = "stat -c '%n %f %u:%g %h %s %Y' usr/bin/dmesg usr/bin/bzip2 usr/bin/bunzip2 usr/bin/gcc usr/bin/su etc/gentoo-release";
    let dirs = "stat -c '%n %f %u:%g %Y' usr/share/kiln-test var/cache/distfiles etc/portage";
    let capability = r#"import os; print(os.getxattr("usr/bin/dmesg", "security.capability").hex())"#;
    let asked = format!("{files} && {dirs} && python3 -c '{capability}'");
    project.ask(&format!("cd / && {asked}"));
    project.build("").exits(0);
    // Python and GNU tar know nothing of kiln.
    let tree = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let by_hand = format!(
        "tar --xattrs --xattrs-include='*' --numeric-owner -xpf {} && {asked}",
        mirror.tarball("amd64", "").display()
    );
    let by_hand = Command::new("sh").args(["-c", &by_hand]).current_dir(tree.path()).output().unwrap();
    assert!(by_hand.status.success(), "{}", String::from_utf8_lossy(&by_hand.stderr));
    assert_eq!(project.read(ANSWER), String::from_utf8_lossy(&by_hand.stdout));
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn two_kilns_prepare_a_root_once() {
    let mirror = Mirror::of(&["amd64"]);
    let one = Project::new(&[&mirror.url()]);
    let other = Project::new(&[&mirror.url()]).with_cache(&one.cache);
    for project in [&one, &other] {
        project.kiln("update").exits(0);
    }
    let both = [&one, &other].map(|project| (project, project.start("build -j2 --format json-lines")));
    let built = both.map(|(_, child)| {
        Build::new(KilnOutput::of_any("kiln build", &child.wait_with_output().unwrap())).exits(0)
    });
    let mut ran: Vec<_> = built.iter().flat_map(Build::ran).collect();
    ran.sort_unstable();
    assert_eq!(ran, [ASK, BINPKG, STAGE3]);
    assert_eq!(mirror.tarballs_asked_for(), 1);
    assert_eq!(one.read(ANSWER), other.read(ANSWER));
    one.assert_fresh();
    other.assert_fresh();
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn killed_in_the_middle_of_an_installation_the_next_build_is_right() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::prepared(&mirror);
    project.wants(&["app-misc/hello", "app-misc/slow"]);
    let mut child = project.start("build");
    until("the slow package is being made", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleeps_in_a_root(&child)
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    until("nothing is mounted and no process is left", || left_over(&project).is_empty());

    // What the first one had kept is whole, or it is made anew.
    project.wants(&["app-misc/hello"]);
    project.build("").exits(0).runs(&[BINPKG, ASK]);
    assert!(project.read(ANSWER).contains("/usr/bin/hello"));
    project.assert_fresh();
    for place in ["tmp", "work"] {
        let left: Vec<_> = fs::read_dir(project.cache.join(place)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Whether a process below kiln's runs the slow package's `sleep`.
pub fn sleeps_in_a_root(kiln: &Child) -> bool {
    let parents = |mut process: u32| {
        while process > 1 {
            if process == kiln.id() {
                return true;
            }
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let after = stat.rsplit(") ").next().unwrap_or_default();
            process = after.split(' ').nth(1).and_then(|parent| parent.parse().ok()).unwrap_or(0);
        }
        false
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).any(|process| {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| words == b"sleep\x0015\0")
            && parents(process)
    })
}

/// Mounts and loop devices on files of a project's cache that nobody should see: this process is in no sandbox.
pub fn left_over(project: &Project) -> String {
    let ours = project.cache.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(ours)).map(str::to_owned);
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let images =
        devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    mounts.chain(images.filter(|image| image.contains(ours))).collect::<Vec<_>>().join("\n")
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(20));
    }
}
