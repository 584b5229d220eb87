//! The state of a tree, as content: names, what they are, and, aside, their times.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln::digest::Digest;

/// What a path is. A directory is there only if it is empty: others are in the names of what they hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    File { text: String, executable: bool },
    Link { to: String },
    EmptyDir,
}

/// A tree, with the modification times of its files.
#[derive(Clone, Debug, Default)]
pub struct State(pub BTreeMap<String, (Thing, SystemTime)>);

impl State {
    /// What a directory holds.
    pub fn read(root: &Path) -> Self {
        let mut state = Self::default();
        state.read_dir(root, "");
        state
    }

    fn read_dir(&mut self, root: &Path, dir: &str) {
        let mut empty = true;
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            empty = false;
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let stat = entry.metadata().unwrap();
            let thing = if stat.is_dir() {
                self.read_dir(root, &path);
                continue;
            } else if stat.is_symlink() {
                Thing::Link { to: fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned() }
            } else {
                let text = fs::read_to_string(entry.path()).unwrap();
                Thing::File { text, executable: stat.mode() & 0o111 != 0 }
            };
            self.0.insert(path, (thing, stat.modified().unwrap()));
        }
        if empty && !dir.is_empty() {
            self.0.insert(dir.to_owned(), (Thing::EmptyDir, UNIX_EPOCH));
        }
    }

    /// Of the content alone.
    pub fn digest(&self) -> Digest {
        let things: Vec<(&String, &Thing)> = self.0.iter().map(|(path, (thing, _))| (path, thing)).collect();
        Digest::of_bytes(format!("{things:?}").as_bytes())
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        match self.0.get(path) {
            Some((Thing::File { text, .. }, _)) => Some(text),
            _ => None,
        }
    }

    /// Makes a directory hold this and nothing else. What is as it should be is not touched; what is written anew gets
    /// its old time back, if that is wanted.
    pub fn restore(&self, root: &Path, old_times: bool) {
        let now = Self::read(root);
        for (path, (thing, _)) in &now.0 {
            if self.0.get(path).is_none_or(|(wanted, _)| wanted != thing) {
                remove(&root.join(path));
                prune(root, path);
            }
        }
        for (path, (thing, time)) in &self.0 {
            if now.0.get(path).is_none_or(|(is, _)| is != thing) {
                put(&root.join(path), thing);
                if old_times && matches!(thing, Thing::File { .. }) {
                    set_time(&root.join(path), *time);
                }
            }
        }
    }
}

/// Removes directories above a path, as far as they are empty.
fn prune(root: &Path, path: &str) {
    for dir in Path::new(path).ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
        if fs::remove_dir(root.join(dir)).is_err() {
            return;
        }
    }
}

/// Removes whatever is there.
pub fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(stat) if stat.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Puts something in the place of whatever is there, and of files where there should be directories.
pub fn put(path: &Path, thing: &Thing) {
    for dir in path.ancestors().skip(1) {
        if dir.symlink_metadata().is_ok_and(|stat| !stat.is_dir()) && !dir.is_dir() {
            remove(dir);
        }
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let is_file = path.symlink_metadata().is_ok_and(|stat| stat.is_file());
    if !(is_file && matches!(thing, Thing::File { .. })) {
        remove(path);
    }
    match thing {
        Thing::File { text, executable } => {
            // In place, as some editors do.
            fs::write(path, text).unwrap();
            fs::set_permissions(path, Permissions::from_mode(if *executable { 0o755 } else { 0o644 }))
                .unwrap();
        }
        Thing::Link { to } => symlink(to, path).unwrap(),
        Thing::EmptyDir => fs::create_dir(path).unwrap(),
    }
}

pub fn set_time(path: &Path, time: SystemTime) {
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Long before anything was built.
pub fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// Whether a name ends in that, after a dot.
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|other| other == extension)
}
