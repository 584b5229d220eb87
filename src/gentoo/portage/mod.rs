//! The commands and the environment that install packages in a root. The caller runs them in a sandbox.
//!
//! Portage is configured by environment and arguments only; the root's configuration stays as in the stage3. The build account
//! is written directly, as `useradd` would run under emulation and record the current day.

mod account;
mod failure;
pub mod gpkg;
pub mod packages;

pub use account::{Account, AccountError};
pub use failure::{Failure, FailureKind};

/// The packages that a stage3 gets by default: `bc` and libelf, which kernel builds need.
pub const PACKAGES: [&str; 2] = ["sys-devel/bc", "virtual/libelf"];

/// The directory of binary packages in a root.
pub const BINARY_PACKAGES: &str = "/var/cache/binpkgs";

/// The directory of package sources in a root.
pub const SOURCES: &str = "/var/cache/distfiles";

/// The ebuild tree in a root. It contains the root's profile.
pub const EBUILDS: &str = "/var/db/repos/gentoo";

/// The stage3's configuration of binary package servers.
pub const BINHOSTS: &str = "/etc/portage/binrepos.conf";

/// Removes what an installation leaves behind and no image needs: logs with timestamps, and Portage's caches.
const LEFT_OVER: &str = "rm -rf /var/log/emerge.log /var/log/emerge-fetch.log /var/log/portage/* /var/cache/edb/* /var/cache/ldconfig/aux-cache /var/tmp/portage; \
    [ -s /etc/resolv.conf ] || rm -f /etc/resolv.conf";

/// Whether a root's programs run natively or under qemu-user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Natively.
    Native,
    /// Under qemu-user, through `binfmt_misc`.
    Emulated,
}

/// An installation of packages.
#[derive(Debug, Clone)]
pub struct Install {
    /// Package atoms.
    pub packages: Vec<String>,
    /// How the root's programs run.
    pub machine: Machine,
    /// The build account of the root.
    pub account: Account,
    /// Binary package servers.
    pub binhosts: Vec<String>,
    /// Mirrors of package sources.
    pub mirrors: Vec<String>,
    /// Whether packages that are built here are kept as binary packages.
    pub keep: bool,
    /// The number of parallel compiler processes.
    pub jobs: usize,
}

/// An invalid package atom.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{atom:?} is no package: write category/name, such as sys-devel/bc")]
pub struct AtomError {
    /// The text.
    pub atom: String,
}

impl Install {
    /// The command that fetches binary packages and sources. Needs a network. It fails if anything is missing.
    pub fn fetch(&self) -> Result<Vec<String>, AtomError> {
        let mut options = vec!["--fetchonly"];
        if !self.binhosts.is_empty() {
            options.push("--getbinpkg");
        }
        self.emerge(&options)
    }

    /// The commands that install the packages, in order. They need no network.
    ///
    /// Installed packages are left alone; for the others, binary packages are used where they fit. The root's own `rm` does the
    /// clean-up, so that links are resolved inside the root.
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
        // emerge needs at least one atom.
        if self.packages.is_empty() {
            return Ok(vec!["true".to_owned()]);
        }
        let always = [
            "--usepkg",
            "--noreplace",
            // A package with other USE flags is another package.
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

    /// The environment of all commands.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let jobs = self.jobs.max(1);
        let mut env = vec![
            ("HOME", "/root".to_owned()),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            // The same for ebuild helpers.
            ("NOCOLOR", "true".to_owned()),
            ("PKGDIR", BINARY_PACKAGES.to_owned()),
            ("DISTDIR", SOURCES.to_owned()),
            ("MAKEOPTS", format!("-j{jobs}")),
            ("FEATURES", self.features().to_owned()),
            // Configuration files are not merged interactively.
            ("CONFIG_PROTECT", "-*".to_owned()),
            ("GENTOO_MIRRORS", self.mirrors.join(" ")),
        ];
        if !self.binhosts.is_empty() {
            env.push(("PORTAGE_BINHOST", self.binhosts.join(" ")));
        }
        env
    }

    /// Changes to Portage's features. kiln creates the namespaces, and neither namespaces nor Portage's sandbox work under
    /// qemu-user. The package index may list removed packages. kiln verifies signatures itself, as the root may lack gpg and
    /// keys. Other features of the root stay.
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

/// Whether emerge parses it as a package, and not as an option, a file or a set.
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
