//! What programs need besides what they load: other programs, modules, data.
//!
//! A program that is not listed needs nothing else, or its rule declares it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ask::ask;
use super::compilers::{self, Family};
use super::survey::Survey;
use super::tools::ToolError;

/// Directories of which a program sees nothing, unless it is installed there itself: what is in them belongs to
/// nobody's package.
const PRIVATE: [&str; 5] = ["/usr/local", "/opt", "/home", "/root", "/etc"];

/// Whether a directory that `program` searches is one that steps do not see.
pub(super) fn is_private(dir: &Path, program: &Path) -> bool {
    PRIVATE.iter().any(|private| dir.starts_with(private) && !program.starts_with(private))
}

/// Something that a program needs.
enum Need {
    /// A program that it runs.
    Program(&'static str),
    /// A directory, relative to the one that has its `bin`.
    Data(&'static str),
}

use Need::{Data, Program};

/// What programs need, by the beginning of their names.
const NEEDS: &[(&str, &[Need])] = &[
    ("bison", &[Program("m4"), Data("share/bison")]),
    ("flex", &[Program("m4")]),
    ("gawk", &[Data("share/awk")]),
    ("git", &[Data("lib/git-core"), Data("libexec/git-core"), Data("share/git-core")]),
    (
        "qemu-system-",
        &[
            Data("share/qemu"),
            Data("share/seabios"),
            Data("lib/ipxe/qemu"),
            Data("lib/qemu"),
            Data("lib64/qemu"),
        ],
    ),
];

/// Reads the places that an answer names.
type Places = fn(&str) -> Vec<PathBuf>;

/// A question to a program that knows where its modules are.
struct Question {
    arguments: &'static [&'static str],
    /// The places that an answer names.
    places: Places,
}

/// What to ask programs, by the beginning of their names.
const ASKED: &[(&str, Question)] = &[
    ("perl", Question { arguments: &["-e", "print join \"\\n\", @INC"], places: lines }),
    (
        "python3",
        Question { arguments: &["-I", "-S", "-c", "import sys; print('\\n'.join(sys.path))"], places: lines },
    ),
    ("openssl", Question { arguments: &["version", "-d", "-m"], places: openssl }),
    ("rustc", Question { arguments: &["--print", "sysroot"], places: rust }),
];

fn rust(sysroot: &str) -> Vec<PathBuf> {
    vec![Path::new(sysroot.trim()).join("lib/rustlib")]
}

fn lines(text: &str) -> Vec<PathBuf> {
    text.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

/// `OPENSSLDIR: "/usr/lib/ssl"` and `MODULESDIR: "..."`. Of the first the configuration alone: the rest are keys.
fn openssl(text: &str) -> Vec<PathBuf> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(PathBuf::from(line.trim().trim_matches('"')))
    };
    let conf = value("OPENSSLDIR:").map(|dir| dir.join("openssl.cnf"));
    conf.into_iter().chain(value("MODULESDIR:")).collect()
}

impl Survey<'_> {
    /// What the program at `path`, whose file is `real`, needs besides what it loads.
    pub(super) fn needs_of(&mut self, path: &Path, real: &Path) -> Result<(), ToolError> {
        let names = [real, path].map(|path| path.file_name().and_then(OsStr::to_str).unwrap_or_default());
        if let Some(family) = names.iter().find_map(|name| Family::of(name)) {
            return compilers::needs(self, family, path);
        }
        let is_called = |prefix: &str| names.iter().any(|name| is_version_of(name, prefix));
        for (_, needs) in NEEDS.iter().filter(|(prefix, _)| is_called(prefix)) {
            needs.iter().try_for_each(|need| self.need(need, real))?;
        }
        for (_, question) in ASKED.iter().filter(|(prefix, _)| is_called(prefix)) {
            let answer = ask(path, question.arguments, self.dirs)?.unwrap_or_default();
            for path in (question.places)(&answer.to_string_lossy()) {
                self.modules(&path, real)?;
            }
        }
        Ok(())
    }

    /// What is at a place in which `program` looks for modules.
    fn modules(&mut self, path: &Path, program: &Path) -> Result<(), ToolError> {
        self.guard(path.parent().map(Path::to_owned));
        if is_private(path, program) {
            Ok(())
        } else if path.is_dir() {
            self.data(path)
        } else {
            self.path(path)
        }
    }

    fn need(&mut self, need: &Need, program: &Path) -> Result<(), ToolError> {
        match need {
            Program(name) => self.helper(Path::new(name)),
            Data(dir) => {
                let bin = program.parent().unwrap_or(Path::new("/"));
                let prefix = bin.parent().unwrap_or(Path::new("/"));
                for path in with_multiarch(&prefix.join(dir)) {
                    self.guard(path.parent().map(Path::to_owned));
                    if path.is_dir() {
                        self.data(&path)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A directory `lib/x`, and those that Debian has in `lib/MACHINE/x`.
fn with_multiarch(path: &Path) -> Vec<PathBuf> {
    let mut paths = vec![path.to_owned()];
    if let (Some(lib), Some(name)) = (path.parent(), path.file_name())
        && lib.file_name() == Some(OsStr::new("lib"))
    {
        let entries = std::fs::read_dir(lib).into_iter().flatten().flatten();
        let machines = entries.filter(|entry| entry.file_name().as_bytes().ends_with(b"-linux-gnu"));
        paths.extend(machines.map(|machine| machine.path().join(name)));
    }
    paths
}

/// Whether `name` is `prefix`, `prefix` with a version, or a program whose prefix ends in `-`.
fn is_version_of(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        prefix.ends_with('-') || rest.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_with_their_versions() {
        for (name, prefix, is) in [
            ("perl", "perl", true),
            ("perl5.36.0", "perl", true),
            ("perldoc", "perl", false),
            ("python3.11", "python3", true),
            ("qemu-system-x86_64", "qemu-system-", true),
            ("flex++", "flex", false),
        ] {
            assert_eq!(is_version_of(name, prefix), is, "{name}");
        }
    }

    #[test]
    fn of_openssl_the_keys_are_not_shown() {
        let paths = openssl("OPENSSLDIR: \"/usr/lib/ssl\"\nMODULESDIR: \"/usr/lib/ossl-modules\"\n");
        assert_eq!(paths, [PathBuf::from("/usr/lib/ssl/openssl.cnf"), "/usr/lib/ossl-modules".into()]);
    }

    #[test]
    fn what_belongs_to_no_package_is_not_shown() {
        assert!(is_private(Path::new("/usr/local/include"), Path::new("/usr/bin/gcc")));
        assert!(!is_private(Path::new("/usr/local/include"), Path::new("/usr/local/bin/gcc")));
        assert!(!is_private(Path::new("/usr/include"), Path::new("/usr/bin/gcc")));
    }
}
