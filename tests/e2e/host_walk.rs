//! A random walk over the host: whatever of it changes, what kiln says is up to date is what a build from nothing gives.
//!
//! In a mount namespace of its own, with overlays over /usr, /etc and /opt, files that steps can see are edited, added,
//! removed and retargeted, and so are files that they must not see. After each step the project is built with the cache
//! of the whole walk, and once more with an empty one: both have to come to the same. The steps of the project print all
//! that they see, so that whatever is shown and not in the key is a difference.
//!
//!     cargo test --test e2e host_walk:: -- --nocapture                 prints the seeds
//!     KILN_HOST_WALK_STEPS=2000 cargo test --test e2e host_walk::      walks further; the number is shared by the seeds
//!     KILN_HOST_WALK_SEED=7 cargo test --test e2e host_walk::walk_1   walks from that seed

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::support::host_view::View;
use crate::support::random::{Random, WalkSettings};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// Steps in all, unless `KILN_HOST_WALK_STEPS` says otherwise.
const STEPS: usize = 500;

/// How many walks share them.
const WALKS: usize = 4;

const GRAPH: &str = r#"(version: 1, actions: {
    "tools": (rule: "tools"), "data": (rule: "data"), "compile": (rule: "compile"), "common": (rule: "common"),
})"#;

/// Prints all that a step sees of the host: names, kinds, modes, targets of links, and what is in the walk's own files.
const LOOK: &str = "find /usr /etc /opt /bin /sbin /lib /lib64 -printf '%p %y %m %l\\n' 2>/dev/null | sort; \
    for file in $(find /usr /etc /opt -path '*kw*' -type f | sort); do echo \"== $file\"; cat $file; done; \
    command -v kw-undeclared; cat /etc/hosts /opt/kw 2>&1";

