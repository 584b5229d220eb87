//! The values of the placeholders of the matrix. Their names are listed in `placeholders`; a test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Value as Json, json};

use super::fixups::config_line;
use super::model::{
    Arch, AttrValue, Board, Build, Compiler, Definition, DefinitionFrom, Project, RootMode, RootSpec,
    Signers, Skip, Spec, Test, Toolchain,
};
use super::root::{TOOLCHAIN, ToolchainRoot, in_root};

/// The value of a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One text.
    Text(String),
    /// A list, spliced into a step or an input.
    List(Vec<String>),
}

impl From<&AttrValue> for Value {
    fn from(value: &AttrValue) -> Self {
        match value {
            AttrValue::Text(text) => Self::Text(text.clone()),
            AttrValue::List(list) => Self::List(list.clone()),
        }
    }
}

/// The placeholders that a build binds, and a board and a test where given. Not `in.NAME`, `out` and parameters,
/// which are a rule's own.
pub fn bindings(
    spec: &Spec,
    build: &Build,
    board: Option<&str>,
    test: Option<&str>,
) -> BTreeMap<String, Value> {
    let project = &spec.project;
    let mut placeholders = Placeholders::default();
    placeholders.text("source", &build.id.source);
    placeholders.text("arch", &build.id.arch);
    if let Some(arch) = project.archs.get(&build.id.arch) {
        placeholders.arch(&build.id.arch, arch);
    }
    placeholders.text("toolchain", &build.id.toolchain);
    if let Some(toolchain) = project.toolchains.get(&build.id.toolchain) {
        placeholders.toolchain(project, &build.id.arch, toolchain);
    }
    placeholders.text("defconfig", &build.id.defconfig);
    let config = project.configs.get(&build.id.defconfig);
    let base = config.map_or_else(|| vec![build.id.defconfig.clone()], |config| config.base.clone());
    placeholders.list("defconfig.base", base);
    let seed = config.and_then(|config| config.seed.as_ref());
    placeholders.text("defconfig.seed", &seed.map_or_else(String::new, ToString::to_string));
    let fragments = config.map(|config| config.fragments.as_slice()).unwrap_or_default();
    placeholders.list("defconfig.fragments", fragments.iter().map(|path| path.display().to_string()));
    placeholders.list("fixups", build.fixups.iter().cloned());
    placeholders.list("fixups.lines", build.fixups.iter().map(|fixup| config_line(fixup)));
    placeholders.list("fixups.required", build.required().map(str::to_owned));
    placeholders.text("repeatable", if project.repeatable { "true" } else { "false" });
    if let Some(name) = board {
        placeholders.text("board", name);
        if let Some(board) = project.boards.get(name) {
            placeholders.board(board);
        }
    }
    if let Some(name) = test {
        placeholders.text("test", name);
        if let Some(test) = project.tests.get(name) {
            placeholders.test(test, spec.today);
        }
    }
    placeholders.0
}

/// The placeholders that a root binds.
pub fn root_bindings(spec: &Spec, name: &str) -> BTreeMap<String, Value> {
    let mut placeholders = Placeholders::default();
    placeholders.text("root", name);
    if let Some(root) = spec.project.roots.get(name) {
        placeholders.root(root);
    }
    let gentoo = spec.project.gentoo.as_ref();
    placeholders.list("root.signers", gentoo.map(|gentoo| signers(&gentoo.signed_by)).unwrap_or_default());
    let ebuilds = gentoo.and_then(|gentoo| gentoo.ebuilds.as_ref());
    placeholders.list("root.ebuild_signers", ebuilds.map(signers).unwrap_or_default());
    placeholders.0
}

#[derive(Default)]
struct Placeholders(BTreeMap<String, Value>);

