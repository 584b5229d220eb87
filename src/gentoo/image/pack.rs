//! A directory as an image.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::ImageError;

/// zstd at a level that packs as fast as disks read: 3 makes 153 MiB of a root in 10 s, 15 makes 133 MiB in minutes.
const LEVEL: &str = "3";

/// As much of the program's output as is shown.
const SHOWN: usize = 500;

/// Packs a directory with all that is in it, times and owners included, as an image at `to`. Trees that are equal give images
/// that are equal, wherever and in whatever order they were made. Nothing is at `to` before it is whole.
///
/// `processors` bounds the threads, which share what the caller may use.
pub fn pack(tree: &Path, to: &Path, processors: usize) -> Result<(), ImageError> {
    let temporary = temporary(to);
    let packed = run(tree, &temporary, processors).and_then(|()| {
        let keep = File::open(&temporary).and_then(|file| file.sync_all());
        keep.and_then(|()| fs::rename(&temporary, to)).map_err(ImageError::at("keep", to))
    });
    if packed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    packed
}

fn run(tree: &Path, to: &Path, processors: usize) -> Result<(), ImageError> {
    if !tree.is_dir() {
        return Err(ImageError::at("pack", tree)(io::ErrorKind::NotADirectory.into()));
    }
    let path = fs::canonicalize(tree).map_err(ImageError::at("pack", tree))?;
    let output = packer(&path, to, processors).stdin(Stdio::null()).output();
    let output = output.map_err(|source| ImageError::Program {
        program: "mksquashfs",
        source,
        package: "squashfs-tools",
    })?;
    finish(tree, output.status, &[output.stdout, output.stderr].concat())
}

/// The program that packs `from`, to be given what else it needs.
pub(super) fn packer(from: &Path, to: &Path, processors: usize) -> Command {
    // It runs in the image's directory, so that no name can be taken for an option.
    let (dir, name) = (to.parent().unwrap_or(Path::new("/")), to.file_name().unwrap_or_default());
    let mut command = Command::new("mksquashfs");
    command
        .arg(from)
        .arg(Path::new(".").join(name))
        .args(["-noappend", "-no-progress", "-quiet", "-no-recovery", "-xattrs", "-no-exports"])
        .args(["-comp", "zstd", "-Xcompression-level", LEVEL, "-b", "128K"])
        // The time of packing is no part of what is packed, and which thread is done first isn't either.
        .args(["-reproducible", "-mkfs-time", "0"])
        .args(["-processors", &processors.max(1).to_string()])
        .env_remove("SOURCE_DATE_EPOCH")
        .current_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    command
}

/// What became of it.
pub(super) fn finish(tree: &Path, status: ExitStatus, said: &[u8]) -> Result<(), ImageError> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    let said: Vec<char> = said.trim().chars().collect();
    let message = said[said.len().saturating_sub(SHOWN)..].iter().collect::<String>();
    Err(ImageError::Pack { tree: tree.to_owned(), message: format!("{message} ({status})") })
}

pub(super) fn temporary(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    PathBuf::from(name)
}
