//! Labs, and what their kind asks of boards and tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Checker;
use super::params::stays_inside;
use super::remotes::has_password;
use crate::spec::declared::{
    Board, Definition, DefinitionFrom, Lab, LavaLab, OutputSelector, OutputShape, Rule, Skip, Test,
};
use crate::spec::diagnostic::{Diagnostic, SECRET, Span, Spanned};
use crate::spec::model::{Axis, Kind, LabKind};
use crate::spec::suggest;

impl Checker<'_, '_> {
    pub(super) fn labs(&mut self) {
        let project = &self.spec.project;
        for (name, lab) in &project.labs {
            if let Lab::Lava(lava) = &lab.value {
                self.lava_lab(name, lava);
            }
        }
        self.nothing_published();
        if let Some(publish) = &project.publish {
            self.address("`publish`", &publish.value.url, &["http://", "https://"]);
        }
        for (name, board) in &project.boards {
            self.board_labs(name, board);
        }
        for test in project.tests.values() {
            if let Test::Lava { definitions, skip, .. } = &test.value {
                self.definitions(definitions);
                self.skips(skip);
            }
        }
    }

    fn lava_lab(&mut self, name: &str, lab: &LavaLab) {
        self.address(&format!("lab `{name}`"), &lab.url, &["http://", "https://"]);
        if let Some(events) = &lab.events {
            self.address(&format!("the events of lab `{name}`"), events, &["ws://", "wss://"]);
        }
        if lab.url.value.starts_with("http://") && !is_loopback(&lab.url.value) {
            let message = format!("the token of lab `{name}` would travel in the clear");
            let help = "use https://; where the lab has none, a tunnel to it that ends at 127.0.0.1";
            let diagnostic = Diagnostic::error("token-in-clear", message);
            self.push(diagnostic.label(lab.url.span, "neither https nor this machine").help(help));
        }
        if lab.user.value.is_empty() {
            let message = format!("lab `{name}` has a user without a name");
            let diagnostic = Diagnostic::error("empty-text", message);
            self.push(diagnostic.label(lab.user.span, "expected the user whose token it is"));
        }
    }

    /// Labs fetch what they boot: without a place to fetch it from none of them could do anything.
    fn nothing_published(&mut self) {
        let project = &self.spec.project;
        let mut labs = project.labs.iter().filter(|(_, lab)| lab.value.kind() == LabKind::Lava);
        let Some((name, lab)) = labs.next().filter(|_| project.publish.is_none()) else { return };
        if self.broken.contains("publish") {
            return;
        }
        let message = format!("lab `{name}` could fetch nothing: there is no `publish`");
        let diagnostic =
            Diagnostic::error("missing-field", message).label(lab.span, "LAVA fetches kernels by URL");
        let help = "add `publish: (dir: \"DIRECTORY\", url: \"http://HOST/PATH/\")`: a directory of this machine, and where a \
                    web server serves it (`kiln serve` is one)";
        self.push(diagnostic.help(help));
    }

    /// An address must begin in one of these ways, name a host, and end where its path does.
    pub(super) fn address(&mut self, what: &str, url: &Spanned<String>, schemes: &[&str]) {
        if has_password(&url.value) {
            // Without the place, which would show it.
            let message = format!("the address of {what} holds a user or a password");
            let help = "take it out: what lets kiln in is `user` and `token: Env(\"NAME_OF_VARIABLE\")`";
            return self.push(Diagnostic::error(SECRET, message).help(help));
        }
        let known = schemes.iter().any(|scheme| url.value.starts_with(scheme));
        let host = host(&url.value).is_some_and(|host| !host.is_empty());
        let plain = !url.value.contains(|c: char| "?#\\".contains(c) || c.is_whitespace() || c.is_control());
        if !(known && host && plain) {
            let message = format!("that is no address of {what}");
            let label = format!("expected one such as {}host/path/", schemes[schemes.len() - 1]);
            self.push(Diagnostic::error("bad-address", message).label(url.span, label));
        }
    }

