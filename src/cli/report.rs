//! `kiln report`.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::exit::{Exit, Failure};
use super::project::{Project, select};
use super::remotes::tell;
use super::terminal::{Terminal, out, outln};
use crate::kinds::AllKinds;
use crate::plan::plan;
use crate::report::{self, Node, Origin, Standing, State, Style};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything.
    targets: Vec<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Write it to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What KCIDB knows this CI as: small letters, digits and `_`.
    #[arg(long, value_name = "NAME", required_if_eq("format", "kcidb"))]
    origin: Option<Origin>,
    /// Do not ask the remotes.
    #[arg(long)]
    offline: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// JUnit XML, as forges and CI servers show it.
    Junit,
    /// A submission to KCIDB, the kernel community's database of results.
    Kcidb,
    /// A documented, versioned schema: docs/reports.md.
    Json,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let remotes = project.remotes(args.offline, terminal)?;
    let (mut graph, mut world) = project.look(&kinds)?;
    world.remotes = Some(&remotes);
    let selection = select(&args.targets, &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    let standing = report::standing(&world, &graph, &plan)?;
    world.save();
    tell(&remotes, terminal);
    let style = if args.output.is_some() { Style::Plain } else { terminal.out };
    let text = shown(args, &standing, style)?;
    match &args.output {
        Some(file) => write(file, &text)?,
        None => out!("{text}"),
    }
    if args.output.is_some() && !terminal.quiet {
        outln!("{}", report::standing_counts(&standing));
    }
    Ok(exit(&standing))
}

fn shown(args: &Args, standing: &Standing, style: Style) -> Result<String, Failure> {
    Ok(match (args.format, &args.origin) {
        (Format::Table, _) => {
            format!("{}\n{}\n", report::standing_text(standing, style), report::standing_counts(standing))
        }
        (Format::Junit, _) => {
            let xml = report::junit(standing);
            xml.map_err(|error| Failure::new(Exit::Environment, format!("no JUnit XML: {error}")))?
        }
        (Format::Kcidb, Some(origin)) => format!("{:#}\n", report::kcidb(standing, origin)),
        (Format::Kcidb, None) => unreachable!("the command line asks for it"),
        (Format::Json, _) => format!("{:#}\n", report::standing_json(standing)),
    })
}

/// Writes the file whole or not at all, so that nobody who waits for it reads half of it. What is no file, such as a pipe,
/// is written to as it is.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || {
        if file.metadata().is_ok_and(|there| !there.is_file()) {
            return fs::write(file, text);
        }
        // As any program would make it: others may read it, unless the umask says otherwise.
        let mut temporary = tempfile::Builder::new()
            .prefix(".kiln-report-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)?;
        temporary.write_all(text.as_bytes())?;
        temporary.persist(file).map_err(|error| error.error)?;
        Ok(())
    };
    written()
        .map_err(|error| Failure::new(Exit::Environment, format!("can't write {}: {error}", file.display())))
}

/// As `kiln build` would end that came to just this.
fn exit(standing: &Standing) -> Exit {
    let boot_failed = standing.boots().any(|boot| boot.node.state == State::Fail);
    let mut others = standing.builds.values().flat_map(|build| &build.nodes).chain(&standing.others);
    if others.any(|node| node.state == State::Fail) {
        Exit::BuildFailed
    } else if standing.nodes().any(|node: &Node| node.state == State::Infra) {
        Exit::Environment
    } else if boot_failed {
        Exit::BootFailed
    } else {
        Exit::Done
    }
}
