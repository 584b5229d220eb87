//! A directory as an image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::ImageError;

/// zstd at a level that packs as fast as disks read: 3 makes 153 MiB of a root in 10 s, 15 makes 133 MiB in minutes.
const LEVEL: &str = "3";

/// As much of the program's output as is shown.
const SHOWN: usize = 500;

/// How it says that the file system is full, and a warning without meaning.
const NO_ROOM: &str = "No space left on device";
const EMPTY_NAME: &str = "Empty tar filename";

/// What packs a directory with all that is in it, times and owners included, as an image at `to`. Trees that are equal give
/// images that are equal, wherever and in whatever order they were made.
///
/// `processors` bounds the threads, which share what the caller may use.
pub fn packer(from: &Path, to: &Path, processors: usize) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["mksquashfs".into(), from.into(), to.into()];
    let options = ["-noappend", "-no-progress", "-quiet", "-no-recovery", "-xattrs", "-no-exports"];
    argv.extend(options.map(Into::into));
    argv.extend(["-comp", "zstd", "-Xcompression-level", LEVEL, "-b", "128K"].map(Into::into));
    // The time of packing is no part of what is packed, and which thread is done first isn't either.
    argv.extend(["-reproducible", "-mkfs-time", "0"].map(Into::into));
    argv.extend(["-processors".into(), processors.max(1).to_string().into()]);
    argv
}

/// The same as a command here, to be given what else it needs.
pub(super) fn command(from: &Path, to: &Path, processors: usize) -> Command {
    // It runs in the image's directory, so that no name can be taken for an option.
    let (dir, name) = (to.parent().unwrap_or(Path::new("/")), to.file_name().unwrap_or_default());
    let mut argv = packer(from, &Path::new(".").join(name), processors);
    if !nix::unistd::geteuid().is_root() {
        // The root's directory of an archive is given to whom it runs as, whatever it is told (squashfs-tools 4.5).
        argv.splice(..0, ["unshare", "--user", "--map-root-user", "--"].map(Into::into));
    }
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_remove("SOURCE_DATE_EPOCH");
    command.current_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    command
}

/// What became of it.
pub(super) fn finish(tree: &Path, status: ExitStatus, said: &[u8]) -> Result<(), ImageError> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    // It says that of every archive's root.
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(EMPTY_NAME));
    let said: Vec<char> = lines.collect::<Vec<_>>().join("; ").chars().collect();
    let message = said[said.len().saturating_sub(SHOWN)..].iter().collect::<String>();
    let hint = if message.contains(NO_ROOM) { "; make room, or point the cache elsewhere" } else { "" };
    Err(ImageError::Pack { tree: tree.to_owned(), message: format!("{message} ({status}){hint}") })
}

pub(super) fn temporary(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    PathBuf::from(name)
}