    fn board_labs(&mut self, name: &str, board: &Spanned<Board>) {
        let (span, board) = (board.span, &board.value);
        let project = &self.spec.project;
        let of_kind = |kind: LabKind| {
            board.labs.iter().find(|lab| {
                project.labs.get(&lab.value).is_some_and(|declared| declared.value.kind() == kind)
            })
        };
        let (qemu, lava) = (of_kind(LabKind::Qemu), of_kind(LabKind::Lava));
        if let (Some(qemu), Some(lava)) = (qemu, lava) {
            let message = format!("the board `{name}` is both here and at a LAVA lab");
            let diagnostic = Diagnostic::error("mixed-labs", message);
            let diagnostic =
                diagnostic.label(lava.span, "a LAVA lab").label(qemu.span, "QEMU on this machine");
            let help = "its boots would be described in two ways: make two boards of it";
            return self.push(diagnostic.help(help));
        }
        if let Some(lava) = lava
            && board.job.is_none()
        {
            let message = format!("the board `{name}` has no `job`: nothing says what LAVA is to do with it");
            let diagnostic =
                Diagnostic::error("missing-field", message).label(span, "expected `job: \"FILE\"` in here");
            let help = "a template of a job definition, such as examples/lava/lava/qemu.yaml";
            self.push(diagnostic.label(lava.span, "a LAVA lab").help(help));
        }
        if let Some(dtb) = &board.dtb
            && dtb.value.to_str().is_none_or(|path| !stays_inside(path))
        {
            let message = format!("`{}` is no device tree of a kernel", dtb.value.display());
            let diagnostic = Diagnostic::error("bad-path", message);
            self.push(diagnostic.label(dtb.span, "expected a path such as `freescale/imx8mm-evk.dtb`"));
        }
        let Some(qemu) = qemu else { return };
        for test in &board.tests {
            if let Some(Test::Lava { .. }) = project.tests.get(&test.value).map(|test| &test.value) {
                let message =
                    format!("the test `{}` is one for LAVA labs, and `{name}` is not at one", test.value);
                let diagnostic =
                    Diagnostic::error("bad-reference", message).label(test.span, "can't run here");
                self.diagnostics.push(
                    diagnostic
                        .label(qemu.span, "QEMU on this machine")
                        .help("test it with `Console(..)` or `Login(..)`, or at a lab that is `Lava(..)`"),
                );
            }
        }
    }

    fn definitions(&mut self, definitions: &[Spanned<Definition>]) {
        let mut names: BTreeMap<&str, Span> = BTreeMap::new();
        for definition in definitions {
            let Definition { name, from, .. } = &definition.value;
            if let Some(first) = names.insert(&name.value, name.span) {
                let message = format!("two test definitions are named `{}`", name.value);
                let diagnostic = Diagnostic::error("duplicate-name", message);
                self.push(diagnostic.label(name.span, "again").label(first, "first here"));
            }
            let fit = !name.value.is_empty()
                && name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            if !fit {
                let message = format!("`{}` can't be the name of a suite", name.value);
                let diagnostic = Diagnostic::error("bad-name", message).label(name.span, "not a name");
                self.push(diagnostic.help("use letters, digits, `_`, `-` and `.`"));
            }
            let DefinitionFrom::Git { url, rev, .. } = from else { continue };
            self.address("a repository", url, &["git://", "http://", "https://"]);
            if !(matches!(rev.value.len(), 40 | 64) && rev.value.bytes().all(|b| b.is_ascii_hexdigit())) {
                let message = format!("`{}` is not the whole name of a commit", rev.value);
                let diagnostic = Diagnostic::error("bad-commit", message);
                let help = "a branch is another commit tomorrow, and kiln would not boot again for it: `git ls-remote` tells \
                            the commit";
                self.push(diagnostic.label(rev.span, "expected 40 hex digits").help(help));
            }
        }
    }

