//! Measurements.

use std::fs;
use std::time::Instant;

use kiln::store::{Artifact, Built, NodeRecord, NodeState, Origin, Outcome, Placed, Store, StoredResult};

use super::{a_run, key, store, whole_tree};

/// `cargo test --release --test library -- --ignored --nocapture how_fast_a_build`
#[test]
#[ignore = "a measurement"]
fn how_fast_a_build_is_kept() {
    const FILES: usize = 6_000;
    // Not /tmp, which may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    for what in ["just written", "on disk for long", "and again"] {
        let to = store.fresh_work_dir("kernel").unwrap().join("out");
        let begun = Instant::now();
        if store.take_kept(&key("kernel"), &to).unwrap().is_none() {
            for n in 0..FILES {
                let dir = to.join(format!("dir-{}", n / 60));
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join(format!("{n}.o")), vec![1; 150_000_000 / FILES]).unwrap();
            }
        } else {
            println!("take: {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        store.keep(&key("kernel"), "kernel", &to, &vec![1; 1 << 20], &[], u64::MAX).unwrap();
        println!("keep, {what}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    store.drop_kept().unwrap();
    println!("drop: {:?}", begun.elapsed());
}

/// `cargo test --release --test library -- --ignored --nocapture how_fast_100`
#[test]
#[ignore = "a measurement"]
fn how_fast_100_000_nodes_are() {
    const NODES: u32 = 100_000;
    let (dir, store) = store();
    let project = store.project(dir.path()).unwrap();
    let stat = fs::metadata(dir.path()).unwrap();
    let time = |what: &str, begun: Instant| println!("{what}: {:?}", begun.elapsed());

    let begun = Instant::now();
    for chunk in (0..NODES).collect::<Vec<_>>().chunks(10_000) {
        store
            .batch(|batch| {
                for n in chunk {
                    let node = format!("source/arch/defconfig/toolchain/{n:06}");
                    let artifact = Artifact::File { digest: key(&node), size: 1, executable: false };
                    let record = NodeRecord {
                        trees: Vec::new(),
                        outputs: vec![("out".to_owned(), artifact)],
                        placed: vec![Placed::new(node.clone(), artifact, &stat)],
                    };
                    let mut run = a_run(&node, Outcome::Pass, 5);
                    run.strong_key = Some(key(&n.to_string()));
                    let id = batch.record_run(project, &run)?;
                    let result = StoredResult {
                        action_key: run.action_key,
                        outcome: Outcome::Pass,
                        outputs: record.outputs.clone(),
                        log: None,
                        run: id,
                        built: Built::FromNothing,
                        origin: Origin::Local,
                    };
                    let set = whole_tree("linux");
                    batch.record(&key(&n.to_string()), &set, &result)?;
                    let mut state = NodeState::new(id, Outcome::Pass, run.action_key, &record);
                    state.path_set = Some(set.digest());
                    state.strong_key = run.strong_key;
                    batch.set_node(project, &node, &state)?;
                }
                Ok(())
            })
            .unwrap();
    }
    time("record 100,000 runs, results and nodes", begun);

    let home = store.home().to_owned();
    drop(store);
    for _ in 0..3 {
        let begun = Instant::now();
        let store = Store::open(&home).unwrap();
        time("open", begun);
        let begun = Instant::now();
        let nodes = store.load_nodes(project).unwrap();
        time("load_nodes", begun);
        assert_eq!(nodes.len(), NODES as usize);
        let begun = Instant::now();
        let placed: usize = nodes.values().map(|node| node.record().unwrap().placed.len()).sum();
        time("decode all records", begun);
        assert_eq!(placed, NODES as usize);
        let begun = Instant::now();
        assert_eq!(store.durations(project).unwrap().len(), NODES as usize);
        time("durations", begun);
    }
    println!("index: {} bytes", fs::metadata(home.join("index.sqlite")).unwrap().len());
}
