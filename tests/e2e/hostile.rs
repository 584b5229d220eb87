//! Steps that try what they must not do: each line of docs/sandbox.md has its attempt here or in tests/library/sandbox.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::libc;

use crate::support::project::Project;

/// A rule whose steps are a script, with an input and an output directory.
const RULE: &str = r#"(
    version: 1,
    inputs: { "attack": File("attack.sh"), "dir": File("dir") },
    steps: [["sh", "{in.attack}"]],
    outputs: { "report": File("report") },
    tools: ["sh", "cat", "grep", "ls", "ln", "mknod", "perl", "touch", "chmod", "rm", "mv", "dd"],
    export: "attacked",
)"#;

/// As root, where the tests are root's, and as an ordinary user.
fn projects(change: impl Fn(&Project)) -> Vec<Project> {
    let project = || {
        let project = Project::with_rule("attack", RULE);
        project.write("dir/file", "an input\n");
        project.write("secret", "a secret\n");
        project.chmod("secret", 0o600);
        change(&project);
        project
    };
    if nix::unistd::geteuid().is_root() {
        vec![project(), project().of_ordinary_user()]
    } else {
        vec![project()]
    }
}

/// Runs attempts, and tells which of them worked.
fn worked(attempts: &[(&str, String)]) {
    for project in projects(|project| {
        let mut script =
            "try() { if ( eval \"$2\" ) >/dev/null 2>&1; then echo \"$1\" >>report; fi; }\n: >report\n"
                .to_owned();
        for (name, attempt) in attempts {
            let attempt = attempt.replace("PROJECT", &project.path("").display().to_string());
            script += &format!("try '{name}' '{}'\n", attempt.replace('\'', "'\\''"));
        }
        // The last line shows that all were tried.
        script += "echo end >>report\n";
        project.write("attack.sh", &script);
    }) {
        project.build("").exits(0);
        assert_eq!(project.read("out/attacked/report"), "end\n");
        assert_eq!(project.read("dir/file"), "an input\n");
    }
}

fn attempt(name: &'static str, script: &str) -> (&'static str, String) {
    (name, script.to_owned())
}

/// An attempt to make a system call, which works where that does not fail.
fn call(name: &'static str, number: libc::c_long, arguments: &str) -> (&'static str, String) {
    // Perl takes no literals, as a call might write to them.
    let texts = "$x = qq(x\\0\\0\\0\\0\\0\\0\\0\\0); $y = $x; $tmp = qq(/tmp\\0); $tmpfs = qq(tmpfs\\0); $user = qq(user\\0)";
    (name, format!("perl -e '{texts}; exit(syscall({number}, {arguments}) == -1)'"))
}

#[test]
fn nothing_of_the_host_is_read_but_what_is_declared() {
    worked(&[
        attempt("reads passwords", "cat /etc/shadow"),
        attempt("reads the project", "cat PROJECT/graph.ron"),
        attempt("reads a secret of the project", "cat PROJECT/secret"),
        attempt("lists homes", "ls /root/. /home/."),
        attempt("lists the cache", "ls PROJECT/cache"),
        attempt("lists devices of the kernel", "ls /sys/."),
        attempt("reads memory of the kernel", "[ \"$(dd if=/proc/kcore bs=64 count=1)\" ]"),
        attempt("reads keys", "[ \"$(cat /proc/keys)\" ]"),
        attempt("reads messages of the kernel", "cat /dev/kmsg"),
        attempt("reads memory", "cat /dev/mem"),
        attempt("reads a disk", "ls /dev/vda /dev/sda /dev/nvme0n1 | grep ."),
        attempt("reads the program of PID 1", "cat /proc/1/exe"),
        attempt("lists descriptors of PID 1", "ls /proc/1/fd"),
        attempt("reads the environment of PID 1", "cat /proc/1/environ"),
        attempt("enters the root of PID 1", "ls /proc/1/root/"),
        attempt("has descriptors that nobody gave it", "ls -d /proc/self/fd/[3-9]* | grep -v '/3$'"),
    ]);
}

#[test]
fn nothing_is_written_but_outputs() {
    worked(&[
        attempt("writes to /", "echo x >/x"),
        attempt("writes to /usr", "echo x >/usr/x"),
        attempt("writes to /etc", "echo x >/etc/x"),
        attempt("writes beside its outputs", "echo x >/kiln/x"),
        attempt("writes an input", "echo x >/kiln/in/dir/file"),
        attempt("adds to an input", "echo x >/kiln/in/dir/new"),
        attempt("removes an input", "rm -f /kiln/in/dir/file"),
        attempt("moves an input", "mv /kiln/in/dir/file /kiln/out/file"),
        attempt("sets the time of an input", "touch -d 2001-01-01 /kiln/in/dir/file"),
        attempt("sets the mode of an input", "chmod 777 /kiln/in/dir/file"),
        attempt("links an input into its outputs", "ln /kiln/in/dir/file /kiln/out/link"),
        attempt("links a program into its outputs", "ln /bin/sh /kiln/out/link"),
        attempt("writes the project", "echo x >PROJECT/x"),
        attempt("makes a device", "mknod /kiln/out/null c 1 3"),
        attempt("makes a disk", "mknod /tmp/disk b 254 0"),
        attempt("sets what dumps core", "echo '|/bin/sh' >/proc/sys/kernel/core_pattern"),
        attempt("asks for dumps", "ulimit -c 1"),
        attempt("asks the kernel to reboot", "echo b >/proc/sysrq-trigger; [ -s /proc/sysrq-trigger ]"),
        attempt("spares itself when memory runs out", "echo -1000 >/proc/self/oom_score_adj"),
    ]);
}

