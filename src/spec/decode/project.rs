//! `graph.ron` and the files it imports.

use std::path::PathBuf;

use super::collections::{NameRule, named};
use super::record::record;
use super::scalars::{Bytes, Positive};
use super::{Context, Decode, Fields, VERSION};
use crate::spec::declared::{
    ActionEntry, Arch, AxisFilter, BuildPart, Compiler, Config, Project, RootMode, Source, Toolchain,
};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::model::{CacheLimit, CacheSettings};
use crate::spec::syntax::{Node, SyntaxKind};

/// One file of the project, before its imports are merged in.
pub(in crate::spec) struct Document {
    /// Files to merge in, relative to the project.
    pub(in crate::spec) imports: Vec<Spanned<PathBuf>>,
    /// What the file itself says.
    pub(in crate::spec) project: Project,
    /// The cache settings and where they stand, if the file has any.
    pub(in crate::spec) cache: Option<CacheDecl>,
}

/// Cache settings, with the place that merging needs.
pub(in crate::spec) type CacheDecl = Spanned<CacheSettings>;

impl Decode for Document {
    const EXPECTED: &'static str = "a project: `(version: 1, ..)`";
    const PLURAL: &'static str = "projects";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        check_version(&mut fields, context)?;
        let imports = fields.or_default("import", context);
        let cache = fields.optional("cache", context);
        let mut project = Project {
            sources: names(&mut fields, "sources", context),
            archs: names(&mut fields, "archs", context),
            toolchains: names(&mut fields, "toolchains", context),
            gentoo: fields.optional("gentoo", context),
            roots: names(&mut fields, "roots", context),
            configs: names(&mut fields, "configs", context),
            presets: names(&mut fields, "presets", context),
            builds: fields.or_default("builds", context),
            remotes: fields.or_default("remotes", context),
            keys: fields.or_default("keys", context),
            sign: fields.optional("sign", context),
            module_keys: names(&mut fields, "module_keys", context),
            repeatable: fields.optional("repeatable", context),
            boards: names(&mut fields, "boards", context),
            labs: names(&mut fields, "labs", context),
            tests: names(&mut fields, "tests", context),
            publish: fields.optional("publish", context),
            ..Project::default()
        };
        if let Some(field) = fields.take("fixups") {
            project.fixups = named(&field.value, NameRule::Plain, context);
        }
        if let Some(field) = fields.take("actions") {
            project.actions = named(&field.value, NameRule::Path, context);
        }
        if let Some(field) = fields.take("pools") {
            let pools = named::<Positive>(&field.value, NameRule::Plain, context);
            project.pools = pools.into_iter().map(|(name, pool)| (name, pool.map(|n| n.0))).collect();
        }
        fields.finish(context);
        Some(Self { imports, project, cache })
    }
}

/// Takes `version` and refuses any but ours: the rest of such a file would only yield misleading complaints.
pub(super) fn check_version(fields: &mut Fields<'_, '_>, context: &mut Context) -> Option<()> {
    let Some(field) = fields.take("version") else {
        let diagnostic = Diagnostic::error("missing-field", "the field `version` is missing");
        let label = format!("expected `version: {VERSION}` in here");
        context.diagnostics.push(diagnostic.label(fields.head(), label));
        return Some(());
    };
    let version = i64::decode(&field.value, context)?;
    if version == VERSION {
        return Some(());
    }
    let message = format!("this file is of version {version}, and this kiln reads version {VERSION}");
    let diagnostic = Diagnostic::error("unknown-version", message);
    let help =
        if version > VERSION { "use a newer kiln" } else { "see docs/graph-ron.md for the current format" };
    context.report(diagnostic.label(field.value.span, format!("expected {VERSION}")).help(help))
}

fn names<T: Decode>(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    context: &mut Context,
) -> crate::spec::declared::Named<T> {
    fields.take(name).map(|field| named(&field.value, NameRule::Plain, context)).unwrap_or_default()
}

/// The name and node of `Name(..)` or `Name`.
pub(super) fn variant<'n, 's>(
    node: &'n Node<'s>,
    expected: &str,
    context: &mut Context,
) -> Option<(&'n Node<'s>, &'s str, Span)> {
    let node = node.unwrapped();
    match &node.kind {
        SyntaxKind::Struct { name: Some(name), .. } | SyntaxKind::Tuple { name: Some(name), .. } => {
            Some((node, name.text, name.span))
        }
        SyntaxKind::Ident(word) => Some((node, word, node.span)),
        _ => context.wrong_type(node, expected),
    }
}

impl Decode for Source {
    const EXPECTED: &'static str = "`Dir(..)`, `Git(..)` or `Tarball(..)`";
    const PLURAL: &'static str = "`Dir(..)`, `Git(..)` or `Tarball(..)`";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        if let (SyntaxKind::Tuple { items, .. }, "Dir") = (&node.kind, name) {
            return match items.as_slice() {
                [path] => Spanned::decode(path, context).map(|path| Self::Dir { path }),
                _ => context.wrong_type(node, "`Dir(\"path\")`"),
            };
        }
        if let SyntaxKind::Tuple { .. } = node.kind
            && matches!(name, "Git" | "Tarball")
        {
            return context.wrong_type(node, &format!("`{name}(path: .., ..)`"));
        }
        let mut fields = Fields::of_variant(node);
        let source = match name {
            "Dir" => fields.required("path", context).map(|path| Self::Dir { path }),
            "Git" => {
                let path = fields.required("path", context);
                let rev = fields.optional("rev", context);
                path.map(|path| Self::Git { path, rev })
            }
            "Tarball" => {
                let path = fields.required("path", context);
                let digest = fields.required("digest", context);
                let strip = fields.optional("strip", context).unwrap_or(1);
                path.zip(digest).map(|(path, digest)| Self::Tarball { path, digest, strip })
            }
            _ => return context.unknown_variant(span, name, &["Dir", "Git", "Tarball"]),
        };
        fields.finish(context);
        source
    }
}

