//! Names in `graph.ron` that must be declared there, and cycles among presets and fixup lists.

use super::Checker;
use super::cycle::{cycles, describe};
use crate::spec::declared::BuildPart;
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::Fixup;

impl Checker<'_, '_> {
    pub(super) fn references(&mut self) {
        let project = &self.spec.project;
        // The parts as written, not flattened: each mistake once, and those of unused presets as well.
        for part in project.presets.values().chain(&project.builds) {
            self.build_part(&part.value);
        }
        for config in project.configs.values() {
            for target in &config.value.base {
                self.kbuild_target(target);
            }
            self.fixup_lists(&config.value.fixups);
        }
        for list in project.fixups.values() {
            self.fixup_lists(&list.value);
        }
        for board in project.boards.values() {
            for lab in &board.value.labs {
                if !project.labs.contains_key(&lab.value) {
                    self.dangling("lab", &lab.value, lab.span, "labs", project.labs.keys());
                }
            }
            for test in &board.value.tests {
                if !project.tests.contains_key(&test.value) {
                    self.dangling("test", &test.value, test.span, "tests", project.tests.keys());
                }
            }
        }
        self.preset_cycles();
        self.fixup_cycles();
    }

    fn build_part(&mut self, part: &BuildPart) {
        for preset in &part.extends {
            if !self.spec.project.presets.contains_key(&preset.value) {
                self.dangling(
                    "preset",
                    &preset.value,
                    preset.span,
                    "presets",
                    self.spec.project.presets.keys(),
                );
            }
        }
        let filters = || part.exclude.iter().chain(&part.include).map(|filter| &filter.value);
        for source in part.sources.iter().chain(filters().filter_map(|filter| filter.source.as_ref())) {
            if !self.spec.project.sources.contains_key(&source.value) {
                self.dangling(
                    "source",
                    &source.value,
                    source.span,
                    "sources",
                    self.spec.project.sources.keys(),
                );
            }
        }
        for arch in part.archs.iter().chain(filters().filter_map(|filter| filter.arch.as_ref())) {
            if !self.spec.project.archs.contains_key(&arch.value) {
                self.dangling("arch", &arch.value, arch.span, "archs", self.spec.project.archs.keys());
            }
        }
        for config in part.defconfigs.iter().chain(filters().filter_map(|filter| filter.defconfig.as_ref())) {
            if !self.spec.project.configs.contains_key(&config.value) {
                self.kbuild_target(config);
            }
        }
        for toolchain in
            part.toolchains.iter().chain(filters().filter_map(|filter| filter.toolchain.as_ref()))
        {
            let known = &self.spec.project.toolchains;
            if !known.contains_key(&toolchain.value) {
                self.dangling("toolchain", &toolchain.value, toolchain.span, "toolchains", known.keys());
            }
        }
        for filter in &part.include {
            let names = ["source", "arch", "defconfig", "toolchain"];
            let missing: Vec<_> =
                names.into_iter().zip(filter.value.axes()).filter(|(_, axis)| axis.is_none()).collect();
            for (name, _) in missing {
                let message = format!("`include` adds one build, and this names no {name}");
                let label = format!("expected `{name}: \"..\"` in here");
                self.push(Diagnostic::error("missing-field", message).label(filter.span, label));
            }
        }
        self.fixup_lists(&part.fixups);
    }

    /// A name that ends in `config` is taken for a kbuild target.
    fn kbuild_target(&mut self, target: &Spanned<String>) {
        if !target.value.ends_with("config") {
            return self.dangling(
                "config",
                &target.value,
                target.span,
                "configs",
                self.spec.project.configs.keys(),
            );
        }
        if target.value.contains(|c: char| !(c.is_ascii_alphanumeric() || "_-.+".contains(c))) {
            let message = format!("`{}` can't be part of a build's name", target.value);
            let diagnostic = Diagnostic::error("bad-name", message).label(target.span, "not a name");
            self.push(diagnostic.help("use letters, digits, `_`, `-`, `.` and `+`"));
        }
    }

    fn fixup_lists(&mut self, fixups: &[Spanned<Fixup>]) {
        for fixup in fixups {
            if let Some(name) = fixup.value.list()
                && !self.spec.project.fixups.contains_key(name)
            {
                self.dangling("fixup list", name, fixup.span, "fixup lists", self.spec.project.fixups.keys());
            }
        }
    }

    fn preset_cycles(&mut self) {
        let presets = &self.spec.project.presets;
        let found = cycles(presets.keys().map(String::as_str), |name| {
            let extends = presets.get(name).map(|preset| preset.value.extends.as_slice()).unwrap_or_default();
            extends.iter().map(|other| (other.value.as_str(), other.span)).collect()
        });
        for cycle in found {
            self.push(describe("preset-cycle", "presets extend each other", &cycle));
        }
    }

    fn fixup_cycles(&mut self) {
        let lists = &self.spec.project.fixups;
        let found = cycles(lists.keys().map(String::as_str), |name| {
            let list = lists.get(name).map(|list| list.value.as_slice()).unwrap_or_default();
            list.iter().filter_map(|fixup| Some((fixup.value.list()?, fixup.span))).collect()
        });
        for cycle in found {
            self.push(describe("fixup-cycle", "fixup lists take up each other", &cycle));
        }
    }
}
