//! Kind `Binpkg`: installs an account and packages over a stage3, as an overlay image.
//!
//! | file | content |
//! | --- | --- |
//! | `package_cache.rs` | binary packages kept between runs, verified before each use |
//! | `ebuilds.rs` | the ebuild tree that packages are built from |
//! | `toolchain_info.rs` | the root's compiler and binutils, as the root reports them |
//! | `emerge_failure.rs` | outcome and message of a failed emerge |

mod ebuilds;
mod emerge_failure;
mod package_cache;
mod toolchain_info;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use super::mirrors::{LockedDir, ProjectLock, keyring, not_locked};
use crate::exec::sandbox::{Access, Images, Mount, Root, RunAs, SandboxSpec, Shown, Step, Writable};
use crate::exec::{BuiltinAction, BuiltinResult, BuiltinRun, StepsEnd};
use crate::gentoo::ebuilds::EbuildTree;
use crate::gentoo::image::packer;
use crate::gentoo::portage::{
    Account, BINARY_PACKAGES, BINHOSTS, EBUILDS, Failure, FailureKind, Install, Machine, SOURCES,
};
use crate::graph::Action;
use crate::plan::{PlanError, Projected};
use crate::spec::model::{Gentoo, HostRef, RootSpec, Spec};

use package_cache::PackageCache;

/// The input: the stage3's image.
const BASE: &str = "base";

/// The outputs.
const IMAGE: &str = "image";
const ABOUT: &str = "about";

/// Where steps write their outputs, and the directory that they pack.
const OUT: &str = "/kiln/out";
const UPPER: &str = "/kiln/upper";

/// Makes package images of roots.
pub(super) struct Packages<'a> {
    pub spec: &'a Spec,
    pub lock: Arc<ProjectLock<'a>>,
}

impl Packages<'_> {
    /// The key projection besides the stage3: the locked ebuild tree.
    pub(super) fn projection(&self, action: &Action) -> Result<Projected, PlanError> {
        let tree = self.tree(action).map_err(|message| not_locked(action, message))?;
        let fields = tree.iter().map(|(_, tree)| ("ebuilds".to_owned(), tree.sha512.to_string()));
        Ok(Projected { fields: fields.collect(), ..Projected::default() })
    }

    /// What a node needs that is not locked.
    pub(super) fn missing_requirement(&self, action: &Action) -> Option<String> {
        self.tree(action).err()
    }

    fn root(&self, action: &Action) -> &RootSpec {
        let Some(root) = self.spec.project.roots.get(&action.bindings.text_of("root")) else {
            unreachable!("the node is of a root of the spec")
        };
        root
    }

    /// The locked ebuild tree of a root and its source. `None` if the root has no packages, the spec names no signer of ebuild
    /// trees, or the rule shows a tree of the host. An error says how to lock one.
    fn tree(&self, action: &Action) -> Result<Option<(&Gentoo, &EbuildTree)>, String> {
        let has_hosts = paths(action).any(|path| Path::new(EBUILDS).starts_with(path));
        match &self.spec.project.gentoo {
            Some(gentoo) if self.root(action).takes_ebuilds(gentoo) && !has_hosts => {
                Ok(Some((gentoo, self.lock.ebuilds()?)))
            }
            _ => Ok(None),
        }
    }
}

impl BuiltinAction for Packages<'_> {
    fn run(&self, making: &BuiltinRun<'_>) -> BuiltinResult {
        let root = self.root(making.action);
        let tree = match self.tree(making.action) {
            Ok(tree) => tree,
            Err(message) => return BuiltinResult::infra(message),
        };
        let run = match Run::new(self.spec, &self.lock, root, tree, making) {
            Ok(run) => run,
            Err(made) => return made,
        };
        let made = run.image().map_or_else(|made| made, BuiltinResult::passed);
        run.clear();
        made
    }
}

/// One run of a node.
struct Run<'a> {
    spec: &'a Spec,
    lock: &'a ProjectLock<'a>,
    root: &'a RootSpec,
    making: &'a BuiltinRun<'a>,
    install: Install,
    base: PathBuf,
    /// An image of the ebuild tree, unless the root's own is used.
    ebuilds: Option<PathBuf>,
    /// The writable overlay over the base.
    written: Writable,
    /// The directory that is [`OUT`] for steps.
    step_out: PathBuf,
}

