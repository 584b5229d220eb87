//! Checks a specification for what can't work on any host, before a process is started for it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::SandboxError;
use super::reserved::RESERVED;
use super::spec::{Root, RunAs, SandboxSpec};

/// As many descriptors as one message over a Unix socket can carry (`SCM_MAX_FD`, 253), besides those of control groups.
const MAX_INHERIT: usize = 250;

/// Finds the first mistake.
pub(super) fn validate(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let root = if let Root::Images(images) = &spec.root { Some(images) } else { None };
    for images in root.into_iter().chain(spec.shown.iter().map(|shown| &shown.images)) {
        layers(&images.layers)?;
        for dir in images.writable.iter().flat_map(|writable| [&writable.upper, &writable.work]) {
            on_host("directory for what is written", dir)?;
        }
    }
    if let Root::Host(files) = &spec.root {
        for path in files.links.iter().map(|link| &link.path).chain(&files.paths) {
            inside("path of the host", path)?;
        }
    }
    for shown in &spec.shown {
        inside("place for images", &shown.to)?;
    }
    require(spec.run_as != RunAs::User { id: 0 }, || {
        "user 0 is no ordinary user: ask for one of the other kinds".to_owned()
    })?;
    for mount in &spec.mounts {
        inside("mount", &mount.to)?;
        on_host("mount source", &mount.from)?;
    }
    for secret in &spec.secrets {
        inside("secret", secret.path())?;
        require(secret.path().starts_with("/kiln"), || "a secret outside of /kiln".to_owned())?;
    }
    for tree in &spec.memory {
        inside("tree in memory", &tree.to)?;
    }
    for path in &spec.mask {
        inside("mask", path)?;
    }
    for (index, step) in spec.steps.iter().enumerate() {
        require(!step.argv.is_empty(), || format!("step {index} has no program"))?;
        require(step.argv.iter().all(|word| no_nul(word)), || {
            format!("an argument of step {index} contains a NUL byte")
        })?;
        require(step.cwd.is_absolute() && no_nul(step.cwd.as_os_str()), || {
            format!("the directory of step {index}, {}, is not absolute", step.cwd.display())
        })?;
    }
    for (name, value) in &spec.env {
        let bytes = name.as_bytes();
        require(!bytes.is_empty() && !bytes.contains(&b'=') && no_nul(name) && no_nul(value), || {
            format!("environment variable {} cannot be expressed", name.display())
        })?;
    }
    require(spec.inherit.len() <= MAX_INHERIT, || format!("more than {MAX_INHERIT} descriptors to inherit"))?;
    require(spec.inherit.iter().all(|&fd| fd > 2), || {
        "descriptors to inherit must be above 2, which are the standard streams".to_owned()
    })?;
    let distinct: BTreeSet<_> = spec.inherit.iter().collect();
    require(distinct.len() == spec.inherit.len(), || "a descriptor to inherit is named twice".to_owned())
}

fn layers(layers: &[PathBuf]) -> Result<(), SandboxError> {
    require(!layers.is_empty(), || "a tree of images without an image".to_owned())?;
    layers.iter().try_for_each(|image| on_host("image", image))
}

fn on_host(what: &str, path: &Path) -> Result<(), SandboxError> {
    require(path.is_absolute() && no_nul(path.as_os_str()), || {
        format!("{what} {} is not absolute, or contains a NUL byte", path.display())
    })
}

fn inside(what: &str, path: &Path) -> Result<(), SandboxError> {
    let names = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let below_root = path.is_absolute() && path.components().count() > 1;
    require(names && below_root && no_nul(path.as_os_str()), || {
        format!("{what} {} is not an absolute path below / without `..`", path.display())
    })?;
    require(!RESERVED.iter().any(|reserved| path.starts_with(reserved)), || {
        format!("{what} {} is at a place that the sandbox needs for itself", path.display())
    })
}

fn no_nul(text: &OsStr) -> bool {
    !text.as_bytes().contains(&0)
}

fn require(condition: bool, problem: impl FnOnce() -> String) -> Result<(), SandboxError> {
    if condition { Ok(()) } else { Err(SandboxError::Spec { problem: problem() }) }
}