    fn skips(&mut self, skips: &[Spanned<Skip>]) {
        let mut cases: BTreeMap<&str, Span> = BTreeMap::new();
        for Spanned { value: skip, .. } in skips {
            let case = &skip.case;
            if case.value.split_once('/').is_none_or(|(suite, case)| suite.is_empty() || case.is_empty()) {
                let message = format!("`{}` is no test case", case.value);
                let diagnostic =
                    Diagnostic::error("bad-case", message).label(case.span, "expected `SUITE/CASE`");
                self.push(diagnostic.help("as the lab names both: `0_smoke/expected-fail`"));
            }
            if let Some(first) = cases.insert(&case.value, case.span) {
                let message = format!("`{}` is skipped twice", case.value);
                let diagnostic = Diagnostic::error("duplicate-name", message);
                self.push(diagnostic.label(case.span, "again").label(first, "first here"));
            }
        }
    }

    /// A rule that makes the user space of a board must have an output of its own name.
    pub(super) fn rootfs_of_boards(&mut self, name: &str, rule: &Rule, reference: &OutputSelector) {
        let spec = self.spec;
        for (board, declared) in &spec.project.boards {
            let rootfs = &declared.value.rootfs;
            let lab = spec.project.lab_kind(&declared.value);
            if rule.kind.boots().is_some_and(|kind| lab != Some(kind)) || self.broken.contains(&rootfs.value)
            {
                continue;
            }
            let Some(target) = spec.rules.get(&rootfs.value) else {
                let message =
                    format!("the board `{board}` has `{}` for its rootfs, which is no rule", rootfs.value);
                let help = suggest::help(&rootfs.value, "rules", spec.rules.keys().map(String::as_str));
                let diagnostic =
                    Diagnostic::error("dangling-reference", message).label(rootfs.span, "no such rule");
                self.push(diagnostic.label(reference.rule.span, "taken here").help(help));
                continue;
            };
            self.axes_in_common(name, rule, rootfs.span, &rootfs.value, target);
            let of_that_name =
                reference.output.value.sole_placeholder() == reference.rule.value.sole_placeholder();
            let output = target.value.outputs.get(&rootfs.value);
            let made = output.is_some_and(|output| output.value.shape.is_made());
            if of_that_name && !made && !self.broken.contains("outputs") {
                let message = format!(
                    "the rule `{0}` makes no output `{0}`, which board `{board}` wants",
                    rootfs.value
                );
                let diagnostic =
                    Diagnostic::error("dangling-reference", message).label(rootfs.span, "wanted here");
                let help = "a rule that makes a rootfs gives the output its own name";
                self.push(diagnostic.label(target.span, "this rule").help(help));
            }
        }
    }

