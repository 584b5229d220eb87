//! Read tracing, of sandboxes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{PipeReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use kiln::exec::sandbox::{Access, End, MemoryTree, Mount, Output, Sandbox, SandboxSpec, Step};
use kiln::exec::trace::{Opened, Trace, TraceError, Tracer};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::Mode;
use nix::sys::time::TimeValLike;
use nix::unistd::{geteuid, mkfifo};
use tempfile::TempDir;

use crate::support::whole_host::whole_host;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// Whether tests can be run at all; prints the reason where not.
fn may_trace() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: only root may trace");
    }
    root
}

/// Source trees, which steps see as `/src` and, if there is a second, `/src2`.
struct Sources(Vec<(TempDir, &'static str)>);

impl Sources {
    /// One, of files with these names and contents.
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self(vec![(dir, "/src")])
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0[0].0.path().join(name)
    }

    fn executable(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn spec(&self, script: &str) -> SandboxSpec {
        let step = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        SandboxSpec {
            mounts: self.0.iter().map(|(dir, to)| read_only(dir.path(), to)).collect(),
            steps: vec![Step { argv: step, cwd: "/".into() }],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            root: whole_host(),
            ..SandboxSpec::default()
        }
    }

    /// What a script opened below `/src`.
    fn opened(&self, script: &str) -> Opened {
        trace(&self.spec(script), &["/src"]).unwrap().mounts.remove(0)
    }
}

fn read_only(from: &Path, to: &str) -> Mount {
    Mount { from: from.to_owned(), to: to.into(), access: Access::ReadOnly }
}

fn trace(spec: &SandboxSpec, mounts: &[&str]) -> Result<Trace, TraceError> {
    trace_while(spec, mounts, |_| ())
}

/// Traces a sandbox, and does something while it runs, with its output at hand.
fn trace_while(
    spec: &SandboxSpec,
    mounts: &[&str],
    meanwhile: impl FnOnce(&mut PipeReader),
) -> Result<Trace, TraceError> {
    let prepared = Sandbox::with_helper(KILN).prepare(spec, Output::Piped).unwrap();
    let mounts: Vec<_> = mounts.iter().map(PathBuf::from).collect();
    let tracer = Tracer::start(&prepared.root(), &mounts)?;
    let mut running = prepared.start().unwrap();
    let mut output = running.take_output().unwrap();
    meanwhile(&mut output);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(running.wait().unwrap().end, End::AllStepsPassed, "{text}");
    tracer.finish()
}

fn paths<T: AsRef<[u8]>>(paths: impl IntoIterator<Item = T>) -> Vec<Box<[u8]>> {
    paths.into_iter().map(|path| path.as_ref().into()).collect()
}

#[track_caller]
fn assert_opened(opened: &Opened, files: &[&str], dirs: &[&str]) {
    assert_eq!(*opened, Opened { files: paths(files), dirs: paths(dirs) });
}

#[test]
fn files_and_directories_are_told_apart_and_what_is_not_opened_is_not_there() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("a", ""), ("b", ""), ("dir/c", ""), ("dir/sub/d", ""), ("other/e", "")]);
    let opened = sources.opened("cat /src/a /src/dir/sub/d; ls /src/dir; test -e /src/b; cd /src/other");
    assert_opened(&opened, &["a", "dir/sub/d"], &["dir"]);
    // The root is the empty path. Each directory is reported once, and what is in it all the same.
    let opened = sources.opened("for i in 1 2 3; do ls /src /src/dir; cat /src/dir/c; done; find /src/dir");
    assert_opened(&opened, &["dir/c"], &["", "dir", "dir/sub"]);
    assert_opened(&sources.opened("true"), &[], &[]);
}

#[test]
fn programs_and_scripts_that_are_executed_are_read() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("interpreted", "#!/src/bin/sh\n:"), ("bin/lib", "")]);
    for name in ["bin/sh", "bin/true"] {
        fs::copy(Path::new("/usr").join(name), sources.path(name)).unwrap();
        sources.executable(name);
    }
    sources.executable("interpreted");
    assert_opened(
        &sources.opened("/src/bin/true; /src/interpreted"),
        &["bin/sh", "bin/true", "interpreted"],
        &[],
    );
}

