//! Images as the root of a sandbox, and elsewhere in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use kiln::exec::sandbox::{Access, End, Images, Output, SandboxSpec, Shown};
use kiln::exec::trace::Tracer;
use nix::unistd::geteuid;

use super::roots::{Bench, images, script, whiteout};
use super::{
    DAEMON, Host, daemon_is_up, drain, everyone_is_gone, kill_helper, mount, shell, start_daemon, stdout,
    witness,
};

fn output(host: &Host, spec: &SandboxSpec) -> String {
    let (exit, output) = host.run(spec);
    assert_eq!(exit.end, End::AllStepsPassed, "{:?}: {output}", host.mode);
    output
}

#[test]
fn programs_of_the_image_run_in_it() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let spec = script(
            "cat /etc/one /top; id -u; hostname; readlink /sbin; stat -c '%u %a' /home/builder /etc/secret",
            &[&base],
        );
        let builder = if geteuid().is_root() { 4242 } else { 0 };
        assert_eq!(output(&host, &spec), format!("one\ntop\n0\nkiln\nbin\n{builder} 755\n0 600\n"));
        let entries = output(&host, &script("ls -A /", &[&base]));
        assert_eq!(entries, "bin\ndev\netc\nhome\nproc\nrun\nsbin\ntmp\ntop\nusr\nvar\n");
        // What a sandbox has of its own is not the image's.
        let own =
            output(&host, &script("ls -A /tmp /dev/shm; ls /dev; echo x >/tmp/x; ps | wc -l", &[&base]));
        assert!(own.contains("null") && own.contains("ptmx") && own.contains("shm"), "{own}");
    }
    bench.devices_go();
}

#[test]
fn nothing_can_be_written_where_nothing_takes_it() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let text = "for f in /new /etc/new /etc/one /usr/share/new /run/new /var/tmp/new; do
                      (echo x >$f) 2>&1 | grep -o 'Read-only file system' || echo $f is writable; done
                    rm /etc/one 2>&1 | grep -c Read-only; chmod 777 /etc/one 2>&1 | grep -c Read-only";
        let expected = format!("{}1\n1\n", "Read-only file system\n".repeat(6));
        assert_eq!(output(&host, &script(text, &[&base])), expected, "{:?}", host.mode);
    }
}

