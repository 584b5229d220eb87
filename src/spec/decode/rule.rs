//! `rules/NAME.ron`.

use std::path::PathBuf;

use super::collections::{NameRule, named};
use super::project::check_version;
use super::scalars::Bytes;
use super::{Context, Decode, Fields};
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::{
    Discover, Discoverer, HostRef, Incremental, Input, Kind, OutcomePolicy, Output, OutputRef, OutputShape,
    Param, ParamType, ParamValue, Resources, Rule, RunReport, SandboxRoot, SandboxSettings, SystemCalls,
    Template, Tool,
};
use crate::spec::syntax::{Node, NodeKind};

impl Decode for Rule {
    const EXPECTED: &'static str = "a rule: `(version: 1, ..)`";
    const PLURAL: &'static str = "rules";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        check_version(&mut fields, context)?;
        let rule = Self {
            doc: fields.or_default("doc", context),
            kind: fields.optional("kind", context).unwrap_or(Kind::Command),
            per: fields.optional("per", context),
            expand: fields.optional("expand", context),
            params: names(&mut fields, "params", context),
            tools: fields.or_default("tools", context),
            host: fields.or_default("host", context),
            inputs: names(&mut fields, "inputs", context),
            env: fields.or_default("env", context),
            discover: fields.optional("discover", context),
            incremental: fields.optional("incremental", context),
            steps: fields.or_default("steps", context),
            outputs: names(&mut fields, "outputs", context),
            export: fields.optional("export", context),
            sandbox: fields.or_default("sandbox", context),
            resources: fields.optional("resources", context).unwrap_or_default(),
            time_limit: fields.optional("time_limit", context),
            retries: fields.or_default("retries", context),
            outcome: fields.or_default("outcome", context),
        };
        fields.finish(context);
        Some(rule)
    }
}

fn names<T: Decode>(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    context: &mut Context,
) -> crate::spec::model::Named<T> {
    fields.take(name).map(|field| named(&field.value, NameRule::Plain, context)).unwrap_or_default()
}

impl Decode for Tool {
    const EXPECTED: &'static str = "the name of a program, or `Optional(..)` of one";
    const PLURAL: &'static str = "programs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let unwrapped = node.unwrapped();
        if let NodeKind::Tuple { name: Some(name), items } = &unwrapped.kind {
            return match (name.text, items.as_slice()) {
                ("Optional", [program]) => {
                    Template::decode(program, context).map(|program| Self { program, optional: true })
                }
                ("Optional", _) => context.wrong_type(unwrapped, "`Optional(\"program\")`"),
                _ => context.unknown_variant(name.span, name.text, &["Optional"]),
            };
        }
        Template::decode(node, context).map(|program| Self { program, optional: false })
    }
}

impl Decode for HostRef {
    const EXPECTED: &'static str = "an absolute path, or `Library(..)`";
    const PLURAL: &'static str = "paths of the host";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let unwrapped = node.unwrapped();
        if let NodeKind::Tuple { name: Some(name), items } = &unwrapped.kind {
            return match (name.text, items.as_slice()) {
                ("Library", [library]) => String::decode(library, context).map(Self::Library),
                ("Library", _) => context.wrong_type(unwrapped, "`Library(\"name\")`"),
                _ => context.unknown_variant(name.span, name.text, &["Library"]),
            };
        }
        PathBuf::decode(node, context).map(Self::Path)
    }
}

/// The kinds by name.
const KINDS: [(&str, Kind); 7] = [
    ("Command", Kind::Command),
    ("Config", Kind::Config),
    ("Match", Kind::Match),
    ("Job", Kind::Job),
    ("Lava", Kind::Lava),
    ("Stage3", Kind::Stage3),
    ("Binpkg", Kind::Binpkg),
];

impl Decode for Kind {
    const EXPECTED: &'static str = "a kind of rule";
    const PLURAL: &'static str = "kinds";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Ident(word) => {
                let found = KINDS.iter().find(|(name, _)| name == word).map(|(_, kind)| *kind);
                found.or_else(|| context.unknown_variant(node.span, word, &KINDS.map(|(name, _)| name)))
            }
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for Discover {
    const EXPECTED: &'static str = "`(inputs: [..], by: [..], unsearched: [..])`";
    const PLURAL: &'static str = "ways to discover inputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let inputs = fields.required("inputs", context);
        let by = fields.required("by", context);
        let unsearched = fields.or_default("unsearched", context);
        fields.finish(context);
        inputs.zip(by).map(|(inputs, by)| Self { inputs, by, unsearched })
    }
}