#[test]
fn what_orphans_read_counts() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("early", ""), ("late", ""), ("never", "")]);
    let script = "(setsid sh -c 'sleep 0.1; cat /src/late; : >/tmp/done; sleep 100; cat /src/never' &)
                  cat /src/early; while [ ! -e /tmp/done ]; do sleep 0.01; done";
    assert_opened(&sources.opened(script), &["early", "late"], &[]);
}

#[test]
fn a_file_opened_often_is_reported_once() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("a", ""), ("b", "")]);
    let script = "i=0; while [ $i -lt 20000 ]; do : </src/a; i=$((i + 1)); done; cat /src/b";
    assert_opened(&sources.opened(script), &["a", "b"], &[]);
}

#[test]
fn all_names_of_a_hard_linked_file_are_reported() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("a", "")]);
    fs::create_dir(sources.path("dir")).unwrap();
    fs::hard_link(sources.path("a"), sources.path("dir/b")).unwrap();
    fs::hard_link(sources.path("a"), sources.path("c")).unwrap();
    // The sleep lets an ignore mark come to be, if there were one.
    let opened = sources.opened("cat /src/a /src/a; sleep 0.2; cat /src/dir/b; sleep 0.2; cat /src/a");
    assert_opened(&opened, &["a", "dir/b"], &[]);
}

#[test]
fn the_same_directory_mounted_twice_is_told_apart() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("a", ""), ("b", ""), ("dir/c", "")]);
    let mut spec = sources.spec(
        "cat /src/a; ls /src/dir; sleep 0.2; cat /again/a /again/b; ls /again/dir; cat /unwatched/dir/c",
    );
    spec.mounts.push(read_only(&sources.path(""), "/again"));
    spec.mounts.push(read_only(&sources.path(""), "/unwatched"));
    let trace = trace(&spec, &["/again", "/src"]).unwrap();
    assert_opened(&trace.mounts[0], &["a", "b"], &["dir"]);
    assert_opened(&trace.mounts[1], &["a"], &["dir"]);
    assert_eq!(trace.mounts.len(), 2);
}

#[test]
fn names_are_any_bytes() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[]);
    let names: [&[u8]; 7] =
        [b"a b", b"back\\slash", b"line\nfeed", b"not \xff utf-8", b"x", b"x (deleted)", b"y (deleted)"];
    for name in names {
        fs::write(sources.path(OsStr::from_bytes(name)), "").unwrap();
    }
    let dir = OsString::from_vec(b"d\xfe\n (deleted)".to_vec());
    fs::create_dir(sources.path(&dir)).unwrap();
    fs::write(sources.path(&dir).join("in"), "").unwrap();
    let opened = sources.opened("find /src -type f -exec cat {} +");
    let mut files = paths(names);
    files.push((*b"d\xfe\n (deleted)/in").into());
    files.sort();
    assert_eq!(opened, Opened { files, dirs: paths([&b""[..], dir.as_bytes()]) });
}

#[test]
fn a_symbolic_link_is_reported_as_what_it_leads_to() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("real/file", ""), ("real/other", "")]);
    symlink("real", sources.path("dir")).unwrap();
    symlink("dir/file", sources.path("link")).unwrap();
    symlink("/etc/passwd", sources.path("away")).unwrap();
    let opened = sources.opened("cat /src/link /src/dir/other /src/away; readlink /src/link; ls /src/dir/");
    assert_opened(&opened, &["real/file", "real/other"], &["real"]);
}

#[test]
fn what_is_opened_through_descriptors_that_leave_no_event_is_reported() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("dir/file", ""), ("dir/other", ""), ("dir/never", "")]);
    let script = "perl -e '
        sub at { my ($dir, $name, $flags) = @_; my $fd = syscall(257, $dir, $name, $flags); $fd < 0 and die $!; $fd }
        my $path = 010000000;
        my $dir = at(-100, \"/src/dir\", $path);
        at($dir, \"never\", $path);
        at($dir, \"file\", 0);
        open(my $f, \"<\", \"/proc/self/fd/\" . at($dir, \"other\", $path)) or die $!;'";
    // The system call's number is x86's.
    if cfg!(target_arch = "x86_64") {
        assert_opened(&sources.opened(script), &["dir/file", "dir/other"], &[]);
    }
}

#[test]
fn a_pipe_in_a_tree_holds_nobody_up() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("file", "")]);
    mkfifo(&sources.path("pipe"), Mode::from_bits_truncate(0o644)).unwrap();
    // Not every kernel has an event for the pipe.
    let opened = sources.opened("exec 3<>/src/pipe; cat /src/file");
    assert!(opened.files.contains(&(*b"file").into()), "{opened:?}");
}

