//! Random edits of every class of input, also while actions run: what kiln calls up to date is what a build from nothing
//! gives.
//!
//! The project reads a source tree, a commit of a git repository, files of the project, and a program of a toolchain. What
//! it reads of these is a script in the tree, which is random itself. After each step kiln builds; then the plan has nothing
//! to do, and `kiln verify` runs every action from nothing and finds the same bits.
//!
//!     KILN_WALK_STEPS=500 cargo test --test e2e verdicts::     takes more steps; the number is shared by the seeds
//!     KILN_WALK_SEED=7 cargo test --test e2e verdicts::        begins with another seed

mod edit;

use std::process::Stdio;

use crate::support::project::{KilnOutput, Project};
use crate::support::random::{Random, WalkSettings};
use edit::{Edit, Flip};

/// Steps in all, unless `KILN_WALK_STEPS` says otherwise.
const STEPS: usize = 60;

/// How many walks share them.
const WALKS: usize = 2;

const GRAPH: &str = r#"(
    version: 1,
    sources: { "tree": Dir("tree"), "commit": Git(path: "repository", rev: "REVISION") },
    archs: { "x86_64": (image: "image") },
    toolchains: { "own": Gcc(targets: { "x86_64": "own-" }, path: ["toolchain/bin"]) },
    builds: [(sources: ["tree", "commit"], archs: ["x86_64"], defconfigs: ["defconfig"], toolchains: ["own"])],
)
"#;

const READ: &str = r#"(
    version: 1,
    per: ["source", "arch", "toolchain"],
    inputs: { "source": Source("{source}"), "file": File("data/file"), "dir": File("data/dir") },
    steps: [["sh", "{in.source}/run.sh", "{in.source}", "{in.file}", "{in.dir}", "{toolchain.prefix}ld", "{out}/result"]],
    outputs: { "result": File("result") },
    discover: (inputs: ["source"], by: [Fanotify]),
    tools: ["sh", "cat", "ls", "sleep", "stat", "readlink", "{toolchain.prefix}ld"],
    export: "{source}",
)
"#;

const PACK: &str = r#"(
    version: 1,
    per: ["source", "arch", "toolchain"],
    inputs: { "result": Output(rule: "read", output: "result"), "dir": File("data/dir") },
    steps: [["sh", "-c", "cat $1 $2/* | sort >packed", "pack", "{in.result}", "{in.dir}"]],
    outputs: { "packed": File("packed") },
    tools: ["sh", "cat", "sort"],
    export: "{source}",
)
"#;

#[test]
fn verdicts_1() {
    walk(1);
}

#[test]
fn verdicts_2() {
    walk(2);
}

fn walk(number_of_walk: u64) {
    let WalkSettings { seed, steps } = WalkSettings::new("KILN_WALK", number_of_walk, WALKS, STEPS);
    eprintln!("verdicts from seed {seed}, {steps} steps");
    let mut random = Random::new(seed);
    let project = new_project();
    let mut taken = Vec::new();
    let mut refused = 0;
    for step in 0..steps {
        let edits: Vec<Edit> = (0..=random.below(2)).map(|_| Edit::random(&mut random)).collect();
        let flip = random.percent(50).then(|| Flip::random(&mut random));
        taken.push(format!("{step:4} {edits:?} {flip:?}"));
        for edit in &edits {
            edit.make(&project);
        }
        match check(&project, flip.as_ref()) {
            Ok(more) => refused += more,
            Err(problem) => panic!(
                "seed {seed}: {problem}\n\nthe steps:\n{}\nagain: KILN_WALK_SEED={seed} cargo test --test e2e verdicts::verdicts_1",
                taken.join("\n")
            ),
        }
    }
    eprintln!("verdicts from seed {seed}: {refused} builds refused inputs that changed while they ran");
}

fn new_project() -> Project {
    let project = Project::with_graph(GRAPH);
    project.write("rules/read.ron", READ);
    project.write("rules/pack.ron", PACK);
    edit::begin(&project);
    project
}

/// Builds, with inputs that change meanwhile; then builds what is there now. Nothing is left to do after that, and a build
/// from nothing makes the same. Returns how many builds refused inputs that changed.
fn check(project: &Project, flip: Option<&Flip>) -> Result<usize, String> {
    let mut refused = 0;
    if let Some(flip) = flip {
        let mut build = project.command("build -j2");
        let mut child = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        flip.make(project, &mut child);
        let raced = KilnOutput::new("kiln build -j2", &child.wait_with_output().unwrap());
        refused = usize::from(raced.code == 4);
        let is_refusal =
            raced.err.contains("changed while this ran") || raced.err.contains("changed before this ran");
        if raced.code != 0 && !(raced.code == 4 && is_refusal) {
            return Err(format!("a build fails whose inputs change\n{raced}"));
        }
    }
    let built = project.kiln("build -j2");
    if built.code != 0 {
        return Err(format!("the build fails\n{built}"));
    }
    let plan = project.plan("");
    if plan.verdicts().values().any(|&verdict| verdict != "fresh") {
        return Err(format!("something is left to do: {:?}\n{built}", plan.verdicts()));
    }
    let verified = project.kiln("verify");
    if verified.code != 0 {
        return Err(format!("a build from nothing makes something else\n{built}\n{verified}"));
    }
    Ok(refused)
}