impl Decode for Discoverer {
    const EXPECTED: &'static str = "`Fanotify` or `Kbuild`";
    const PLURAL: &'static str = "discoverers";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Ident("Fanotify") => Some(Self::Fanotify),
            NodeKind::Ident("Kbuild") => Some(Self::Kbuild),
            NodeKind::Ident(word) => context.unknown_variant(node.span, word, &["Fanotify", "Kbuild"]),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for Incremental {
    const EXPECTED: &'static str = "`Kbuild`";
    const PLURAL: &'static str = "ways to continue";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Ident("Kbuild") => Some(Self::Kbuild),
            NodeKind::Ident(word) => context.unknown_variant(node.span, word, &["Kbuild"]),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for OutputRef {
    const EXPECTED: &'static str = "`(rule: .., output: ..)`";
    const PLURAL: &'static str = "references to outputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        output_ref(Fields::of(node, Self::EXPECTED, context)?, context)
    }
}

fn output_ref(mut fields: Fields<'_, '_>, context: &mut Context) -> Option<OutputRef> {
    let rule = fields.required("rule", context);
    let output = fields.required("output", context);
    fields.finish(context);
    rule.zip(output).map(|(rule, output)| OutputRef { rule, output, optional: false })
}

impl Decode for ParamType {
    const EXPECTED: &'static str = "a type";
    const PLURAL: &'static str = "types";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let NodeKind::Ident(word) = node.kind else {
            return context.wrong_type(node, "a type such as `Str`");
        };
        let all = [Self::Str, Self::Int, Self::Bool, Self::Path, Self::Node, Self::Strs, Self::Paths];
        let found = all.into_iter().find(|ty| ty.name() == word);
        found.or_else(|| context.unknown_variant(node.span, word, &all.map(Self::name)))
    }
}

impl Decode for Param {
    const EXPECTED: &'static str = "a parameter: `(type: .., default: .., doc: ..)`";
    const PLURAL: &'static str = "parameters";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let ty: Option<ParamType> = fields.required("type", context);
        let default: Option<Spanned<ParamValue>> = fields.optional("default", context);
        let doc = fields.or_default("doc", context);
        fields.finish(context);
        // Whether the default is of that type is checked with all other values.
        ty.map(|ty| Self { ty, default, doc })
    }
}

impl ParamType {
    /// What a value of this type is, for people.
    pub(in crate::spec) const fn expects(self) -> &'static str {
        match self {
            Self::Str => "a text",
            Self::Int => "a whole number",
            Self::Bool => "`true` or `false`",
            Self::Path => "a path",
            Self::Node => "the name of an action, `RULE:NAME`",
            Self::Strs => "a list of texts",
            Self::Paths => "a list of paths",
        }
    }
}

impl ParamValue {
    /// What it is, for people.
    pub(in crate::spec) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Int(_) => "a number",
            Self::Bool(_) => "`true` or `false`",
            Self::List(_) => "a list",
        }
    }
}

impl Decode for Input {
    const EXPECTED: &'static str =
        "`Source(..)`, `File(..)`, `Output(..)`, `Concat(..)`, `ModuleKey(..)` or `Root(..)`";
    const PLURAL: &'static str = "inputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Tuple { name: Some(name), items } => match (name.text, items.as_slice()) {
                ("Source", [tree]) => Spanned::decode(tree, context).map(Self::Source),
                ("File", [path]) => Spanned::decode(path, context).map(Self::File),
                ("Root", [name]) => Spanned::decode(name, context).map(Self::Root),
                ("ModuleKey", [name]) => Spanned::decode(name, context).map(Self::ModuleKey),
                ("Source" | "File" | "Root" | "ModuleKey", _) => {
                    context.wrong_type(node, &format!("`{}(\"one text\")`", name.text))
                }
                ("Output", _) => context.wrong_type(node, "`Output(rule: .., output: ..)`"),
                ("Concat", _) => context.wrong_type(node, "`Concat(files: .., lines: ..)`"),
                _ => unknown_input(node, context),
            },
            NodeKind::Struct { name: Some(name), .. } => {
                let mut fields = Fields::of_variant(node);
                match name.text {
                    "Source" => {
                        let tree = fields.required("source", context);
                        fields.finish(context);
                        tree.map(Self::Source)
                    }
                    "File" => {
                        let path = fields.required("path", context);
                        fields.finish(context);
                        path.map(Self::File)
                    }
                    "Output" => {
                        let optional = fields.or_default("optional", context);
                        output_ref(fields, context)
                            .map(|reference| Self::Output(OutputRef { optional, ..reference }))
                    }
                    "Concat" => {
                        let files = fields.optional("files", context);
                        let lines = fields.optional("lines", context);
                        fields.finish(context);
                        Some(Self::Concat { files, lines })
                    }
                    _ => unknown_input(node, context),
                }
            }
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

fn unknown_input<T>(node: &Node<'_>, context: &mut Context) -> Option<T> {
    let (NodeKind::Tuple { name: Some(name), .. } | NodeKind::Struct { name: Some(name), .. }) = &node.kind
    else {
        return None;
    };
    context.unknown_variant(
        name.span,
        name.text,
        &["Source", "File", "Output", "Concat", "ModuleKey", "Root"],
    )
}

