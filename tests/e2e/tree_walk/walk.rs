//! A walk: a project, the steps taken in it, and what is held against kiln after each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clean::{BUILDS, Build, Clean, GRAPH, Outputs, files};
use super::edit::{Edit, next};
use super::tree::State;
use crate::support::project::Project;
use crate::support::random::Random;

/// Some edits at once, and a build after them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What [`Edit::Restore`] calls it.
    id: usize,
    pub edits: Vec<Edit>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4}", self.id)?;
        self.edits.iter().try_for_each(|edit| write!(f, " {edit};"))
    }
}

pub struct Walk {
    project: Project,
    clean: Clean,
    /// After each step, and, as `None`, at the beginning.
    states: BTreeMap<Option<usize>, State>,
    /// The last step after which all builds passed.
    healthy: Option<usize>,
    ailing: bool,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    /// Pairs of a step and a build, and those of them in whose step the tree's content changed.
    pairs: usize,
    changed: usize,
    /// Those whose kernel was not run.
    skipped: usize,
    skipped_though_changed: usize,
    configs_skipped: usize,
    /// Those whose kernel continued in the output directory of its last run.
    continued: usize,
    failing: usize,
    kiln: Duration,
    clean: Duration,
}

impl Walk {
    pub fn new() -> Self {
        let project = Project::new();
        for rule in ["match", "job", "initramfs"] {
            project.remove(&format!("rules/{rule}.ron"));
        }
        project.write("graph.ron", GRAPH);
        let mut walk = Self {
            project,
            clean: Clean::default(),
            states: BTreeMap::new(),
            healthy: None,
            ailing: false,
            figures: Figures::default(),
        };
        walk.states.insert(None, State::read(&walk.tree()));
        if let Err(failure) = walk.check(true) {
            panic!("before the first step: {failure}");
        }
        walk.figures = Figures::default();
        walk
    }

    fn tree(&self) -> PathBuf {
        self.project.path("linux")
    }

    /// The next step.
    pub fn think(&self, id: usize, random: &mut Random) -> Step {
        let earlier: Vec<Option<usize>> = self.states.keys().copied().collect();
        let state = State::read(&self.tree());
        // What does not build is soon left again: it shows little.
        let edits = if self.ailing && random.percent(60) {
            vec![Edit::Restore { step: self.healthy, old_times: random.percent(50) }]
        } else {
            let count = if random.percent(15) { 2 + random.below(3) } else { 1 };
            (0..count).map(|_| next(&state, &self.states[&None], &earlier, random)).collect()
        };
        Step { id, edits }
    }

