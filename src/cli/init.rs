//! `kiln init`.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::{Terminal, outln};

/// The starter project: kiln's own example, which is built and booted in the tests.
const FILES: [(&str, &str); 14] = [
    ("graph.ron", include_str!("../../graph.ron")),
    ("rules/config.ron", include_str!("../../rules/config.ron")),
    ("rules/kernel.ron", include_str!("../../rules/kernel.ron")),
    ("rules/modules.ron", include_str!("../../rules/modules.ron")),
    ("rules/match.ron", include_str!("../../rules/match.ron")),
    ("rules/job.ron", include_str!("../../rules/job.ron")),
    ("rules/lava.ron", include_str!("../../rules/lava.ron")),
    ("rules/stage3.ron", include_str!("../../rules/stage3.ron")),
    ("rules/binpkg.ron", include_str!("../../rules/binpkg.ron")),
    ("rules/initramfs.ron", include_str!("../../rules/initramfs.ron")),
    ("boot/init.c", include_str!("../../boot/init.c")),
    ("boot/pack.c", include_str!("../../boot/pack.c")),
    ("configs/x86_64-pc.config", include_str!("../../configs/x86_64-pc.config")),
    (".gitignore", "/cache\n/out\n"),
];

/// The path of the source in `graph.ron`.
const SOURCE: &str = "cache/sources/linux-6.1";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory. Default: the current one.
    #[arg(value_name = "DIR")]
    into: Option<PathBuf>,
    /// The kernel tree to build.
    #[arg(long, value_name = "DIR", default_value = SOURCE)]
    source: String,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let root = args.into.clone().unwrap_or_else(|| PathBuf::from("."));
    // All or nothing: existing files are the user's.
    if let Some((file, _)) = FILES.iter().find(|(file, _)| *file != ".gitignore" && root.join(file).exists())
    {
        return Err(Failure::new(Exit::Spec, format!("{} is there already", root.join(file).display()))
            .help("start in an empty directory: `kiln init DIR`"));
    }
    for (file, text) in FILES {
        let path = root.join(file);
        if path.exists() {
            continue;
        }
        let text = if file == "graph.ron" { with_source(text, &args.source)? } else { text.to_owned() };
        write(&path, &text).map_err(|error| {
            Failure::new(Exit::Environment, format!("can't write {}: {error}", path.display()))
        })?;
    }
    if !terminal.quiet {
        outln!("started a project in {}", root.display());
        if !root.join(&args.source).is_dir() {
            outln!("put a kernel tree at {}, or set another path in graph.ron; then", args.source);
        }
        outln!("  kiln doctor   checks what this host lacks");
        outln!("  kiln plan     shows what would run");
        outln!("  kiln build    runs it");
    }
    Ok(Exit::Done)
}

/// Replaces the path of the source in the example.
fn with_source(text: &str, source: &str) -> Result<String, Failure> {
    let quoted = serde_json::to_string(source).map_err(|error| Failure::new(Exit::Spec, error))?;
    Ok(text.replace(&format!("\"{SOURCE}\""), &quoted))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}
