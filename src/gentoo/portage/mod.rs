//! What has to run in a root so that packages are in it, as data: whoever has a sandbox runs it.
//!
//! Portage is told everything by its environment and its arguments; the root's own configuration stays as the stage3 has it.
//! The account that builds kernels is written here rather than made by `useradd`, which would run under emulation and
//! would note the day on which it ran.

mod account;
mod failure;
pub mod gpkg;
pub mod packages;

pub use account::{Account, AccountError};
pub use failure::{Failure, FailureKind};

use std::path::{Path, PathBuf};

/// What a stage3 gets besides the account: `bc` and the library that the kernel's build needs.
pub const PACKAGES: [&str; 2] = ["sys-devel/bc", "virtual/libelf"];

/// Where binary packages are in a root.
pub const BINARY_PACKAGES: &str = "/var/cache/binpkgs";

/// What is left of an installation that no image needs: logs with times in them, and what Portage has computed.
const LEFT_OVER: &str = "rm -rf /var/log/emerge.log /var/log/emerge-fetch.log /var/log/portage/* /var/cache/edb/* /var/tmp/portage";

/// Whether a root's programs run as they are, or under qemu-user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// The processor runs them.
    Native,
    /// `binfmt_misc` has them run by qemu-user.
    Emulated,
}

/// What packages to install, and how.
#[derive(Debug, Clone)]
pub struct Install {
    /// Atoms of packages, each as emerge takes it.
    pub packages: Vec<String>,
    /// Whether the root is of another architecture.
    pub machine: Machine,
    /// Where binary packages of the same kind are kept on the host, across stage3s.
    pub cache: PathBuf,
    /// A tree of ebuilds on the host, if the root has none of its own.
    pub ebuilds: Option<PathBuf>,
    /// Servers of binary packages, if any are to be asked.
    pub binhosts: Vec<String>,
    /// How many processes a compilation may have.
    pub jobs: usize,
}

/// Something of the host's that is seen in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub from: PathBuf,
    /// In the root.
    pub to: PathBuf,
    /// Whether it can be written there.
    pub writable: bool,
}

/// A program to run in the root, as root of it, with nothing else in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// All of its environment.
    pub env: Vec<(&'static str, String)>,
}

/// A package's name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{atom:?} is no package: write category/name, such as sys-devel/bc")]
pub struct AtomError {
    /// What was written.
    pub atom: String,
}

impl Install {
    /// What is bound into the root.
    pub fn binds(&self) -> Vec<Bind> {
        let bind = |from: &Path, to: &str, writable| Bind { from: from.to_owned(), to: to.into(), writable };
        let mut binds = vec![bind(&self.cache, BINARY_PACKAGES, true)];
        binds.extend(self.ebuilds.iter().map(|ebuilds| bind(ebuilds, "/var/db/repos/gentoo", false)));
        binds
    }

    /// What runs, one after the other, each if the one before went well.
    ///
    /// Packages that are there as they should be are left alone; of the others, binary ones are used where they fit, and
    /// kept where they have to be made. What is left over is removed by the root's own `rm`, for which a link in the root
    /// leads nowhere else.
    pub fn steps(&self) -> Result<[Step; 2], AtomError> {
        let emerge = self.emerge()?;
        let clean = ["sh", "-c", LEFT_OVER].map(str::to_owned).into();
        let clean = Step { argv: clean, env: emerge.env.clone() };
        Ok([emerge, clean])
    }

    fn emerge(&self) -> Result<Step, AtomError> {
        for atom in &self.packages {
            is_atom(atom).then_some(()).ok_or_else(|| AtomError { atom: atom.clone() })?;
        }
        let mut argv: Vec<String> = [
            "emerge",
            "--buildpkg",
            "--usepkg",
            "--noreplace",
            // Other flags, other package.
            "--binpkg-respect-use=y",
            "--color=n",
            "--nospinner",
            "--quiet-build=y",
            "--ignore-default-opts",
        ]
        .map(str::to_owned)
        .into();
        if !self.binhosts.is_empty() {
            argv.push("--getbinpkg".to_owned());
        }
        argv.push("--".to_owned());
        argv.extend(self.packages.iter().cloned());
        let jobs = self.jobs.max(1);
        let mut env = vec![
            ("HOME", "/root".to_owned()),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            // The same, for the helpers that packages are made with.
            ("NOCOLOR", "true".to_owned()),
            ("PKGDIR", BINARY_PACKAGES.to_owned()),
            ("MAKEOPTS", format!("-j{jobs}")),
            ("FEATURES", self.features().to_owned()),
            // Nobody is there to merge configuration files.
            ("CONFIG_PROTECT", "-*".to_owned()),
        ];
        if !self.binhosts.is_empty() {
            env.push(("PORTAGE_BINHOST", self.binhosts.join(" ")));
        }
        Ok(Step { argv, env })
    }

