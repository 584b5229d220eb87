//! The system's files: the host's that are declared, or those of a tree of images.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::failure::{During, Failure, SetupPart};
use super::mount_points::{bind_all, bind_to, directory, stays_inside};
use super::mounts::tmpfs;
use super::mounts::{HARMLESS, READ_ONLY};
use super::reserved::{RESERVED, on_host};
use super::{HostFiles, Link, SandboxSpec};

/// Not taken from a root of images: what the kernel or the sandbox provides.
const OWN: [&str; 5] = ["proc", "dev", "sys", "tmp", "kiln"];

/// The `/etc` of every sandbox without a root of images, whatever the host's is. Its users exist in the sandbox only.
const ETC: [(&str, &str); 4] = [
    ("passwd", "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost kiln\n::1 localhost kiln\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];

/// The host's files, as paths that no symlink on the host affects.
pub(super) struct HostSystem<'a> {
    files: &'a HostFiles,
    /// One for each path.
    sources: Vec<PathBuf>,
}

impl<'a> HostSystem<'a> {
    /// Resolves the paths, while they mean what they mean on the host.
    pub(super) fn find(files: &'a HostFiles) -> Result<Self, Failure> {
        let sources = files.paths.iter().map(|path| {
            fs::canonicalize(path).during(SetupPart::Input, || format!("find {}", path.display()))
        });
        Ok(Self { files, sources: sources.collect::<Result<_, _>>()? })
    }

    pub(super) fn show(&self) -> Result<(), Failure> {
        let etc = Path::new("/etc");
        directory(etc)?;
        for (name, text) in ETC {
            let path = etc.join(name);
            // A rule may declare the host's own.
            if self.files.has(&path) {
                continue;
            }
            fs::write(&path, text).during(SetupPart::Mount, || format!("write {}", path.display()))?;
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

/// Shows the top of a tree.
///
/// The root itself stays a tmpfs: the sandbox needs mount points that an image may lack.
pub(super) fn show_tree(tree: &Path, spec: &SandboxSpec, writable: bool) -> Result<(), Failure> {
    let flags = if writable { HARMLESS } else { READ_ONLY };
    let covered: BTreeSet<&Path> = spec.covered().collect();
    for name in names(tree).during(SetupPart::Image, || "read the root's directory".to_owned())? {
        let path = Path::new("/").join(&name);
        let reserved = RESERVED.iter().any(|reserved| path == Path::new(reserved));
        let replaced = writable && name == "run";
        if reserved || replaced || OWN.iter().any(|own| name == *own) || covered.contains(&*path) {
            continue;
        }
        let from = tree.join(&name);
        let metadata =
            fs::symlink_metadata(&from).during(SetupPart::Image, || format!("look at {}", path.display()))?;
        if metadata.is_symlink() {
            let target =
                fs::read_link(&from).during(SetupPart::Image, || format!("read {}", path.display()))?;
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

/// Directories that a running system does not keep across boots.
fn private_directories() -> Result<(), Failure> {
    directory(Path::new("/run"))?;
    tmpfs(Path::new("/run"), HARMLESS, "mode=0755")?;
    // Programs, such as Portage, put lock files there.
    let locks = Path::new("/run/lock");
    directory(locks)?;
    fs::set_permissions(locks, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .during(SetupPart::Mount, || "open /run/lock to all".to_owned())?;
    let temporary = Path::new("/var/tmp");
    if temporary.is_dir() {
        stays_inside(temporary)?;
        tmpfs(temporary, HARMLESS, "mode=1777")?;
    }
    Ok(())
}

fn link(target: &Path, path: &Path) -> Result<(), Failure> {
    symlink(target, path).during(SetupPart::Mount, || format!("create symlink {}", path.display()))
}