/// Name, what its step does besides, tools and host.
const RULES: [(&str, &str, &str, &str); 4] = [
    (
        "tools",
        "kw-tool; kw-alt; command -v kw-opt && kw-opt",
        r#""kw-tool", "kw-alt", Optional("kw-opt")"#,
        "",
    ),
    (
        "data",
        "cat /usr/share/kw/a",
        r#"Optional("kw-opt")"#,
        r#""/usr/share/kw", "/etc/kw.conf", "/opt/kw-data""#,
    ),
    ("compile", "kw-gcc", r#""kw-gcc""#, r#"Library("kw")"#),
    ("common", "echo abc | tr b x | awk '{print $1}'", r#""tr", "awk""#, ""),
];

/// What the walk finds on the host at first: path, mode, content.
const FILES: [(&str, &str, &str); 11] = [
    ("/usr/bin/kw-tool", "755", "#!/usr/lib/kw/interp\none"),
    ("/usr/lib/kw/interp", "755", "#!/bin/sh\ncat $1"),
    ("/usr/lib/kw/impl-a", "755", "#!/bin/sh\necho a"),
    ("/usr/lib/kw/impl-b", "755", "#!/bin/sh\necho b"),
    ("/usr/share/kw/a", "644", "a"),
    ("/usr/share/kw/sub/b", "644", "b"),
    ("/usr/share/kw2/a", "644", "other"),
    ("/usr/lib/kw/gcc/libgcc.a", "644", "libgcc"),
    ("/usr/lib/kw/gcc/cc1", "755", "#!/bin/sh\necho cc1"),
    ("/usr/lib/kw/lib/libkw.a", "644", "library"),
    ("/usr/lib/kw/include/kw.h", "644", "header"),
];

/// A compiler that tells where its parts are.
const COMPILER: &str = "#!/bin/sh\ncase $* in\n\
    *search-dirs) printf 'install: /usr/lib/kw/gcc/\\nprograms: =/usr/lib/kw/gcc\\nlibraries: =/usr/lib/kw/lib\\n' ;;\n\
    *=cc1) echo /usr/lib/kw/gcc/cc1 ;;\n\
    *-v*) printf '#include <...> search starts here:\\n /usr/lib/kw/include\\nEnd of search list.\\n' >&2 ;;\n\
    -*) echo none ;;\n\
    *) /usr/lib/kw/gcc/cc1; cat /usr/lib/kw/include/* /usr/lib/kw/lib/* ;;\n\
esac";

/// What edits change, besides [`FILES`]; those that steps must not see are among them.
const MORE: [&str; 12] = [
    "/usr/bin/kw-opt",
    "/usr/local/bin/kw-opt",
    "/usr/local/bin/kw-tool",
    "/usr/local/bin/tr",
    "/etc/kw.conf",
    "/opt/kw-data",
    "/opt/kw",
    "/usr/bin/kw-undeclared",
    "/usr/share/kw-undeclared",
    "/etc/hosts",
    "/usr/lib/kw/gcc/specs",
    "/usr/lib/kw/lib/libkw.so",
];

/// Links, and what they may lead to.
const LINKS: [(&str, &[&str]); 4] = [
    ("/usr/bin/kw-alt", &["/etc/alternatives/kw-alt", "../lib/kw/impl-b", "/etc/kw-nowhere"]),
    ("/etc/alternatives/kw-alt", &["/usr/lib/kw/impl-a", "/usr/lib/kw/impl-b", "kw-other"]),
    ("/etc/alternatives/kw-other", &["../../usr/lib/kw/impl-b", "kw-other"]),
    ("/usr/share/kw/link", &["a", "../kw2/a", "/etc/passwd"]),
];

/// The host as the walk changes it, and the projects that are built there.
struct Walk {
    host: View,
    dir: TempDir,
}

impl Walk {
    fn new() -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let walk = Self { host: View::new(&dir.path().join("layers")), dir };
        for kiln in ["walked", "clean"] {
            let project = walk.project(kiln);
            fs::create_dir_all(project.join("rules")).unwrap();
            fs::write(project.join("graph.ron"), GRAPH).unwrap();
            for (name, does, tools, host) in RULES {
                let script = format!("{{ {does}; {LOOK}; }} >made 2>&1; true");
                let script = script.replace('{', "{{").replace('}', "}}");
                let rule = format!(
                    "(version: 1, steps: [[\"sh\", \"-c\", {script:?}]], outputs: {{\"made\": File(\"made\")}}, \
                     export: {name:?}, host: [{host}], tools: [\"sh\", \"find\", \"sort\", \"cat\", {tools}])"
                );
                fs::write(project.join(format!("rules/{name}.ron")), rule).unwrap();
            }
        }
        let mut script = String::new();
        for (path, mode, content) in FILES.into_iter().chain([("/usr/bin/kw-gcc", "755", COMPILER)]) {
            script.push_str(&write_file(path, mode, content));
        }
        for (link, targets) in LINKS {
            writeln!(script, "ln -sfn {} {link}", targets[0]).unwrap();
        }
        assert!(walk.host.run(&script).0);
        walk
    }

    fn project(&self, kiln: &str) -> PathBuf {
        self.dir.path().join(kiln)
    }

    /// Builds as it is now, in both ways.
    fn check(&self) -> Result<(), String> {
        let build = |kiln: &str, first: &str| {
            let project = self.project(kiln);
            let said = self.host.run(&format!("cd {} && {first} {KILN} build -k -q", project.display()));
            (said, outputs(&project))
        };
        let ((passed, said), walked) = build("walked", "");
        let ((clean_passed, clean_said), clean) = build("clean", "rm -rf cache out &&");
        if passed != clean_passed {
            return Err(format!(
                "passed: {passed}, from nothing: {clean_passed}\n{said}\nfrom nothing:\n{clean_said}"
            ));
        }
        for (name, made) in clean {
            let ours = walked.iter().find(|(walked, _)| *walked == name).map(|(_, made)| made);
            if ours != Some(&made) {
                let ours = ours.map_or("nothing", String::as_str);
                return Err(format!("{name} differs:\n{}\n{said}", difference(ours, &made)));
            }
        }
        Ok(())
    }
}

fn outputs(project: &Path) -> Vec<(&'static str, String)> {
    let made = |name: &str| fs::read_to_string(project.join("out").join(name).join("made")).ok();
    RULES.iter().filter_map(|(name, ..)| Some((*name, made(name)?))).collect()
}

fn difference(ours: &str, theirs: &str) -> String {
    let lines = |text: &str, other: &str, sign: char| -> String {
        let only = text.lines().filter(|line| !other.lines().any(|known| known == *line));
        only.take(20).map(|line| format!("{sign} {line}\n")).collect()
    };
    lines(ours, theirs, '-') + &lines(theirs, ours, '+')
}

fn write_file(path: &str, mode: &str, content: &str) -> String {
    let content = content.replace('\'', r"'\''");
    let dir = Path::new(path).parent().unwrap().display();
    format!("mkdir -p {dir}; rm -rf {path}; printf '%s\\n' '{content}' >{path}; chmod {mode} {path}\n")
}

/// The next edit, as a script.
fn edit(random: &mut Random) -> String {
    let files: Vec<(&str, &str)> =
        FILES.iter().map(|(path, mode, _)| (*path, *mode)).chain(MORE.map(|path| (path, "755"))).collect();
    let (path, mode) = *random.of(&files);
    let script = |random: &mut Random| {
        // Of one size, so that times alone tell.
        let word = format!("word{}", random.below(10));
        if mode == "755" { format!("#!/bin/sh\necho {word}") } else { word }
    };
    match random.below(12) {
        0..=3 => write_file(path, mode, &script(random)),
        // In place, and back to the time that it had.
        4 => format!(
            "[ -f {path} ] && touch -r {path} /tmp/kw.$$ && echo '# {}' >>{path} && touch -r /tmp/kw.$$ {path}; \
             rm -f /tmp/kw.$$; true\n",
            random.below(10)
        ),
        5 | 6 => format!("rm -rf {path}\n"),
        7 => {
            let (link, targets) = random.of(&LINKS);
            let target = random.of(targets);
            format!("mkdir -p $(dirname {link}); rm -rf {link}; ln -s {target} {link}\n")
        }
        8 => format!("[ -f {path} ] && chmod {} {path}; true\n", random.of(&["644", "755", "600"])),
        9 => "if [ -L /usr/share/kw ]; then rm /usr/share/kw; mv /usr/share/kw.was /usr/share/kw; \
              else mv /usr/share/kw /usr/share/kw.was && ln -s kw2 /usr/share/kw; fi; true\n"
            .to_owned(),
        10 => {
            // A program of everybody's, and the choice among alternatives.
            let awk = random.of(&["mawk", "gawk", "kw-tool"]);
            format!("ln -sfn /usr/bin/{awk} /etc/alternatives/awk\n")
        }
        _ => format!("[ -e {path} ] && mv {path} {path}.kw-was && cp -a {path}.kw-was {path}; true\n"),
    }
}

fn walk(walk: u64) {
    if !geteuid().is_root() {
        eprintln!("skipped: overlays over /usr take root");
        return;
    }
    let WalkSettings { seed, steps } = WalkSettings::new("KILN_HOST_WALK", walk, WALKS, STEPS);
    eprintln!("walk over the host from seed {seed}, {steps} steps");
    let walk = Walk::new();
    let mut random = Random::new(seed);
    walk.check().unwrap_or_else(|problem| panic!("before the first step: {problem}"));
    let mut edits: Vec<String> = Vec::new();
    for step in 1..=steps {
        let count = if random.percent(20) { 3 } else { 1 };
        let script: String = (0..count).map(|_| edit(&mut random)).collect();
        let (_, said) = walk.host.run(&script);
        edits.push(script);
        if let Err(problem) = walk.check() {
            let last: String = edits.iter().rev().take(5).rev().cloned().collect();
            panic!(
                "seed {seed}, step {step}: {problem}\n{said}\nthe last edits:\n{last}\n\
                 again: KILN_HOST_WALK_SEED={seed} cargo test --test e2e host_walk::walk_1"
            );
        }
    }
}

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