    /// A LAVA rule must have the inputs of a job definition and outputs for its results.
    pub(super) fn lava_rule(&mut self, name: &str, rule: &Rule, span: Span) {
        if rule.kind != Kind::Lava {
            return;
        }
        let of_each = rule.is_per_build() && rule.has_axis(Axis::Board) && rule.has_axis(Axis::Test);
        if !of_each && !self.broken.contains("per") {
            let message =
                format!("the rule `{name}` of kind `Lava` is not one for each build, board and test");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "in this rule");
            let help = "`per: [\"source\", \"arch\", \"defconfig\", \"toolchain\", \"board\", \"test\"]`";
            self.push(diagnostic.help(help));
        }
        for input in ["image", "template"] {
            if !rule.inputs.contains_key(input)
                && !self.broken.contains("inputs")
                && !self.broken.contains(input)
            {
                let message = format!("the rule `{name}` of kind `Lava` has no input `{input}`");
                self.push(Diagnostic::error("missing-field", message).label(span, "in this rule"));
            }
        }
        for output in ["results", "console"] {
            let file = rule
                .outputs
                .get(output)
                .is_some_and(|output| matches!(output.value.shape, OutputShape::File(_)));
            if !file && !self.broken.contains("outputs") && !self.broken.contains(output) {
                let message = format!("the rule `{name}` of kind `Lava` makes no file `{output}`");
                self.push(Diagnostic::error("missing-field", message).label(span, "in this rule"));
            }
        }
    }

    /// Lints about labs.
    pub(super) fn lab_lints(&mut self) {
        let project = &self.spec.project;
        let mut found = Vec::new();
        for (name, Spanned { value: board, span }) in &project.boards {
            let idle = |field: &str, span: Span, kind: &str| {
                let message = format!("`{field}` of board `{name}` is for boards {kind}");
                Diagnostic::lint("idle-field", message).label(span, "never used")
            };
            if project.lab_kind(board) == Some(LabKind::Lava) {
                found.extend(board.qemu.as_ref().map(|qemu| idle("qemu", qemu.span, "under QEMU")));
                if !self.spec.rules.values().any(|rule| rule.value.kind == Kind::Lava) {
                    let message = format!("nothing boots the board `{name}`");
                    let diagnostic = Diagnostic::lint("never-booted", message);
                    let help = "no rule is of kind `Lava`: copy rules/lava.ron of the example";
                    found.push(diagnostic.label(*span, "at a LAVA lab").help(help));
                }
            } else {
                let job = board.job.as_ref().map(|job| ("job", job.span));
                let dtb = board.dtb.as_ref().map(|dtb| ("dtb", dtb.span));
                let tags = board.tags.first().map(|tag| ("tags", tag.span));
                let fields = job.into_iter().chain(dtb).chain(tags);
                found.extend(fields.map(|(field, span)| idle(field, span, "at LAVA labs")));
            }
        }
        for test in project.tests.values() {
            let Test::Lava { definitions, skip, .. } = &test.value else { continue };
            found.extend(skip.iter().flat_map(|skip| self.skip_lints(&skip.value, definitions)));
        }
        if let Some(publish) = &project.publish
            && is_loopback(&publish.value.url.value)
        {
            let far = project.labs.iter().find_map(|(name, lab)| match &lab.value {
                Lab::Lava(lava) if !is_loopback(&lava.url.value) => Some((name, lab.span)),
                _ => None,
            });
            if let Some((name, span)) = far {
                let message = format!("lab `{name}` will look for files on its own machine");
                let diagnostic = Diagnostic::lint("loopback-url", message);
                let diagnostic =
                    diagnostic.label(publish.value.url.span, "each machine takes this for itself");
                found.push(diagnostic.label(span, "this lab is elsewhere"));
            }
        }
        self.diagnostics.extend(found);
    }

    fn skip_lints(&self, skip: &Skip, definitions: &[Spanned<Definition>]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if let Some(until) = &skip.until
            && !skip.counts(self.spec.today)
        {
            let message = format!("`{}` is skipped no more: {} has passed", skip.case.value, until.value);
            let diagnostic = Diagnostic::lint("expired-skip", message).label(until.span, "the last day");
            found.push(diagnostic.help("take the skip out, or say until when it is still needed"));
        }
        let suite = skip.case.value.split_once('/').map_or("", |(suite, _)| suite);
        let names = || definitions.iter().map(|definition| definition.value.name.value.as_str());
        let own = suite.split_once('_').filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        if !names().any(|name| own.is_some_and(|(_, suite)| suite == name)) {
            let message = format!("no definition of this test makes a suite `{suite}`");
            let suites: Vec<String> = names().enumerate().map(|(at, name)| format!("{at}_{name}")).collect();
            let help = format!("suites: {}", suggest::list(suites.iter().map(String::as_str)));
            found.push(
                Diagnostic::lint("idle-skip", message).label(skip.case.span, "skips nothing").help(help),
            );
        }
        found
    }
}

/// The host of an address, without its port.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// Whether an address is one of this machine itself.
fn is_loopback(url: &str) -> bool {
    let host = host(url).unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
