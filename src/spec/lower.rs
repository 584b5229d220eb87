//! Lowering: a checked spec without its places, its sources resolved and its matrix expanded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;

use super::declared;
use super::diagnostic::Spanned;
use super::matrix;
use super::model::form::Declared;
use super::model::{
    self, AttrValue, Axis, CacheSettings, Discoverer, Fixup, HostRef, Incremental, Kind, Origin,
    OutcomePolicy, ParamType, ParamValue, Project, SandboxSettings, SecretFrom, Source, Spec, Template, Tool,
    User, Visibility,
};
use crate::gentoo::names::Stage3;
use crate::kernel::predicate::Predicate;

/// The plain values of a spec that the checks found no error in.
pub(super) fn lower(spec: declared::Spec) -> Spec {
    let builds = matrix::builds(&spec.project);
    let declared::Spec { root, project, rules, today } = spec;
    let declared::Project {
        sources,
        archs,
        toolchains,
        gentoo,
        roots,
        fixups: _,
        configs,
        presets: _,
        builds: _,
        boards,
        labs,
        tests,
        publish,
        actions,
        pools,
        cache,
        remotes,
        keys,
        sign,
        module_keys,
        repeatable,
    } = project;
    let sources = sources.into_iter().map(|(name, source)| (name, resolve(source.value, &root)));
    let project = Project {
        sources: sources.collect(),
        archs: archs.lower(),
        toolchains: toolchains.lower(),
        gentoo: gentoo.lower(),
        roots: roots.lower(),
        configs: configs.lower(),
        boards: boards.lower(),
        labs: labs.lower(),
        tests: tests.lower(),
        publish: publish.lower(),
        actions: actions.lower(),
        pools: pools.lower(),
        cache: cache.lower(),
        remotes: remotes.lower(),
        keys: keys.lower(),
        sign: sign.lower(),
        module_keys: module_keys.lower(),
        repeatable: repeatable.is_some_and(|repeatable| repeatable.value),
    };
    Spec { project, rules: rules.lower(), builds, today, root }
}

fn resolve(source: declared::Source, root: &Path) -> Source {
    let (path, origin) = match source {
        declared::Source::Dir { path } => (path, Origin::Dir),
        declared::Source::Git { path, rev: None } => (path, Origin::Checkout),
        declared::Source::Git { path, rev: Some(rev) } => (path, Origin::Commit { rev: rev.value }),
        declared::Source::Tarball { path, digest, strip } => {
            (path, Origin::Tarball { digest: digest.value, strip })
        }
    };
    Source { path: root.join(path.value), origin }
}

/// A value that has a plain form.
trait Lower {
    type Plain;

    fn lower(self) -> Self::Plain;
}

impl<T: Lower> Lower for Spanned<T> {
    type Plain = T::Plain;

    fn lower(self) -> T::Plain {
        self.value.lower()
    }
}

impl<T: Lower> Lower for Option<T> {
    type Plain = Option<T::Plain>;

    fn lower(self) -> Self::Plain {
        self.map(T::lower)
    }
}

impl<T: Lower> Lower for Box<T> {
    type Plain = Box<T::Plain>;

    fn lower(self) -> Self::Plain {
        Box::new((*self).lower())
    }
}

impl<T: Lower> Lower for Vec<T> {
    type Plain = Vec<T::Plain>;

    fn lower(self) -> Self::Plain {
        self.into_iter().map(T::lower).collect()
    }
}

impl<T: Lower> Lower for BTreeMap<String, T> {
    type Plain = BTreeMap<String, T::Plain>;

    fn lower(self) -> Self::Plain {
        self.into_iter().map(|(name, value)| (name, value.lower())).collect()
    }
}

/// Types without places in them.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        $(impl Lower for $type {
            type Plain = Self;

            fn lower(self) -> Self {
                self
            }
        })*
    };
}

plain!(
    bool,
    i32,
    u32,
    u64,
    String,
    PathBuf,
    Duration,
    Date,
    AttrValue,
    Axis,
    CacheSettings,
    Discoverer,
    Fixup,
    HostRef,
    Incremental,
    Kind,
    OutcomePolicy,
    ParamType,
    ParamValue,
    Predicate,
    SandboxSettings,
    SecretFrom,
    Stage3,
    Template,
    Tool,
    User,
    Visibility,
);

