//! A random walk through states of a kernel tree: whatever was edited, what kiln leaves alone, takes from its cache or
//! builds on is, bit for bit, what a build from nothing gives.
//!
//! The tree is the fake kernel, whose README lists the traps in it. After each step kiln plans and builds all of a
//! matrix, and each build's outputs are compared with those of bare make in an empty directory.
//!
//!     cargo test --test e2e tree_walk:: -- --nocapture          prints how many builds were skipped
//!     KILN_WALK_STEPS=2000 cargo test --test e2e tree_walk::    walks further; the number is shared by the seeds
//!     KILN_WALK_SEED=7 cargo test --test e2e tree_walk::walk_1 walks from that seed
//!     KILN_WALK_REPLAY=FILE cargo test --test e2e tree_walk::walk_1    repeats what a failure has left

mod clean;
mod edit;
mod tree;
mod walk;

use std::path::{Path, PathBuf};

use crate::support::random::{Random, WalkSettings};
use walk::{Step, Walk};

/// Steps in all, unless `KILN_WALK_STEPS` says otherwise, as `make check` does.
const STEPS: usize = 160;

/// How many walks share them.
const WALKS: usize = 4;

/// How often a failing walk is tried with less.
const TRIES: usize = 40;

#[test]
fn walk_1() {
    walk(1);
}

#[test]
fn walk_2() {
    walk(2);
}

#[test]
fn walk_3() {
    walk(3);
}

#[test]
fn walk_4() {
    walk(4);
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn walk(number_of_walk: u64) {
    if let Some(file) = variable("KILN_WALK_REPLAY") {
        if number_of_walk == 1 {
            let steps = read(Path::new(&file));
            if let Err(failure) = Walk::new().replay(&steps) {
                panic!("{failure}");
            }
        }
        return;
    }
    let WalkSettings { seed, steps } = WalkSettings::new("KILN_WALK", number_of_walk, WALKS, STEPS);
    eprintln!("walk from seed {seed}, {steps} steps");
    let mut random = Random::new(seed);
    let mut walk = Walk::new();
    let mut taken = Vec::new();
    for id in 0..steps {
        let step = walk.think(id, &mut random);
        taken.push(step.clone());
        if let Err(failure) = walk.take(&step) {
            fail(seed, taken, &failure);
        }
    }
    eprintln!("walk from seed {seed}: {}", walk.figures());
}

/// Says what went wrong, and leaves a walk that is as short as it could be made.
fn fail(seed: u64, taken: Vec<Step>, failure: &str) -> ! {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("walk-{seed}.json"));
    write(&file, &taken);
    eprintln!(
        "seed {seed}, step {}: {failure}\n\nlooking for a shorter walk; this one is in {}",
        taken.len(),
        file.display()
    );
    let (shorter, failure) = shrink(taken, failure.to_owned());
    write(&file, &shorter);
    let steps: String = shorter.iter().map(|step| format!("{step}\n")).collect();
    panic!(
        "seed {seed}: {failure}\n\nthe walk, of {} steps:\n{steps}\nagain: KILN_WALK_REPLAY={} cargo test --test e2e tree_walk::walk_1",
        shorter.len(),
        file.display()
    );
}

/// Leaves out runs of steps, long ones first, as long as something still goes wrong.
fn shrink(mut steps: Vec<Step>, mut failure: String) -> (Vec<Step>, String) {
    let mut length = steps.len() / 2;
    let mut tries = 0;
    while length > 0 {
        let mut start = 0;
        while start < steps.len() {
            if tries == TRIES {
                return (steps, failure);
            }
            tries += 1;
            let end = (start + length).min(steps.len());
            let fewer: Vec<Step> = steps[..start].iter().chain(&steps[end..]).cloned().collect();
            match Walk::new().replay(&fewer) {
                Err(other) => (steps, failure) = (fewer, other),
                Ok(()) => start = end,
            }
        }
        length /= 2;
    }
    // Then single edits.
    for at in 0..steps.len() {
        for edit in (0..steps[at].edits.len()).rev() {
            let mut fewer = steps.clone();
            fewer[at].edits.remove(edit);
            if tries < TRIES
                && let Err(other) = Walk::new().replay(&fewer)
            {
                (steps, failure) = (fewer, other);
            }
            tries += 1;
        }
    }
    (steps, failure)
}

fn write(file: &Path, steps: &[Step]) {
    std::fs::write(file, serde_json::to_string_pretty(steps).unwrap()).unwrap();
}

fn read(file: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}