/// What outputs are.
const SHAPES: [&str; 6] = ["File", "Tree", "Glob", "Log", "Messages", "Metadata"];

impl Decode for Output {
    const EXPECTED: &'static str = "an output: `File(..)`, `Tree(..)`, `Glob(..)`, `Log(..)`, ..";
    const PLURAL: &'static str = "outputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let (NodeKind::Tuple { name: Some(name), .. } | NodeKind::Struct { name: Some(name), .. }) =
            &node.kind
        else {
            return context.wrong_type(node, Self::EXPECTED);
        };
        let shape: fn(_) -> _ = match name.text {
            "File" => OutputShape::File,
            "Tree" => OutputShape::Tree,
            "Glob" => OutputShape::Glob,
            "Log" => |path| OutputShape::Report(RunReport::Log, path),
            "Messages" => |path| OutputShape::Report(RunReport::Messages, path),
            "Metadata" => |path| OutputShape::Report(RunReport::Metadata, path),
            _ => return context.unknown_variant(name.span, name.text, &SHAPES),
        };
        if let NodeKind::Tuple { items, .. } = &node.kind {
            let [path] = items.as_slice() else {
                let expected = format!("`{0}(\"path\")` or `{0}(path: .., optional: ..)`", name.text);
                return context.wrong_type(node, &expected);
            };
            let path = Spanned::decode(path, context)?;
            return Some(Self { shape: shape(path), optional: false, name: None, export: true });
        }
        let mut fields = Fields::of_variant(node);
        let path = fields.required("path", context);
        let optional = fields.or_default("optional", context);
        let name = fields.optional("name", context);
        let export = fields.optional("export", context).unwrap_or(true);
        fields.finish(context);
        path.map(|path| Self { shape: shape(path), optional, name, export })
    }
}

impl Decode for SandboxSettings {
    const EXPECTED: &'static str = "`(network: .., root: .., system_calls: ..)`";
    const PLURAL: &'static str = "sandbox settings";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let network = fields.or_default("network", context);
        let root = fields.or_default("root", context);
        let sandbox = Self { network, root, system_calls: fields.or_default("system_calls", context) };
        fields.finish(context);
        Some(sandbox)
    }
}

impl Decode for SystemCalls {
    const EXPECTED: &'static str = "`Filtered` or `Unfiltered`";
    const PLURAL: &'static str = "system calls";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Ident("Filtered") => Some(Self::Filtered),
            NodeKind::Ident("Unfiltered") => Some(Self::Unfiltered),
            NodeKind::Ident(word) => context.unknown_variant(node.span, word, &["Filtered", "Unfiltered"]),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for SandboxRoot {
    const EXPECTED: &'static str = "`Host` or `Toolchain`";
    const PLURAL: &'static str = "roots of sandboxes";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            NodeKind::Ident("Host") => Some(Self::Host),
            NodeKind::Ident("Toolchain") => Some(Self::Toolchain),
            NodeKind::Ident(word) => context.unknown_variant(node.span, word, &["Host", "Toolchain"]),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for Resources {
    const EXPECTED: &'static str =
        "`(cpu: .., memory: .., processes: .., disk: .., pools: {..}, jobserver: ..)`";
    const PLURAL: &'static str = "resources";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let disk: Option<Bytes> = fields.optional("disk", context);
        let resources = Self {
            cpu: fields.optional("cpu", context).unwrap_or(1),
            memory: fields.or_default::<Bytes>("memory", context).0,
            processes: fields.optional("processes", context).unwrap_or(Self::PROCESSES),
            disk: disk.map_or(Self::DISK, |disk| disk.0),
            pools: fields.or_default("pools", context),
            jobserver: fields.or_default("jobserver", context),
        };
        fields.finish(context);
        Some(resources)
    }
}

impl Decode for OutcomePolicy {
    const EXPECTED: &'static str = "`(infra_codes: [..], cache_fail: .., older_than: ..)`";
    const PLURAL: &'static str = "outcome policies";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let codes: Vec<Spanned<i32>> = fields.or_default("infra_codes", context);
        let cache_fail = fields.or_default("cache_fail", context);
        let older_than = fields.optional("older_than", context);
        fields.finish(context);
        for code in codes.iter().filter(|code| !(1..=255).contains(&code.value)) {
            let message = format!("no program exits with {} and has failed", code.value);
            let diagnostic = Diagnostic::error("out-of-range", message).label(code.span, "expected 1 to 255");
            context.diagnostics.push(diagnostic);
        }
        let infra_codes = codes.into_iter().map(|code| code.value).collect();
        Some(Self { infra_codes, cache_fail, older_than })
    }
}