#[test]
fn what_is_mounted_below_counts_and_what_is_masked_does_not() {
    if !may_trace() {
        return;
    }
    let sources =
        Sources::new(&[("a", ""), ("at/x", ""), ("inner/x", ""), (".git/HEAD", ""), ("masked", "text")]);
    let other = Sources::new(&[("b", ""), ("c/d", "")]);
    let mut spec = sources.spec("cat /src/a /src/at/b /src/inner/b /src/masked; ls /src/.git /src/at/c");
    spec.mounts.push(read_only(&other.path(""), "/src/at"));
    spec.mounts.push(read_only(&other.path(""), "/src/inner"));
    spec.mask = vec!["/src/.git".into(), "/src/masked".into()];
    let trace = trace(&spec, &["/src", "/src/inner"]).unwrap();
    assert_opened(&trace.mounts[0], &["a", "at/b"], &["at/c"]);
    assert_opened(&trace.mounts[1], &["b"], &[]);
}

#[test]
fn a_single_file_can_be_a_mount() {
    if !may_trace() {
        return;
    }
    let sources = Sources::new(&[("file", "")]);
    let mut spec = sources.spec("cat /in/config");
    spec.mounts.push(read_only(&sources.path("file"), "/in/config"));
    assert_opened(&trace(&spec, &["/in/config"]).unwrap().mounts[0], &[""], &[]);
}

#[test]
fn a_tree_that_is_changed_under_the_sandbox_gives_no_trace() {
    if !may_trace() {
        return;
    }
    let changes: [fn(&Sources); 3] = [
        |sources| fs::remove_file(sources.path("dir/file")).unwrap(),
        |sources| fs::rename(sources.path("dir/file"), sources.path("dir/new")).unwrap(),
        |sources| fs::rename(sources.path("dir"), sources.path("new")).unwrap(),
    ];
    for change in changes {
        let sources = Sources::new(&[("dir/file", "")]);
        let spec = sources.spec("exec 3</src/dir/file; echo opened; sleep 0.1");
        let trace = trace_while(&spec, &["/src"], |output| {
            output.read_exact(&mut [0; 7]).unwrap();
            change(&sources);
        });
        assert!(matches!(trace, Err(TraceError::Unnamed { .. })), "{trace:?}");
    }
}

#[test]
fn tracers_do_not_see_what_others_do() {
    if !may_trace() {
        return;
    }
    let names: Vec<_> = (0..400).map(|number| format!("dir/{number:03}")).collect();
    let sources = Sources::new(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    thread::scope(|scope| {
        for number in 0..8 {
            let (sources, names) = (&sources, &names);
            scope.spawn(move || {
                for round in 0..3 {
                    let files: Vec<&str> =
                        names[number * 10 + round..][..100].iter().map(String::as_str).collect();
                    let opened = sources.opened(&format!("cd /src; cat {}", files.join(" ")));
                    assert_opened(&opened, &files, &[]);
                }
            });
        }
    });
}

#[test]
fn a_tracer_that_is_dropped_leaves_no_thread() {
    if !may_trace() {
        return;
    }
    // In this process other tests trace too; the names of threads don't tell whose they are, but a thread that
    // still reads would keep this group of mounts, and with it its namespace, alive.
    let sources = Sources::new(&[("a", "")]);
    let prepared = Sandbox::with_helper(KILN).prepare(&sources.spec("cat /src/a"), Output::Piped).unwrap();
    let namespace = fs::read_link(prepared.root().parent().unwrap().join("ns/mnt")).unwrap();
    let held = || {
        let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
        fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == namespace)).count()
    };
    let tracer = Tracer::start(&prepared.root(), &["/src".into()]).unwrap();
    assert_eq!(held(), 1);
    // While the sandbox lives.
    drop(tracer);
    assert_eq!(held(), 0);
    assert_eq!(prepared.start().unwrap().wait().unwrap().end, End::AllStepsPassed);
}

