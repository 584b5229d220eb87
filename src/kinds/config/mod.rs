//! Kind `Config`: checks a final `.config` against the fixups of its build and for unrepeatable settings, and the compiler
//! against the arch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exec::{Check, CheckedRun, sandbox_path};
use crate::graph::{Action, BuildId, Input, Value};
use crate::kernel::compiler::{is_foreign, refusal};
use crate::kernel::config::KConfig;
use crate::kernel::host_paths::host_paths;
use crate::kernel::kconfig::{Kconfig, variables};
use crate::kernel::missing_target::{MissingTarget, missing_target};
use crate::kernel::repeatable::{BuildFacts, Unrepeatable, needs_token, unrepeatable};
use crate::kernel::unmet_settings::{UnmetSetting, unmet_settings};
use crate::spec::model::HostRef;

/// The output that is checked.
const CONFIG: &str = "config";

/// The inputs directory inside the sandbox.
const INPUTS: &str = "/kiln/in";

/// The placeholder with the required fixups.
const REQUIRED: &str = "fixups.required";

/// The placeholder that says whether unrepeatable settings are errors.
const REPEATABLE: &str = "repeatable";

/// Checks configurations, and explains failed ones.
pub(super) struct Configured;

impl Check for Configured {
    fn check(&self, ran: &CheckedRun<'_>) -> Result<Option<String>, String> {
        // Kconfig does not check the compiler's target; without this the kernel build would fail at its first file.
        if let Some(foreign) = foreign(ran) {
            return Err(foreign);
        }
        let Some(path) = (ran.out)(CONFIG) else { return Ok(None) };
        let bytes = match read(&path) {
            Ok(Some(bytes)) => bytes,
            // The collection of outputs reports a missing output.
            Ok(None) => return Ok(None),
            Err(error) => return Err(format!("can't look into {CONFIG}: {error}")),
        };
        let (config, _) = KConfig::parse(&bytes);
        fixups(ran, &config)?;
        outside(ran.action, &config)?;
        repeats(ran.action, &config)
    }

    fn explain(&self, ran: &CheckedRun<'_>, log: &[String]) -> Option<String> {
        foreign(ran).or_else(|| refused(ran.action, log)).or_else(|| lacks(ran, log))
    }
}

/// The message for a compiler that targets another arch.
fn foreign(ran: &CheckedRun<'_>) -> Option<String> {
    // The spec's checks cover roots.
    if ran.action.root.is_some() {
        return None;
    }
    let text = |placeholder: &str| ran.action.bindings.text_of(placeholder);
    let (cc, arch) = (text("toolchain.cc"), text("arch.kernel"));
    // These variables replace the toolchain's compiler.
    let chosen = |variable: &String| variable.starts_with("CC=") || variable.starts_with("LLVM=");
    if list(ran.action, "toolchain.make").iter().any(chosen) {
        return None;
    }
    let machine = (ran.machine)(&cc).filter(|machine| is_foreign(machine, &arch))?;
    let (toolchain, name) = (text("toolchain"), text("arch"));
    Some(format!(
        "{cc} makes code for {machine}, and {} is {arch}: give the toolchain {toolchain} the prefix of a compiler for \
         {name}, `targets: {{\"{name}\": \"PREFIX-\"}}`",
        build(ran.action)
    ))
}

/// The message for a compiler, assembler or linker that the tree rejects.
fn refused(action: &Action, log: &[String]) -> Option<String> {
    let words = refusal(log)?;
    let text = |placeholder: &str| action.bindings.text_of(placeholder);
    Some(format!(
        "{} does not take the toolchain {}: {words}: name another in toolchains, or leave the combination out",
        text("source"),
        text("toolchain")
    ))
}

/// The message for a target that the tree does not have.
fn lacks(ran: &CheckedRun<'_>, log: &[String]) -> Option<String> {
    let arch = ran.action.bindings.text_of("arch.kernel");
    let tree = tree(ran)?;
    let MissingTarget { wanted, nearest, all } =
        missing_target(&tree, &arch, list(ran.action, "defconfig.base"), log)?;
    let source = ran.action.bindings.text_of("source");
    let of_arch = if wanted.starts_with("arch/") { String::new() } else { format!(" for {arch}") };
    let more = if all > nearest.len() { ", .." } else { "" };
    Some(match nearest.as_slice() {
        [] => format!("{source} has no {wanted}{of_arch}, nor any other of its kind"),
        names => {
            format!("{source} has no {wanted}{of_arch}; it has {}{more}: name one of these", names.join(", "))
        }
    })
}