/// Records, field by field.
macro_rules! records {
    ($($record:ident { $($field:ident),* $(,)? })*) => {
        $(impl Lower for model::$record<Declared> {
            type Plain = model::$record;

            fn lower(self) -> Self::Plain {
                let Self { $($field),* } = self;
                model::$record { $($field: $field.lower()),* }
            }
        })*
    };
}

records! {
    ActionEntry { rule, params }
    Arch { kernel, image, targets, attrs }
    Board { requires, device_type, image, qemu, job, dtb, tags, rootfs, labs, tests, attrs }
    Config { base, seed, fragments, fixups }
    Definition { name, from, params }
    Discover { inputs, by, unsearched }
    Gentoo { mirrors, signed_by, fresh, ebuilds }
    LavaLab { url, user, token, slots, tags, priority, visibility, queue, timeout, events, ca }
    ModuleKey { certificate, key }
    Output { shape, optional, name, export }
    OutputSelector { rule, output, optional }
    Param { ty, default, doc }
    Publish { dir, url, age }
    Qemu { program, args, cmdline }
    RemoteCache {
        name, url, instance, write, kept, continued, unsigned, token, user, ca, certificate, certificate_key,
        timeout,
    }
    Resources { cpu, memory, processes, disk, pools, jobserver }
    RootSpec { stage3, packages, user, binhosts, packages_signed_by }
    Rule {
        doc, kind, per, expand, params, tools, host, inputs, env, discover, incremental, steps, outputs, export,
        sandbox, resources, time_limit, retries, outcome,
    }
    Signers { keys, signers }
    Skip { case, reason, until }
    Toolchain { compiler, targets, make, path, tools }
}

/// Alternatives, case by case.
macro_rules! alternatives {
    ($($name:ident { $($case:pat => $plain:expr,)* })*) => {
        $(impl Lower for model::$name<Declared> {
            type Plain = model::$name;

            fn lower(self) -> Self::Plain {
                match self {
                    $($case => $plain,)*
                }
            }
        })*
    };
}

alternatives! {
    Compiler {
        Self::Gcc => model::Compiler::Gcc,
        Self::Clang => model::Compiler::Clang,
        Self::Root(mode) => model::Compiler::Root(mode.lower()),
    }
    DefinitionFrom {
        Self::Inline { path } => model::DefinitionFrom::Inline { path: path.lower() },
        Self::Git { url, rev, path } => {
            model::DefinitionFrom::Git { url: url.lower(), rev: rev.lower(), path }
        },
    }
    Input {
        Self::Source(name) => model::Input::Source(name.lower()),
        Self::File(path) => model::Input::File(path.lower()),
        Self::Output(output) => model::Input::Output(output.lower()),
        Self::ModuleKey(name) => model::Input::ModuleKey(name.lower()),
        Self::Root(name) => model::Input::Root(name.lower()),
        Self::Concat { files, lines } => {
            model::Input::Concat { files: files.lower(), lines: lines.lower() }
        },
    }
    Lab {
        Self::Qemu { slots } => model::Lab::Qemu { slots },
        Self::Lava(lab) => model::Lab::Lava(lab.lower()),
    }
    OutputShape {
        Self::File(path) => model::OutputShape::File(path.lower()),
        Self::Tree(path) => model::OutputShape::Tree(path.lower()),
        Self::Glob(glob) => model::OutputShape::Glob(glob.lower()),
        Self::Report(report, path) => model::OutputShape::Report(report, path.lower()),
    }
    RootMode {
        Self::Emulated => model::RootMode::Emulated,
        Self::Mixed => model::RootMode::Mixed,
        Self::Hybrid(toolchain) => model::RootMode::Hybrid(toolchain.lower()),
    }
    Test {
        Self::Console { marker, time_limit } => model::Test::Console { marker: marker.lower(), time_limit },
        Self::Login { time_limit } => model::Test::Login { time_limit },
        Self::Lava { definitions, skip, time_limit } => {
            model::Test::Lava { definitions: definitions.lower(), skip: skip.lower(), time_limit }
        },
    }
}