    /// Namespaces are ours to make, and can't be made by programs that qemu-user runs; nor does Portage's own sandbox work
    /// there. What other features the root has stays.
    fn features(&self) -> &'static str {
        match self.machine {
            Machine::Native => "-ipc-sandbox -network-sandbox -pid-sandbox -news -merge-sync",
            Machine::Emulated => {
                "-ipc-sandbox -network-sandbox -pid-sandbox -sandbox -usersandbox -news -merge-sync"
            }
        }
    }
}

/// Whether emerge takes it for a package and for nothing else: it could be an option, a file or a set.
pub fn is_atom(atom: &str) -> bool {
    let operator = atom.trim_start_matches(['=', '<', '>', '~']);
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-:/[],=*".contains(&byte))
    };
    atom.len() - operator.len() <= 2
        && operator.split_once('/').is_some_and(|(category, name)| part(category) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install() -> Install {
        Install {
            packages: PACKAGES.map(str::to_owned).into(),
            machine: Machine::Native,
            cache: "/cache/amd64".into(),
            ebuilds: None,
            binhosts: Vec::new(),
            jobs: 2,
        }
    }

    fn value<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
        step.env.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value)
    }

    #[test]
    fn emerge_uses_and_keeps_binary_packages() {
        let step = install().emerge().unwrap();
        assert_eq!(step.argv[0], "emerge");
        for option in ["--buildpkg", "--usepkg", "--noreplace"] {
            assert!(step.argv.contains(&option.to_owned()));
        }
        assert_eq!(step.argv[step.argv.len() - 3..], ["--", "sys-devel/bc", "virtual/libelf"]);
        assert!(!step.argv.contains(&"--getbinpkg".to_owned()));
        assert_eq!(value(&step, "PKGDIR"), Some("/var/cache/binpkgs"));
        assert!(!value(&step, "FEATURES").unwrap().contains("-usersandbox"));
        assert_eq!(
            install().binds(),
            [Bind { from: "/cache/amd64".into(), to: "/var/cache/binpkgs".into(), writable: true }]
        );
    }

    #[test]
    fn emulated_roots_have_no_sandbox_and_binhosts_are_asked_if_named() {
        let mut install = install();
        install.machine = Machine::Emulated;
        install.binhosts = vec!["https://a.invalid/arm64".to_owned(), "https://b.invalid".to_owned()];
        install.ebuilds = Some("/srv/gentoo".into());
        let step = install.emerge().unwrap();
        assert!(value(&step, "FEATURES").unwrap().contains("-usersandbox"));
        assert_eq!(value(&step, "PORTAGE_BINHOST"), Some("https://a.invalid/arm64 https://b.invalid"));
        assert!(step.argv.contains(&"--getbinpkg".to_owned()));
        assert!(!install.binds()[1].writable);
    }

    #[test]
    fn only_packages_are_packages() {
        for atom in [
            "sys-devel/bc",
            ">=dev-libs/elfutils-0.191",
            "=sys-devel/gcc-14*",
            "dev-lang/python:3.12",
            "virtual/libelf[static]",
        ] {
            assert!(is_atom(atom), "{atom}");
        }
        for atom in [
            "bc",
            "@world",
            "--unmerge",
            "-C",
            "/etc/passwd",
            "../x/y",
            "a/b c",
            "a/",
            "/b",
            "",
            "a/$(b)",
            "<<<a/b",
        ] {
            assert!(!is_atom(atom), "{atom}");
            assert!(Install { packages: vec![atom.to_owned()], ..install() }.steps().is_err());
        }
    }
}
