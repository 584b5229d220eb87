//! The placeholders that a rule may use, and their types.

use std::collections::BTreeMap;

use super::declared::{Project, Rule};
use super::model::{AttrValue, Axis};

/// The type of a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceholderType {
    Text,
    List,
}

use PlaceholderType::{List, Text};

/// The placeholders that come with an axis, besides the axis itself.
pub(super) const fn of_axis(axis: Axis) -> &'static [(&'static str, PlaceholderType)] {
    match axis {
        Axis::Source => &[],
        Axis::Arch => {
            &[("arch.kernel", Text), ("arch.image", Text), ("arch.targets", List), ("arch.make", List)]
        }
        Axis::Defconfig => {
            &[("defconfig.base", List), ("defconfig.seed", Text), ("defconfig.fragments", List)]
        }
        Axis::Toolchain => &[
            ("toolchain.make", List),
            ("toolchain.prefix", Text),
            ("toolchain.cc", Text),
            ("toolchain.cflags", List),
            ("toolchain.tools", List),
        ],
        Axis::Board => &[
            ("board.device_type", Text),
            ("board.lab", Text),
            ("board.tags", List),
            ("board.image", Text),
            ("board.dtb", Text),
            ("board.rootfs", Text),
            ("board.job", Text),
            ("board.vars", Text),
            ("board.qemu", Text),
            ("board.args", List),
            ("board.cmdline", Text),
        ],
        Axis::Test => &[
            ("test.marker", Text),
            ("test.time_limit", Text),
            ("test.files", List),
            ("test.lava", Text),
            ("test.skip", Text),
        ],
        Axis::Root => &[
            ("root.stage3", Text),
            ("root.signers", List),
            ("root.packages", List),
            ("root.user", Text),
            ("root.uid", Text),
            ("root.binhosts", List),
            ("root.package_signers", List),
            ("root.ebuild_signers", List),
        ],
    }
}

/// The placeholders that need all four axes of a build.
const OF_BUILD: [(&str, PlaceholderType); 4] =
    [("fixups", List), ("fixups.lines", List), ("fixups.required", List), ("repeatable", Text)];

/// The placeholders of a rule.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    /// Those that are bound before anything runs: axes, attributes, parameters.
    pub(super) fixed: BTreeMap<String, PlaceholderType>,
    /// Those that are bound when it runs: `out`, `in.NAME`.
    pub(super) run: BTreeMap<String, PlaceholderType>,
    /// Attributes that some archs or boards lack, or that are a text here and a list there; and why not.
    pub(super) partial: BTreeMap<String, String>,
}

impl Placeholders {
    pub(super) fn of(project: &Project, rule: &Rule) -> Self {
        let mut placeholders = Self::default();
        for axis in rule.axes() {
            placeholders.fixed.insert(axis.name().into(), Text);
            placeholders.fixed.extend(of_axis(axis).iter().map(|(name, kind)| ((*name).into(), *kind)));
        }
        if rule.is_per_build() {
            placeholders.fixed.extend(OF_BUILD.map(|(name, kind)| (name.into(), kind)));
        } else if rule.has_axis(Axis::Toolchain) && !rule.has_axis(Axis::Arch) {
            // Prefix and tools are another for each arch.
            for name in ["make", "prefix", "cc", "cflags", "tools"] {
                let name = format!("toolchain.{name}");
                placeholders.fixed.remove(&name);
                placeholders
                    .partial
                    .insert(name, "it depends on the arch, and the rule has no axis `arch`".into());
            }
        }
        if rule.has_axis(Axis::Arch) {
            let all = project.archs.iter().map(|(name, arch)| (name.as_str(), &arch.value.attrs));
            placeholders.attributes(Axis::Arch, all);
        }
        if rule.has_axis(Axis::Board) {
            let all = project.boards.iter().map(|(name, board)| (name.as_str(), &board.value.attrs));
            placeholders.attributes(Axis::Board, all);
        }
        for (name, param) in &rule.params {
            let kind = if param.value.ty.is_list() { List } else { Text };
            placeholders.fixed.insert(name.clone(), kind);
        }
        placeholders.run.insert("out".into(), Text);
        placeholders.run.extend(rule.inputs.keys().map(|name| (format!("in.{name}"), Text)));
        placeholders
    }

    fn attributes<'p>(
        &mut self,
        axis: Axis,
        all: impl Iterator<Item = (&'p str, &'p BTreeMap<String, AttrValue>)> + Clone,
    ) {
        let kind = |value: &AttrValue| match value {
            AttrValue::Text(_) => Text,
            AttrValue::List(_) => List,
        };
        for (attr, value) in all.clone().flat_map(|(_, attrs)| attrs) {
            let placeholder = format!("{}.{attr}", axis.name());
            let lacking = all.clone().find(|(_, attrs)| !attrs.contains_key(attr));
            let mixed =
                all.clone().filter_map(|(_, attrs)| attrs.get(attr)).any(|other| kind(other) != kind(value));
            if let Some((name, _)) = lacking {
                self.partial
                    .insert(placeholder, format!("the {} `{name}` has no attribute `{attr}`", axis.name()));
            } else if mixed {
                self.partial.insert(placeholder, "it is a text here and a list there".into());
            } else {
                self.fixed.entry(placeholder).or_insert(kind(value));
            }
        }
    }
}
