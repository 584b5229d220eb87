//! Writes the files of a commit, exactly as they are in the commit.
//!
//! Nothing is converted: attributes and configuration have no effect, a pointer of Git LFS stays a pointer, and submodules are
//! included. The content of every object is checked against its name.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::SystemTime;

use super::error::{At, git_error};
use super::submodules::{Submodule, Submodules};
use super::tree::{FileWriter, Written, make_dir, time};
use super::{UnpackError, Unpacking};
use crate::digest::Digest;
use crate::host::git::{EntryMode, ObjectError, ObjectId, ObjectKind, Objects, Part, Repository, TreeEntry};
use crate::source::{MAX_DEPTH, TreeBuilder};

/// How many files a thread takes at a time.
const BATCH: usize = 256;

/// No source tree has more entries. A few objects can name billions.
const MAX_ENTRIES: usize = 1_000_000;

/// No link of Linux is longer.
const MAX_LINK_TARGET: u64 = 4096;

/// The beginning of every pointer of Git LFS.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The entries of a commit, without the content of files.
struct Survey {
    commit: ObjectId,
    /// For messages.
    repository: PathBuf,
    /// Directories, each after its parent.
    dirs: Vec<PathBuf>,
    /// Repositories with files, and their files.
    repositories: Vec<(Repository, Vec<Leaf>)>,
    entries: usize,
    missing: Vec<String>,
}

/// A file or a link.
struct Leaf {
    path: PathBuf,
    mode: EntryMode,
    id: ObjectId,
}

/// A file or a link that was written.
enum WrittenEntry {
    File { executable: bool, size: u64, digest: Digest, is_pointer: bool },
    Symlink(Vec<u8>),
}

