//! What the placeholders of the matrix stand for. The names are those of `holes`; a test holds the two together.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Value as Json, json};

use super::diagnostic::Spanned;
use super::fixups::config_line;
use super::matrix::Build;
use super::model::{
    Arch, AttrValue, Board, Compiler, Definition, DefinitionFrom, Project, RootMode, RootSpec, Signers, Skip,
    Spec, Test, Toolchain,
};
use super::roots::{InRoot, TOOLCHAIN, in_root};

/// What a placeholder stands for.
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
    let mut holes = Holes::default();
    holes.text("source", &build.source);
    holes.text("arch", &build.arch);
    if let Some(arch) = project.archs.get(&build.arch) {
        holes.arch(&build.arch, &arch.value);
    }
    holes.text("toolchain", &build.toolchain);
    if let Some(toolchain) = project.toolchains.get(&build.toolchain) {
        holes.toolchain(project, &build.arch, &toolchain.value);
    }
    holes.text("defconfig", &build.defconfig);
    let config = project.configs.get(&build.defconfig).map(|config| &config.value);
    let base = config.map_or_else(
        || vec![build.defconfig.clone()],
        |config| config.base.iter().map(|target| target.value.clone()).collect(),
    );
    holes.list("defconfig.base", base);
    let seed = config.and_then(|config| config.seed.as_ref());
    holes.text("defconfig.seed", &seed.map_or_else(String::new, |seed| seed.value.to_string()));
    let fragments = config.map(|config| config.fragments.as_slice()).unwrap_or_default();
    holes.list("defconfig.fragments", fragments.iter().map(|path| path.value.display().to_string()));
    holes.list("fixups", build.fixups.iter().cloned());
    holes.list("fixups.lines", build.fixups.iter().map(|fixup| config_line(fixup)));
    holes.list("fixups.required", build.required().map(str::to_owned));
    holes.text("repeatable", if project.is_repeatable() { "true" } else { "false" });
    if let Some(name) = board {
        holes.text("board", name);
        if let Some(board) = project.boards.get(name) {
            holes.board(&board.value);
        }
    }
    if let Some(name) = test {
        holes.text("test", name);
        if let Some(test) = project.tests.get(name) {
            holes.test(&test.value, spec.today);
        }
    }
    holes.0
}

/// The placeholders that a root binds.
pub fn root_bindings(spec: &Spec, name: &str) -> BTreeMap<String, Value> {
    let mut holes = Holes::default();
    holes.text("root", name);
    if let Some(root) = spec.project.roots.get(name) {
        holes.root(&root.value);
    }
    let gentoo = spec.project.gentoo.as_ref();
    holes.list("root.signers", gentoo.map(|gentoo| signers(&gentoo.value.signed_by)).unwrap_or_default());
    let ebuilds = gentoo.and_then(|gentoo| gentoo.value.ebuilds.as_ref());
    holes.list("root.ebuild_signers", ebuilds.map(signers).unwrap_or_default());
    holes.0
}

#[derive(Default)]
struct Holes(BTreeMap<String, Value>);

