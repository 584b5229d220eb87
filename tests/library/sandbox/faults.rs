//! Images that are damaged or hostile, and hosts that lack something.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::exec::sandbox::{
    Images, Mode, Output, Probe, Root, RunAs, SandboxError, SandboxSpec, Shown, Writable, probe_images,
};
use nix::unistd::geteuid;

use super::roots::{Bench, images, script};
use super::{Access, Host, KILN, Sandbox, mount, shell};

/// How a sandbox can't be had, and what mends it.
fn fault(host: &Host, spec: &SandboxSpec) -> (String, String) {
    let error = host.sandbox.spawn(spec, Output::Piped).expect_err("it can't be had");
    (error.to_string(), error.help().unwrap_or_default().to_owned())
}

#[test]
fn damaged_images_are_named_and_leave_no_device() {
    let bench = Bench::new();
    let base = bench.base();
    let whole = fs::read(&base).unwrap();
    let cut = bench.path("cut.img");
    fs::write(&cut, &whole[..whole.len() / 3]).unwrap();
    let none = bench.path("none.img");
    fs::write(&none, vec![b'x'; 8192]).unwrap();
    // The tables at the end, without which there is no file.
    let torn = bench.path("torn.img");
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4096..].fill(0xa5);
    bytes[48..96].fill(0xa5);
    fs::write(&torn, bytes).unwrap();
    for host in Host::with_images() {
        for (image, says) in [(&cut, "cut short"), (&none, "no squashfs"), (&torn, "torn.img")] {
            for spec in [
                script("true", &[image]),
                script("true", &[&base, image]),
                SandboxSpec {
                    shown: vec![Shown {
                        images: Images { layers: vec![image.clone()], writable: None },
                        to: "/kiln/root".into(),
                    }],
                    ..shell("true")
                },
            ] {
                let (text, help) = fault(&host, &spec);
                assert!(text.contains(&image.display().to_string()) && text.contains(says), "{text}");
                assert!(help.contains("damaged") && help.contains("kiln cache verify"), "{text}: {help}");
            }
        }
        let (text, help) = fault(&host, &script("true", &[&bench.path("missing.img")]));
        assert!(text.contains("missing.img") && help.contains("exists"), "{text}: {help}");
    }
    bench.devices_go();
}

#[test]
fn symlinks_of_an_image_lead_nowhere_outside() {
    let bench = Bench::new();
    let base = bench.root("hostile", |tree| {
        fs::remove_dir_all(tree.join("var")).unwrap();
        symlink("/.host/tmp", tree.join("var")).unwrap();
        symlink("/.host", tree.join("usr/host")).unwrap();
        symlink("../.images/root/etc", tree.join("inner")).unwrap();
        fs::create_dir_all(tree.join(".host/x")).unwrap();
        fs::create_dir_all(tree.join(".images/x")).unwrap();
    });
    for host in Host::with_images() {
        let out = host.subdir("out");
        for to in ["/var/kiln-made", "/usr/host/tmp/kiln-made", "/inner/kiln-made"] {
            let mut spec = script("true", &[]);
            spec.root = images(&[&base], Some(host.writable("hostile")));
            spec.mounts = vec![mount(&out, to, Access::ReadWrite)];
            let (text, help) = fault(&host, &spec);
            assert!(text.contains(to) && help.contains("symlink"), "{text}: {help}");
        }
        assert!(!Path::new("/tmp/kiln-made").exists());
        let (_, output) =
            host.run(&script("ls -A / | grep '^[.]'; ls /var/ 2>&1 | grep -c 'No such'", &[&base]));
        assert_eq!(output, "1\n", "{:?}", host.mode);
    }
    bench.devices_go();
}

#[test]
fn an_upper_layer_where_none_can_be_is_explained() {
    if !geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    let host = Host::root();
    let mut spec = script("true", &[]);
    let mut with = |upper: PathBuf, work: PathBuf| {
        spec.root = images(&[&base], Some(Writable { upper, work }));
        fault(&host, &spec)
    };
    // /proc is no place to write to.
    let (text, _) = with("/proc/self".into(), host.subdir("work"));
    assert!(text.contains("/proc/self"), "{text}");
    let at = host.subdir("at");
    let (below, upper, work) = (host.subdir("below"), host.subdir("upper"), host.subdir("upper.work"));
    let (below, upper, work) = (below.display(), upper.display(), work.display());
    for (kind, options, says) in [
        ("overlay", format!("lowerdir={below},upperdir={upper},workdir={work}"), "on another overlay"),
        // Not the file system of the other directory.
        ("tmpfs", "size=1m".to_owned(), "on tmpfs"),
    ] {
        let mounted =
            Command::new("mount").args(["-t", kind, "-o", &options, "x"]).arg(&at).status().unwrap();
        assert!(mounted.success(), "{kind}");
        fs::create_dir(at.join("dir")).unwrap();
        let work = if kind == "tmpfs" { host.subdir("work") } else { at.join("dir.work") };
        fs::create_dir_all(&work).unwrap();
        let (text, help) = with(at.join("dir"), work);
        assert!(Command::new("umount").arg(&at).status().unwrap().success());
        assert!(text.contains("overlay over") && text.contains("base.img") && text.contains(says), "{text}");
        assert!(help.contains("ext4"), "{help}");
    }
    bench.devices_go();
}