    /// Makes a step, builds, and compares.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        let tree = self.tree();
        let before = State::read(&tree).digest();
        for edit in &step.edits {
            edit.make(&tree, &self.states);
        }
        let after = State::read(&tree);
        let changed = after.digest() != before;
        self.states.insert(Some(step.id), after);
        self.ailing = !self.check(changed)?;
        if !self.ailing {
            self.healthy = Some(step.id);
        }
        Ok(())
    }

    pub fn replay(&mut self, steps: &[Step]) -> Result<(), String> {
        steps.iter().try_for_each(|step| self.take(step))
    }

    /// Builds, and holds each build against one from nothing. Says whether all passed.
    fn check(&mut self, changed: bool) -> Result<bool, String> {
        let began = Instant::now();
        let plan = self.project.kiln("plan --format json");
        if plan.code != 0 {
            return Err(format!("no plan\n{plan}"));
        }
        let plan = plan.json();
        let said = self.project.kiln("build -j2 --keep-going --format json-lines");
        if !matches!(said.code, 0 | 1 | 4) {
            return Err(said.to_string());
        }
        let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        self.figures.kiln += began.elapsed();
        let (tree, digest) = (self.tree(), State::read(&self.tree()).digest());
        let mut healthy = true;
        for (number, build) in BUILDS.iter().enumerate() {
            let node = |rule: &str| Node::new(&plan, &events, &format!("{rule}:{}", build.name()));
            let (config, kernel) = (node("config"), node("kernel"));
            let passes = kernel.passes(Some(&config));
            self.figures.count(&config, &kernel, changed, passes);
            healthy &= passes;
            if kernel.planned == "fresh" && kernel.ran {
                return Err(format!("{}: planned as fresh, and ran\n{said}", build.name()));
            }
            // One that passed just now, from nothing, is what it would be held against.
            if passes && kernel.ran && !kernel.continued {
                continue;
            }
            let began = Instant::now();
            let clean = self.clean.build(&tree, digest, number);
            self.figures.clean += began.elapsed();
            self.compare(build, passes, clean.as_ref().as_ref()).map_err(|problem| {
                format!("{}: {problem}\nplanned: {}\n{said}", build.name(), kernel.planned)
            })?;
        }
        Ok(healthy)
    }

    fn compare(&self, build: &Build, passes: bool, clean: Option<&Outputs>) -> Result<(), String> {
        let Some(clean) = clean else {
            return if passes { Err("it passes, and a build from nothing fails".to_owned()) } else { Ok(()) };
        };
        if !passes {
            return Err("it fails, and a build from nothing passes".to_owned());
        }
        let mut ours = files(&self.project.path("out").join(build.name()));
        // What is told of a run is of that run.
        for told in ["build.log", "messages.json", "metadata.json"] {
            ours.remove(told);
        }
        if ours.keys().ne(clean.keys()) {
            return Err(format!("it has {:?}, and not {:?}", ours.keys(), clean.keys()));
        }
        for (name, content) in &ours {
            if *content != clean[name] {
                let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
                return Err(format!(
                    "{name} is not what a build from nothing gives\n--- kiln\n{}--- from nothing\n{}",
                    text(content),
                    text(&clean[name])
                ));
            }
        }
        Ok(())
    }

    /// What the walk has shown.
    pub fn figures(&self) -> String {
        self.figures.to_string()
    }
}

/// What became of a node.
struct Node {
    planned: String,
    ran: bool,
    /// In the output directory of its last run.
    continued: bool,
    /// None where nothing is said of it.
    outcome: Option<String>,
}

impl Node {
    fn new(plan: &Value, events: &[Value], name: &str) -> Self {
        let planned = plan["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
        let of_it = |event: &&Value, kind: &str| event["event"] == kind && event["node"] == name;
        let finished = events.iter().rev().find(|event| of_it(event, "finished"));
        Self {
            planned: planned["verdict"].as_str().unwrap().to_owned(),
            ran: events.iter().any(|event| of_it(&event, "started")),
            continued: finished.is_some_and(|event| event["continued"] == true),
            outcome: finished
                .map(|event| &event["outcome"])
                .or((planned["verdict"] == "fresh").then_some(&planned["outcome"]))
                .and_then(|outcome| outcome.as_str().map(str::to_owned)),
        }
    }

    /// Whether it is as it should be. One without an outcome was found to be fresh on the way, unless what it needs
    /// has failed.
    fn passes(&self, needed: Option<&Self>) -> bool {
        match &self.outcome {
            Some(outcome) => outcome == "pass",
            None => needed.is_some_and(|needed| needed.passes(None)),
        }
    }
}

impl Figures {
    fn count(&mut self, config: &Node, kernel: &Node, changed: bool, passes: bool) {
        let one = usize::from;
        self.pairs += 1;
        self.changed += one(changed);
        self.skipped += one(!kernel.ran);
        self.skipped_though_changed += one(!kernel.ran && changed);
        self.configs_skipped += one(!config.ran);
        self.continued += one(kernel.continued);
        self.failing += one(!passes);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pairs,
            changed,
            skipped,
            skipped_though_changed,
            configs_skipped,
            continued,
            failing,
            kiln,
            clean,
        } = self;
        write!(
            f,
            "{pairs} pairs of an edit and a build, {failing} of them of builds that fail; skipped {skipped} kernels and \
             {configs_skipped} configurations, and continued {continued} kernels; of {changed} pairs with a tree that changed, {skipped_though_changed} kernels; \
             {:.0} s in kiln, {:.0} s in builds from nothing",
            kiln.as_secs_f64(),
            clean.as_secs_f64()
        )
    }
}
