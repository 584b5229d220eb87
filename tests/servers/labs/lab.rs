//! The LAVA that `scripts/lava.sh up` has brought up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The lab is one, and so is whoever uses it.
static ONE: Mutex<()> = Mutex::new(());

/// A real lab.
pub struct Lab {
    settings: BTreeMap<String, String>,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// The lab, for one test alone, with everything in order.
    pub fn get() -> Self {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = std::env::var("KILN_TEST_LAVA")
            .expect("KILN_TEST_LAVA names the file that scripts/lava.sh wrote");
        let text = std::fs::read_to_string(file).expect("the file can be read");
        let settings = text.lines().filter_map(|line| line.split_once('='));
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let lab = Self { settings, _alone: alone };
        // Devices that a test before has put into doubt, and jobs that it has left.
        Self::script(&["reset"]);
        lab.wait_until_idle();
        lab
    }

    pub fn url(&self) -> &str {
        &self.settings["LAVA_URL"]
    }

    pub fn events(&self) -> &str {
        &self.settings["LAVA_EVENTS"]
    }

    /// The token of `SUBMITTER`, `STAFF`, ...
    pub fn token(&self, user: &str) -> String {
        self.settings[&format!("LAVA_TOKEN_{user}")].clone()
    }

    /// Something that `scripts/lava.sh` does.
    pub fn script(args: &[&str]) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/lava.sh");
        let done = Command::new(script).args(args).output().expect("the script runs");
        assert!(done.status.success(), "lava.sh {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub fn ask(&self, path: &str) -> Value {
        let answer = Command::new("curl")
            .args(["--silent", "--fail", "--noproxy", "*", "-H"])
            .arg(format!("Authorization: Token {}", self.token("SUBMITTER")))
            .arg(format!("{}api/v0.2/{path}", self.url()))
            .output()
            .expect("curl runs");
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The number of the newest job of all.
    pub fn jobs(&self) -> u64 {
        self.ask("jobs/?ordering=-id&limit=1")["results"][0]["id"].as_u64().unwrap_or(0)
    }

    /// Jobs that are newer, the oldest first.
    pub fn jobs_since(&self, before: u64) -> Vec<u64> {
        let jobs = self.ask("jobs/?ordering=-id&limit=200");
        let mut jobs: Vec<u64> =
            jobs["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
        jobs.retain(|job| *job > before);
        jobs.sort_unstable();
        jobs
    }

    /// Waits for a job to end with that health.
    pub fn wait_for(&self, job: u64, health: &str) {
        let until = Instant::now() + Duration::from_mins(2);
        loop {
            let job = self.ask(&format!("jobs/{job}/"));
            if job["state"] == "Finished" {
                assert_eq!(job["health"], health, "{job}");
                return;
            }
            assert!(Instant::now() < until, "it has not ended: {job}");
            sleep(Duration::from_millis(500));
        }
    }

    /// Waits until no job is left of what other tests did.
    fn wait_until_idle(&self) {
        let until = Instant::now() + Duration::from_mins(5);
        while self.ask("jobs/?state__in=Submitted,Scheduled,Running,Canceling&limit=1")["count"] != 0
            || self.ask("devices/?health=Good&state=Idle")["count"].as_u64() < Some(2)
        {
            assert!(Instant::now() < until, "the lab does not come to rest");
            sleep(Duration::from_millis(500));
        }
    }
}
