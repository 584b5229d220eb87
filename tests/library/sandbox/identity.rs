//! Who steps are on the host, and what that lets them read.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use kiln::exec::sandbox::{Access, End, FIRST_ID, Mode};
use nix::unistd::geteuid;

use super::{Host, mount};

/// The ids of a process as the host sees them: real, effective, saved and of file access.
fn ids(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn steps_of_root_are_users_that_own_nothing() {
    if !geteuid().is_root() {
        return;
    }
    let host = Host::root();
    let mut running = host.spawn(&super::shell("sleep 1000"));
    let status = fs::read_to_string(format!("/proc/{}/status", running.init_pid())).unwrap();
    for name in ["Uid:", "Gid:"] {
        assert_eq!(ids(&status, name), [FIRST_ID; 4]);
    }
    assert!(ids(&status, "Groups:").is_empty());
    running.killer().kill();
    running.wait().unwrap();
}

#[test]
fn what_the_owner_alone_may_read_is_read_by_steps() {
    let elsewhere = 54321;
    for host in Host::all() {
        let source = host.subdir("closed");
        host.file(&source.join("file"), "text\n");
        fs::create_dir(source.join("sub")).unwrap();
        host.give(&source.join("sub"));
        host.file(&source.join("sub/file"), "more\n");
        let modes = [("file", 0o600), ("sub/file", 0o400), ("sub", 0o700), ("", 0o700)];
        for (path, mode) in modes {
            fs::set_permissions(source.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let read = || {
            host.output("cat /src/file /src/sub/file; stat -c '%u %g %a' /src /src/sub/file", |spec| {
                spec.mounts = vec![mount(&source, "/src", Access::ReadOnly)];
            })
        };
        let expected = "text\nmore\n0 0 700\n0 0 400\n";
        assert_eq!(read(), expected, "{:?}", host.mode);
        if host.mode == Mode::Root {
            // Whoever it is that owns it.
            for (path, _) in modes {
                chown(source.join(path), Some(elsewhere), Some(elsewhere)).unwrap();
            }
            assert_eq!(read(), expected);
        }
    }
}

#[test]
fn a_file_that_cannot_be_shown_to_steps_is_an_error() {
    if !geteuid().is_root() {
        return;
    }
    let host = Host::root();
    // An overlay has no id-mapped mounts.
    let (below, above) = (host.subdir("below"), host.subdir("above"));
    host.file(&below.join("file"), "text\n");
    let mut spec = super::shell("cat /src/file");
    spec.mounts = vec![mount(&above.join("m"), "/src", Access::ReadOnly)];
    let with_mode = |mode: &str| {
        let script = format!(
            "mount -t tmpfs x {above} && mkdir {above}/u {above}/w {above}/m &&
             mount -t overlay x -o lowerdir={below},upperdir={above}/u,workdir={above}/w {above}/m &&
             chmod {mode} {above}/m && exec \"$@\"",
            above = above.display(),
            below = below.display(),
        );
        Host::behind(&format!("unshare -m sh -c '{script}' sh"))
    };
    let (exit, output) = with_mode("755").run(&spec);
    assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, "text\n"));
    let error = with_mode("700").sandbox.spawn(&spec, super::Output::Piped).unwrap_err();
    assert!(error.to_string().contains("its owner alone may read it"), "{error}");
    assert!(error.help().unwrap().contains("chmod"), "{error:?}");
}

#[test]
fn what_steps_of_root_write_is_theirs_on_the_host() {
    if !geteuid().is_root() {
        return;
    }
    let host = Host::root();
    let out = host.subdir("out");
    fs::create_dir(out.join("kept")).unwrap();
    host.file(&out.join("kept/file"), "kept");
    let script = "echo more >>/out/kept/file; echo x >/out/made; chmod 4755 /out/made; mkdir -m 700 /out/dir
                  stat -c '%u %a' /out /out/kept /out/made; echo out >/dev/stdout";
    let output = host.output(script, |spec| spec.mounts = vec![mount(&out, "/out", Access::ReadWrite)]);
    assert_eq!(output, "0 755\n0 755\n0 4755\nout\n");
    for path in ["", "kept", "kept/file", "made", "dir"] {
        assert_eq!(fs::metadata(out.join(path)).unwrap().uid(), FIRST_ID, "{path}");
    }
}

/// An ordinary user's steps are that user, and see nothing that it owns but what is shown to them.
#[test]
fn secrets_of_the_host_cannot_be_read() {
    for host in Host::all() {
        let secret = host.subdir("secret");
        host.file(&secret.join("file"), "secret");
        let mut command = String::from("cat /etc/shadow");
        for path in [&secret.join("file"), Path::new(env!("CARGO_MANIFEST_DIR"))] {
            command += &format!("; ls '{}'", path.display());
        }
        let output = host.output(&format!("{{ {command}; }} 2>/dev/null; true"), |_| ());
        assert_eq!(output, "", "{:?}", host.mode);
        assert!(Command::new("test").args(["-s", "/etc/shadow"]).status().unwrap().success());
    }
}
