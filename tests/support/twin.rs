//! Builds from nothing, to hold others against.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::project::{Build, Project};

impl Project {
    /// The same project in another directory, with neither cache nor outputs.
    pub fn twin(&self) -> Self {
        let twin = Self::empty();
        for entry in fs::read_dir(self.path("")).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "cache" && name != "out" {
                let from = self.path("").join(name);
                assert!(
                    Command::new("cp").arg("-a").arg(from).arg(twin.path("")).status().unwrap().success()
                );
            }
        }
        twin
    }

    /// All that was put in place for kernels: what is below `out/`, but for boots and what is told of runs.
    pub fn outputs(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut outputs = BTreeMap::new();
        let out = self.path("out");
        let mut dirs = vec![out.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if !["console.log", "build.log", "messages.json", "metadata.json"]
                    .iter()
                    .any(|told| path.ends_with(told))
                {
                    let content = fs::read(&path).unwrap();
                    outputs.insert(path.strip_prefix(&out).unwrap().to_owned(), content);
                }
            }
        }
        outputs
    }

    /// Asserts that what is below `out/` is what a build of the same project from nothing makes.
    #[track_caller]
    pub fn is_as_from_nothing(&self) {
        self.is_as_built_in(&self.twin());
    }

    /// The same, for a twin that was made before.
    #[track_caller]
    pub fn is_as_built_in(&self, twin: &Self) {
        twin.kiln("build -j2 --clean kernel:").exits(0);
        let show = |outputs: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, String> {
            let text = |content: Vec<u8>| String::from_utf8_lossy(&content).into_owned();
            outputs.into_iter().map(|(path, content)| (path, text(content))).collect()
        };
        let (ours, theirs) = (show(self.outputs()), show(twin.outputs()));
        assert!(theirs.keys().any(|path| path.ends_with("vmlinux")), "{:?}", theirs.keys());
        assert_eq!(ours, theirs);
    }

    /// Adds to the end of a file.
    pub fn write_more(&self, path: &str, text: &str) {
        self.write(path, &(self.read(path) + text));
    }

    /// Whether reads are traced here; says what is left out where they are not.
    pub fn traces(&self, what: &str) -> bool {
        let traces = self.plan("").node(super::project::KERNEL)["discovered-by"] == "fanotify";
        if !traces {
            eprintln!("skipped: {what} needs a trace of what is read");
        }
        traces
    }

    /// The directory that is kept for a kernel, of which there must be one.
    #[track_caller]
    pub fn kept(&self) -> PathBuf {
        let kept = self.all_kept();
        let [kept] = &kept[..] else { panic!("{kept:?}") };
        kept.clone()
    }

    /// All directories that are kept.
    pub fn all_kept(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("cache/kept"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

impl Build {
    /// That a node continued where its last run ended.
    #[track_caller]
    pub fn continues(self, node: &str) -> Self {
        let finished = self.finished(node);
        assert_eq!(finished["continued"], true, "{}", self.said);
        let message = finished["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("continued from its last run: "), "{}", self.said);
        self
    }

    /// That a node began with an empty directory although one was kept, and says why.
    #[track_caller]
    pub fn starts_anew(self, node: &str, why: &str) -> Self {
        let finished = self.finished(node);
        assert!(finished["continued"].is_null(), "{}", self.said);
        // What else there is to say of it comes after.
        let said = finished["message"].as_str().and_then(|said| said.split("; ").next());
        assert_eq!(said, Some(format!("built from scratch: {why}").as_str()), "{}", self.said);
        self
    }

    /// That a node began with an empty directory, as there was no other.
    #[track_caller]
    pub fn begins(self, node: &str) -> Self {
        let finished = self.finished(node);
        assert!(finished["continued"].is_null() && finished["message"].is_null(), "{}", self.said);
        self
    }
}