#[test]
fn upper_layers_hide_what_lower_ones_have() {
    if !geteuid().is_root() {
        println!("skipped: the layers are made by hand, which takes root");
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    let delta = bench.image("delta", |tree| {
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir_all(tree.join("usr/share/old")).unwrap();
        fs::write(tree.join("etc/one"), "changed\n").unwrap();
        whiteout(&tree.join("etc/two"));
        fs::write(tree.join("usr/share/old/new"), "new\n").unwrap();
        xattr::set(tree.join("usr/share/old"), "user.overlay.opaque", b"y").unwrap();
    });
    let second = bench.image("second", |tree| {
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/two"), "again\n").unwrap();
    });
    for host in Host::with_images() {
        let look = "cat /etc/one; test -e /etc/two || echo none; ls /usr/share/old";
        assert_eq!(output(&host, &script(look, &[&base, &delta])), "changed\nnone\nnew\n", "{:?}", host.mode);
        let both =
            script("cat /etc/two; (echo x >/etc/x) 2>/dev/null || echo refused", &[&base, &delta, &second]);
        assert_eq!(output(&host, &both), "again\nrefused\n");
        assert_eq!(output(&host, &script("cat /etc/one /etc/two", &[&base])), "one\ntwo\n");
    }
    bench.devices_go();
}

#[test]
fn what_is_written_makes_the_next_layer() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let written = host.writable("first");
        let mut spec = script(
            "echo new >/etc/new; echo changed >/etc/one; rm /etc/two; rm -r /usr/share/old; mkdir /usr/share/old
             echo b >/usr/share/old/b; echo x >/run/x; echo x >/var/tmp/x; echo x >/run/lock/x; ls -ld /run/lock | cut -c1-10",
            &[&base],
        );
        spec.root = images(&[&base], Some(written.clone()));
        spec.mounts = vec![mount(host.dir.path(), "/kiln/out", Access::ReadWrite)];
        assert_eq!(output(&host, &spec), "drwxrwxrwt\n");
        let delta = host.pack(&written, "delta.img");
        assert!(fs::metadata(&delta).unwrap().len() < 10_000);
        let look = "cat /etc/one /etc/new; test -e /etc/two || echo none; ls -A /usr/share/old /run /var/tmp; test -e /kiln || echo own";
        let expected = "changed\nnew\nnone\n/run:\n\n/usr/share/old:\nb\n\n/var/tmp:\nown\n";
        // Whoever made it, it is a layer for all.
        let delta = delta.canonicalize().unwrap();
        fs::set_permissions(host.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for reader in Host::with_images() {
            assert_eq!(output(&reader, &script(look, &[&base, &delta])), expected, "{:?}", host.mode);
            assert_eq!(output(&reader, &script("cat /etc/one /etc/two", &[&base])), "one\ntwo\n");
        }
        // The same directory goes on where it was left.
        spec.steps = script("cat /etc/new; echo more >/etc/more", &[]).steps;
        spec.root = images(
            &[&base],
            Some(kiln::exec::sandbox::Writable { work: host.subdir("again"), ..written.clone() }),
        );
        assert_eq!(output(&host, &spec), "new\n");
        assert_eq!(fs::read_to_string(written.upper.join("etc/more")).unwrap(), "more\n");
        // Mount points of the sandbox are no part of it.
        let names: Vec<_> =
            fs::read_dir(&written.upper).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name == "kiln" || name == "proc" || name == "dev"), "{names:?}");
    }
    bench.devices_go();
}

#[test]
fn the_top_of_what_is_written_is_as_the_image_has_it() {
    if !geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let base = bench.root("odd", |tree| {
        fs::set_permissions(tree, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        std::os::unix::fs::chown(tree, Some(0), Some(5)).unwrap();
    });
    for host in Host::with_images() {
        let written = host.writable("top");
        let mut spec = script("stat -c '%u %g' /home/builder", &[]);
        spec.root = images(&[&base], Some(written.clone()));
        output(&host, &spec);
        assert_eq!(fs::metadata(&written.upper).unwrap().mode() & 0o7777, 0o711);
        let inside = script("stat -c '%u:%g %a' /kiln/root", &[]);
        let shown = Shown {
            images: Images { layers: vec![host.pack(&written, "top.img")], writable: None },
            to: "/kiln/root".into(),
        };
        let spec = SandboxSpec { shown: vec![shown], root: images(&[&base], None), ..inside };
        assert_eq!(output(&host, &spec), "0:5 711\n", "{:?}", host.mode);
    }
}

#[test]
fn two_at_once_on_one_image_see_nothing_of_each_other() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let spec = |name: &str| {
            let wait = format!(
                "echo {name} >/etc/{name}; echo up; while [ ! -e /kiln/go/go ]; do sleep 0.01; done; ls /etc"
            );
            let mut spec = script(&wait, &[]);
            spec.root = images(&[&base], Some(host.writable(name)));
            spec.mounts = vec![mount(&host.subdir("go"), "/kiln/go", Access::ReadOnly)];
            spec
        };
        let mut running = [host.spawn(&spec("a")), host.spawn(&spec("b"))];
        let mut outputs: Vec<_> =
            running.iter_mut().map(|running| BufReader::new(running.take_output().unwrap())).collect();
        for output in &mut outputs {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "up\n");
        }
        host.file(&host.dir.path().join("go/go"), "");
        for ((output, running), name) in outputs.iter_mut().zip(&mut running).zip(["a", "b"]) {
            let mut text = String::new();
            std::io::Read::read_to_string(output, &mut text).unwrap();
            assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
            assert_eq!(text, format!("{name}\none\npasswd\nsecret\ntwo\n"), "{:?}", host.mode);
        }
    }
    bench.devices_go();
}

