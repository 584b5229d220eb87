//! What the placeholders of the matrix stand for. The names are those of `holes`; a test holds the two together.

use std::collections::BTreeMap;

use super::fixups::config_line;
use super::matrix::Build;
use super::model::{Arch, AttrValue, Board, Compiler, Spec, Test, Toolchain};

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
        holes.toolchain(&build.arch, &toolchain.value);
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
    if let Some(name) = board {
        holes.text("board", name);
        if let Some(board) = project.boards.get(name) {
            holes.board(&board.value);
        }
    }
    if let Some(name) = test {
        holes.text("test", name);
        if let Some(test) = project.tests.get(name) {
            // A marker is never empty: this is a login prompt.
            let (marker, time_limit) = match &test.value {
                Test::Console { marker, time_limit } => (marker.value.as_str(), time_limit),
                Test::Login { time_limit } => ("", time_limit),
            };
            holes.text("test.marker", marker);
            holes.text("test.time_limit", &time_limit.as_secs().to_string());
        }
    }
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

    fn toolchain(&mut self, arch: &str, toolchain: &Toolchain) {
        let prefix = toolchain.targets.get(arch).map(|prefix| prefix.value.as_str()).unwrap_or_default();
        self.text("toolchain.prefix", prefix);
        let cross = (!prefix.is_empty()).then(|| format!("CROSS_COMPILE={prefix}"));
        let variables = toolchain.make.iter().map(|variable| variable.value.clone());
        self.list("toolchain.make", cross.into_iter().chain(variables));
        match toolchain.compiler {
            Compiler::Gcc => {
                self.text("toolchain.cc", &format!("{prefix}gcc"));
                self.list("toolchain.cflags", []);
                let names = ["gcc", "ld", "as", "ar", "nm", "objcopy", "objdump", "strip", "readelf"];
                self.list("toolchain.tools", names.map(|name| format!("{prefix}{name}")));
            }
            Compiler::Clang => {
                self.text("toolchain.cc", "clang");
                let triple = prefix.trim_end_matches('-');
                self.list("toolchain.cflags", (!triple.is_empty()).then(|| format!("--target={triple}")));
                let llvm = ["ar", "nm", "objcopy", "objdump", "strip", "readelf"];
                let llvm = llvm.map(|name| format!("llvm-{name}"));
                self.list(
                    "toolchain.tools",
                    ["clang".to_owned(), "ld.lld".to_owned()].into_iter().chain(llvm),
                );
            }
        }
    }

    fn board(&mut self, board: &Board) {
        self.attrs("board", &board.attrs);
        self.text("board.device_type", &board.device_type.value);
        self.text("board.image", &board.image.value);
        // Every board has a lab; a board of several is booted in the first.
        self.text("board.lab", board.labs.first().map(|lab| lab.value.as_str()).unwrap_or_default());
        let qemu = board.qemu.as_ref().map(|qemu| &qemu.value);
        self.text("board.qemu", qemu.map(|qemu| qemu.program.value.as_str()).unwrap_or_default());
        self.list("board.args", qemu.map(|qemu| qemu.args.clone()).unwrap_or_default());
        self.text("board.cmdline", qemu.map(|qemu| qemu.cmdline.as_str()).unwrap_or_default());
    }
}
