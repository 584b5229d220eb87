//! The build account of a root.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// The largest account file that is edited, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// An unprivileged account with the same id in every root, so that its files are readable outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user and group id.
    pub id: u32,
}

/// Why an account can't be made in a root.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Its name or its id is taken.
    #[error("{file} has the {what} {value} for something else already; take another in the spec")]
    Taken {
        /// The file.
        file: &'static str,
        /// `name` or `number`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The name or the id is invalid.
    #[error("no account can be called {name:?} with the number {id}")]
    Invalid {
        /// Its name.
        name: String,
        /// Its id.
        id: u32,
    },
    /// A file operation in the root failed.
    #[error("{} in the root: {source}", path.display())]
    Io {
        /// The path inside the root.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Account {
    /// Makes the account and its home in a root, unless it exists. [`Install::steps`](super::Install::steps) change the owner of
    /// the home, which an ordinary user can only do inside the sandbox.
    ///
    /// Paths are resolved inside the root: links can't lead out.
    pub fn make(&self, root: &Path) -> Result<(), AccountError> {
        let Self { name, id } = self;
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.len() <= 31
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
        if !is_name || *id == 0 || *id >= 65534 {
            return Err(AccountError::Invalid { name: name.clone(), id: *id });
        }
        let root = Root::open(root)?;
        let group =
            root.edit("etc/group", |text| self.add(text, "/etc/group", &format!("{name}:x:{id}:")))?;
        let line = format!("{name}:x:{id}:{id}::/home/{name}:/bin/sh");
        let passwd = root.edit("etc/passwd", |text| self.add(text, "/etc/passwd", &line))?;
        // No password, so no login. No day, as it would make the image depend on the date.
        root.edit("etc/shadow", |text| Ok(self.add_shadow(text)))?;
        if group || passwd {
            root.home(self)?;
        }
        Ok(())
    }

    /// The text with the line added. `None`: the account exists.
    fn add(&self, text: &str, file: &'static str, line: &str) -> Result<Option<String>, AccountError> {
        for other in text.lines() {
            let mut fields = other.split(':');
            let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
            match (name == self.name, id == self.id.to_string()) {
                (true, true) => return Ok(None),
                (true, false) => {
                    return Err(AccountError::Taken { file, what: "name", value: self.name.clone() });
                }
                (false, true) => {
                    return Err(AccountError::Taken { file, what: "number", value: self.id.to_string() });
                }
                (false, false) => {}
            }
        }
        Ok(Some(appended(text, line)))
    }

    fn add_shadow(&self, text: &str) -> Option<String> {
        let is_there = text.lines().any(|line| line.split(':').next() == Some(&self.name));
        (!is_there).then(|| appended(text, &format!("{}:!:::::::", self.name)))
    }
}

fn appended(text: &str, line: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{line}\n")
}

/// A root whose paths are resolved inside it.
struct Root(std::os::fd::OwnedFd);

impl Root {
    fn open(path: &Path) -> Result<Self, AccountError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(path, flags, Mode::empty()).map(Self).map_err(failed("/"))
    }

    fn at(&self, path: &str, flags: OFlag) -> nix::Result<File> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        // Do not block on a pipe or device in place of a file.
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        openat2(&self.0, path, OpenHow::new().flags(flags).resolve(resolve)).map(File::from)
    }

    /// Edits a file. Returns whether it changed.
    fn edit(
        &self,
        path: &'static str,
        change: impl FnOnce(&str) -> Result<Option<String>, AccountError>,
    ) -> Result<bool, AccountError> {
        let io_error = |source| AccountError::Io { path: Path::new("/").join(path), source };
        let mut file = self.at(path, OFlag::O_RDWR).map_err(failed(path))?;
        let stat = file.metadata().map_err(io_error)?;
        if !stat.is_file() || stat.len() > MAX_FILE {
            return Err(io_error(io::Error::other("it is not what it should be")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io_error)?;
        let Some(changed) = change(&text)? else { return Ok(false) };
        file.rewind().and_then(|()| file.write_all(changed.as_bytes())).map_err(io_error)?;
        Ok(true)
    }

    fn home(&self, account: &Account) -> Result<(), AccountError> {
        let path = format!("home/{}", account.name);
        let above = self.at("home", OFlag::O_DIRECTORY | OFlag::O_RDONLY).map_err(failed("home"))?;
        match nix::sys::stat::mkdirat(&above, account.name.as_str(), Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => Ok(()),
            made => made.map_err(failed(&path)),
        }
    }
}

fn failed(path: &str) -> impl FnOnce(Errno) -> AccountError {
    let path = Path::new("/").join(path);
    move |errno| AccountError::Io { path, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in ["etc", "home"] {
            fs::create_dir(dir.path().join(path)).unwrap();
        }
        fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/bash\nportage:x:250:250::/:/bin/false",
        )
        .unwrap();
        fs::write(dir.path().join("etc/group"), "root:x:0:root\nportage:x:250:\n").unwrap();
        fs::write(dir.path().join("etc/shadow"), "root:*:10770:0:::::\n").unwrap();
        dir
    }

    fn buildbot(id: u32) -> Account {
        Account { name: "buildbot".to_owned(), id }
    }

    #[test]
    fn an_account_is_made_once() {
        let root = root();
        let read = |name: &str| fs::read_to_string(root.path().join("etc").join(name)).unwrap();
        buildbot(4242).make(root.path()).unwrap();
        assert!(read("passwd").ends_with("/bin/false\nbuildbot:x:4242:4242::/home/buildbot:/bin/sh\n"));
        assert!(read("group").ends_with("\nbuildbot:x:4242:\n"));
        assert!(read("shadow").ends_with("\nbuildbot:!:::::::\n"));
        assert!(root.path().join("home/buildbot").is_dir());
        let before = (read("passwd"), read("group"), read("shadow"));
        buildbot(4242).make(root.path()).unwrap();
        assert_eq!((read("passwd"), read("group"), read("shadow")), before);
    }

    #[test]
    fn taken_names_and_ids_are_refused() {
        let root = root();
        let error = buildbot(250).make(root.path()).unwrap_err().to_string();
        assert!(error.contains("/etc/group has the number 250"), "{error}");
        let other = Account { name: "portage".to_owned(), id: 4242 };
        assert!(other.make(root.path()).unwrap_err().to_string().contains("name portage"));
        for (name, id) in [("root", 0), ("a:b", 1000), ("a\nb", 1000), ("", 1000), ("-a", 1000), ("a", 65534)]
        {
            let account = Account { name: name.to_owned(), id };
            assert!(matches!(account.make(root.path()), Err(AccountError::Invalid { .. })), "{name:?}");
        }
        assert!(!fs::read_to_string(root.path().join("etc/passwd")).unwrap().contains("4242"));
    }

    #[test]
    fn links_do_not_lead_out_of_a_root() {
        let (root, outside) = (root(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("group");
        fs::write(&victim, "host:x:0:\n").unwrap();
        fs::remove_file(root.path().join("etc/group")).unwrap();
        symlink(&victim, root.path().join("etc/group")).unwrap();
        assert!(buildbot(4242).make(root.path()).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "host:x:0:\n");
        fs::remove_file(root.path().join("etc/group")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/group"), Mode::from_bits_truncate(0o600)).unwrap();
        assert!(buildbot(4242).make(root.path()).is_err());
    }
}
