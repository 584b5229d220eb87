//! What kbuild's records are taken to cover, held to what fanotify sees of real builds: whatever was opened has to count.
//!
//! As root, with an unpacked kernel tree: the one in `KILN_TEST_TREE`, or else the example project's. `KILN_TEST_ROWS` names
//! rows of `examples/tiny` (`all`: all twelve), `KILN_TEST_DIRECTORIES` what is built of an allmodconfig for `x86_64`.
//!
//!     KILN_TEST_ROWS=arm64,m68k cargo test --test real -- --ignored --nocapture kbuild_cover::records_of_all_rows
//!     KILN_TEST_DIRECTORIES='crypto/ certs/' cargo test --test real -- --ignored --nocapture kbuild_cover::records_of_directories

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln::kernel::kbuild::{self, Cover};
use kiln::source::{EntryKind, PathEntry, Provenance, Reads};
use kiln::store::Store;

use super::tiny::{ROWS, Tiny};

/// What of an allmodconfig is built where nothing else is said: each has reads of another kind.
const DIRECTORIES: &str = "certs/ crypto/ security/ net/wireless/ drivers/base/ drivers/tty/vt/ drivers/video/logo/ \
                           drivers/scsi/aic7xxx/ lib/raid6/ arch/x86/lib/ arch/x86/entry/ arch/x86/realmode/";

impl Tiny {
    fn build(&self, node: &str) {
        let (said, code) = self.run(&["build", node]);
        assert_eq!(code, 0, "{node} fails: {said}");
    }

    /// What was opened by the build of a node, and does not count by its records.
    fn uncovered(&self, node: &str) -> Vec<String> {
        let store = Store::open(&self.cache()).unwrap();
        let state = store.node(store.project(&self.root()).unwrap(), node).unwrap().expect("it was built");
        let set = store.path_set(&state.path_set.unwrap()).unwrap().unwrap();
        let set = set.resolve(&store.entries().unwrap()).unwrap();
        assert_eq!(set.provenance(), Provenance::Opens, "run this as root: nothing was traced");
        let Some(Reads::Only(opened)) = set.reads("source") else { panic!("all of the tree counts") };
        let kept: Vec<PathBuf> = fs::read_dir(self.cache().join("kept"))
            .unwrap()
            .map(|kept| kept.unwrap().path().join("out"))
            .filter(|out| out.is_dir())
            .collect();
        let [out] = &kept[..] else { panic!("one kept directory: {kept:?}") };
        let inside = Path::new("/kiln/in/source");
        let records = kbuild::records(out, inside, &self.tree).unwrap();
        assert_eq!(records.unreadable, []);
        let cover = kbuild::cover(&records, out, inside, &self.tree).unwrap();
        println!(
            "{node}: {} entries opened; cover: {} files, {} directories, {} trees",
            opened.len(),
            cover.files.len(),
            cover.dirs.len(),
            cover.trees.len()
        );
        opened
            .iter()
            .filter(|entry| !is_covered(entry, &cover, out, &self.tree))
            .map(|entry| format!("{entry:?}"))
            .collect()
    }
}

fn is_covered(entry: &PathEntry, cover: &Cover, out: &Path, tree: &Path) -> bool {
    let path = &*entry.path;
    let mut above = path;
    let mut in_tree = cover.trees.contains(path);
    while let Some(slash) = above.iter().rposition(|&byte| byte == b'/') {
        above = &above[..slash];
        in_tree |= cover.trees.contains(above);
    }
    match entry.kind {
        // Of what was made, or is a link, the same counts by both.
        EntryKind::Links => true,
        EntryKind::Names => in_tree || cover.dirs.contains(path),
        EntryKind::File | EntryKind::Searched | EntryKind::Tree => {
            let name = Path::new(OsStr::from_bytes(path));
            in_tree
                || cover.files.contains(path)
                || out.join(name).symlink_metadata().is_ok()
                || tree.join(name).is_symlink()
        }
    }
}

#[test]
#[ignore = "builds kernels as root, minutes for each: `make matrix` does all twelve"]
fn records_of_all_rows_cover_what_is_opened() {
    let rows = std::env::var("KILN_TEST_ROWS").unwrap_or_else(|_| "arm64,m68k".to_owned());
    let mut wrong = Vec::new();
    for (arch, config) in
        ROWS.into_iter().filter(|(arch, _)| rows == "all" || rows.split(',').any(|row| row == *arch))
    {
        let graph = format!(
            r#"(version: 1, import: ["table.ron"],
                configs: {{ "{config}": (base: "allnoconfig", fragments: ["configs/tiny.config", "configs/{config}.config"]) }},
                builds: [(sources: ["linux-6.1"], toolchains: ["gcc"], archs: ["{arch}"], defconfigs: ["{config}"])])"#
        );
        let project = Tiny::with_graph(&graph);
        let node = format!("kernel:linux-6.1/{arch}/{config}/gcc");
        project.build(&node);
        wrong.extend(project.uncovered(&node).into_iter().map(|entry| format!("{arch}: {entry}")));
    }
    assert!(wrong.is_empty(), "{} entries are not covered:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "builds parts of an allmodconfig as root, many minutes"]
fn records_of_directories_of_allmodconfig_cover_what_is_opened() {
    let directories = std::env::var("KILN_TEST_DIRECTORIES").unwrap_or_else(|_| DIRECTORIES.to_owned());
    let targets: BTreeSet<String> = directories.split_whitespace().map(|dir| format!("{dir:?}")).collect();
    let targets = targets.into_iter().collect::<Vec<_>>().join(", ");
    // Without a signing key: an output directory that holds a generated one is not kept.
    let graph = r#"(version: 1, import: ["table.ron"],
            configs: { "all": (base: "allmodconfig", fixups: ["MODULE_SIG_ALL=n", "MODULE_SIG_KEY=\"\""]) },
            builds: [(sources: ["linux-6.1"], toolchains: ["gcc"], archs: ["x86_64"], defconfigs: ["all"])])"#;
    let project = Tiny::with_graph(graph);
    // The rule that builds kernels, with these targets and without a kernel.
    let rule = fs::read_to_string(project.root().join("rules/kernel.ron")).unwrap();
    let (before, outputs) = rule.split_once("    outputs: {").unwrap();
    let (_, after) = outputs.split_once("\n    },\n").unwrap();
    let rule = format!("{before}    outputs: {{}},\n{after}").replace("\"{arch.targets}\"", &targets);
    fs::write(project.root().join("rules/kernel.ron"), rule).unwrap();
    for rule in ["job", "match", "modules", "initramfs", "lava", "stage3", "binpkg"] {
        fs::remove_file(project.root().join(format!("rules/{rule}.ron"))).unwrap();
    }
    let node = "kernel:linux-6.1/x86_64/all/gcc";
    project.build(node);
    let wrong = project.uncovered(node);
    assert!(wrong.is_empty(), "{} entries are not covered:\n{}", wrong.len(), wrong.join("\n"));
}
