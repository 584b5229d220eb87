//! Parses the output of a failed emerge (Portage 3.0).

use crate::text::without_escapes;

/// The number of build log lines in [`Failure::tail`].
const SHOWN: usize = 20;

/// The longest line that is shown in full, in characters.
const WIDTH: usize = 300;

/// Why packages could not be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The package, by category, name and version, if known.
    pub package: Option<String>,
    /// The cause.
    pub kind: FailureKind,
    /// The output before the error.
    pub tail: Vec<String>,
}

/// The cause of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// A build phase failed.
    Phase {
        /// The phase: `compile`, `configure`, `install`, ...
        phase: String,
        /// The ebuild's message, if any.
        why: Option<String>,
    },
    /// A binary package does not match the index. It was moved away; the next run rebuilds it.
    Tampered {
        /// Its path in the root.
        file: String,
    },
    /// A binary package has no valid signature.
    Signature,
    /// The root's profile is a dangling link: the ebuild tree is missing or does not fit.
    NoProfile,
    /// There is no such package.
    NoPackage {
        /// The requested atom.
        atom: String,
    },
    /// A source of a package is missing and could not be fetched.
    NotFetched {
        /// The file.
        file: String,
    },
    /// The disk is full.
    NoRoom,
    /// Any other error.
    Other,
}

impl Failure {
    /// Parses emerge's output.
    pub fn read(output: &str) -> Self {
        let output = without_escapes(output);
        let lines: Vec<&str> = output.lines().collect();
        let find = |what: &str| lines.iter().position(|line| line.contains(what));
        let package = lines.iter().find_map(|line| {
            line.strip_prefix(">>> Failed to emerge ")
                .and_then(|rest| rest.split(',').next())
                .map(str::to_owned)
        });
        let (kind, end) = if let Some(at) = find("Digest verification failed") {
            let file = lines.get(at + 1).map(|line| line.trim_start_matches("!!! ").to_owned());
            (FailureKind::Tampered { file: file.unwrap_or_default() }, at)
        } else if let Some(at) = find("no ebuilds to satisfy \"") {
            let atom = lines[at].split('"').nth(1).unwrap_or_default().to_owned();
            (FailureKind::NoPackage { atom }, at)
        } else if let Some(at) = find("Your current profile is invalid") {
            (FailureKind::NoProfile, at)
        } else if let Some(at) = find("Couldn't download '") {
            let file = lines[at].split('\'').nth(2).unwrap_or_default().to_owned();
            (FailureKind::NotFetched { file }, at)
        } else if let Some(at) = find("signature verification failed").or_else(|| find("InvalidSignature")) {
            (FailureKind::Signature, at)
        } else if let Some(at) = find("No space left on device") {
            (FailureKind::NoRoom, at + 1)
        } else if let Some((at, phase)) =
            lines.iter().enumerate().find_map(|(at, line)| Some((at, phase(line)?)))
        {
            (FailureKind::Phase { phase, why: lines.get(at + 1).and_then(|line| reason(line)) }, at)
        } else {
            (FailureKind::Other, lines.len())
        };
        let said = lines[..end.min(lines.len())].iter().filter(|line| !is_progress(line));
        let mut tail: Vec<String> =
            said.rev().take(SHOWN).map(|line| line.chars().take(WIDTH).collect()).collect();
        tail.reverse();
        Self { package, kind, tail }
    }

    /// What to do next.
    pub fn help(&self) -> &'static str {
        match self.kind {
            FailureKind::Phase { .. } => {
                "the end of the log says why; another version may do, or a binary host"
            }
            FailureKind::Tampered { .. } => {
                "the file has been put aside: run again, and the package is made anew"
            }
            FailureKind::Signature => "name the keys of whoever signs these packages, or make them here",
            FailureKind::NoProfile => {
                "its profile is a part of the tree: one that fits comes with `ebuilds` in `gentoo`, and `kiln update`"
            }
            FailureKind::NoPackage { .. } => {
                "look whether its name is right, and whether the tree of ebuilds has it"
            }
            FailureKind::NotFetched { .. } => {
                "rules/binpkg.ron has it fetched with `sandbox: (network: true)`, where a mirror has it"
            }
            FailureKind::NoRoom => {
                "make room in the cache's file system; what packages are made in (/var/tmp) is half of the memory"
            }
            FailureKind::Other => "the log has all that emerge says",
        }
    }
}

