//! `rules/NAME.ron`.

use std::path::PathBuf;

use super::collections::{NameRule, named};
use super::project::check_version;
use super::record::{record, words};
use super::scalars::Bytes;
use super::{Context, Decode, Fields};
use crate::spec::declared::{Discover, Input, Output, OutputSelector, OutputShape, Param, Resources, Rule};
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::{
    Discoverer, HostRef, Incremental, Kind, OutcomePolicy, ParamType, ParamValue, RunReport, SandboxRoot,
    SandboxSettings, SystemCalls, Template, Tool,
};
use crate::spec::syntax::{Node, SyntaxKind};

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
) -> crate::spec::declared::Named<T> {
    fields.take(name).map(|field| named(&field.value, NameRule::Plain, context)).unwrap_or_default()
}

impl Decode for Tool {
    const EXPECTED: &'static str = "the name of a program, or `Optional(..)` of one";
    const PLURAL: &'static str = "programs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let unwrapped = node.unwrapped();
        if let SyntaxKind::Tuple { name: Some(name), items } = &unwrapped.kind {
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
        if let SyntaxKind::Tuple { name: Some(name), items } = &unwrapped.kind {
            return match (name.text, items.as_slice()) {
                ("Library", [library]) => String::decode(library, context).map(Self::Library),
                ("Library", _) => context.wrong_type(unwrapped, "`Library(\"name\")`"),
                _ => context.unknown_variant(name.span, name.text, &["Library"]),
            };
        }
        PathBuf::decode(node, context).map(Self::Path)
    }
}

words!(Kind, "a kind of rule", "kinds", [Command, Config, Match, Job, Lava, Stage3, Binpkg]);

record!(Discover, "`(inputs: [..], by: [..], unsearched: [..])`", "ways to discover inputs", {
    inputs: required,
    by: required,
    unsearched: default,
});

words!(Discoverer, "`Fanotify` or `Kbuild`", "discoverers", [Fanotify, Kbuild]);

words!(Incremental, "`Kbuild`", "ways to continue", [Kbuild]);

impl Decode for OutputSelector {
    const EXPECTED: &'static str = "`(rule: .., output: ..)`";
    const PLURAL: &'static str = "references to outputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        output_ref(Fields::of(node, Self::EXPECTED, context)?, context)
    }
}

fn output_ref(mut fields: Fields<'_, '_>, context: &mut Context) -> Option<OutputSelector> {
    let rule = fields.required("rule", context);
    let output = fields.required("output", context);
    fields.finish(context);
    rule.zip(output).map(|(rule, output)| OutputSelector { rule, output, optional: false })
}

impl Decode for ParamType {
    const EXPECTED: &'static str = "a type";
    const PLURAL: &'static str = "types";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let SyntaxKind::Ident(word) = node.kind else {
            return context.wrong_type(node, "a type such as `Str`");
        };
        let all = [Self::Str, Self::Int, Self::Bool, Self::Path, Self::Node, Self::Strs, Self::Paths];
        let found = all.into_iter().find(|ty| ty.name() == word);
        found.or_else(|| context.unknown_variant(node.span, word, &all.map(Self::name)))
    }
}

record!(Param, "a parameter: `(type: .., default: .., doc: ..)`", "parameters", {
    ty as "type": required,
    default: optional,
    doc: default,
});

impl ParamType {
    /// A description of a value of this type, for messages.
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
    /// A description for messages.
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
            SyntaxKind::Tuple { name: Some(name), items } => match (name.text, items.as_slice()) {
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
            SyntaxKind::Struct { name: Some(name), .. } => {
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
                            .map(|reference| Self::Output(OutputSelector { optional, ..reference }))
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
    let (SyntaxKind::Tuple { name: Some(name), .. } | SyntaxKind::Struct { name: Some(name), .. }) =
        &node.kind
    else {
        return None;
    };
    context.unknown_variant(
        name.span,
        name.text,
        &["Source", "File", "Output", "Concat", "ModuleKey", "Root"],
    )
}

/// The shapes of outputs, as rule files write them.
const SHAPES: [&str; 6] = ["File", "Tree", "Glob", "Log", "Messages", "Metadata"];

impl Decode for Output {
    const EXPECTED: &'static str = "an output: `File(..)`, `Tree(..)`, `Glob(..)`, `Log(..)`, ..";
    const PLURAL: &'static str = "outputs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let (SyntaxKind::Tuple { name: Some(name), .. } | SyntaxKind::Struct { name: Some(name), .. }) =
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
        if let SyntaxKind::Tuple { items, .. } = &node.kind {
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

record!(SandboxSettings, "`(network: .., root: .., system_calls: ..)`", "sandbox settings", {
    network: default,
    root: default,
    system_calls: default,
});

words!(SystemCalls, "`Filtered` or `Unfiltered`", "system calls", [Filtered, Unfiltered]);

words!(SandboxRoot, "`Host` or `Toolchain`", "roots of sandboxes", [Host, Toolchain]);

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
            let message = format!("{} is not the exit code of a failure", code.value);
            let diagnostic = Diagnostic::error("out-of-range", message).label(code.span, "expected 1 to 255");
            context.diagnostics.push(diagnostic);
        }
        let infra_codes = codes.into_iter().map(|code| code.value).collect();
        Some(Self { infra_codes, cache_fail, older_than })
    }
}