#[test]
fn images_are_shown_beside_the_root_of_the_host() {
    let bench = Bench::new();
    let (base, more) =
        (bench.base(), bench.image("more", |tree| fs::write(tree.join("more"), "more\n").unwrap()));
    for host in Host::with_images() {
        let mut spec = shell(
            "cat /kiln/root/etc/one /kiln/both/more /kiln/both/top; test -x /usr/bin/env && echo host
             (echo x >/kiln/root/etc/new) 2>&1 | grep -o Read-only; (echo x >/kiln/both/new) 2>&1 | grep -o Read-only
             /kiln/root/bin/busybox echo run; ls -A / | grep images; cat /kiln/root/etc/two",
        );
        let file = host.dir.path().join("file");
        host.file(&file, "over\n");
        spec.shown = vec![
            Shown { images: Images { layers: vec![base.clone()], writable: None }, to: "/kiln/root".into() },
            Shown {
                images: Images { layers: vec![base.clone(), more.clone()], writable: None },
                to: "/kiln/both".into(),
            },
        ];
        spec.mounts = vec![mount(&file, "/kiln/root/etc/two", Access::ReadOnly)];
        let expected = "one\nmore\ntop\nhost\nRead-only\nRead-only\nrun\nover\n";
        assert_eq!(output(&host, &spec), expected, "{:?}", host.mode);
    }
    bench.devices_go();
}

#[test]
fn mounts_take_the_place_of_what_the_image_has() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let source = host.subdir("source");
        host.file(&source.join("file"), "text\n");
        let mut spec = script(
            "ls /home /kiln/in/source; cat /home/file; ls -A /var/log; echo x >/kiln/out/made",
            &[&base],
        );
        spec.mounts = vec![
            mount(&source, "/home", Access::ReadOnly),
            mount(&source, "/kiln/in/source", Access::ReadOnly),
            mount(&source, "/var/log", Access::ReadOnly),
            mount(&host.subdir("out"), "/kiln/out", Access::ReadWrite),
        ];
        spec.mask = vec!["/var/log/file".into(), "/etc/one".into()];
        assert_eq!(output(&host, &spec), "/home:\nfile\n\n/kiln/in/source:\nfile\ntext\nfile\n");
        assert_eq!(fs::read_to_string(host.dir.path().join("out/made")).unwrap(), "x\n");
    }
}

#[test]
fn there_are_terminals_of_ones_own() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let text = "ls /dev/pts; exec 3<>/dev/ptmx; ls /dev/pts; exec 4<>/dev/ptmx; ls /dev/pts | wc -l; stat -c '%g %a' /dev/pts/0";
        let seen = output(&host, &script(text, &[&base]));
        assert_eq!(seen, "ptmx\n0\nptmx\n3\n5 620\n", "{:?}", host.mode);
    }
}

#[test]
fn inherited_descriptors_reach_steps_in_an_image() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let (reader, writer) = witness();
        let mut spec = script(&format!("eval 'echo token >&{}'; {DAEMON}", writer.as_raw_fd()), &[&base]);
        spec.inherit = vec![writer.as_raw_fd()];
        let mut running = host.spawn(&spec);
        drop(writer);
        let said = drain(&mut running);
        assert_eq!((running.wait().unwrap().end, said.as_str()), (End::AllStepsPassed, ""));
        let mut line = String::new();
        let mut reader = BufReader::new(reader);
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "token\n");
        assert!(everyone_is_gone(reader.get_ref()), "neither steps nor what serves images is left");
    }
    bench.devices_go();
}

