//! The sandbox, through the real helper, as root and as an ordinary user.

mod faults;
mod identity;
mod images;
mod limits;
mod roots;
mod system_calls;
mod users;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use kiln::exec::sandbox::{
    Access, End, Exit, Mode, Mount, Output, Probe, Running, Sandbox, SandboxError, SandboxSpec, Step, probe,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::support::whole_host::whole_host;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const NOBODY: u32 = 65534;

/// A way to run sandboxes on this host, and a directory that its user owns.
struct Host {
    mode: Mode,
    sandbox: Sandbox,
    dir: TempDir,
}

impl Host {
    /// As root, both root's way and that of `nobody`; else that of the user who runs the tests.
    fn all() -> Vec<Self> {
        if geteuid().is_root() { vec![Self::root(), Self::nobody()] } else { vec![Self::user()] }
    }

    fn any() -> Self {
        Self::all().remove(0)
    }

    fn root() -> Self {
        Self { mode: Mode::Root, sandbox: Sandbox::with_helper(KILN), dir: TempDir::new().unwrap() }
    }

    fn user() -> Self {
        Self { mode: Mode::UserNamespace, sandbox: Sandbox::with_helper(KILN), dir: TempDir::new().unwrap() }
    }

    fn nobody() -> Self {
        let user = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
        let host = Self { mode: Mode::UserNamespace, ..Self::behind(&user) };
        host.give(host.dir.path());
        host
    }

    /// Has the helper run by another program, such as `setpriv`, which must end in executing it.
    fn behind(program: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let helper = dir.path().join("helper");
        let script = format!("#!/bin/sh\nexec {program} '{KILN}' \"$@\"\n");
        // Written by another process: while this one has the file open, so has any child that another test is about
        // to start, and until that executes its program, the file is busy.
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&helper).arg(script).status().unwrap();
        assert!(written.success());
        Self { mode: Mode::Root, sandbox: Sandbox::with_helper(helper), dir }
    }