#[test]
fn programs_that_nothing_here_runs_are_told_from_those_that_fail() {
    let bench = Bench::new();
    let base = bench.root("foreign", |tree| {
        // An ELF header of no machine that there is.
        let mut head = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0";
        head[18..20].copy_from_slice(&9999_u16.to_le_bytes());
        fs::write(tree.join("bin/busybox"), [&head[..], &[0; 100]].concat()).unwrap();
    });
    for host in Host::with_images() {
        let error = host.spawn(&script("true", &[&base])).wait().unwrap_err();
        let SandboxError::Exec { .. } = error else { panic!("{error}") };
        assert!(error.to_string().contains("/bin/sh"), "{error}");
        assert!(error.help().unwrap().contains("kiln doctor"), "{error}");
    }
    bench.devices_go();
}

#[test]
fn what_a_user_lacks_comes_with_a_remedy() {
    if !geteuid().is_root() || Host::granted().is_none() {
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    let spec = script("true", &[&base]);
    let enough = "nobody:700000:65536\n";
    let hide = |program: &str| format!("&& mount --bind /etc/passwd $(command -v {program})");
    for (granted, also, says, mends) in [
        ("", String::new(), "grants nobody 0 ids", "usermod --add-subuids"),
        ("nobody:700000:1000\nother:1:99999\n", String::new(), "1000 ids", "usermod --add-subuids"),
        (enough, hide("newuidmap"), "newuidmap", "apt-get install uidmap"),
        (enough, hide("squashfuse"), "squashfuse", "apt-get install squashfuse"),
        (
            enough,
            "&& (umask 077; : >\"$0/closed\") && mount --bind \"$0/closed\" /dev/fuse".to_owned(),
            "/dev/fuse",
            "/dev/fuse",
        ),
    ] {
        let host = Host::granted_with(granted, &also);
        let (text, help) = fault(&host, &spec);
        assert!(text.contains(says) && help.contains(mends), "{says}: {text}: {help}");
        // Without a root of images it does as ever.
        assert_eq!(host.output("echo fine", |_| ()), "fine\n");
    }
}

#[test]
fn nonsense_about_images_is_refused_before_anything_runs() {
    let refused = |change: fn(&mut SandboxSpec)| {
        let mut spec = shell("true");
        change(&mut spec);
        let error = Sandbox::with_helper("/no/helper").spawn(&spec, Output::Piped).unwrap_err();
        assert!(matches!(error, SandboxError::Spec { .. }), "{error}");
    };
    refused(|spec| spec.root = Root::Images(Images { layers: vec![], writable: None }));
    refused(|spec| spec.root = Root::Images(Images { layers: vec!["relative".into()], writable: None }));
    refused(|spec| {
        spec.shown =
            vec![Shown { images: Images { layers: vec![], writable: None }, to: "/kiln/root".into() }];
    });
    refused(|spec| {
        spec.shown =
            vec![Shown { images: Images { layers: vec!["/image".into()], writable: None }, to: "/".into() }];
    });
    refused(|spec| {
        spec.shown = vec![Shown {
            images: Images { layers: vec!["/image".into()], writable: None },
            to: "/.images/root".into(),
        }];
    });
    refused(|spec| spec.run_as = RunAs::User { id: 0 });
}

#[test]
fn the_probe_tells_whether_images_can_be_had() {
    for host in Host::with_images() {
        let expected = if host.mode == Mode::Root { Probe::Root } else { Probe::UserNamespace };
        assert_eq!(probe_images(&host.sandbox), expected);
    }
    if geteuid().is_root() && Host::granted().is_some() {
        let Probe::Unavailable { reason, remedy } = probe_images(&Host::granted_with("", "").sandbox) else {
            panic!("images without ids")
        };
        assert!(reason.contains("0 ids") && remedy.unwrap().contains("usermod"), "{reason}");
    }
}

/// What `kiln doctor` says of `binfmt_misc` where that is as a script makes it, in a directory of its own.
fn doctor(script: &str) -> String {
    let made =
        format!("mount -t tmpfs x /proc/sys/fs/binfmt_misc && cd /proc/sys/fs/binfmt_misc && {script}");
    let script = format!("{made}; cd /; exec '{KILN}' doctor --format json");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["what"] == "binfmt_misc")
        .map(|finding| format!("{} {} {}\n", finding["state"], finding["found"], finding["remedy"]))
        .collect()
}

/// The kernel's own directory is covered by one with files as it has them: what is registered on this host stays.
#[test]
fn the_doctor_looks_after_binfmt_misc() {
    if !geteuid().is_root() || !Path::new("/proc/sys/fs/binfmt_misc").exists() {
        return;
    }
    let entry = |flags: &str, interpreter: &str| {
        let (magic, mask) =
            ("7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff");
        format!(
            "echo enabled >status && printf '%s\\n' enabled 'interpreter {interpreter}' 'flags: {flags}' \
             'offset 0' 'magic {magic}' 'mask {mask}' >qemu-aarch64"
        )
    };
    for (script, says) in [
        ("true", vec!["absent", "not mounted", "mount -t binfmt_misc"]),
        ("echo enabled >status", vec!["absent", "no handler"]),
        (&*entry("PF", "/bin/sh"), vec!["fine", "programs for aarch64 run in roots"]),
        (&*entry("P", "/bin/sh"), vec!["absent", "aarch64", "no flag F", "apt-get install --reinstall"]),
        (&*entry("PF", "/no/such/qemu"), vec!["absent", "/no/such/qemu", "apt-get install --reinstall"]),
    ] {
        let text = doctor(script);
        assert!(says.iter().all(|word| text.contains(word)), "{script}: {text}");
    }
}
