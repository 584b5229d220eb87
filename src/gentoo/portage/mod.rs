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

/// What a stage3 gets besides the account: `bc` and the library that the kernel's build needs.
pub const PACKAGES: [&str; 2] = ["sys-devel/bc", "virtual/libelf"];

/// Where binary packages are in a root.
pub const BINARY_PACKAGES: &str = "/var/cache/binpkgs";

/// Where what packages are made from is in a root.
pub const SOURCES: &str = "/var/cache/distfiles";

/// Where the tree of ebuilds is in a root, which its profile is a part of.
pub const EBUILDS: &str = "/var/db/repos/gentoo";

/// What says which servers of binary packages a stage3 would ask.
pub const BINHOSTS: &str = "/etc/portage/binrepos.conf";

/// What is left of an installation that no image needs: logs with times in them, and what Portage has computed.
const LEFT_OVER: &str = "rm -rf /var/log/emerge.log /var/log/emerge-fetch.log /var/log/portage/* /var/cache/edb/* /var/cache/ldconfig/aux-cache /var/tmp/portage; \
    [ -s /etc/resolv.conf ] || rm -f /etc/resolv.conf";

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
    /// The account that the root has been given.
    pub account: Account,
    /// Servers of binary packages, if any are to be asked.
    pub binhosts: Vec<String>,
    /// Mirrors of what packages are made from.
    pub mirrors: Vec<String>,
    /// Whether packages that had to be made here are kept as binary ones.
    pub keep: bool,
    /// How many processes a compilation may have.
    pub jobs: usize,
}

/// A package's name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{atom:?} is no package: write category/name, such as sys-devel/bc")]
pub struct AtomError {
    /// What was written.
    pub atom: String,
}

impl Install {
    /// What gets all that servers have of it: binary packages, and what others are made from. It takes a network; that it
    /// fails may mean that something is not there, or that nothing is.
    pub fn fetch(&self) -> Result<Vec<String>, AtomError> {
        let mut options = vec!["--fetchonly"];
        if !self.binhosts.is_empty() {
            options.push("--getbinpkg");
        }
        self.emerge(&options)
    }

    /// What runs then, one after the other, each if the one before went well. It takes no network.
    ///
    /// Packages that are there as they should be are left alone; of the others, binary ones are used where they fit.
    /// What is left over is removed by the root's own `rm`, for which a link in the root leads nowhere else.
    pub fn steps(&self) -> Result<[Vec<String>; 3], AtomError> {
        let Account { name, id } = &self.account;
        let give = format!("[ ! -d \"$1\" ] || chown {id}:{id} \"$1\"");
        let give = ["sh", "-c", &give, "give", &format!("/home/{name}")].map(str::to_owned).into();
        let emerge = self.emerge(if self.keep { &["--buildpkg"] } else { &[] })?;
        let clean = ["sh", "-c", LEFT_OVER].map(str::to_owned).into();
        Ok([give, emerge, clean])
    }

    fn emerge(&self, options: &[&str]) -> Result<Vec<String>, AtomError> {
        for atom in &self.packages {
            is_atom(atom).then_some(()).ok_or_else(|| AtomError { atom: atom.clone() })?;
        }
        // It wants one at least.
        if self.packages.is_empty() {
            return Ok(vec!["true".to_owned()]);
        }
        let always = [
            "--usepkg",
            "--noreplace",
            // Other flags, other package.
            "--binpkg-respect-use=y",
            "--color=n",
            "--nospinner",
            "--quiet-build=y",
            "--ignore-default-opts",
        ];
        let words =
            ["emerge"].iter().chain(options).chain(&always).chain(&["--"]).map(|&word| word.to_owned());
        Ok(words.chain(self.packages.iter().cloned()).collect())
    }

    /// All of the environment of what runs.
    pub fn env(&self) -> Vec<(&'static str, String)> {
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
            ("DISTDIR", SOURCES.to_owned()),
            ("MAKEOPTS", format!("-j{jobs}")),
            ("FEATURES", self.features().to_owned()),
            // Nobody is there to merge configuration files.
            ("CONFIG_PROTECT", "-*".to_owned()),
            ("GENTOO_MIRRORS", self.mirrors.join(" ")),
        ];
        if !self.binhosts.is_empty() {
            env.push(("PORTAGE_BINHOST", self.binhosts.join(" ")));
        }
        env
    }

    /// Namespaces are ours to make, and can't be made by programs that qemu-user runs; nor does Portage's own sandbox work
    /// there. An index of packages may tell of some that are not used any more. Who signed a package has been looked at, where it
    /// matters: Portage would go by a gpg and a keyring that the root may not have. What other features the root has stays.
    fn features(&self) -> &'static str {
        match self.machine {
            Machine::Native => {
                "-ipc-sandbox -network-sandbox -pid-sandbox -news -merge-sync -pkgdir-index-trusted binpkg-ignore-signature"
            }
            Machine::Emulated => {
                "-ipc-sandbox -network-sandbox -pid-sandbox -sandbox -usersandbox -news -merge-sync -pkgdir-index-trusted binpkg-ignore-signature"
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
            account: Account { name: "buildbot".to_owned(), id: 4242 },
            binhosts: Vec::new(),
            mirrors: vec!["https://m.invalid/".to_owned()],
            keep: true,
            jobs: 2,
        }
    }

    fn value<'a>(env: &'a [(&str, String)], name: &str) -> Option<&'a str> {
        env.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value)
    }

    #[test]
    fn emerge_uses_and_keeps_binary_packages() {
        let [give, emerge, clean] = install().steps().unwrap();
        assert!(give.last().unwrap() == "/home/buildbot" && give[2].contains("chown 4242:4242"));
        assert_eq!(emerge[..4], ["emerge", "--buildpkg", "--usepkg", "--noreplace"]);
        assert_eq!(emerge[emerge.len() - 3..], ["--", "sys-devel/bc", "virtual/libelf"]);
        assert_eq!(clean[0], "sh");
        assert!(!install().fetch().unwrap().contains(&"--getbinpkg".to_owned()));
        let env = install().env();
        assert_eq!(value(&env, "PKGDIR"), Some("/var/cache/binpkgs"));
        assert_eq!(value(&env, "PORTAGE_BINHOST"), None);
        assert!(!value(&env, "FEATURES").unwrap().contains("-usersandbox"));
        let [_, nothing, _] = Install { packages: Vec::new(), ..install() }.steps().unwrap();
        assert_eq!(nothing, ["true"]);
        let [_, emerge, _] = Install { keep: false, ..install() }.steps().unwrap();
        assert!(!emerge.contains(&"--buildpkg".to_owned()));
    }

    #[test]
    fn emulated_roots_have_no_sandbox_and_binhosts_are_asked_if_named() {
        let mut install = install();
        install.machine = Machine::Emulated;
        install.binhosts = vec!["https://a.invalid/arm64".to_owned(), "https://b.invalid".to_owned()];
        let env = install.env();
        assert!(value(&env, "FEATURES").unwrap().contains("-usersandbox"));
        assert_eq!(value(&env, "PORTAGE_BINHOST"), Some("https://a.invalid/arm64 https://b.invalid"));
        assert_eq!(install.fetch().unwrap()[..3], ["emerge", "--fetchonly", "--getbinpkg"]);
        let [_, emerge, _] = install.steps().unwrap();
        assert!(!emerge.contains(&"--getbinpkg".to_owned()), "what is not here by then is not asked for");
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