impl Unpacking<'_> {
    /// Writes the files that a commit has below `prefix` to the directory `to`.
    pub(super) fn commit(
        &self,
        repository: &Repository,
        commit: &ObjectId,
        prefix: &Path,
        to: &Path,
    ) -> Result<Written, UnpackError> {
        let mut survey = Survey {
            commit: commit.clone(),
            repository: repository.path().to_owned(),
            dirs: Vec::new(),
            repositories: Vec::new(),
            entries: 0,
            missing: Vec::new(),
        };
        let time = time(self.survey(&mut survey, repository, prefix)?);
        if !survey.missing.is_empty() {
            let Survey { missing, repository, commit, .. } = survey;
            return Err(UnpackError::Submodules { repository, commit: commit.to_string(), missing });
        }
        let mut tree = TreeBuilder::default();
        for path in &survey.dirs {
            make_dir(&to.join(path)).at(&to.join(path))?;
            tree.dir(path).expect("directories are added before what is in them");
        }
        let mut pointers = 0;
        for (repository, leaves) in &survey.repositories {
            for (index, made) in self.write(repository, leaves, time, to)? {
                let path = &leaves[index].path;
                let added = match made {
                    WrittenEntry::File { executable, size, digest, is_pointer } => {
                        pointers += usize::from(is_pointer);
                        tree.file(path, executable, size, digest)
                    }
                    WrittenEntry::Symlink(target) => tree.symlink(path, OsStr::from_bytes(&target)),
                };
                added.expect("files are in directories");
            }
        }
        for dir in survey.dirs.iter().map(|dir| to.join(dir)) {
            std::fs::File::open(&dir).and_then(|dir| dir.set_modified(time)).at(&dir)?;
        }
        let mut notes = Vec::new();
        if pointers > 0 {
            let place = repository.path().display();
            notes.push(format!(
                "commit {commit} of {place} has {pointers} pointers of Git LFS: they stay pointers, as in the commit"
            ));
        }
        Ok(Written { tree, notes })
    }

    /// Lists the entries of a commit, and gives its time.
    fn survey(
        &self,
        survey: &mut Survey,
        repository: &Repository,
        prefix: &Path,
    ) -> Result<i64, UnpackError> {
        let commit = survey.commit.clone();
        let fail = |error| git_error(error, repository, &format!("commit {commit}"));
        let mut objects = Objects::open(repository).map_err(fail)?;
        let head = objects.commit(&commit).map_err(fail)?;
        let mut entries = objects.tree(&head.tree).map_err(fail)?;
        let mut submodules = Submodules::new(repository, prefix, Path::new(""), &entries);
        let mut top = head.tree;
        for component in prefix.components() {
            let name = component.as_os_str().as_bytes();
            let entry = entries.into_iter().find(|entry| entry.name == name && entry.mode == EntryMode::Dir);
            let Some(entry) = entry else {
                let message = format!("commit {commit} has no directory {}", prefix.display());
                return Err(UnpackError::Git { path: repository.path().to_owned(), message });
            };
            entries = objects.tree(&entry.id).map_err(fail)?;
            top = entry.id;
        }
        self.walk(survey, &mut objects, &mut submodules, top)?;
        Ok(head.time)
    }

    /// Lists the entries of a submodule's commit, from the first repository that has it.
    fn submodule(&self, survey: &mut Survey, submodule: Submodule) -> Result<(), UnpackError> {
        let Submodule { path, commit, places } = submodule;
        for repository in &places {
            let Ok(mut objects) = Objects::open(repository) else { continue };
            let fail = |error| git_error(error, repository, &format!("submodule {}", path.display()));
            let head = match objects.commit(&commit) {
                Ok(head) => head,
                // The commit or the repository does not exist: try the next.
                Err(ObjectError::Missing(_) | ObjectError::Git(_)) => continue,
                Err(error) => return Err(fail(error)),
            };
            let entries = objects.tree(&head.tree).map_err(fail)?;
            let mut nested = Submodules::new(repository, Path::new(""), &path, &entries);
            return self.walk(survey, &mut objects, &mut nested, head.tree);
        }
        survey.missing.push(format!("{} (commit {commit})", path.display()));
        Ok(())
    }

    /// Lists the entries of a directory of a commit, and of the submodules in it.
    fn walk(
        &self,
        survey: &mut Survey,
        objects: &mut Objects,
        submodules: &mut Submodules<'_>,
        top: ObjectId,
    ) -> Result<(), UnpackError> {
        let repository = submodules.repository();
        let mut leaves = Vec::new();
        let mut below = vec![(submodules.root().to_owned(), top)];
        while let Some((dir, id)) = below.pop() {
            self.check_cancelled()?;
            let fail = |error| git_error(error, repository, &format!("directory {}", dir.display()));
            let entries = objects.tree(&id).map_err(fail)?;
            survey.entries += entries.len();
            let mut names = HashSet::with_capacity(entries.len());
            for TreeEntry { name, mode, id } in entries {
                let path = dir.join(OsStr::from_bytes(&name));
                let problem = bad_name(&name)
                    .or_else(|| {
                        (path.components().count() > MAX_DEPTH).then_some("is too many directories deep")
                    })
                    .or_else(|| (survey.entries > MAX_ENTRIES).then_some("is one of too many"))
                    .or_else(|| (!names.insert(name)).then_some("is there twice"));
                if let Some(problem) = problem {
                    let entry = format!("{:?} of commit {}", path.display().to_string(), survey.commit);
                    return Err(UnpackError::Entry { from: repository.path().to_owned(), entry, problem });
                }
                match mode {
                    EntryMode::File | EntryMode::Executable | EntryMode::Symlink => {
                        leaves.push(Leaf { path, mode, id });
                    }
                    EntryMode::Dir => {
                        survey.dirs.push(path.clone());
                        below.push((path, id));
                    }
                    EntryMode::Submodule => {
                        survey.dirs.push(path.clone());
                        submodules.add(path, id);
                    }
                }
            }
        }
        // This is roughly their order in packs, where neighbours are stored as differences.
        leaves.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        survey.repositories.push((repository.clone(), leaves));
        for submodule in submodules.find(objects)? {
            self.submodule(survey, submodule)?;
        }
        Ok(())
    }

    /// Writes files and links, and describes what was written.
    fn write(
        &self,
        repository: &Repository,
        leaves: &[Leaf],
        modified: SystemTime,
        to: &Path,
    ) -> Result<Vec<(usize, WrittenEntry)>, UnpackError> {
        let next = AtomicUsize::new(0);
        let made = Mutex::new(Vec::with_capacity(leaves.len()));
        let work = || -> Result<(), UnpackError> {
            let mut objects = Objects::open(repository)?;
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                let Some(batch) = leaves.get(from..leaves.len().min(from + BATCH)) else { return Ok(()) };
                if batch.is_empty() {
                    return Ok(());
                }
                let written = self.write_batch(repository, &mut objects, batch, modified, to);
                if written.is_err() {
                    // Stops the other threads.
                    next.store(leaves.len(), Ordering::Relaxed);
                }
                let written = written?.into_iter().map(|(index, made)| (from + index, made));
                made.lock().expect("no panic while held").extend(written);
            }
        };
        scope(|scope| {
            let threads = self.threads.min(leaves.len().div_ceil(BATCH)).max(1);
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let ended: Vec<_> =
                threads.into_iter().map(|thread| thread.join().expect("a bug in a thread of ours")).collect();
            ended.into_iter().collect::<Result<(), _>>()
        })?;
        Ok(made.into_inner().expect("no panic while held"))
    }

    fn write_batch(
        &self,
        repository: &Repository,
        objects: &mut Objects,
        batch: &[Leaf],
        modified: SystemTime,
        to: &Path,
    ) -> Result<Vec<(usize, WrittenEntry)>, UnpackError> {
        let ids: Vec<&ObjectId> = batch.iter().map(|leaf| &leaf.id).collect();
        let mut made = Vec::with_capacity(batch.len());
        let mut file: Option<FileWriter> = None;
        let mut start: Vec<u8> = Vec::new();
        let read = objects.each(ObjectKind::Blob, &ids, |index, part| {
            let Leaf { path, mode, .. } = &batch[index];
            let at = to.join(path);
            let refuse = |problem| UnpackError::Entry {
                from: repository.path().to_owned(),
                entry: path.display().to_string(),
                problem,
            };
            match part {
                Part::Begin(size) => {
                    self.check_cancelled()?;
                    start.clear();
                    if *mode != EntryMode::Symlink {
                        file = Some(FileWriter::create(&at, *mode == EntryMode::Executable).at(&at)?);
                    } else if size == 0 || size >= MAX_LINK_TARGET {
                        return Err(refuse("is a link to a place that no link can have"));
                    }
                }
                Part::Bytes(bytes) => match &mut file {
                    Some(file) => {
                        if start.len() < LFS_POINTER.len() {
                            start.extend(&bytes[..bytes.len().min(LFS_POINTER.len() - start.len())]);
                        }
                        file.write(bytes).at(&at)?;
                    }
                    None => start.extend_from_slice(bytes),
                },
                Part::End => match file.take() {
                    Some(file) => {
                        let executable = *mode == EntryMode::Executable;
                        let (size, digest) = file.finish(modified).at(&at)?;
                        let is_pointer = start == LFS_POINTER;
                        made.push((index, WrittenEntry::File { executable, size, digest, is_pointer }));
                    }
                    None if start.contains(&0) => {
                        return Err(refuse("is a link to a place that no link can have"));
                    }
                    None => {
                        symlink(OsStr::from_bytes(&start), &at).at(&at)?;
                        made.push((index, WrittenEntry::Symlink(start.clone())));
                    }
                },
            }
            Ok(())
        });
        read.map_err(|error| match error {
            UnpackError::Object(error) => {
                let leaf = batch.iter().find(|leaf| error.object() == Some(&leaf.id));
                let what = leaf.map_or_else(|| "files".to_owned(), |leaf| leaf.path.display().to_string());
                git_error(error, repository, &what)
            }
            error => error,
        })?;
        Ok(made)
    }
}

/// What is wrong with an entry's name, if it leads out of its directory or to git's own data.
fn bad_name(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("has no name"),
        b"." | b".." => Some("leads out of its directory"),
        name if name.contains(&b'/') => Some("leads out of its directory"),
        name if name.eq_ignore_ascii_case(b".git") => Some("has the name of git's own data"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_bad() {
        for name in ["", ".", "..", "a/b", "/", ".git", ".GIT", ".gIt"] {
            assert!(bad_name(name.as_bytes()).is_some(), "{name}");
        }
        for name in ["a", "...", ".gitignore", ".gitmodules", "git", " ", "a\nb", "-"] {
            assert!(bad_name(name.as_bytes()).is_none(), "{name}");
        }
    }
}
