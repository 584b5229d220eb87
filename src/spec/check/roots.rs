//! Roots: their addresses, keys and packages, and the toolchains that are in them.

use super::Checker;
use super::params::stays_inside;
use crate::gentoo::portage::is_atom;
use crate::gentoo::signed::Pin;
use crate::kernel::compiler::is_foreign;
use crate::spec::declared::{Compiler, RootMode, Rule, Signers, Toolchain};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::model::{Axis, Kind, SandboxRoot, Template};

impl Checker<'_, '_> {
    pub(super) fn roots(&mut self) {
        let project = &self.spec.project;
        if let Some(gentoo) = &project.gentoo {
            if gentoo.value.mirrors.is_empty() {
                let diagnostic =
                    Diagnostic::error("empty-list", "`mirrors` is empty: there is nothing to fetch from");
                self.push(diagnostic.label(gentoo.span, "expected at least one in here"));
            }
            for mirror in &gentoo.value.mirrors {
                self.address("a mirror", mirror, &["http://", "https://"]);
            }
            self.signers(&gentoo.value.signed_by);
            if let Some(signers) = &gentoo.value.ebuilds {
                self.signers(signers);
            }
        }
        for (name, root) in &project.roots {
            for atom in root.value.packages.iter().filter(|atom| !is_atom(&atom.value)) {
                let message = format!("`{}` is not a package", atom.value);
                let label = "expected CATEGORY/NAME, such as `sys-devel/bc`";
                self.push(Diagnostic::error("bad-package", message).label(atom.span, label));
            }
            for binhost in &root.value.binhosts {
                self.address("a server of binary packages", binhost, &["http://", "https://"]);
            }
            if let Some(signers) = &root.value.packages_signed_by {
                self.signers(signers);
            }
            if project.gentoo.is_none() && !self.broken.contains("gentoo") {
                let message = format!("the root `{name}` has no mirror to come from: there is no `gentoo`");
                let help = "add `gentoo: (mirrors: [\"https://distfiles.gentoo.org/\"], keys: \"FILE\", signers: [\"FINGERPRINT\"])`";
                let diagnostic = Diagnostic::error("missing-field", message);
                self.push(diagnostic.label(root.span, "its stage3 is fetched").help(help));
            }
        }
        let in_roots =
            project.toolchains.iter().filter_map(|(name, toolchain)| match &toolchain.value.compiler {
                Compiler::Root(mode) => Some((name, &toolchain.value, mode)),
                Compiler::Gcc | Compiler::Clang => None,
            });
        for (name, toolchain, mode) in in_roots.clone() {
            self.toolchain_of_roots(name, toolchain, mode);
        }
        if let Some(root) = in_roots.flat_map(|(_, toolchain, _)| toolchain.targets.values()).next() {
            self.makers(root.span);
        }
    }

    fn signers(&mut self, signers: &Signers) {
        if let Some(path) = signers.keys.value.to_str().filter(|path| !stays_inside(path)) {
            self.path_inside(path, signers.keys.span);
        } else {
            self.exists(&signers.keys.value, signers.keys.span);
        }
        if signers.signers.is_empty() {
            let diagnostic = Diagnostic::error("empty-list", "`signers` is empty: no signature is trusted");
            self.push(diagnostic.label(signers.keys.span, "of these keys"));
        }
        for signer in &signers.signers {
            if let Err(error) = signer.value.parse::<Pin>() {
                let diagnostic = Diagnostic::error("bad-fingerprint", error.to_string());
                self.push(diagnostic.label(signer.span, "expected 40 or 64 hex digits"));
            }
        }
    }

    fn toolchain_of_roots(&mut self, name: &str, toolchain: &Toolchain, mode: &RootMode) {
        let project = &self.spec.project;
        for (arch, root) in &toolchain.targets {
            let Some(declared) = project.roots.get(&root.value) else {
                self.dangling("root", &root.value, root.span, "roots", project.roots.keys());
                continue;
            };
            let kernel = project.archs.get(arch).and_then(|arch| arch.value.kernel.as_ref());
            let kernel = kernel.map_or(arch, |kernel| &kernel.value);
            let stage3 = &declared.value.stage3;
            if is_foreign(stage3.value.machine(), kernel) {
                let message = format!("the root `{}` makes no code for {arch}", root.value);
                let diagnostic =
                    Diagnostic::error("no-compiler", message).label(root.span, "taken for it here");
                let label = format!("a stage3 for {}", stage3.value.machine());
                self.push(
                    diagnostic.label(stage3.span, label).help("name a root with a stage3 of that arch"),
                );
            }
        }
        if let Some(path) = toolchain.path.first() {
            let message = format!("the toolchain `{name}` is in a root, and has a `path`");
            let diagnostic = Diagnostic::error("bad-reference", message);
            self.push(diagnostic.label(path.span, "nothing is looked for here"));
        }
        if let RootMode::Hybrid(other) = mode {
            self.compiler_of_hybrid(other, toolchain);
        }
    }

