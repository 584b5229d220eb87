//! The real lab of `scripts/lava.sh`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use kiln::lab::lava::{Job, JobId, Judgement, Lava, Results, Settings, State, Token, judge};

/// How long a job may take. Machines that run tests are busy, and QEMU has no KVM.
pub const PATIENCE: Duration = Duration::from_mins(8);

/// The lab, for one test at a time.
pub struct Lab {
    facts: HashMap<String, String>,
    /// Tests change the lab, so they take turns.
    _turn: File,
}

impl Lab {
    /// The lab whose facts `scripts/lava.sh up FILE` wrote into the file that `KILN_TEST_LAVA` names.
    pub fn take() -> Self {
        let path = std::env::var_os("KILN_TEST_LAVA")
            .expect("scripts/lava.sh up FILE brings a lab up, and KILN_TEST_LAVA=FILE says where it is");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let facts =
            text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
        let turn = File::options().read(true).open(path).unwrap();
        turn.lock().unwrap();
        Self { facts: facts.collect(), _turn: turn }
    }

    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).unwrap_or_else(|| panic!("the lab says nothing of {name}"))
    }

    /// Where the kernel and the root are.
    pub fn boot_files(&self) -> PathBuf {
        PathBuf::from(self.fact("LAVA_BOOT"))
    }

    /// How one of the lab's users gets to it.
    pub fn settings(&self, user: &str) -> Settings {
        let token = self.fact(&format!("LAVA_TOKEN_{}", user.to_ascii_uppercase()));
        Settings {
            url: self.fact("LAVA_URL").to_owned(),
            user: user.to_owned(),
            token: Token::new(token.to_owned()),
            timeout: Duration::from_mins(1),
            ca: None,
            events: Some(self.fact("LAVA_EVENTS").to_owned()),
        }
    }

    /// A user's client.
    pub fn client(&self, user: &str) -> Lava {
        Lava::new("real", self.settings(user)).unwrap()
    }

    /// `scripts/lava.sh` with these arguments.
    #[expect(clippy::unused_self, reason = "whoever has the lab may change it")]
    pub fn script(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lava.sh");
        let output = Command::new(script).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lava.sh {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Waits until a job has ended.
pub fn ended(lava: &Lava, id: JobId) -> (Job, Results) {
    let began = Instant::now();
    loop {
        let job = lava.job(id).unwrap();
        if job.state == State::Finished {
            return (job, lava.results(id).unwrap());
        }
        assert!(began.elapsed() < PATIENCE, "job {id} is {:?}", job.state);
        thread::sleep(Duration::from_millis(500));
    }
}

/// What came of a job, once it has ended.
pub fn verdict(lava: &Lava, id: JobId) -> Judgement {
    let (job, results) = ended(lava, id);
    judge(&job, &results, &[], jiff::civil::date(2026, 11, 22))
}

/// A job's log.
pub fn log(lava: &Lava, id: JobId) -> String {
    let mut log = Vec::new();
    lava.log(id, &mut log).unwrap();
    String::from_utf8(log).unwrap()
}