/// `* ERROR: sys-devel/bc-1.07.1-r6::gentoo failed (compile phase):`
fn phase(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("* ERROR: ")?.1.split_once(" failed (")?;
    rest.split_once(" phase)").map(|(phase, _)| phase.to_owned())
}

/// ` *   emake failed`, in the following line.
fn reason(line: &str) -> Option<String> {
    let said = line.trim_start().strip_prefix('*')?.trim();
    let is_any = !said.is_empty() && said != "(no error message)";
    is_any.then(|| said.chars().take(WIDTH).collect())
}

/// Whether a line only reports progress.
fn is_progress(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with(">>> Jobs: ") || line.starts_with("openpty failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_does_not_compile_shows_the_end_of_its_log() {
        let output = ">>> Emerging (1 of 1) sys-devel/bc-1.07.1-r6::gentoo\n\
            >>> Jobs: 0 of 1 complete, 1 running\n\
            >>> Failed to emerge sys-devel/bc-1.07.1-r6, Log file:\n\
            >>>  '/var/tmp/portage/sys-devel/bc-1.07.1-r6/temp/build.log'\n\n\
            \u{1b}[32m * \u{1b}[39;49;00mPackage:    sys-devel/bc-1.07.1-r6:0\n\
            >>> Compiling source in /var/tmp/portage ...\n\
            bc.c:3: error: expected ';'\n\
            \u{1b}[31m * \u{1b}[0mERROR: sys-devel/bc-1.07.1-r6::gentoo failed (compile phase):\n\
            \u{20}*   (no error message)\n";
        let failure = Failure::read(output);
        assert_eq!(failure.package.as_deref(), Some("sys-devel/bc-1.07.1-r6"));
        assert_eq!(failure.kind, FailureKind::Phase { phase: "compile".to_owned(), why: None });
        assert_eq!(failure.tail.last().unwrap(), "bc.c:3: error: expected ';'");
        assert!(failure.tail.iter().all(|line| !line.contains('\u{1b}') && !line.contains("Jobs:")));
        assert!(failure.tail.contains(&" * Package:    sys-devel/bc-1.07.1-r6:0".to_owned()), "{failure:?}");
    }

    #[test]
    fn other_failures_are_distinguished() {
        let tampered = ">>> Failed to emerge sys-devel/bc-1, Log file:\n!!! Digest verification failed:\n\
            !!! /var/cache/binpkgs/sys-devel/bc/bc-1-1.gpkg.tar\n!!! Reason: Failed on SHA1 verification\n";
        let file = "/var/cache/binpkgs/sys-devel/bc/bc-1-1.gpkg.tar".to_owned();
        assert_eq!(Failure::read(tampered).kind, FailureKind::Tampered { file });
        let missing = "\nemerge: there are no ebuilds to satisfy \"sys-devel/nothing\".\n";
        assert_eq!(
            Failure::read(missing).kind,
            FailureKind::NoPackage { atom: "sys-devel/nothing".to_owned() }
        );
        let unfetched =
            "!!! Couldn't download 'bc-1.07.1.tar.gz'. Aborting.\n * Fetch failed for 'sys-devel/bc-1'\n";
        let file = "bc-1.07.1.tar.gz".to_owned();
        assert_eq!(Failure::read(unfetched).kind, FailureKind::NotFetched { file });
        let bare = "!!! Invalid Repository Location (not a dir): '/var/db/repos/gentoo'\n\n\n\
            !!! Your current profile is invalid. If you have just changed your profile\n";
        assert_eq!(Failure::read(bare).kind, FailureKind::NoProfile);
        let full =
            "cc1: error: a.o: No space left on device\n * ERROR: a/b-1::gentoo failed (compile phase):\n";
        assert_eq!(Failure::read(full).kind, FailureKind::NoRoom);
        let died = " * ERROR: a/b-1::gentoo failed (install phase):\n *   emake failed\n * \n";
        let why = Some("emake failed".to_owned());
        assert_eq!(Failure::read(died).kind, FailureKind::Phase { phase: "install".to_owned(), why });
        assert_eq!(Failure::read("anything").kind, FailureKind::Other);
        assert_eq!(Failure::read("").tail, Vec::<String>::new());
        let long = "x\n".repeat(1000);
        assert_eq!(Failure::read(&long).tail.len(), SHOWN);
    }
}
