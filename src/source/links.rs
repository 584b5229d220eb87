//! The symbolic links that a path goes through.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::lstat;

use super::stat::{FileType, Stat};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The links on the way along a path, each with its stat, down to where nothing is.
pub(super) fn links_on(path: &Path) -> io::Result<Vec<(PathBuf, Stat)>> {
    let mut links = Vec::new();
    let mut at = PathBuf::from("/");
    let mut left: VecDeque<OsString> = parts(&std::path::absolute(path)?).collect();
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let stat = match lstat(&next) {
            Ok(stat) => Stat::new(&stat),
            Err(Errno::ENOENT | Errno::ENOTDIR) => break,
            Err(errno) => return Err(errno.into()),
        };
        if stat.file_type() != FileType::Symlink {
            at = next;
            continue;
        }
        if links.len() == MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = fs::read_link(&next)?;
        links.push((next, stat));
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(links)
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("real/bin")).unwrap();
        fs::write(top.join("real/bin/cc-12"), "").unwrap();
        symlink("cc-12", top.join("real/bin/cc")).unwrap();
        symlink("real/bin", top.join("bin")).unwrap();
        symlink(&top, top.join("top")).unwrap();
        symlink("../top/real/../bin/cc", top.join("real/start")).unwrap();
        let found = |path: &str| -> Vec<PathBuf> {
            links_on(&top.join(path)).unwrap().into_iter().map(|(path, _)| path).collect()
        };
        assert!(found("real/bin/cc-12").is_empty());
        assert!(found("none/at/all").is_empty());
        assert_eq!(found("real/bin/cc"), [top.join("real/bin/cc")]);
        symlink("loop", top.join("loop")).unwrap();
        assert_eq!(links_on(&top.join("loop")).unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        let names = ["real/start", "top", "bin"].map(|link| top.join(link));
        let all = found("real/start");
        assert_eq!(all[..3], names, "{all:?}");
        assert_eq!(all[3..], [top.join("real/bin/cc")]);
    }
}
