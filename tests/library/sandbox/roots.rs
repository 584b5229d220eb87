//! Small roots as images, and the ways to use them here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::exec::sandbox::{Access, End, Images, Mode, Root, RunAs, SandboxSpec, Step, Writable};
use nix::sys::stat::{Mode as Bits, SFlag, makedev, mknod};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::{Host, NOBODY, mount};

/// Programs of the root.
const PROGRAMS: &str = "sh cat chmod chown cp cut echo false grep head hostname id kill ln ls mkdir mknod mount mv od ps readlink rm \
                        sed setsid sleep sort stat su tail touch true umount wc";

impl Host {
    /// As root, both root's way and that of `nobody` with ids that are granted to it; else that of the user who runs the
    /// tests, if it has any.
    pub fn with_images() -> Vec<Self> {
        if !geteuid().is_root() {
            return Self::lacks(&format!("grep '^{}:' /etc/subuid", user()))
                .map_or_else(Vec::new, |()| vec![Self::user()]);
        }
        [Some(Self::root()), Self::granted()].into_iter().flatten().collect()
    }

    /// `nobody` with granted ids; `None` where that can't be had, with the reason in the output.
    pub fn granted() -> Option<Self> {
        Self::lacks("test -e /etc/subuid -a -e /etc/subgid")?;
        Some(Self::granted_with("nobody:700000:65536\n", ""))
    }

    fn lacks(also: &str) -> Option<()> {
        for (check, what) in [
            ("command -v newuidmap newgidmap", "newuidmap is not installed"),
            ("command -v squashfuse", "squashfuse is not installed"),
            ("test -c /dev/fuse", "there is no /dev/fuse"),
            (also, "no ids can be granted"),
        ] {
            if !sh_says(check) {
                println!("skipped, without root's privileges: {what}");
                return None;
            }
        }
        Some(())
    }

    /// `nobody` with this in `/etc/subuid` and `/etc/subgid`, and with more commands before it becomes that.
    pub fn granted_with(granted: &str, also: &str) -> Self {
        let user = format!(
            "unshare -m sh -c 'mount --bind \"$0/granted\" /etc/subuid && mount --bind \"$0/granted\" /etc/subgid \
             {also} && exec \"$@\"' \"$(dirname \"$0\")\" \
             setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        );
        let host = Self { mode: Mode::UserNamespace, ..Self::behind(&user) };
        fs::write(host.dir.path().join("granted"), granted).unwrap();
        host.give(host.dir.path());
        host
    }

    /// Directories for what is written.
    pub fn writable(&self, name: &str) -> Writable {
        Writable { upper: self.subdir(&format!("{name}.upper")), work: self.subdir(&format!("{name}.work")) }
    }

    /// Packs what was written, as a sandbox can do it for whoever runs kiln.
    pub fn pack(&self, written: &Writable, name: &str) -> PathBuf {
        let out = self.subdir("packed");
        let spec = SandboxSpec {
            root: super::whole_host(),
            run_as: RunAs::Installer,
            mounts: vec![
                mount(&written.upper, "/kiln/upper", Access::ReadOnly),
                mount(&out, "/kiln/out", Access::ReadWrite),
            ],
            steps: vec![Step {
                argv: format!(
                    "mksquashfs /kiln/upper /kiln/out/{name} -quiet -no-progress -xattrs -comp zstd"
                )
                .split(' ')
                .map(Into::into)
                .collect(),
                cwd: "/".into(),
            }],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            ..SandboxSpec::default()
        };
        let (exit, output) = self.run(&spec);
        assert_eq!(exit.end, End::AllStepsPassed, "{output}");
        out.join(name)
    }
}

fn sh_says(script: &str) -> bool {
    Command::new("sh").args(["-c", &format!("{{ {script}; }} >/dev/null 2>&1")]).status().unwrap().success()
}

fn user() -> String {
    nix::unistd::User::from_uid(geteuid()).unwrap().unwrap().name
}

/// A shell script in a root of these images, the lowest first.
pub fn script(text: &str, layers: &[&Path]) -> SandboxSpec {
    SandboxSpec { root: images(layers, None), ..super::shell(text) }
}

pub fn images(layers: &[&Path], writable: Option<Writable>) -> Root {
    Root::Images(Images { layers: layers.iter().map(|&layer| layer.to_owned()).collect(), writable })
}

/// Directories as images.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    /// A root that can run scripts, with files of several owners.
    pub fn base(&self) -> PathBuf {
        self.root("base", |_| ())
    }

    /// As [`base`](Self::base), with something changed.
    pub fn root(&self, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
        self.image(name, |tree| {
            for dir in [
                "bin",
                "etc",
                "home/builder",
                "usr/share/old",
                "var/tmp",
                "var/log",
                "run",
                "tmp",
                "dev",
                "proc",
            ] {
                fs::create_dir_all(tree.join(dir)).unwrap();
            }
            fs::copy("/bin/busybox", tree.join("bin/busybox")).expect("busybox-static is installed");
            for program in PROGRAMS.split_whitespace() {
                symlink("busybox", tree.join("bin").join(program)).unwrap();
            }
            symlink("bin", tree.join("sbin")).unwrap();
            fs::write(tree.join("etc/one"), "one\n").unwrap();
            fs::write(tree.join("etc/two"), "two\n").unwrap();
            fs::write(tree.join("etc/passwd"), "root:x:0:0::/:/bin/sh\ndaemon:x:250:250::/:/bin/sh\n")
                .unwrap();
            fs::write(tree.join("etc/secret"), "secret\n").unwrap();
            fs::set_permissions(tree.join("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(tree.join("usr/share/old/file"), "old\n").unwrap();
            fs::write(tree.join("top"), "top\n").unwrap();
            fs::set_permissions(tree.join("var/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
            if geteuid().is_root() {
                chown(tree.join("home/builder"), Some(4242), Some(4242)).unwrap();
            }
            change(tree);
        })
    }

    /// An image of a directory that is filled.
    pub fn image(&self, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
        let tree = self.dir.path().join(name);
        fs::create_dir(&tree).unwrap();
        fill(&tree);
        let image = self.dir.path().join(format!("{name}.img"));
        let packed = Command::new("mksquashfs")
            .args([&tree, &image])
            .args(["-quiet", "-no-progress", "-xattrs", "-comp", "zstd", "-Xcompression-level", "1"])
            .output()
            .expect("squashfs-tools is installed");
        assert!(packed.status.success(), "{packed:?}");
        image
    }

    /// Whether a loop device of one of the images is left.
    pub fn has_devices(&self) -> bool {
        fs::read_dir("/sys/block").unwrap().any(|device| {
            let file = device.unwrap().path().join("loop/backing_file");
            fs::read_to_string(file).is_ok_and(|file| Path::new(file.trim()).starts_with(self.dir.path()))
        })
    }

    /// Devices go a moment after the last mount: it is waited for, however long it takes.
    pub fn devices_go(&self) {
        while self.has_devices() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What overlayfs takes for a file that was removed. For root alone.
pub fn whiteout(path: &Path) {
    mknod(path, SFlag::S_IFCHR, Bits::empty(), makedev(0, 0)).unwrap();
}
