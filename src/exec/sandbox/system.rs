//! The system's files: the host's that are asked for, or those of a tree of images.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::error::{During, Failure, Stage};
use super::mounts::tmpfs;
use super::points::{RESERVED, bind_all, bind_to, directory, on_host, stays_inside};
use super::root::{HARMLESS, READ_ONLY};
use super::{HostFiles, Link, SandboxSpec};

/// What a root of images does not bring: the kernel's, and what a sandbox has of its own.
const OWN: [&str; 5] = ["proc", "dev", "sys", "tmp", "kiln"];

/// What every sandbox without a root of images has in `/etc`, whatever the host has there. What it says of users is true
/// in the sandbox alone.
const ETC: [(&str, &str); 4] = [
    ("passwd", "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost kiln\n::1 localhost kiln\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];

/// The host's files, by paths that no symlink on the host can bend.
pub(super) struct HostSystem<'a> {
    files: &'a HostFiles,
    /// One for each of the paths.
    sources: Vec<PathBuf>,
}

impl<'a> HostSystem<'a> {
    /// Finds them, while paths mean what they mean on the host.
    pub(super) fn find(files: &'a HostFiles) -> Result<Self, Failure> {
        let sources = files
            .paths
            .iter()
            .map(|path| fs::canonicalize(path).during(Stage::Input, || format!("find {}", path.display())));
        Ok(Self { files, sources: sources.collect::<Result<_, _>>()? })
    }

    pub(super) fn show(&self) -> Result<(), Failure> {
        let etc = Path::new("/etc");
        directory(etc)?;
        for (name, text) in ETC {
            let path = etc.join(name);
            // The host's own, where a rule asks for that.
            if self.files.has(&path) {
                continue;
            }
            fs::write(&path, text).during(Stage::Mount, || format!("write {}", path.display()))?;
        }
        for Link { path, target } in &self.files.links {
            if let Some(parent) = path.parent() {
                directory(parent)?;
            }
            link(target, path)?;
        }
        let files = self.sources.iter().zip(&self.files.paths);
        bind_all(files.map(|(source, path)| (on_host(source), path.as_path())), READ_ONLY)
    }
}

/// Shows what is at the top of a tree.
///
/// The root itself stays a tmpfs: what a sandbox has of its own needs mount points, and an image may lack them.
pub(super) fn show_tree(tree: &Path, spec: &SandboxSpec, writable: bool) -> Result<(), Failure> {
    let flags = if writable { HARMLESS } else { READ_ONLY };
    let covered: BTreeSet<&Path> = spec.covered().collect();
    for name in names(tree).during(Stage::Image, || "read the root's directory".to_owned())? {
        let path = Path::new("/").join(&name);
        let reserved = RESERVED.iter().any(|reserved| path == Path::new(reserved));
        let replaced = writable && name == "run";
        if reserved || replaced || OWN.iter().any(|own| name == *own) || covered.contains(&*path) {
            continue;
        }
        let from = tree.join(&name);
        let metadata =
            fs::symlink_metadata(&from).during(Stage::Image, || format!("look at {}", path.display()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&from).during(Stage::Image, || format!("read {}", path.display()))?;
            link(&target, &path)?;
        } else if metadata.is_dir() || metadata.is_file() {
            bind_to(&from, &path, flags)?;
        }
    }
    if writable { private_directories() } else { Ok(()) }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let names: io::Result<BTreeSet<_>> =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    Ok(names?.into_iter().collect())
}

/// What a running system keeps nothing in from one start to the next.
fn private_directories() -> Result<(), Failure> {
    directory(Path::new("/run"))?;
    tmpfs(Path::new("/run"), HARMLESS, "mode=0755")?;
    // Where programs put files to lock, Portage among them.
    let locks = Path::new("/run/lock");
    directory(locks)?;
    fs::set_permissions(locks, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .during(Stage::Mount, || "open /run/lock to all".to_owned())?;
    let temporary = Path::new("/var/tmp");
    if temporary.is_dir() {
        stays_inside(temporary)?;
        tmpfs(temporary, HARMLESS, "mode=1777")?;
    }
    Ok(())
}

fn link(target: &Path, path: &Path) -> Result<(), Failure> {
    symlink(target, path).during(Stage::Mount, || format!("create symlink {}", path.display()))
}