/// The build, as `source/arch/defconfig/toolchain`.
fn build(action: &Action) -> String {
    action.build.as_ref().map(BuildId::to_string).unwrap_or_default()
}

fn list<'a>(action: &'a Action, placeholder: &str) -> &'a [String] {
    match action.bindings.get(placeholder) {
        Some(Value::List(list)) => list,
        Some(Value::Text(_)) | None => &[],
    }
}

/// Fails if required fixups are missing from the final `.config`.
fn fixups(ran: &CheckedRun<'_>, config: &KConfig<'_>) -> Result<(), String> {
    let missed = unmet_settings(config, list(ran.action, REQUIRED).iter().map(String::as_str));
    if missed.is_empty() {
        return Ok(());
    }
    // Kconfig is only needed to explain; an unreadable one is no error.
    let arch = ran.action.bindings.text_of("arch.kernel");
    let kconfig = tree(ran).and_then(|tree| Kconfig::read(&tree, &variables(&arch)).ok());
    let lines = missed.iter().map(|missed| line(missed, kconfig.as_ref(), config));
    Err(message(&lines.collect::<Vec<_>>()))
}

/// Fails if settings name host files that no rule declares: steps can't see them.
fn outside(action: &Action, config: &KConfig<'_>) -> Result<(), String> {
    let declared = |path: &str| {
        let of_host = action.host.iter().any(|declared| match declared {
            HostRef::Path(declared) => Path::new(path).starts_with(declared),
            HostRef::Library(_) => false,
        });
        of_host || Path::new(path).starts_with(INPUTS)
    };
    let unknown = host_paths(config).into_iter().filter(|(_, path)| !declared(path));
    let lines: Vec<String> = unknown.map(|(symbol, path)| format!("CONFIG_{symbol} names {path}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the final .config names files of this machine that no rule declares: {}; declare each in `host` of \
         rules/{}.ron and of the rule that builds, or give it as an input",
        lines.join(", "),
        action.rule.name
    ))
}

/// Reports settings that make the kernel unrepeatable: as a note, or as an error where the spec says `repeatable: true`.
fn repeats(action: &Action, config: &KConfig<'_>) -> Result<Option<String>, String> {
    if needs_token(config) {
        return Err("CONFIG_MODULE_SIG_KEY names a PKCS#11 token: what it holds is in no key, and steps can't reach it; give \
                    the build a key of `module_keys` and set MODULE_SIG_KEY=\"/kiln/in/module_key\""
            .to_owned());
    }
    let source = action.inputs.iter().find(|(_, input)| matches!(input, Input::Source { .. }));
    let source = source.map_or(String::new(), |(name, _)| sandbox_path(name).display().to_string());
    let of = BuildFacts { make: list(action, "toolchain.make"), source: &source };
    let found = unrepeatable(config, of);
    if found.is_empty() {
        return Ok(None);
    }
    let lines =
        found.iter().map(|Unrepeatable { symbol, why, fix }| format!("CONFIG_{symbol}: {why}: {fix}"));
    let what = format!("equal inputs make other kernels:\n  {}", lines.collect::<Vec<_>>().join("\n  "));
    if action.bindings.text_of(REPEATABLE) == "true" { Err(what) } else { Ok(Some(what)) }
}

/// The configured source tree.
fn tree(ran: &CheckedRun<'_>) -> Option<PathBuf> {
    let mut trees = ran.action.inputs.iter().filter(|(_, input)| matches!(input, Input::Source { .. }));
    trees.find_map(|(name, _)| (ran.source)(name))
}

/// A regular file's content, or `None`. Links are not followed: a step may have made one that leads out of the tree.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::read(path).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One symbol: the requested and the actual value, and the reason.
fn line(missed: &UnmetSetting<'_>, kconfig: Option<&Kconfig>, config: &KConfig<'_>) -> String {
    let UnmetSetting { symbol, asked, found } = missed;
    let found = found.as_deref().unwrap_or("n (not set)");
    let why = kconfig.and_then(|kconfig| kconfig.explain(symbol, asked, config));
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    format!("CONFIG_{symbol}: asked for {asked}, got {found}{why}")
}

fn message(lines: &[String]) -> String {
    let fixups = if lines.len() == 1 { "a fixup is" } else { "fixups are" };
    format!("{fixups} not in the final .config as asked:\n  {}", lines.join("\n  "))
}
