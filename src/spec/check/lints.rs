//! Lints: declarations that are never used.

use std::collections::BTreeSet;

use super::Checker;
use crate::spec::declared::{BuildPart, Compiler, Input, Named};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::matrix::product;

impl Checker<'_, '_> {
    pub(super) fn lints(&mut self) {
        let spec = self.spec;
        let project = &spec.project;
        let builds = |axis: fn(&crate::spec::model::Build) -> &str| {
            self.builds.iter().map(axis).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let mut sources = builds(|build| &build.id.source);
        let (archs, configs) = (builds(|build| &build.id.arch), builds(|build| &build.id.defconfig));
        let toolchains = builds(|build| &build.id.toolchain);
        let inputs = spec.rules.values().flat_map(|rule| rule.value.inputs.values());
        sources.extend(inputs.filter_map(|input| match &input.value {
            Input::Source(source) => source.value.literal().map(str::to_owned),
            _ => None,
        }));
        self.unused("unused-source", "source", &project.sources, &sources);
        self.unused("unused-arch", "arch", &project.archs, &archs);
        self.unused("unused-config", "config", &project.configs, &configs);
        self.unused("unused-toolchain", "toolchain", &project.toolchains, &toolchains);
        // A rule may name a root by a placeholder: then any may be meant.
        let rules = || spec.rules.values().flat_map(|rule| rule.value.inputs.values());
        let roots = rules().filter_map(|input| match &input.value {
            Input::Root(root) => Some(root.value.literal().map(str::to_owned)),
            _ => None,
        });
        let in_toolchains =
            project.toolchains.values().filter_map(|toolchain| match toolchain.value.compiler {
                Compiler::Root(_) => {
                    Some(toolchain.value.targets.values().map(|root| Some(root.value.clone())))
                }
                Compiler::Gcc | Compiler::Clang => None,
            });
        if let Some(roots) = roots.chain(in_toolchains.flatten()).collect::<Option<BTreeSet<_>>>() {
            self.unused("unused-root", "root", &project.roots, &roots);
        }

        let parts = || project.builds.iter().chain(project.presets.values()).map(|part| &part.value);
        let presets = parts().flat_map(|part| &part.extends).map(|name| name.value.clone()).collect();
        self.unused("unused-preset", "preset", &project.presets, &presets);
        let configs = project.configs.values().flat_map(|config| &config.value.fixups);
        let lists = project.fixups.values().flat_map(|list| &list.value);
        let fixups = parts().flat_map(|part| &part.fixups).chain(configs).chain(lists);
        let fixups = fixups.filter_map(|fixup| fixup.value.list()).map(str::to_owned).collect();
        self.unused("unused-fixups", "fixup list", &project.fixups, &fixups);

        let boards = || project.boards.values().map(|board| &board.value);
        let labs = boards().flat_map(|board| &board.labs).map(|lab| lab.value.clone()).collect();
        self.unused("unused-lab", "lab", &project.labs, &labs);
        let tests = boards().flat_map(|board| &board.tests).map(|test| test.value.clone()).collect();
        self.unused("unused-test", "test", &project.tests, &tests);
        let pools = spec.rules.values().flat_map(|rule| rule.value.resources.pools.keys()).cloned().collect();
        self.unused("unused-pool", "pool", &project.pools, &pools);

        let with_axes = spec.rules.iter().filter(|(_, rule)| rule.value.per.is_some()).map(|(name, _)| name);
        let by_action = project.actions.values().map(|action| &action.value.rule.value);
        let rules = with_axes.chain(by_action).cloned().collect();
        self.unused("unused-rule", "rule", &spec.rules, &rules);

        self.idle_excludes();
        self.targets_without_arch();
    }

    fn unused<T>(&mut self, code: &'static str, what: &str, declared: &Named<T>, used: &BTreeSet<String>) {
        for (name, value) in declared.iter().filter(|(name, _)| !used.contains(*name)) {
            let message = format!("the {what} `{name}` is never used");
            self.push(Diagnostic::lint(code, message).label(value.span, "declared here"));
        }
    }

    /// An `exclude` of a preset may match in one build and not in another: it is idle if it matches in none.
    fn idle_excludes(&mut self) {
        let mut idle: BTreeSet<Span> = BTreeSet::new();
        let mut busy: BTreeSet<Span> = BTreeSet::new();
        for (_, part) in &self.flat {
            let BuildPart { exclude, .. } = part;
            let points = product(part);
            for filter in exclude {
                let matches = points.iter().any(|point| filter.value.matches(*point));
                if matches {
                    busy.insert(filter.span)
                } else {
                    idle.insert(filter.span)
                };
            }
        }
        for span in idle.difference(&busy) {
            let diagnostic = Diagnostic::lint("idle-exclude", "this `exclude` matches no combination");
            self.push(diagnostic.label(*span, "leaves nothing out"));
        }
    }

    fn targets_without_arch(&mut self) {
        let project = &self.spec.project;
        let unknown = project.toolchains.iter().flat_map(|(name, toolchain)| {
            let targets = toolchain.value.targets.iter();
            let unknown = targets.filter(|(arch, _)| !project.archs.contains_key(*arch));
            unknown.map(move |(arch, prefix): (_, &Spanned<String>)| (name, arch, prefix.span))
        });
        for (name, arch, span) in unknown {
            let message = format!("the toolchain `{name}` has a target for `{arch}`, which is no arch");
            self.diagnostics.push(Diagnostic::lint("unused-target", message).label(span, "never used"));
        }
    }
}