impl<'a> Run<'a> {
    fn new(
        spec: &'a Spec,
        lock: &'a ProjectLock<'a>,
        root: &'a RootSpec,
        tree: Option<(&Gentoo, &EbuildTree)>,
        making: &'a BuiltinRun<'a>,
    ) -> Result<Self, BuiltinResult> {
        let install = Install {
            packages: root.packages.clone(),
            machine: if making.action.machine.is_some() { Machine::Emulated } else { Machine::Native },
            account: Account { name: root.user.name.clone(), id: root.user.id },
            binhosts: root.binhosts.clone(),
            mirrors: spec.project.gentoo.iter().flat_map(|gentoo| gentoo.mirrors.clone()).collect(),
            // Packages built here are unsigned.
            keep: root.packages_signed_by.is_none(),
            jobs: making.cores,
        };
        let dir = |name: &str| making.scratch.join(name);
        let written = Writable { upper: dir("upper"), work: dir("work") };
        let ebuilds = tree.map(|(gentoo, tree)| ebuilds::image(gentoo, tree, making)).transpose()?;
        let base = making.input(BASE)?;
        let run =
            Self { spec, lock, root, making, install, base, ebuilds, written, step_out: dir("step-out") };
        for dir in [&run.written.work, &run.step_out] {
            fs::create_dir(dir)
                .map_err(|error| BuiltinResult::infra(format!("{}: {error}", dir.display())))?;
        }
        Ok(run)
    }

    /// Makes the outputs. Returns a note for the user.
    fn image(&self) -> Result<Option<String>, BuiltinResult> {
        self.account()?;
        let refused = self.packages()?;
        let about = toolchain_info::read(&self.step_out).map_err(BuiltinResult::failed)?;
        let to = self.making.out(ABOUT)?;
        fs::write(&to, about).map_err(|error| BuiltinResult::infra(format!("{}: {error}", to.display())))?;
        self.pack()?;
        Ok(match refused {
            0 => None,
            1 => Some("1 package that was kept is not what it should be, and was not used".to_owned()),
            _ => Some(format!(
                "{refused} packages that were kept are not what they should be, and were not used"
            )),
        })
    }

