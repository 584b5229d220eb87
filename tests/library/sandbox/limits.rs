//! Steps that take all they can get.

use std::fs::{self, File};

use kiln::exec::sandbox::{Access, End, Exceeded, Exit, Limits, Means, Output, SandboxSpec, means_of_limits};

use super::{Host, mount, shell};

const MIB: u64 = 1 << 20;

fn limited(script: &str, limits: Limits) -> SandboxSpec {
    SandboxSpec { limits, ..shell(script) }
}

/// What it is that a limit was exceeded, where that can be told from steps that failed by themselves.
fn told(means: Means, exceeded: Exceeded) -> Option<Exceeded> {
    (means != Means::Rlimit).then_some(exceeded)
}

fn fails(exit: Exit, exceeded: Option<Exceeded>) {
    assert_eq!(exit.exceeded, exceeded, "{exit:?}");
    assert!(exceeded.is_some() || exit.end != End::AllStepsPassed, "{exit:?}");
}

#[test]
fn a_memory_bomb_is_ended() {
    let limits = Limits { memory: Some(64 * MIB), ..Limits::default() };
    for host in Host::all() {
        for script in [
            "perl -e '$all = q(x) x (500 << 20); print length $all'",
            // One that others survive has been one all the same.
            "perl -e '$all = q(x) x (500 << 20)'; sleep 0.1; true",
        ] {
            let (exit, _) = host.run(&limited(script, limits));
            if means_of_limits().0 != Means::Rlimit || script.starts_with("perl") && !script.ends_with("true")
            {
                fails(exit, told(means_of_limits().0, Exceeded::Memory));
            }
        }
        let (exit, output) = host.run(&limited("perl -e '$all = q(x) x (5 << 20); print 5'", limits));
        assert_eq!((exit.end, exit.exceeded, output.as_str()), (End::AllStepsPassed, None, "5"));
    }
}

#[test]
fn temporary_files_count_as_memory() {
    let limits = Limits { memory: Some(64 * MIB), ..Limits::default() };
    for host in Host::all() {
        for place in ["/tmp", "/dev/shm"] {
            let (exit, _) = host.run(&limited(&format!("head -c 500M /dev/zero >{place}/x"), limits));
            if means_of_limits().0 != Means::Rlimit {
                assert_eq!(exit.exceeded, Some(Exceeded::Memory), "{exit:?}");
            }
        }
    }
}

#[test]
fn a_fork_bomb_is_ended() {
    let bomb =
        "perl -e 'for (1 .. 300) { $pid = fork; exit 7 if !defined $pid; if (!$pid) { sleep 100; exit } }'";
    for host in Host::all() {
        let limits = Limits { processes: Some(50), ..Limits::default() };
        let (exit, output) = host.run(&limited(bomb, limits));
        fails(exit, told(means_of_limits().1, Exceeded::Processes));
        assert_eq!(output, "");
        let (exit, _) = host.run(&limited(bomb, Limits { processes: Some(1000), ..limits }));
        assert_eq!((exit.end, exit.exceeded), (End::AllStepsPassed, None));
    }
}

#[test]
fn what_fills_the_disk_is_ended() {
    let limits = Limits { disk: Some(16 * MIB), ..Limits::default() };
    for host in Host::all() {
        for script in [
            // A file; many; one that has no name any more.
            "head -c 3G /dev/zero >/out/file",
            "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); head -c 1000000 /dev/zero >/out/$i; done",
            "mkdir /out/dir; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); head -c 1000000 /dev/zero >/out/dir/$i; done",
        ] {
            let out = host.subdir("out");
            let mut spec = limited(script, limits);
            spec.mounts = vec![mount(&out, "/out", Access::ReadWrite)];
            let (exit, _) = host.run(&spec);
            assert_eq!(exit.exceeded, Some(Exceeded::Disk), "{:?}: {script}: {exit:?}", host.mode);
            assert_ne!(exit.end, End::AllStepsPassed);
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn what_fills_the_log_is_ended() {
    let limits = Limits { disk: Some(16 * MIB), ..Limits::default() };
    for host in Host::all() {
        let log = host.dir.path().join("log");
        let spec = limited("yes", limits);
        let mut running = host.sandbox.spawn(&spec, Output::File(File::create(&log).unwrap())).unwrap();
        let exit = running.wait().unwrap();
        assert_eq!(exit.exceeded, Some(Exceeded::Disk), "{exit:?}");
        assert!(fs::metadata(&log).unwrap().len() < 20 * MIB);
    }
}

#[test]
fn what_keeps_within_its_limits_is_left_alone() {
    let limits = Limits { memory: Some(256 * MIB), processes: Some(100), disk: Some(64 * MIB) };
    for host in Host::all() {
        let out = host.subdir("within");
        let mut spec = limited("head -c 20000000 /dev/zero >/out/file; cat /out/file | wc -c", limits);
        spec.mounts = vec![mount(&out, "/out", Access::ReadWrite)];
        let (exit, output) = host.run(&spec);
        assert_eq!(
            (exit.end, exit.exceeded, output.as_str()),
            (End::AllStepsPassed, None, "20000000\n"),
            "{:?}",
            host.mode
        );
    }
}
