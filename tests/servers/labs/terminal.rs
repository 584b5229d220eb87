//! Ctrl-C on a terminal, while a job is at the lab.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::lab::Lab;
use super::project::{HANG, OK, Project};
use crate::support::process::wait_for;

/// What kiln asks.
const QUESTION: &str = "leave them for the next build to take up? [c/L]";

/// A kiln on a terminal of its own.
struct OnTerminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl OnTerminal {
    fn run(project: &Project, args: &str) -> Self {
        let kiln = format!("exec {} {args}", env!("CARGO_BIN_EXE_kiln"));
        let of_kiln = project.command(&[]);
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", &kiln, "/dev/null"]);
        script.current_dir(of_kiln.get_current_dir().unwrap()).env("TERM", "xterm");
        script.envs(of_kiln.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
        let keyboard = child.stdin.take().unwrap();
        let mut shown = child.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let seen = screen.clone();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = shown.read(&mut piece) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self { child, keyboard, screen }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Interrupts it, answers its question, and waits for its end.
    fn interrupted(mut self, answer: &str) -> (i32, String) {
        self.types("\x03");
        wait_for("the question", || self.screen().contains(QUESTION));
        // Bars are drawn five times a second, and must not be drawn over it.
        thread::sleep(Duration::from_secs(1));
        assert!(self.screen().trim_end().ends_with(QUESTION), "{:?}", self.screen());
        self.types(answer);
        let ended = self.child.wait().unwrap();
        (ended.code().unwrap_or(-1), self.screen())
    }
}

/// A build on a terminal, with its job at the lab.
fn at_the_lab(lab: &Lab, project: &Project, before: u64) -> (OnTerminal, u64) {
    let kiln = OnTerminal::run(project, "build");
    wait_for("the job", || !lab.jobs_since(before).is_empty());
    (kiln, lab.jobs_since(before)[0])
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn who_answers_cancel_has_the_job_cancelled() {
    let lab = Lab::get();
    let before = lab.jobs();
    let project = Project::new(&lab, HANG);
    let (kiln, job) = at_the_lab(&lab, &project, before);
    let (code, screen) = kiln.interrupted("c\r");
    assert_eq!(code, 130, "{screen}");
    assert!(screen.contains(&format!("job {job} at lab lab was cancelled")), "{screen}");
    lab.wait_for(job, "Canceled");
    assert!(project.kiln(&["cancel"]).out.contains("no job"));
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn who_answers_leave_or_nothing_has_the_job_go_on() {
    let lab = Lab::get();
    for answer in ["l\r", "\r"] {
        let before = lab.jobs();
        let project = Project::new(&lab, OK);
        let (kiln, job) = at_the_lab(&lab, &project, before);
        let (code, screen) = kiln.interrupted(answer);
        assert_eq!(code, 130, "{screen}");
        assert!(screen.contains(&format!("job {job} at lab lab goes on")), "{screen}");
        let kept = project.kiln(&["clean", "--cache"]);
        assert_eq!(kept.code, 4, "{kept}");
        assert!(kept.err.contains(&format!("(job {job} at lab lab)")), "{kept}");
        let built = project.kiln(&["build"]);
        assert_eq!(built.code, 0, "{built}");
        assert_eq!(lab.jobs_since(before), [job], "{built}");
        assert_eq!(project.results("boot")["job"], job);
    }
}