impl Holes {
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
        let kernel = arch.kernel.as_ref().map_or(name, |kernel| &kernel.value);
        // Attributes first: the checker refuses those with a name of ours, and ours win in any case.
        self.attrs("arch", &arch.attrs);
        self.text("arch.kernel", kernel);
        self.text("arch.image", &arch.image);
        self.list("arch.targets", arch.targets.iter().cloned());
        self.list("arch.make", [format!("ARCH={kernel}")]);
    }

    fn toolchain(&mut self, project: &Project, arch: &str, toolchain: &Toolchain) {
        let target = toolchain.targets.get(arch).map(|target| target.value.as_str()).unwrap_or_default();
        let root = in_root(project, arch, toolchain);
        let prefix = match root {
            None => target,
            Some(InRoot { mode: RootMode::Emulated, .. }) => "",
            Some(InRoot { mode: RootMode::Mixed | RootMode::Hybrid(_), .. }) => TOOLCHAIN,
        };
        self.text("toolchain.prefix", prefix);
        let cross = (!prefix.is_empty()).then(|| format!("CROSS_COMPILE={prefix}"));
        let variables = toolchain.make.iter().map(|variable| variable.value.clone());
        self.list("toolchain.make", cross.into_iter().chain(variables));
        let more = toolchain.tools.iter().map(|tool| tool.value.clone());
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
            // What is in a root is known by the root.
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
        let texts = |list: &[Spanned<String>]| list.iter().map(|text| text.value.clone()).collect::<Vec<_>>();
        self.text("root.stage3", root.stage3.value.name());
        self.list("root.packages", texts(&root.packages));
        self.text("root.user", &root.user.name);
        self.text("root.uid", &root.user.id.to_string());
        self.list("root.binhosts", texts(&root.binhosts));
        self.list("root.package_signers", root.packages_signed_by.as_ref().map(signers).unwrap_or_default());
    }

    fn board(&mut self, board: &Board) {
        self.attrs("board", &board.attrs);
        self.text("board.device_type", &board.device_type.value);
        self.list("board.tags", board.tags.iter().map(|tag| tag.value.clone()));
        self.text("board.image", &board.image.value);
        let dtb = board.dtb.as_ref().map(|dtb| dtb.value.display().to_string());
        self.text("board.dtb", &dtb.unwrap_or_default());
        self.text("board.rootfs", &board.rootfs.value);
        let job = board.job.as_ref().map(|job| job.value.display().to_string());
        self.text("board.job", &job.unwrap_or_default());
        self.text("board.vars", &vars(&board.attrs));
        // Every board has a lab; a board of several is booted in the first.
        self.text("board.lab", board.labs.first().map(|lab| lab.value.as_str()).unwrap_or_default());
        let qemu = board.qemu.as_ref().map(|qemu| &qemu.value);
        self.text("board.qemu", qemu.map(|qemu| qemu.program.value.as_str()).unwrap_or_default());
        self.list("board.args", qemu.map(|qemu| qemu.args.clone()).unwrap_or_default());
        self.text("board.cmdline", qemu.map(|qemu| qemu.cmdline.as_str()).unwrap_or_default());
    }

    fn test(&mut self, test: &Test, today: Date) {
        self.text("test.marker", test.marker());
        self.text("test.time_limit", &test.time_limit().as_secs().to_string());
        self.list("test.files", test.files().map(|path| path.value.display().to_string()));
        let (lava, skip) = match test {
            Test::Lava { definitions, skip, .. } => {
                let definitions = definitions.iter().map(|definition| of_definition(&definition.value));
                // Of the skips, only which count: why they do, and for how long, makes no difference to a job.
                let counting = skip.iter().map(|skip| &skip.value).filter(|skip| skip.counts(today));
                let cases: BTreeSet<&str> = counting.map(|skip| skip.case.value.as_str()).collect();
                let lava = json!({"definitions": definitions.collect::<Vec<_>>(), "skip": cases});
                let skip: Json = skip.iter().map(|skip| of_skip(&skip.value)).collect();
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
    let all: BTreeSet<_> = signers.signers.iter().map(|signer| signer.value.to_uppercase()).collect();
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
    let (name, params) = (&definition.name.value, &definition.params);
    match &definition.from {
        DefinitionFrom::Inline { .. } => json!({"name": name, "params": params}),
        DefinitionFrom::Git { url, rev, path } => {
            let git = json!({"path": path, "rev": rev.value, "url": url.value});
            json!({"git": git, "name": name, "params": params})
        }
    }
}

fn of_skip(skip: &Skip) -> Json {
    let until = skip.until.map(|until| until.value.to_string());
    json!({"case": skip.case.value, "reason": skip.reason, "until": until})
}