    /// Adds the account to the overlay. The files that it changes are extracted from the image, so that no program of the root
    /// has to run.
    fn account(&self) -> Result<(), BuiltinResult> {
        let Self { written, base, .. } = self;
        let mut command = Command::new("unsquashfs");
        command.args(["-quiet", "-no-progress", "-processors", "1", "-d"]).arg(&written.upper).arg(base);
        let output = command.args(["etc/passwd", "etc/group", "etc/shadow", "home"]).output();
        let output = output.map_err(|error| {
            BuiltinResult::infra(format!("unsquashfs can't be run: {error}; install squashfs-tools"))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(BuiltinResult::infra(format!("the stage3's image can't be read: {}", said.trim())));
        }
        self.install.account.make(&written.upper).map_err(BuiltinResult::failed)
    }

    /// Installs the packages. Returns how many cached binary packages were refused.
    fn packages(&self) -> Result<usize, BuiltinResult> {
        let stage3 = self.root.stage3.name();
        let signed = if self.install.keep { "" } else { ".signed" };
        let dir = self.making.home.join("gentoo/packages").join(format!("{stage3}{signed}"));
        let _lock = LockedDir::take(&dir, self.making)?;
        let date = &self.lock.stage3(&self.root.stage3).map_err(BuiltinResult::infra)?.date;
        let cache = PackageCache::open(&dir, date).map_err(BuiltinResult::infra)?;
        let keys = self.root.packages_signed_by.as_ref();
        let keys = keys
            .map(|signers| keyring(&self.spec.root, signers))
            .transpose()
            .map_err(BuiltinResult::infra)?;
        let check = || -> Result<usize, BuiltinResult> {
            let rejected = cache.check(keys.as_ref(), SystemTime::now()).map_err(BuiltinResult::infra)?;
            for refused in &rejected {
                self.making.log(&format!("not used: {refused}"));
            }
            Ok(rejected.len())
        };
        let mut refused = check()?;
        // Binary package servers are queried first; sources are fetched only if emerge misses them.
        let has_network = self.making.action.rule.decl.sandbox.network;
        let mut has_fetched = !self.install.binhosts.is_empty();
        let mut fetch_failed = false;
        if has_fetched {
            fetch_failed = self.fetch(&cache)?;
            // Fetched packages are verified as well.
            refused += check()?;
        }
        let mut steps = self.install.steps().map_err(BuiltinResult::failed)?.to_vec();
        steps.push(toolchain_info::step(OUT));
        loop {
            match self.making.run_steps(self.in_root(&steps, &cache, false))? {
                StepsEnd::Passed => break,
                StepsEnd::Failed { step: 1, said, .. } => {
                    let failure = Failure::read(&said);
                    if has_fetched || !has_network || !matches!(failure.kind, FailureKind::NotFetched { .. })
                    {
                        return Err(emerge_failure::install_failure(&failure, fetch_failed, self.making));
                    }
                    has_fetched = true;
                    fetch_failed = self.fetch(&cache)?;
                    refused += check()?;
                }
                StepsEnd::Failed { step, code, said } => {
                    let last = said.trim_end().lines().last().unwrap_or_default();
                    return Err(BuiltinResult::failed(format!(
                        "{} in the root exited with {code}: {last}",
                        steps[step][0]
                    )));
                }
            }
        }
        let gone = cache.bound().map_err(BuiltinResult::infra)?;
        if gone > 0 {
            self.making.log(&format!("{gone} packages that were not used for longest are gone"));
        }
        Ok(refused)
    }

    /// Fetches binary packages and sources. Returns whether anything could not be fetched.
    fn fetch(&self, cache: &PackageCache) -> Result<bool, BuiltinResult> {
        let steps = [self.install.fetch().map_err(BuiltinResult::failed)?];
        match self.making.run_steps(self.in_root(&steps, cache, true))? {
            StepsEnd::Passed => Ok(false),
            StepsEnd::Failed { said, .. } => {
                if let Some(made) = emerge_failure::fetch_failure(&said) {
                    return Err(made);
                }
                self.making.log("not all could be fetched; what is here may do");
                Ok(true)
            }
        }
    }

    /// A sandbox in the root with the writable overlay.
    fn in_root(&self, steps: &[Vec<String>], cache: &PackageCache, network: bool) -> SandboxSpec {
        let mut mounts = vec![
            mount(&cache.packages(), BINARY_PACKAGES, Access::ReadWrite),
            mount(&cache.sources(), SOURCES, Access::ReadWrite),
            mount(&self.step_out, OUT, Access::ReadWrite),
        ];
        // Such as an ebuild tree.
        let host = paths(self.making.action).filter(|path| path.exists());
        mounts.extend(host.map(|path| Mount {
            from: path.to_owned(),
            to: path.to_owned(),
            access: Access::ReadOnly,
        }));
        let shown = self.ebuilds.iter().map(|image| Shown {
            images: Images { layers: vec![image.clone()], writable: None },
            to: EBUILDS.into(),
        });
        SandboxSpec {
            root: Root::Images(Images {
                layers: vec![self.base.clone()],
                writable: Some(self.written.clone()),
            }),
            shown: shown.collect(),
            run_as: RunAs::Installer,
            mounts,
            // The spec lists the servers, not the root.
            mask: vec![BINHOSTS.into()],
            steps: steps.iter().map(|argv| step(argv.iter().map(OsString::from).collect())).collect(),
            env: self.install.env().into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            network,
            ..SandboxSpec::default()
        }
    }

    /// Packs the overlay as an image. Runs in a sandbox, as other users may own the files.
    fn pack(&self) -> Result<(), BuiltinResult> {
        let to = self.making.out(IMAGE)?;
        let (Some(dir), Some(name)) = (to.parent(), to.file_name()) else {
            unreachable!("an output is a file in a directory")
        };
        fs::create_dir_all(dir)
            .map_err(|error| BuiltinResult::infra(format!("{}: {error}", dir.display())))?;
        let mut argv = packer(Path::new(UPPER), &Path::new(OUT).join(name), self.making.cores);
        // The directory itself belongs to the user who runs kiln.
        argv.extend(["-root-uid", "0", "-root-gid", "0"].map(OsString::from));
        let mounts =
            vec![mount(&self.written.upper, UPPER, Access::ReadOnly), mount(dir, OUT, Access::ReadWrite)];
        match self.making.run_steps(self.on_host(argv, mounts)?)? {
            StepsEnd::Passed => Ok(()),
            StepsEnd::Failed { said, .. } => {
                let said = said.trim().lines().collect::<Vec<_>>().join("; ");
                let room = if said.contains("No space left") { "; make room in the cache" } else { "" };
                Err(BuiltinResult::infra(format!("packing the packages failed: {said}{room}")))
            }
        }
    }

    /// Removes the overlay. Only the sandbox can remove files of its other users unless root runs kiln.
    fn clear(&self) {
        if nix::unistd::geteuid().is_root() {
            return;
        }
        let argv = ["rm", "-rf", "/kiln/scratch/upper", "/kiln/scratch/work"].map(OsString::from);
        let mounts = vec![mount(self.making.scratch, "/kiln/scratch", Access::ReadWrite)];
        if let Ok(spec) = self.on_host(argv.into(), mounts) {
            self.making.clean_up(&spec);
        }
    }

    /// A sandbox with a host program, run as the user that installs packages.
    fn on_host(&self, argv: Vec<OsString>, mounts: Vec<Mount>) -> Result<SandboxSpec, BuiltinResult> {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
        let program = argv.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        Ok(SandboxSpec {
            root: Root::Host(self.making.host_files(&[&program])?),
            run_as: RunAs::Installer,
            mounts,
            steps: vec![step(argv)],
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
            ..SandboxSpec::default()
        })
    }
}

/// The host paths that a rule declares.
fn paths(action: &Action) -> impl Iterator<Item = &Path> {
    action.host.iter().filter_map(|declared| match declared {
        HostRef::Path(path) => Some(path.as_path()),
        HostRef::Library(_) => None,
    })
}

fn step(argv: Vec<OsString>) -> Step {
    Step { argv, cwd: "/".into() }
}

fn mount(from: &Path, to: &str, access: Access) -> Mount {
    Mount { from: from.to_owned(), to: to.into(), access }
}
