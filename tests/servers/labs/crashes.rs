//! SIGKILL at any moment, servers that go and come back: one job, and what came of it.

use std::time::Duration;

use super::lab::Lab;
use super::project::{OK, Project};

/// How often a kiln is killed, without `KILN_TEST_KILLS`.
const KILLS: u32 = 5;

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_killed_kiln_neither_loses_a_job_nor_submits_it_twice() {
    let lab = Lab::get();
    let kills = std::env::var("KILN_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let mut seed: u64 = u64::from(std::process::id()) ^ 0x9e37_79b9_7f4a_7c15;
    let (mut killed, mut builds) = (0, 0);
    while killed < kills {
        let project = Project::new(&lab, OK);
        assert_eq!(project.kiln(&["build", "kernel:", "rootfs:", "match:"]).code, 0);
        let before = lab.jobs();
        // Most moments are in the first second, in which the job is handed over; some are later.
        loop {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let millis = if seed >> 62 == 0 { (seed >> 33) % 12_000 } else { (seed >> 33) % 1_200 };
            if killed >= kills || !project.killed(&["build"], Duration::from_millis(millis)) {
                break;
            }
            killed += 1;
            // A project that was killed a few times is as good as a new one, and a new one costs a minute.
            if seed >> 61 == 0 {
                break;
            }
        }
        let built = project.kiln(&["build"]);
        builds += 1;
        assert_eq!(built.code, 0, "{built}");
        let jobs = lab.jobs_since(before);
        assert_eq!(jobs.len(), 1, "one job, after {killed} kills: {jobs:?}\n{built}");
        assert_eq!(project.results("boot")["job"], jobs[0]);
    }
    println!("{killed} kills in {builds} builds: no job lost, none submitted twice");
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_server_that_goes_and_comes_back_costs_time() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let before = lab.jobs();
    let child = std::thread::scope(|scope| {
        let built = scope.spawn(|| project.kiln(&["build"]));
        std::thread::sleep(Duration::from_secs(4));
        Lab::script(&["stop-server"]);
        std::thread::sleep(Duration::from_secs(10));
        Lab::script(&["start-server"]);
        built.join().unwrap()
    });
    assert_eq!(child.code, 0, "{child}");
    assert_eq!(lab.jobs_since(before).len(), 1);
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn two_kilns_at_once_submit_one_job() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let before = lab.jobs();
    let [one, other] = std::thread::scope(|scope| {
        let builds = [(); 2].map(|()| scope.spawn(|| project.kiln(&["build"])));
        builds.map(|build| build.join().unwrap())
    });
    assert_eq!((one.code, other.code), (0, 0), "{one}\n{other}");
    assert_eq!(lab.jobs_since(before).len(), 1);
}