    fn compiler_of_hybrid(&mut self, other: &Spanned<String>, toolchain: &Toolchain) {
        let project = &self.spec.project;
        let Some(compiler) = project.toolchains.get(&other.value) else {
            return self.dangling(
                "toolchain",
                &other.value,
                other.span,
                "toolchains",
                project.toolchains.keys(),
            );
        };
        if !matches!(compiler.value.compiler, Compiler::Gcc) {
            let message = format!("the toolchain `{}` is not a gcc of this machine", other.value);
            let diagnostic = Diagnostic::error("bad-reference", message);
            return self.push(diagnostic.label(other.span, "expected a `Gcc(..)`"));
        }
        let lacking = toolchain.targets.iter().find(|(arch, _)| !compiler.value.targets.contains_key(*arch));
        if let Some((arch, root)) = lacking {
            let message = format!("the toolchain `{}` has no compiler for {arch}", other.value);
            let diagnostic = Diagnostic::error("no-compiler", message).label(other.span, "asked for here");
            self.push(diagnostic.label(root.span, "for this root"));
        }
    }

    /// An input that is a root.
    pub(super) fn root_input(&mut self, root: &Spanned<Template>) {
        let roots = &self.spec.project.roots;
        match root.value.literal() {
            Some(name) if !roots.contains_key(name) => {
                self.dangling("root", name, root.span, "roots", roots.keys());
            }
            _ => self.makers(root.span),
        }
    }

    /// Roots need rules that make them.
    fn makers(&mut self, span: Span) {
        let rules = &self.spec.rules;
        let is_made = |kind: Kind| rules.values().any(|rule| rule.value.kind == kind);
        let Some(kind) = [Kind::Stage3, Kind::Binpkg].into_iter().find(|kind| !is_made(*kind)) else {
            return;
        };
        if !self.broken.contains("kind") {
            let diagnostic =
                Diagnostic::error("missing-rule", format!("no rule of kind `{}` makes roots", kind.name()));
            let help = "`kiln init` has rules/stage3.ron and rules/binpkg.ron";
            self.push(diagnostic.label(span, "this root").help(help));
        }
    }

    /// Requirements on rules that make roots, and on rules whose steps run in one.
    pub(super) fn root_rule(&mut self, name: &str, rule: &Rule, span: Span) {
        let root = rule.per.iter().flatten().find(|axis| axis.value == Axis::Root);
        let alone = rule.per.as_ref().is_some_and(|per| per.len() == 1);
        if let Some(axis) = root.filter(|_| !alone) {
            let message = format!("the rule `{name}` has the axis `root` and others");
            let diagnostic =
                Diagnostic::error("bad-axes", message).label(axis.span, "roots are no part of the matrix");
            self.push(diagnostic.help("`per: [\"root\"]`"));
        }
        if matches!(rule.kind, Kind::Stage3 | Kind::Binpkg) {
            if root.is_none() && !self.broken.contains("per") {
                let message =
                    format!("the rule `{name}` of kind `{}` is not one for each root", rule.kind.name());
                let diagnostic = Diagnostic::error("bad-axes", message).label(span, "in this rule");
                self.push(diagnostic.help("`per: [\"root\"]`"));
            }
            for output in rule.kind.makes().iter().filter(|output| !rule.outputs.contains_key(**output)) {
                let message =
                    format!("the rule `{name}` of kind `{}` makes no file `{output}`", rule.kind.name());
                let diagnostic = Diagnostic::error("missing-field", message).label(span, "in this rule");
                self.push(diagnostic.help(format!("`outputs: {{\"{output}\": File(\"{output}\")}}`")));
            }
            let other = self
                .spec
                .rules
                .iter()
                .find(|(other, declared)| declared.value.kind == rule.kind && other.as_str() < name);
            if let Some((other, declared)) = other {
                let message =
                    format!("the rules `{other}` and `{name}` are both of kind `{}`", rule.kind.name());
                let diagnostic =
                    Diagnostic::error("duplicate-rule", message).label(span, "take this out, or that");
                self.push(diagnostic.label(declared.span, "the other one"));
            }
        }
        let in_toolchain = rule.sandbox.root == SandboxRoot::Toolchain;
        if in_toolchain && !(rule.has_axis(Axis::Toolchain) && rule.has_axis(Axis::Arch)) {
            let message =
                format!("the rule `{name}` runs in the root of a toolchain, and lacks the axes for one");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "in this rule");
            self.push(
                diagnostic.help("the axes `arch` and `toolchain` determine the root: add them to `per`"),
            );
        }
        if in_toolchain && !matches!(rule.kind, Kind::Command | Kind::Config) {
            let message =
                format!("the rule `{name}` of kind `{}` can't run in a toolchain's root", rule.kind.name());
            let diagnostic = Diagnostic::error("bad-reference", message).label(span, "in this rule");
            self.push(diagnostic.help("take out `sandbox: (root: Toolchain)`"));
        }
    }
}