impl Placeholders {
    fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), Value::Text(value.into()));
    }

    fn list(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        self.0.insert(name.into(), Value::List(values.into_iter().collect()));
    }

    fn attrs(&mut self, axis: &str, attrs: &BTreeMap<String, AttrValue>) {
        let named = attrs.iter().map(|(name, value)| (format!("{axis}.{name}"), value.into()));
        self.0.extend(named);
    }

    fn arch(&mut self, name: &str, arch: &Arch) {
        let kernel = arch.kernel.as_ref().map_or(name, |kernel| kernel);
        // Attributes first: the checker refuses those with a name of ours, and ours win in any case.
        self.attrs("arch", &arch.attrs);
        self.text("arch.kernel", kernel);
        self.text("arch.image", &arch.image);
        self.list("arch.targets", arch.targets.iter().cloned());
        self.list("arch.make", [format!("ARCH={kernel}")]);
    }

    fn toolchain(&mut self, project: &Project, arch: &str, toolchain: &Toolchain) {
        let target = toolchain.targets.get(arch).map(String::as_str).unwrap_or_default();
        let root = in_root(project, arch, toolchain);
        let prefix = match root {
            None => target,
            Some(ToolchainRoot { mode: RootMode::Emulated, .. }) => "",
            Some(ToolchainRoot { mode: RootMode::Mixed | RootMode::Hybrid(_), .. }) => TOOLCHAIN,
        };
        self.text("toolchain.prefix", prefix);
        let cross = (!prefix.is_empty()).then(|| format!("CROSS_COMPILE={prefix}"));
        let variables = toolchain.make.iter().cloned();
        self.list("toolchain.make", cross.into_iter().chain(variables));
        let more = toolchain.tools.iter().cloned();
        match &toolchain.compiler {
            Compiler::Gcc => {
                self.text("toolchain.cc", &format!("{prefix}gcc"));
                self.list("toolchain.cflags", []);
                let names = ["gcc", "ld", "as", "ar", "nm", "objcopy", "objdump", "strip", "readelf"];
                let names = names.iter().map(|name| format!("{prefix}{name}"));
                self.list("toolchain.tools", names.chain(more));
            }
            Compiler::Clang => {
                self.text("toolchain.cc", "clang");
                let triple = prefix.trim_end_matches('-');
                self.list("toolchain.cflags", (!triple.is_empty()).then(|| format!("--target={triple}")));
                let llvm = ["ar", "nm", "objcopy", "objdump", "strip", "readelf"];
                let llvm = llvm.map(|name| format!("llvm-{name}"));
                self.list(
                    "toolchain.tools",
                    ["clang".to_owned(), "ld.lld".to_owned()].into_iter().chain(llvm).chain(more),
                );
            }
            // The root's identity covers its programs.
            Compiler::Root(_) => {
                self.text("toolchain.cc", &format!("{prefix}gcc"));
                self.list("toolchain.cflags", []);
                self.list(
                    "toolchain.tools",
                    root.and_then(|root| root.compiler(project, arch)).into_iter().chain(more),
                );
            }
        }
    }

    fn root(&mut self, root: &RootSpec) {
        self.text("root.stage3", root.stage3.name());
        self.list("root.packages", root.packages.iter().cloned());
        self.text("root.user", &root.user.name);
        self.text("root.uid", &root.user.id.to_string());
        self.list("root.binhosts", root.binhosts.iter().cloned());
        self.list("root.package_signers", root.packages_signed_by.as_ref().map(signers).unwrap_or_default());
    }

    fn board(&mut self, board: &Board) {
        self.attrs("board", &board.attrs);
        self.text("board.device_type", &board.device_type);
        self.list("board.tags", board.tags.iter().cloned());
        self.text("board.image", &board.image);
        let dtb = board.dtb.as_ref().map(|dtb| dtb.display().to_string());
        self.text("board.dtb", &dtb.unwrap_or_default());
        self.text("board.rootfs", &board.rootfs);
        let job = board.job.as_ref().map(|job| job.display().to_string());
        self.text("board.job", &job.unwrap_or_default());
        self.text("board.vars", &vars(&board.attrs));
        // Every board has a lab; a board of several is booted in the first.
        self.text("board.lab", board.labs.first().map(String::as_str).unwrap_or_default());
        let qemu = board.qemu.as_ref();
        self.text("board.qemu", qemu.map(|qemu| qemu.program.as_str()).unwrap_or_default());
        self.list("board.args", qemu.map(|qemu| qemu.args.clone()).unwrap_or_default());
        self.text("board.cmdline", qemu.map(|qemu| qemu.cmdline.as_str()).unwrap_or_default());
    }

    fn test(&mut self, test: &Test, today: Date) {
        self.text("test.marker", test.marker());
        self.text("test.time_limit", &test.time_limit().as_secs().to_string());
        self.list("test.files", test.files().map(|path| path.display().to_string()));
        let (lava, skip) = match test {
            Test::Lava { definitions, skip, .. } => {
                let definitions = definitions.iter().map(of_definition);
                // A job depends on the skips that count today, not on their reasons or dates.
                let counting = skip.iter().filter(|skip| skip.counts(today));
                let cases: BTreeSet<&str> = counting.map(|skip| skip.case.as_str()).collect();
                let lava = json!({"definitions": definitions.collect::<Vec<_>>(), "skip": cases});
                let skip: Json = skip.iter().map(of_skip).collect();
                (lava.to_string(), skip.to_string())
            }
            Test::Console { .. } | Test::Login { .. } => (String::new(), String::new()),
        };
        self.text("test.lava", &lava);
        self.text("test.skip", &skip);
    }
}

/// Fingerprints, in order: which of them was written first makes no difference.
fn signers(signers: &Signers) -> Vec<String> {
    let all: BTreeSet<_> = signers.signers.iter().map(|signer| signer.to_uppercase()).collect();
    all.into_iter().collect()
}

/// Attributes as JSON, sorted by name: equal attributes are equal texts.
fn vars(attrs: &BTreeMap<String, AttrValue>) -> String {
    let vars = attrs.iter().map(|(name, value)| {
        let value = match value {
            AttrValue::Text(text) => json!(text),
            AttrValue::List(list) => json!(list),
        };
        (name, value)
    });
    json!(vars.collect::<BTreeMap<_, _>>()).to_string()
}

/// A definition without its place in the project: its content is an input.
fn of_definition(definition: &Definition) -> Json {
    let (name, params) = (&definition.name, &definition.params);
    match &definition.from {
        DefinitionFrom::Inline { .. } => json!({"name": name, "params": params}),
        DefinitionFrom::Git { url, rev, path } => {
            let git = json!({"path": path, "rev": rev, "url": url});
            json!({"git": git, "name": name, "params": params})
        }
    }
}

fn of_skip(skip: &Skip) -> Json {
    let until = skip.until.map(|until| until.to_string());
    json!({"case": skip.case, "reason": skip.reason, "until": until})
}