#[test]
fn opens_are_traced_in_an_image_as_anywhere() {
    if !geteuid().is_root() {
        println!("skipped: only root may trace");
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    let host = Host::root();
    let source = host.subdir("source");
    for name in ["a", "b"] {
        host.file(&source.join(name), "");
    }
    let mut spec = script("cat /kiln/in/a /etc/one; stat /kiln/in/b; ls /kiln/in", &[&base]);
    spec.mounts = vec![mount(&source, "/kiln/in", Access::ReadOnly)];
    let prepared = host.sandbox.prepare(&spec, Output::Piped).unwrap();
    let tracer = Tracer::start(&prepared.root(), &["/kiln/in".into(), "/etc".into()]).unwrap();
    let mut running = prepared.start().unwrap();
    drain(&mut running);
    assert_eq!(running.wait().unwrap().end, End::AllStepsPassed);
    let trace = tracer.finish().unwrap();
    let names = |files: &[Box<[u8]>]| {
        files.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&trace.mounts[0].files), ["a"]);
    assert_eq!(names(&trace.mounts[0].dirs), [""]);
    assert!(names(&trace.mounts[1].files).contains(&"one".to_owned()));
    drop(running);
    bench.devices_go();
}

/// Where the process that is killed finds its image.
const IMAGE: &str = "KILN_TEST_IMAGE";

/// Not a test: the process that [`killing_kiln_leaves_no_mount_and_no_device`] kills.
#[test]
#[ignore = "runs until killed"]
fn run_in_an_image_until_killed() {
    let Some(image) = env::var_os(IMAGE) else { return };
    for host in Host::with_images() {
        let mut spec = script(&format!("{DAEMON}; echo; echo up; sleep 1000"), &[]);
        spec.root = images(&[Path::new(&image)], Some(host.writable("killed")));
        std::mem::forget(host.sandbox.prepare(&spec, Output::File(stdout())).unwrap().start().unwrap());
    }
    thread::sleep(Duration::from_secs(1000));
}

#[test]
fn killing_kiln_leaves_no_mount_and_no_device() {
    let hosts = Host::with_images().len();
    if hosts == 0 {
        return;
    }
    let bench = Bench::new();
    let base = bench.base();
    let mounts = || {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .matches(&*bench.path("").to_string_lossy())
            .count()
    };
    let before = mounts();
    let mut kiln = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "sandbox::images::run_in_an_image_until_killed"])
        .env(IMAGE, &base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(kiln.stdout.take().unwrap());
    for _ in 0..hosts {
        let mut line = String::new();
        while line != "up\n" {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        }
    }
    assert_eq!(bench.has_devices(), geteuid().is_root());
    assert!(serving(&bench.path("")) || hosts == 1);
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    // The pipe ends when the last of all that runs in the sandboxes does.
    std::io::copy(&mut lines, &mut std::io::sink()).unwrap();
    bench.devices_go();
    assert_eq!(mounts(), before);
    // PID 1 lets go of the pipe a moment before the kernel has ended the others.
    while serving(&bench.path("")) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process serves an image below `dir` to somebody.
fn serving(dir: &Path) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let opened = fs::read_link(process.path().join("fd/0"));
        opened.is_ok_and(|opened| opened.starts_with(dir))
    })
}

#[test]
fn killing_the_helper_takes_the_mounts_along() {
    let bench = Bench::new();
    let base = bench.base();
    for host in Host::with_images() {
        let (reader, mut running) = start_daemon(&host, script(&daemon_is_up(), &[&base]));
        kill_helper(&running);
        running.wait().unwrap_err();
        // Ends when all have.
        assert_eq!(std::io::Read::read(&mut &reader, &mut [0]).unwrap(), 0);
        bench.devices_go();
    }
}

/// Prints how long it takes from nothing to the end of a shell in an image.
#[test]
fn a_root_is_ready_soon() {
    let bench = Bench::new();
    let base = bench.base();
    let more = bench.image("more", |tree| fs::write(tree.join("more"), "").unwrap());
    // In the page cache, as that of a build before it is.
    std::io::copy(&mut File::open(&base).unwrap(), &mut std::io::sink()).unwrap();
    for host in Host::with_images() {
        for layers in [vec![&*base], vec![&*base, &*more]] {
            let start = Instant::now();
            output(&host, &script("true", &layers));
            println!("{:?}, {} layers: {:?}", host.mode, layers.len(), start.elapsed());
        }
    }
}