    /// A new directory of the user's.
    fn subdir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        self.give(&path);
        path
    }

    fn file(&self, path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        self.give(path);
    }

    fn give(&self, path: &Path) {
        if geteuid().is_root() && self.mode == Mode::UserNamespace {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Runs `spec` to its end, and returns what it wrote.
    fn run(&self, spec: &SandboxSpec) -> (Exit, String) {
        let mut running = self.spawn(spec);
        let output = drain(&mut running);
        (running.wait().unwrap(), output)
    }

    fn spawn(&self, spec: &SandboxSpec) -> Running {
        let running = self.sandbox.spawn(spec, Output::Piped).unwrap_or_else(|error| {
            panic!("{:?}: {error}; {}", self.mode, error.help().unwrap_or("no help"));
        });
        assert_eq!(running.mode(), self.mode);
        running
    }

    /// Runs a shell script that has to pass, and returns what it wrote.
    fn output(&self, script: &str, change: impl FnOnce(&mut SandboxSpec)) -> String {
        let mut spec = shell(script);
        change(&mut spec);
        let (exit, output) = self.run(&spec);
        assert_eq!(exit.end, End::AllStepsPassed, "{:?}: {script}: {output}", self.mode);
        output
    }
}

fn drain(running: &mut Running) -> String {
    let mut output = String::new();
    running.take_output().unwrap().read_to_string(&mut output).unwrap();
    output
}

fn step<const N: usize>(argv: [&str; N]) -> Step {
    Step { argv: argv.map(OsString::from).to_vec(), cwd: PathBuf::from("/") }
}

fn sh(script: &str) -> Step {
    step(["/bin/sh", "-c", script])
}

fn shell(script: &str) -> SandboxSpec {
    SandboxSpec {
        steps: vec![sh(script)],
        env: vec![("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into())],
        root: whole_host(),
        ..SandboxSpec::default()
    }
}

fn mount(from: &Path, to: &str, access: Access) -> Mount {
    Mount { from: from.to_owned(), to: to.into(), access }
}

/// A pipe's two ends, the writing one to be inherited by everything in a sandbox: its reader sees the end when all of
/// them are gone.
fn witness() -> (io::PipeReader, io::PipeWriter) {
    io::pipe().unwrap()
}

fn everyone_is_gone(witness: &io::PipeReader) -> bool {
    let mut fds = [PollFd::new(witness.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap();
    fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
}

#[test]
fn a_source_is_read_only_and_an_output_is_not() {
    for host in Host::all() {
        let (source, out) = (host.subdir("source"), host.subdir("out"));
        host.file(&source.join("file"), "text\n");
        let output = host.output(
            "cat /src/file; for f in /src/new /src/file /usr/new /etc/new /new /bin/new /dev/new /proc/sys/kernel/hostname; do
                 (echo x >$f) 2>&1 | grep -o 'Read-only file system' || echo $f is writable; done
             rm -f /src/file 2>&1 | grep -c 'Read-only'; chmod 777 /src/file 2>&1 | grep -c 'Read-only'
             echo made >/out/file; chmod 600 /dev/null 2>&1 | grep -c 'Read-only'",
            |spec| {
                spec.mounts = vec![
                    mount(&source, "/src", Access::ReadOnly),
                    mount(&out, "/out", Access::ReadWrite),
                ];
            },
        );
        let expected = format!("text\n{}1\n1\n1\n", "Read-only file system\n".repeat(8));
        assert_eq!(output, expected, "{:?}", host.mode);
        assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "made\n");
        assert_eq!(fs::metadata(out.join("file")).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[test]
fn mounts_below_a_source_are_read_only_too() {
    if !geteuid().is_root() {
        return;
    }
    for host in Host::all() {
        let source = host.subdir("source");
        let below = source.join("a b");
        fs::create_dir(&below).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "x"]).arg(&below).status().unwrap();
        assert!(mounted.success());
        let output = host.output("echo x >'/src/a b/new' || echo refused", |spec| {
            spec.mounts = vec![mount(&source, "/src", Access::ReadOnly)];
        });
        assert!(Command::new("umount").arg(&below).status().unwrap().success());
        assert!(output.contains("Read-only file system") && output.ends_with("refused\n"), "{output}");
    }
}

#[test]
fn there_is_no_network_but_loopback() {
    for host in Host::all() {
        let devices = "tail -n +3 /proc/net/dev | sed 's/:.*//; s/ *//'";
        let refused = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>&1 | grep -o 'Connection refused'";
        let output = host.output(&format!("{devices}; {refused}"), |_| ());
        // A kernel may put tunnel devices into each namespace; they are down.
        assert!(output.starts_with("lo\n") && output.ends_with("Connection refused\n"), "{output}");
        assert!(!output.contains("eth0"), "{output}");
        let outside = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
        let inside = |network| {
            host.output("readlink /proc/self/ns/net; test -r /etc/resolv.conf || echo none", |spec| {
                spec.network = network;
            })
        };
        assert_ne!(inside(false).trim(), outside);
        let resolver = if Path::new("/etc/resolv.conf").exists() { "\n" } else { "\nnone\n" };
        assert_eq!(inside(true), format!("{outside}{resolver}"));
    }
}

#[test]
fn tmp_is_private_and_bounded() {
    for host in Host::all() {
        let script = "ls -A /tmp /dev/shm; stat -c %a /tmp; echo x >/tmp/file;
                      head -c 2000000 /dev/zero >/tmp/big 2>/dev/null || echo full";
        let output = host.output(script, |spec| spec.tmp_size = Some(1 << 20));
        assert_eq!(output, "/dev/shm:\n\n/tmp:\n1777\nfull\n");
        assert!(!Path::new("/tmp/big").exists());
    }
}

#[test]
fn what_steps_see_of_themselves_is_always_the_same() {
    for host in Host::all() {
        let script = "hostname; cat /proc/sys/kernel/domainname; id -u; id -g; umask; ulimit -c; pwd
                      cut -d' ' -f6 /proc/1/stat; tty || true";
        let output = host.output(script, |spec| spec.steps[0].cwd = "/tmp".into());
        // The session is PID 1's.
        assert_eq!(output, "kiln\n(none)\n0\n0\n0022\n0\n/tmp\n1\nnot a tty\n");
        let ignored = host.output("sed -n 's/SigIgn:\t//p' /proc/self/status", |_| ());
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        // 32 and 33 are the C library's own.
        assert_eq!(ignored & !(0b11 << 31), 0, "{ignored:x}");
    }
}

#[test]
fn the_environment_is_as_given() {
    for host in Host::all() {
        let mut spec = shell("");
        spec.steps = vec![step(["env"])];
        spec.env.push(("A".into(), "b c".into()));
        let (_, output) = host.run(&spec);
        assert_eq!(output, "A=b c\nPATH=/usr/bin:/bin:/usr/sbin:/sbin\n");
        // Without a PATH, programs are found where the C library looks by default.
        spec.env.clear();
        let (exit, output) = host.run(&spec);
        assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, ""));
    }
}

#[test]
fn the_root_holds_what_is_needed_and_no_more() {
    for host in Host::all() {
        let output = host.output("ls -A /", |_| ());
        let allowed: BTreeSet<_> =
            "bin dev etc lib lib32 lib64 libx32 opt proc sbin tmp usr".split(' ').collect();
        assert!(output.lines().collect::<BTreeSet<_>>().is_subset(&allowed), "{output}");
    }
}

#[test]
fn no_process_of_the_host_is_seen() {
    for host in Host::all() {
        let output = host.output(
            "echo $$; ls /proc | grep '^[0-9]*$' | wc -l; readlink -v /proc/1/exe 2>&1; true",
            |_| (),
        );
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines[0], "2", "{output}");
        // Init, the shell, and the pipeline.
        assert!(lines[1].parse::<u32>().unwrap() <= 6, "{output}");
        assert!(lines[2].contains("ermission denied"), "{output}");
        let environ = host.output("cat /proc/1/environ 2>&1 || true", |_| ());
        assert!(environ.contains("ermission denied"), "{environ}");
    }
}

#[test]
fn no_privilege_is_left() {
    for host in Host::all() {
        let source = host.subdir("source");
        let output = host.output(
            "grep -E 'Cap|NoNewPrivs' /proc/self/status
             for c in 'mount -o remount,rw /src' 'mount -o remount,bind,rw /src' 'mount -t tmpfs x /tmp' \
                      'umount /src' 'mknod /tmp/n c 1 3' 'hostname other' 'chroot / true' \
                      'unshare -m true' 'unshare -Urm mount -o remount,bind,rw /src'; do
                 $c >/dev/null 2>&1 && echo \"$c\" works; done; true",
            |spec| spec.mounts = vec![mount(&source, "/src", Access::ReadOnly)],
        );
        let sets = "Inh Prm Eff Bnd Amb".split(' ');
        let mut expected: Vec<_> = sets.map(|set| format!("Cap{set}:\t0000000000000000")).collect();
        expected.push("NoNewPrivs:\t1\n".to_owned());
        assert_eq!(output, expected.join("\n"), "{:?}", host.mode);
    }
}

#[test]
fn only_harmless_devices_exist() {
    for host in Host::all() {
        let output = host.output(
            "for f in $(find /dev ! -type l | sort); do { [ -c $f ] || [ -b $f ]; } && printf '%s ' $f; done
             head -c 4 /dev/urandom | wc -c; echo x >/dev/null; (: </dev/tty) 2>&1 | grep -c 'No such device'",
            |_| (),
        );
        assert_eq!(output, "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero 4\n1\n");
    }
}

#[test]
fn standard_streams_can_be_opened_by_name() {
    let host = Host::any();
    let output = host.output("echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin", |_| ());
    assert_eq!(output, "out\nerr\n");
}

#[test]
fn masks_hide_directories_and_files() {
    for host in Host::all() {
        let source = host.subdir("source");
        let git = host.subdir("source/.git");
        host.file(&git.join("HEAD"), "secret");
        host.file(&source.join("file"), "secret");
        let output = host.output(
            "ls -A /src /src/.git; cat /src/file; test -f /src/file && echo file; ls -A / | grep empty
             (echo x >/src/.git/new) 2>&1 | grep -c Read-only; (echo x >/src/file) 2>&1 | grep -c Read-only",
            |spec| {
                spec.mounts = vec![mount(&source, "/src", Access::ReadWrite)];
                spec.mask =
                    ["/src/.git", "/src/file", "/src/none", "/src/file/none"].map(PathBuf::from).into();
            },
        );
        assert_eq!(output, "/src:\n.git\nfile\n\n/src/.git:\nfile\n1\n1\n");
        assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "secret");
    }
}

#[test]
fn a_failing_step_ends_the_run() {
    for host in Host::all() {
        let steps = |second| SandboxSpec {
            steps: vec![step(["/bin/echo", "one"]), sh(second), step(["/bin/echo", "three"])],
            root: whole_host(),
            ..SandboxSpec::default()
        };
        let (exit, output) = host.run(&steps("exit 7"));
        assert_eq!((exit.end, output.as_str()), (End::StepExited { step: 1, code: 7 }, "one\n"));
        let (exit, _) = host.run(&steps("kill -SEGV $$"));
        assert_eq!(exit.end, End::StepSignaled { step: 1, signal: 11 });
        let (exit, output) = host.run(&steps("exit 0"));
        assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, "one\nthree\n"));
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_of_its_own() {
    for host in Host::all() {
        for (program, kind) in [
            ("no-such-program", io::ErrorKind::NotFound),
            ("/no/such/program", io::ErrorKind::NotFound),
            ("/etc/passwd", io::ErrorKind::PermissionDenied),
        ] {
            let mut spec = shell("echo one");
            spec.steps.push(step([program]));
            let mut running = host.spawn(&spec);
            let output = drain(&mut running);
            let error = running.wait().unwrap_err();
            assert_eq!(output, "one\n");
            let SandboxError::Exec { step: 1, program: named, source } = error else { panic!("{error}") };
            assert_eq!((named, source.kind()), (program.into(), kind));
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let host = Host::any();
    let mut spec = shell("true");
    spec.mounts = vec![mount(Path::new("/no/such/source"), "/src", Access::ReadOnly)];
    let error = host.sandbox.spawn(&spec, Output::Piped).unwrap_err();
    assert!(error.to_string().contains("/no/such/source"), "{error}");
    assert_eq!(error.help(), Some("check that the path exists"));

    spec.mounts = vec![mount(host.dir.path(), "/usr/no-such-mount-point", Access::ReadOnly)];
    let error = host.sandbox.spawn(&spec, Output::Piped).unwrap_err();
    assert!(error.to_string().contains("/usr/no-such-mount-point"), "{error}");
    assert!(!Path::new("/usr/no-such-mount-point").exists());
    assert!(error.help().unwrap().contains("mount point"), "{error:?}");

    let source = host.subdir("source");
    std::os::unix::fs::symlink("file", source.join("link")).unwrap();
    spec.mounts = vec![mount(&source, "/src", Access::ReadOnly)];
    spec.mask = vec!["/src/link".into()];
    let error = host.sandbox.spawn(&spec, Output::Piped).unwrap_err();
    assert!(error.to_string().contains("/src/link"), "{error}");
    assert!(error.help().unwrap().contains("symlink"), "{error:?}");

    let mut spec = shell("true");
    spec.steps[0].cwd = "/no/such/directory".into();
    let error = host.spawn(&spec).wait().unwrap_err();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");

    let error = Sandbox::with_helper("/bin/true").spawn(&shell("true"), Output::Piped).unwrap_err();
    assert!(matches!(error, SandboxError::HelperLost { .. }), "{error}");
    let error = Sandbox::with_helper("/no/helper").spawn(&shell("true"), Output::Piped).unwrap_err();
    assert!(error.to_string().contains("/no/helper"), "{error}");
}

#[test]
fn what_a_host_forbids_comes_with_a_remedy() {
    if !geteuid().is_root() {
        return;
    }
    // Root of a container that leaves it no capability and allows no user namespace.
    let none = "setpriv --bounding-set=-all";
    let forbid = "unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"' sh";
    let Probe::Unavailable { reason, remedy } = probe(&Host::behind(&format!("{forbid} {none}")).sandbox)
    else {
        panic!("a sandbox without any right to it")
    };
    assert!(reason.contains("create a user namespace"), "{reason}");
    assert!(remedy.unwrap().contains("user.max_"));
    // A container that hides parts of /proc.
    let hide = "unshare -m sh -c 'mount -t tmpfs x /proc/sys && exec \"$@\"' sh";
    let user = format!("{hide} setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
    let Probe::Unavailable { reason, remedy } = probe(&Host::behind(&user).sandbox) else {
        panic!("a sandbox without a fresh /proc")
    };
    assert!(reason.contains("mount a fresh /proc"), "{reason}");
    assert!(remedy.unwrap().contains("systempaths=unconfined"));
}

#[test]
fn root_of_a_part_of_the_host_is_as_an_ordinary_user() {
    if geteuid().is_root() {
        assert_eq!(probe(&Host::behind("unshare -Ur").sandbox), Probe::UserNamespace);
        let container = "setpriv --bounding-set=-sys_admin";
        assert_eq!(probe(&Host::behind(container).sandbox), Probe::UserNamespace);
    }
}

#[test]
fn nonsense_is_refused_before_anything_runs() {
    let refused = |change: fn(&mut SandboxSpec)| {
        let mut spec = shell("true");
        change(&mut spec);
        let error = Sandbox::with_helper("/no/helper").spawn(&spec, Output::Piped).unwrap_err();
        assert!(matches!(error, SandboxError::Spec { .. }), "{error}");
    };
    refused(|spec| spec.mounts = vec![mount(Path::new("/usr"), "relative", Access::ReadOnly)]);
    refused(|spec| spec.mounts = vec![mount(Path::new("/usr"), "/a/../b", Access::ReadOnly)]);
    refused(|spec| spec.mounts = vec![mount(Path::new("/usr"), "/", Access::ReadOnly)]);
    refused(|spec| spec.mounts = vec![mount(Path::new("/usr"), "/.host/usr", Access::ReadOnly)]);
    refused(|spec| spec.mask = vec!["/".into()]);
    refused(|spec| spec.steps[0].argv.clear());
    refused(|spec| spec.steps[0].argv.push("a\0b".into()));
    refused(|spec| spec.env.push(("A=B".into(), "c".into())));
    refused(|spec| spec.inherit = vec![1]);
    refused(|spec| spec.inherit = vec![7, 7]);
}

#[test]
fn a_mount_point_may_be_in_a_writable_mount() {
    for host in Host::all() {
        let (out, inner) = (host.subdir("out"), host.subdir("inner"));
        host.file(&inner.join("file"), "text\n");
        // Names that are not UTF-8 are names.
        let odd = inner.join(OsString::from_vec(b"\xff".to_vec()));
        fs::write(&odd, "odd\n").unwrap();
        let output = host.output("cat /out/a/b/file /odd", |spec| {
            spec.mounts = vec![
                mount(&out, "/out", Access::ReadWrite),
                mount(&inner, "/out/a/b", Access::ReadOnly),
                mount(&odd, "/odd", Access::ReadOnly),
            ];
        });
        assert_eq!(output, "text\nodd\n");
    }
}

/// Leaves a process behind that has its own session and has lost its parent.
const DAEMON: &str = "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' &)";

/// A script that does so, says that it is up, and stays.
fn daemon_is_up() -> String {
    format!("{DAEMON}; echo up; sleep 1000")
}

/// Starts [`daemon_is_up`], waits for it, and returns what runs and a pipe that ends with the last of its processes.
fn start_daemon(host: &Host, mut spec: SandboxSpec) -> (io::PipeReader, Running) {
    let (reader, writer) = witness();
    spec.inherit = vec![writer.as_raw_fd()];
    let mut running = host.spawn(&spec);
    let mut line = String::new();
    BufReader::new(running.take_output().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    (reader, running)
}

fn kill_helper(running: &Running) {
    let status = fs::read_to_string(format!("/proc/{}/status", running.init_pid())).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    assert!(Command::new("kill").args(["-KILL", helper]).status().unwrap().success());
}

#[test]
fn daemons_do_not_outlive_the_last_step() {
    for host in Host::all() {
        let (reader, writer) = witness();
        let mut spec = shell(DAEMON);
        spec.inherit = vec![writer.as_raw_fd()];
        let mut running = host.spawn(&spec);
        drop(writer);
        assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
        assert!(everyone_is_gone(&reader));
    }
}

#[test]
fn a_kill_reaches_all_and_may_be_repeated() {
    for host in Host::all() {
        let (reader, mut running) = start_daemon(&host, shell(&daemon_is_up()));
        assert_eq!(running.try_wait().unwrap(), None);
        assert_eq!(running.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        assert!(!everyone_is_gone(&reader));
        let killer = running.killer();
        thread::spawn(move || {
            killer.kill();
            killer.kill();
        });
        let exit = running.wait_timeout(Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(exit.end, End::Killed);
        assert!(everyone_is_gone(&reader));
        running.killer().kill();
        assert_eq!(running.wait().unwrap(), exit);
    }
}

#[test]
fn a_kill_from_outside_is_told_from_a_failure() {
    let host = Host::any();
    let mut running = host.spawn(&shell("sleep 1000"));
    let init = running.init_pid().to_string();
    assert!(Command::new("kill").args(["-KILL", &init]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().end, End::Killed);
    // Steps cannot do that: for PID 1, only signals from outside are deadly.
    let output = host.output("kill -KILL 1; kill -TERM 1; echo alive", |_| ());
    assert_eq!(output, "alive\n");
}

#[test]
fn dropping_kills() {
    for host in Host::all() {
        let (reader, writer) = witness();
        let mut spec = shell("sleep 1000");
        spec.inherit = vec![writer.as_raw_fd()];
        let running = host.spawn(&spec);
        let prepared = host.sandbox.prepare(&spec, Output::Piped).unwrap();
        drop(writer);
        drop(running);
        assert!(!everyone_is_gone(&reader));
        drop(prepared);
        assert!(everyone_is_gone(&reader));
    }
}

#[test]
fn a_sandbox_killed_before_its_start_ends_as_killed() {
    let host = Host::any();
    let prepared = host.sandbox.prepare(&shell("echo never"), Output::Piped).unwrap();
    prepared.killer().kill();
    let mut running = prepared.start().unwrap();
    assert_eq!(drain(&mut running), "");
    assert_eq!(running.wait().unwrap().end, End::Killed);
}

/// Not a test: the process that [`killing_kiln_kills_all`] kills.
#[test]
#[ignore = "runs until killed"]
fn run_until_killed() {
    for host in Host::all() {
        let prepared = host
            .sandbox
            .prepare(&shell(&format!("{DAEMON}; echo; echo up; sleep 1000")), Output::File(stdout()))
            .unwrap();
        std::mem::forget(prepared.start().unwrap());
    }
    thread::sleep(Duration::from_secs(1000));
}

fn stdout() -> File {
    File::from(io::stdout().as_fd().try_clone_to_owned().unwrap())
}

#[test]
fn killing_kiln_kills_all() {
    let mut kiln = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "sandbox::run_until_killed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(kiln.stdout.take().unwrap());
    for _ in Host::all() {
        let mut line = String::new();
        while line != "up\n" {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        }
    }
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    // All that runs in the sandboxes has this pipe as standard output; it ends when the last of them does.
    let start = Instant::now();
    io::copy(&mut lines, &mut io::sink()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn killing_the_helper_kills_all() {
    for host in Host::all() {
        let (mut reader, mut running) = start_daemon(&host, shell(&daemon_is_up()));
        kill_helper(&running);
        let error = running.wait().unwrap_err();
        assert!(matches!(error, SandboxError::HelperLost { .. }), "{error}");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn the_spawning_thread_may_end_first() {
    for host in Host::all() {
        let mut running =
            thread::scope(|scope| scope.spawn(|| host.spawn(&shell("sleep 0.2; echo done"))).join().unwrap());
        assert_eq!(drain(&mut running), "done\n");
        assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
    }
}

#[test]
fn usage_includes_orphans() {
    for host in Host::all() {
        let burn = "(setsid sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo >/tmp/done' &)
                    while [ ! -e /tmp/done ]; do sleep 0.01; done; head -c 30000000 /dev/zero | tail -c 29000000 >/dev/null";
        let (exit, _) = host.run(&shell(burn));
        assert_eq!(exit.end, End::AllStepsPassed);
        assert!(exit.usage.user > Duration::from_millis(50), "{exit:?}");
        assert!(exit.usage.wall > Duration::from_millis(50), "{exit:?}");
        assert!(exit.usage.max_rss_bytes > 20 << 20, "{exit:?}");
        // What still runs when the last step ends counts as well.
        let spin = "(setsid sh -c 'while :; do :; done' &) ; sleep 0.3";
        let (exit, _) = host.run(&shell(spin));
        assert!(exit.usage.user + exit.usage.system > Duration::from_millis(60), "{exit:?}");
    }
}

#[test]
fn descriptors_are_inherited_under_their_numbers_and_no_others() {
    for host in Host::all() {
        let mut files: Vec<_> = (0..3).map(|_| tempfile::tempfile().unwrap()).collect();
        for (index, file) in files.iter_mut().enumerate() {
            write!(file, "{index}").unwrap();
        }
        let fds: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let read = fds.iter().map(|fd| format!("cat /proc/self/fd/{fd}")).collect::<Vec<_>>().join(";");
        // The directory being listed is one more.
        let mut spec = shell("ls /proc/self/fd | tr '\\n' ' '");
        spec.steps.push(step(["/bin/bash", "-c", &read]));
        spec.inherit.clone_from(&fds);
        let (exit, output) = host.run(&spec);
        let (list, content) = output.rsplit_once(' ').unwrap();
        let expected: BTreeSet<_> = fds.iter().copied().chain([0, 1, 2]).collect();
        let seen: BTreeSet<i32> = list.split(' ').map(|fd| fd.parse().unwrap()).collect();
        assert!(expected.is_subset(&seen) && seen.len() == expected.len() + 1, "{list} of {fds:?}");
        if host.mode == Mode::Root {
            assert_eq!((exit.end, content), (End::AllStepsPassed, "012"));
        }
    }
}

#[test]
fn large_arguments_and_environments_arrive() {
    for host in Host::all() {
        let mut spec = shell("echo $# ${#BIG}; echo $1 | wc -c");
        spec.steps[0].argv.push("sh".into());
        spec.steps[0].argv.extend((0..12).map(|_| OsString::from("x".repeat(100_000))));
        spec.env.push(("BIG".into(), "y".repeat(100_000).into()));
        let (exit, output) = host.run(&spec);
        assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, "12 100000\n100001\n"));

        spec.steps[0].argv.push("x".repeat(1 << 20).into());
        let error = host.spawn(&spec).wait().unwrap_err();
        let SandboxError::Exec { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::ArgumentListTooLong);
    }
}

#[test]
fn output_goes_to_a_file_in_order() {
    for host in Host::all() {
        let path = host.dir.path().join("log");
        let spec = shell("echo one; echo two >&2; echo three");
        let output = Output::File(File::create(&path).unwrap());
        let mut running = host.sandbox.spawn(&spec, output).unwrap();
        assert!(running.take_output().is_none());
        running.wait().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\nthree\n");
    }
}

#[test]
fn the_helper_is_the_running_program_unless_told_otherwise() {
    let mut log = tempfile::tempfile().unwrap();
    let error = Sandbox::new().spawn(&shell("true"), Output::File(log.try_clone().unwrap())).unwrap_err();
    // This program, as every test's, takes the argument for a filter that no test's name contains.
    assert!(matches!(error, SandboxError::HelperLost { status } if status.success()), "{error}");
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("running 0 tests"), "{text}");
}

#[test]
fn a_prepared_root_can_be_marked_before_anything_runs() {
    use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

    if !geteuid().is_root() {
        return;
    }
    let host = Host::root();
    let source = host.subdir("source");
    fs::write(source.join("file"), "").unwrap();
    let mut spec = shell("cat /src/file; sleep 0.1");
    spec.mounts = vec![mount(&source, "/src", Access::ReadOnly)];
    let prepared = host.sandbox.prepare(&spec, Output::Piped).unwrap();
    let fanotify = Fanotify::init(
        InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK,
        EventFFlags::O_RDONLY,
    )
    .unwrap();
    let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
    let root = File::open(prepared.root()).unwrap();
    fanotify.mark(flags, MaskFlags::FAN_OPEN, &root, Some("src")).unwrap();
    // Through another mount: not ours to see.
    fs::read(source.join("file")).unwrap();
    let mut running = prepared.start().unwrap();
    assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
    let events = fanotify.read_events().unwrap();
    assert_eq!(events.len(), 1);
}

#[test]
fn the_probe_tells_how_it_works() {
    for host in Host::all() {
        let expected = if host.mode == Mode::Root { Probe::Root } else { Probe::UserNamespace };
        assert_eq!(probe(&host.sandbox), expected);
    }
    let Probe::Unavailable { reason, .. } = probe(&Sandbox::with_helper("/bin/false")) else { panic!() };
    assert!(reason.contains("helper"), "{reason}");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let hosts = Host::all();
    thread::scope(|scope| {
        for number in 0..8 {
            let host = &hosts[number % hosts.len()];
            scope.spawn(move || {
                for _ in 0..5 {
                    let output = host.output(&format!("echo {number} >/tmp/n; cat /tmp/n"), |_| ());
                    assert_eq!(output, format!("{number}\n"));
                }
            });
        }
    });
}

/// Prints what a sandbox costs: `cargo test --release --test library -- --ignored --nocapture sandbox::measure`.
#[test]
#[ignore = "a measurement"]
fn measure() {
    for host in Host::all() {
        let spec =
            SandboxSpec { steps: vec![step(["/bin/true"])], root: whole_host(), ..SandboxSpec::default() };
        let mut times: Vec<_> = (0..50)
            .map(|_| {
                let start = Instant::now();
                host.sandbox.spawn(&spec, Output::Piped).unwrap().wait().unwrap();
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{:?}: spawn, true, wait: median {:?}, best {:?}", host.mode, times[25], times[0]);
    }
}
