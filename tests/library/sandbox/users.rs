//! Who steps are in a root of images, and what they may.

use std::fs;
use std::os::unix::fs::MetadataExt;

use kiln::exec::sandbox::{Access, End, FIRST_ID, Mode, RunAs};
use nix::unistd::geteuid;

use super::roots::{Bench, images, script};
use super::{Host, NOBODY, mount, sh};

const BUILDER: u32 = 4242;

/// What is to fail, with what it says where it does not.
fn refused(commands: &[&str]) -> String {
    let each: Vec<_> = commands
        .iter()
        .map(|command| format!("{command} >/dev/null 2>&1 && echo '{command} works'"))
        .collect();
    format!("{}; true", each.join("; "))
}

#[test]
fn a_user_is_that_user_and_nobody_else() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let out = host.subdir("out");
        let mut spec = script(
            &format!(
                "id -u; id -g; id -G; grep -E 'Cap|NoNewPrivs' /proc/self/status | cut -f2 | sort -u; cat /etc/one
                 echo made >/kiln/out/made; mkdir /kiln/out/dir; echo x >/tmp/x; echo x >/dev/null
                 {}",
                refused(&[
                    "cat /etc/secret",
                    "chown 0 /kiln/out/made",
                    "touch /kiln/new",
                    "mount -t tmpfs x /tmp",
                    "mknod /tmp/n c 1 3",
                    "kill -9 1",
                    "ls /proc/1/fd",
                    "su daemon -c true",
                ])
            ),
            &[&base],
        );
        spec.run_as = RunAs::User { id: BUILDER };
        spec.mounts = vec![mount(&out, "/kiln/out", Access::ReadWrite)];
        let (exit, output) = host.run(&spec);
        assert_eq!(exit.end, End::AllStepsPassed, "{:?}: {output}", host.mode);
        // `kill` of PID 1 succeeds, and does nothing to it.
        let expected =
            format!("{BUILDER}\n{BUILDER}\n{BUILDER}\n0000000000000000\n1\none\nkill -9 1 works\n");
        assert_eq!(output, expected, "{:?}", host.mode);
        let made = fs::metadata(out.join("made")).unwrap();
        let owner =
            if host.mode == Mode::Root { FIRST_ID + BUILDER } else { fs::metadata(&out).unwrap().uid() };
        assert_eq!((made.uid(), fs::metadata(out.join("dir")).unwrap().gid()), (owner, owner));
    }
    bench.devices_go();
}

#[test]
fn a_user_of_a_writable_root_writes_what_is_its_own() {
    if !geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let written = host.writable("user");
        let text =
            format!("echo x >/home/builder/x; stat -c %u /home/builder/x; {}", refused(&["touch /etc/x"]));
        let mut spec = script(&text, &[]);
        spec.root = images(&[&base], Some(written.clone()));
        spec.run_as = RunAs::User { id: BUILDER };
        let (exit, output) = host.run(&spec);
        assert_eq!((exit.end, output), (End::AllStepsPassed, format!("{BUILDER}\n")), "{:?}", host.mode);
        let owner = if host.mode == Mode::Root { FIRST_ID + BUILDER } else { NOBODY };
        assert_eq!(fs::metadata(written.upper.join("home/builder/x")).unwrap().uid(), owner);
    }
}

#[test]
fn an_installer_gives_files_away_and_does_nothing_else_that_root_can() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let written = host.writable("installed");
        let mut spec = script(
            &format!(
                "grep -E 'Cap|NoNewPrivs' /proc/self/status | cut -f2 | sort -u
                 echo x >/etc/given; chown 250:250 /etc/given; chmod 4711 /etc/given; stat -c '%u %g %a' /etc/given
                 chown 4242 /etc/one; chown 65534 /etc/two; echo x >/home/builder/x; cat /etc/secret; su daemon -c 'id -u'
                 {}",
                refused(&[
                    "mount -t tmpfs x /tmp",
                    "mount -o remount,rw /",
                    "umount /run",
                    "mknod /etc/n c 1 3",
                    "hostname other",
                    "touch /new",
                    "chroot / true",
                    "ls /proc/1/root/",
                ])
            ),
            &[],
        );
        spec.root = images(&[&base], Some(written.clone()));
        spec.run_as = RunAs::Installer;
        let (exit, output) = host.run(&spec);
        assert_eq!(exit.end, End::AllStepsPassed, "{:?}: {output}", host.mode);
        // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SETFCAP; in three sets, and none in the other two.
        let expected = "0000000000000000\n00000000800000db\n1\n250 250 4711\nsecret\n250\n";
        assert_eq!(output, expected, "{:?}", host.mode);
        // Packed where the ids are what they were, it says so to all.
        let delta = host.pack(&written, "delta.img");
        let look = script("stat -c '%u %g %a' /etc/given; stat -c %u /etc/one /etc/two", &[&base, &delta]);
        assert_eq!(host.run(&look).1, "250 250 4711\n4242\n65534\n", "{:?}", host.mode);
    }
    bench.devices_go();
}

#[test]
fn daemons_of_other_users_do_not_outlive_the_last_step() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        for run_as in [RunAs::Stripped, RunAs::User { id: BUILDER }, RunAs::Installer] {
            let mut spec = script(
                "(setsid sleep 1000 &); (setsid su daemon -c 'sleep 1000' 2>/dev/null &); sleep 0.2",
                &[&base],
            );
            spec.run_as = run_as;
            let mut running = host.spawn(&spec);
            let exit = running.wait_timeout(std::time::Duration::from_mins(1)).unwrap();
            assert_eq!(exit.map(|exit| exit.end), Some(End::AllStepsPassed), "{:?}, {run_as:?}", host.mode);
        }
    }
    bench.devices_go();
}

#[test]
fn users_are_had_in_the_root_of_the_host_too() {
    for host in Host::with_images() {
        let mut spec = super::shell("");
        spec.steps = vec![sh("id -u; id -G; (: >/usr/x) 2>/dev/null || echo refused")];
        for (run_as, id) in [(RunAs::User { id: BUILDER }, BUILDER), (RunAs::Installer, 0)] {
            spec.run_as = run_as;
            let (exit, output) = host.run(&spec);
            assert_eq!((exit.end, output), (End::AllStepsPassed, format!("{id}\n{id}\nrefused\n")));
        }
    }
}

#[test]
fn what_an_installer_made_can_be_removed_by_one() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let written = host.writable("removed");
        let mut spec =
            script("mkdir /etc/dir; echo x >/etc/dir/x; chmod 700 /etc/dir; chown 250 /etc/dir", &[]);
        spec.root = images(&[&base], Some(written.clone()));
        spec.run_as = RunAs::Installer;
        assert_eq!(host.run(&spec).0.end, End::AllStepsPassed);
        let mut spec = super::shell("rm -rf /kiln/out/removed.upper /kiln/out/removed.work");
        spec.run_as = RunAs::Installer;
        spec.mounts = vec![mount(host.dir.path(), "/kiln/out", Access::ReadWrite)];
        let (exit, output) = host.run(&spec);
        assert_eq!(exit.end, End::AllStepsPassed, "{output}");
        assert!(!written.upper.exists() && !written.work.exists());
    }
}
