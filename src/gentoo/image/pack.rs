//! Packs a directory as a squashfs image with mksquashfs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::ImageError;

/// The zstd level: 3 packs a root to 153 MiB in 10 s, 15 to 133 MiB in minutes.
const LEVEL: &str = "3";

/// The length of shown program output, in characters.
const SHOWN: usize = 500;

/// mksquashfs's message for a full file system, and a meaningless warning.
const NO_ROOM: &str = "No space left on device";
const EMPTY_NAME: &str = "Empty tar filename";

/// The command that packs a directory as an image at `to`, with times and owners. Equal trees give equal images.
///
/// `processors`: the number of threads.
pub fn packer(from: &Path, to: &Path, processors: usize) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["mksquashfs".into(), from.into(), to.into()];
    let options = ["-noappend", "-no-progress", "-quiet", "-no-recovery", "-xattrs", "-no-exports"];
    argv.extend(options.map(Into::into));
    argv.extend(["-comp", "zstd", "-Xcompression-level", LEVEL, "-b", "128K"].map(Into::into));
    // The image must not depend on the time or on the order in which threads finish.
    argv.extend(["-reproducible", "-mkfs-time", "0"].map(Into::into));
    argv.extend(["-processors".into(), processors.max(1).to_string().into()]);
    argv
}

/// The same as a [`Command`], which callers extend.
pub(super) fn command(from: &Path, to: &Path, processors: usize) -> Command {
    // Runs in the image's directory, so that no path is parsed as an option.
    let (dir, name) = (to.parent().unwrap_or(Path::new("/")), to.file_name().unwrap_or_default());
    let mut argv = packer(from, &Path::new(".").join(name), processors);
    if !nix::unistd::geteuid().is_root() {
        // squashfs-tools 4.5 ignores -root-uid for archives and uses the effective user.
        argv.splice(..0, ["unshare", "--user", "--map-root-user", "--"].map(Into::into));
    }
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_remove("SOURCE_DATE_EPOCH");
    command.current_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    command
}

/// Checks the exit status of mksquashfs.
pub(super) fn finish(tree: &Path, status: ExitStatus, said: &[u8]) -> Result<(), ImageError> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    // mksquashfs prints this for the root entry of every archive.
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