record!(Arch, "an arch: `(kernel: .., image: .., targets: [..])`", "archs", {
    kernel: optional,
    image: or("vmlinux".into()),
    targets: or(vec!["all".into()]),
    attrs: default,
});

impl Decode for Toolchain {
    const EXPECTED: &'static str = "`Gcc(..)`, `Clang(..)` or `Root(..)`";
    const PLURAL: &'static str = "`Gcc(..)`, `Clang(..)` or `Root(..)`";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        if !matches!(name, "Gcc" | "Clang" | "Root") {
            return context.unknown_variant(span, name, &["Gcc", "Clang", "Root"]);
        }
        if let SyntaxKind::Tuple { .. } = node.kind {
            return context.wrong_type(node, &format!("`{name}(targets: {{..}})`"));
        }
        let mut fields = Fields::of_variant(node);
        let compiler = match name {
            "Gcc" => Compiler::Gcc,
            "Clang" => Compiler::Clang,
            _ => Compiler::Root(fields.optional("mode", context).unwrap_or(RootMode::Emulated)),
        };
        let targets = fields.required("targets", context);
        let make: Vec<Spanned<String>> = fields.or_default("make", context);
        let path = fields.or_default("path", context);
        let tools = fields.or_default("tools", context);
        fields.finish(context);
        for variable in &make {
            let name = variable.value.split_once('=').map(|(name, _)| name);
            let fixed = name.is_some_and(|name| matches!(name, "ARCH" | "CROSS_COMPILE" | "O"));
            if fixed || name.is_none_or(str::is_empty) {
                let message = format!("`{}` is not a make variable to set here", variable.value);
                let label = if fixed { "kiln sets this itself" } else { "expected `NAME=VALUE`" };
                context
                    .diagnostics
                    .push(Diagnostic::error("bad-make-variable", message).label(variable.span, label));
            }
        }
        targets.map(|targets| Self { compiler, targets, make, path, tools })
    }
}

impl Decode for Config {
    const EXPECTED: &'static str = "a config: `(base: .., fragments: [..], fixups: [..])`";
    const PLURAL: &'static str = "configs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let base = fields.required::<Targets>("base", context);
        let seed = fields.readable("seed", context);
        let fragments = fields.or_default("fragments", context);
        let fixups = fields.or_default("fixups", context);
        fields.finish(context);
        let (Targets(base), seed) = base.zip(seed.ok())?;
        Some(Self { base, seed, fragments, fixups })
    }
}

/// One kbuild target, or several.
struct Targets(Vec<Spanned<String>>);

impl Decode for Targets {
    const EXPECTED: &'static str = "a kbuild target, or a list of them";
    const PLURAL: &'static str = "lists of kbuild targets";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Str(_) => Spanned::decode(node, context).map(|target| Self(vec![target])),
            SyntaxKind::List(items) if items.is_empty() => {
                let diagnostic =
                    Diagnostic::error("empty-list", "`base` is empty: there is nothing to start from");
                context.report(diagnostic.label(node.span, "expected at least one kbuild target"))
            }
            SyntaxKind::List(_) => Vec::decode(node, context).map(Self),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

record!(BuildPart, "a build: `(sources: [..], archs: [..], defconfigs: [..], toolchains: [..])`", "builds", {
    extends: default,
    sources: default,
    archs: default,
    defconfigs: default,
    toolchains: default,
    fixups: default,
    params: default,
    exclude: default,
    include: default,
});

record!(AxisFilter, "`(source: .., arch: .., defconfig: .., toolchain: ..)`", "`(source: .., arch: .., defconfig: .., toolchain: ..)`", {
    source: optional,
    arch: optional,
    defconfig: optional,
    toolchain: optional,
});

record!(ActionEntry, "an action: `(rule: .., params: {..})`", "actions", { rule: required, params: default });

impl Decode for CacheSettings {
    const EXPECTED: &'static str = "`(path: .., kept: .., limit: ..)`";
    const PLURAL: &'static str = "cache settings";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let path = fields.optional("path", context);
        let kept = fields.optional::<Bytes>("kept", context);
        let limit = fields.or_default("limit", context);
        fields.finish(context);
        let default = Self::default();
        let kept = kept.map_or(default.kept, |kept| kept.0);
        Some(Self { path: path.unwrap_or(default.path), kept, limit })
    }
}

impl Decode for CacheLimit {
    const EXPECTED: &'static str = "`(size: .., age: .., free: ..)`";
    const PLURAL: &'static str = "limits of the cache";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let size = fields.optional::<Bytes>("size", context);
        let age = fields.optional("age", context);
        let free = fields.optional::<Bytes>("free", context);
        fields.finish(context);
        Some(Self { size: size.map(|size| size.0), age, free: free.map(|free| free.0) })
    }
}