#[test]
fn no_power_is_gained() {
    worked(&[
        call("becomes another user", libc::SYS_setuid, "1"),
        call("becomes another group", libc::SYS_setgid, "1"),
        call("takes groups", libc::SYS_setgroups, "0, 0"),
        attempt("gives a file away", "perl -e 'open(F, \">/tmp/f\"); exit !chown(1, 1, \"/tmp/f\")'"),
        call("mounts", libc::SYS_mount, "$x, $tmp, $tmpfs, 0, 0"),
        call("makes a user namespace", libc::SYS_unshare, "0x10000000"),
        call("makes a mount namespace", libc::SYS_unshare, "0x00020000"),
        call("changes its root", libc::SYS_chroot, "$tmp"),
        call("sets the name of the host", libc::SYS_sethostname, "$x, 1"),
        call("sets the clock", libc::SYS_clock_settime, "0, $x"),
        call("reboots", libc::SYS_reboot, "0xfee1dead, 672274793, 0, 0"),
        call("loads a module", libc::SYS_finit_module, "0, $x, 0"),
        call("loads a program into the kernel", libc::SYS_bpf, "5, 0, 0"),
        call("traces PID 1", libc::SYS_ptrace, "16, 1, 0, 0"),
        call("puts a key on a ring", libc::SYS_add_key, "$user, $x, $y, 1, -2"),
        attempt("types into a terminal", "perl -e '$c = \"x\"; exit !ioctl(STDIN, 0x5412, $c)'"),
        attempt("has capabilities", "grep -q '^Cap...:.*[1-9a-f]' /proc/self/status"),
        attempt("may gain privileges", "! grep -q '^NoNewPrivs:.1$' /proc/self/status"),
        attempt("runs without a filter", "! grep -q '^Seccomp:.2$' /proc/self/status"),
    ]);
}

#[test]
fn nobody_outside_is_reached() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("kiln-test-{port}");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _unix = UnixListener::bind_addr(&address).unwrap();
    let own = std::process::id();
    worked(&[
        (
            "connects to the host",
            format!(
                "perl -e 'use Socket; socket(S, AF_INET, SOCK_STREAM, 0); \
                 exit !connect(S, pack_sockaddr_in({port}, inet_aton(\"127.0.0.1\")))'"
            ),
        ),
        (
            "connects to a socket without a file",
            format!(
                "perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); \
                 exit !connect(S, pack_sockaddr_un(\"\\0{name}\"))'"
            ),
        ),
        call("talks to a hypervisor", libc::SYS_socket, "40, 1, 0"),
        call("reads packets", libc::SYS_socket, "17, 3, 0"),
        // Process numbers mean something else in there.
        ("kills a process of the host", format!("kill -9 {own}")),
        attempt("sees processes of the host", "[ $(ls /proc | grep -c '^[0-9]') -gt 6 ]"),
    ]);
}

/// All that a step may kill is its own.
#[test]
fn killing_everyone_kills_no_one_else() {
    for project in projects(|project| project.write("attack.sh", "perl -e 'kill 9, -1'; echo alive >report"))
    {
        let built = project.build("").exits(4);
        let message = built.finished("attack:it")["message"].as_str().unwrap();
        assert!(message.contains("killed by signal 9"), "{message}");
    }
    for project in projects(|project| project.write("attack.sh", "kill -9 1; kill -15 1; echo alive >report"))
    {
        project.build("").exits(0);
        assert_eq!(project.read("out/attacked/report"), "alive\n");
    }
}

#[test]
fn a_link_out_of_the_outputs_is_no_output() {
    for target in ["/etc/passwd", "/kiln/in/dir/file", "../secret", "/proc/self/environ"] {
        for project in projects(|project| project.write("attack.sh", &format!("ln -s {target} report\n"))) {
            let built = project.build("").exits(1);
            let message = built.finished("attack:it")["message"].as_str().unwrap();
            assert!(
                message.contains("not inside the output directory") || message.contains("not made"),
                "{message}"
            );
            assert!(!project.exists("out/attacked/report"));
        }
    }
}

/// A program that steps leave with the set-user-id bit is nobody's who has any power.
#[test]
fn a_setuid_program_that_is_left_behind_has_no_power() {
    for project in projects(|project| {
        project.write("attack.sh", "echo program >report; chmod 6755 report\n");
    }) {
        project.build("").exits(0);
        let stat = fs::metadata(project.path("out/attacked/report")).unwrap();
        assert_eq!(stat.permissions().mode() & 0o7000, 0);
        // Nor in the cache.
        let mut left = vec![project.path("cache")];
        while let Some(path) = left.pop() {
            let stat = fs::symlink_metadata(&path).unwrap();
            assert!(!stat.is_file() || stat.mode() & 0o6000 == 0, "{}", path.display());
            if stat.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }
}

/// Standard input is at its end; what a user types at kiln's terminal is not a step's to read.
#[test]
fn standard_input_is_empty() {
    for project in projects(|project| project.write("attack.sh", "cat >report\n")) {
        let mut kiln = project.command("build -q").stdin(std::process::Stdio::piped()).spawn().unwrap();
        // It may end before it has read anything, which is the point.
        let _ = kiln.stdin.take().unwrap().write_all(b"typed\n");
        assert!(kiln.wait().unwrap().success());
        assert_eq!(project.read("out/attacked/report"), "");
    }
}