/// What `kiln doctor` says of read tracing, behind these words.
fn doctor(behind: &[&str]) -> String {
    let words = [behind, &[KILN, "doctor"]].concat();
    let output = Command::new(words[0]).args(&words[1..]).current_dir("/").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.contains("read tracing")).unwrap_or_default().to_owned()
}

#[test]
fn a_user_is_told_how_reads_are_traced_or_why_not() {
    let copies = "ok       read tracing: fanotify, in copies of trees in memory";
    let none = "echo 0 >/proc/sys/user/max_fanotify_groups && exec setpriv --ambient-caps=-all --inh-caps=-all \"$@\"";
    let forbidden = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", none, "sh"];
    let user: &[&str] = if geteuid().is_root() {
        assert_eq!(doctor(&["env"]), "ok       read tracing: fanotify");
        &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    } else {
        &["env"]
    };
    let text = doctor(user);
    if text != copies {
        // Of an older kernel.
        assert!(text.contains("absent   read tracing: only root"), "{text}");
    }
    let text = doctor(&[user, &forbidden].concat());
    assert!(text.contains("absent   read tracing: only root"), "{text}");
    assert!(text.contains("nor can copies of trees be watched"), "{text}");
}

/// What a script opens in a copy of the sources that is made in memory, and in the sources themselves where root may
/// trace them: the same.
#[track_caller]
fn opened_in_copies(sources: &Sources, script: &str) -> Option<Opened> {
    let sandbox = Sandbox::with_helper(KILN);
    let mut spec = sources.spec(script);
    spec.mounts.clear();
    spec.memory = vec![MemoryTree { to: "/src".into(), size: 64 << 20 }];
    let mut prepared = match sandbox.prepare(&spec, Output::Piped) {
        Ok(prepared) => prepared,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let memory = prepared.take_memory().remove(0);
    let root = format!("/proc/{}/fd/{}/.", std::process::id(), memory.root.as_raw_fd());
    let copied = Command::new("cp").arg("-a").arg(sources.path(".")).arg(&root).status().unwrap();
    assert!(copied.success());
    let tracer = Tracer::start_on_copies(vec![("/src".into(), memory)]).unwrap();
    let mut running = prepared.start().unwrap();
    let mut text = String::new();
    running.take_output().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(running.wait().unwrap().end, End::AllStepsPassed, "{text}");
    let opened = tracer.finish().unwrap().mounts.remove(0);
    if geteuid().is_root() {
        assert_eq!(sources.opened(script), opened);
    }
    Some(opened)
}

#[test]
fn what_is_opened_in_copies_is_what_is_opened_in_the_trees() {
    let sources = Sources::new(&[
        ("a", ""),
        ("b", ""),
        ("dir/c", ""),
        ("dir/sub/d", ""),
        ("dir/sub/deep/e", ""),
        ("other/f", ""),
        ("script", "#!/bin/sh\n:"),
    ]);
    sources.executable("script");
    symlink("dir/sub", sources.path("link")).unwrap();
    for (script, files, dirs) in [
        (
            "cat /src/a /src/dir/sub/d; ls /src/dir; test -e /src/b; cd /src/other",
            &["a", "dir/sub/d"][..],
            &["dir"][..],
        ),
        (
            "/src/script; cat /src/link/d /src/link/deep/e; readlink /src/link",
            &["dir/sub/d", "dir/sub/deep/e", "script"],
            &[],
        ),
        (
            "for i in 1 2 3; do ls /src; cat /src/dir/c; sleep 0.05; done; find /src/dir >/tmp/x",
            &["dir/c"],
            &["", "dir", "dir/sub", "dir/sub/deep"],
        ),
        (
            "(setsid sh -c 'sleep 0.1; cat /src/b; : >/tmp/done' &) ; while [ ! -e /tmp/done ]; do sleep 0.01; done",
            &["b"],
            &[],
        ),
        ("! touch /src/new; ! mv /src/a /src/z; ! rm /src/b", &[], &[]),
    ] {
        let Some(opened) = opened_in_copies(&sources, script) else { return };
        assert_opened(&opened, files, dirs);
    }
}

#[test]
fn opens_of_every_kind_are_seen_in_copies() {
    let sources = Sources::new(&[("dir/at", ""), ("dir/path", ""), ("dir/two", ""), ("dir/never", "")]);
    // openat, openat2, and what is opened through a descriptor with which nothing can be read.
    let script = "perl -e '
        sub at { my ($dir, $name, $flags) = @_; my $fd = syscall(257, $dir, $name, $flags); $fd < 0 and die $!; $fd }
        my $path = 010000000;
        my $dir = at(-100, \"/src/dir\", $path);
        at($dir, \"never\", $path);
        at($dir, \"at\", 0);
        my $how = pack(\"QQQ\", 0, 0, 0);
        my $two = \"two\";
        syscall(437, $dir, $two, $how, 24) < 0 and die $!;
        open(my $f, \"<\", \"/proc/self/fd/\" . at($dir, \"path\", $path)) or die $!;'";
    // The system calls' numbers are x86's.
    if cfg!(target_arch = "x86_64")
        && let Some(opened) = opened_in_copies(&sources, script)
    {
        assert_opened(&opened, &["dir/at", "dir/path", "dir/two"], &[]);
    }
}

#[test]
fn a_file_opened_often_in_a_copy_does_not_fill_the_queue() {
    let sources = Sources::new(&[("a", ""), ("b", "")]);
    let script = "i=0; while [ $i -lt 40000 ]; do : </src/a; i=$((i + 1)); done; cat /src/b";
    let Some(opened) = opened_in_copies(&sources, script) else { return };
    assert_opened(&opened, &["a", "b"], &[]);
}

#[test]
fn copies_whose_events_are_lost_give_no_trace() {
    let sources = Sources::new(&[]);
    for number in 0..20_000 {
        fs::write(sources.path(number.to_string()), "").unwrap();
    }
    let mut spec = sources.spec("cd /src; cat *");
    spec.mounts.clear();
    spec.memory = vec![MemoryTree { to: "/src".into(), size: 256 << 20 }];
    let Ok(mut prepared) = Sandbox::with_helper(KILN).prepare(&spec, Output::Piped) else { return };
    let memory = prepared.take_memory().remove(0);
    let root = format!("/proc/{}/fd/{}/.", std::process::id(), memory.root.as_raw_fd());
    assert!(Command::new("cp").arg("-a").arg(sources.path(".")).arg(&root).status().unwrap().success());
    // Nobody reads the events before the steps have ended.
    let mut running = prepared.start().unwrap();
    assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
    let trace = Tracer::start_on_copies(vec![("/src".into(), memory)]).unwrap().finish();
    assert!(matches!(trace, Err(TraceError::Overflow)), "{trace:?}");
}

/// Prints what an open costs more: `cargo test --release --test library -- --ignored --nocapture trace::measure`.
#[test]
#[ignore = "a measurement"]
fn measure() {
    if !may_trace() {
        return;
    }
    let names: Vec<_> = (0..5000).map(|number| format!("{number}")).collect();
    let sources = Sources::new(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let links = TempDir::new().unwrap();
    let script = "perl -e 'for (1..40) { for (0..4999) { open(my $f, \"<\", \"/src/$_\") or die } }'";
    for (what, last) in [("files of one name", false), ("hard links", true)] {
        for traced in [false, true, false, true] {
            let before = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            let prepared = Sandbox::with_helper(KILN).prepare(&sources.spec(script), Output::Piped).unwrap();
            let tracer = traced.then(|| Tracer::start(&prepared.root(), &["/src".into()]).unwrap());
            let exit = prepared.start().unwrap().wait().unwrap();
            tracer.map(Tracer::finish).transpose().unwrap();
            let after = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            let own = after.user_time() + after.system_time() - before.user_time() - before.system_time();
            let steps = exit.usage.user + exit.usage.system;
            println!(
                "{what}, traced {traced}: 200000 opens: {steps:.2?}, and {} ms of this process",
                own.num_milliseconds()
            );
        }
        for name in names.iter().filter(|_| !last) {
            fs::hard_link(sources.path(name), links.path().join(name)).unwrap();
        }
    }
}
