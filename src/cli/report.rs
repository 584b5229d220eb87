//! `kiln report`.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::exit::Exit;
use super::failure::Failure;
use super::project::{open, print_warnings, remotes};
use super::terminal::{Terminal, out, outln};
use crate::kinds::AllKinds;
use crate::report::{self, Node, Origin, State, Status, Style};
use crate::session::{Forced, View};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything.
    targets: Vec<String>,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Write the report to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The name of this CI at KCIDB: lower-case letters, digits and `_`.
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
    let project = open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let remotes = remotes(&project, args.offline, terminal)?;
    let view = View::plan(&project, &kinds, Some(&remotes), &args.targets, Forced::default())?;
    let status = view.status()?;
    print_warnings(&remotes, terminal);
    let style = if args.output.is_some() { Style::Plain } else { terminal.out };
    let text = shown(args, &status, style)?;
    match &args.output {
        Some(file) => write(file, &text)?,
        None => out!("{text}"),
    }
    if args.output.is_some() && !terminal.quiet {
        outln!("{}", report::status_counts(&status));
    }
    Ok(exit(&status))
}

fn shown(args: &Args, status: &Status, style: Style) -> Result<String, Failure> {
    Ok(match (args.format, &args.origin) {
        (Format::Table, _) => {
            format!("{}\n{}\n", report::status_text(status, style), report::status_counts(status))
        }
        (Format::Junit, _) => {
            let xml = report::junit(status);
            xml.map_err(|error| Failure::new(Exit::Environment, format!("no JUnit XML: {error}")))?
        }
        (Format::Kcidb, Some(origin)) => format!("{:#}\n", report::kcidb(status, origin)),
        (Format::Kcidb, None) => unreachable!("the command line asks for it"),
        (Format::Json, _) => format!("{:#}\n", report::status_json(status)),
    })
}

/// Writes a file whole or not at all, so that no reader sees a part of it. A pipe or a device is written to in place.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || {
        if file.metadata().is_ok_and(|there| !there.is_file()) {
            return fs::write(file, text);
        }
        // The usual permissions of new files: a temporary file would otherwise be private.
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

/// The exit code of a build with this status.
fn exit(status: &Status) -> Exit {
    let boot_failed = status.boots().any(|boot| boot.node.state == State::Fail);
    let mut others = status.builds.values().flat_map(|build| &build.nodes).chain(&status.others);
    if others.any(|node| node.state == State::Fail) {
        Exit::BuildFailed
    } else if status.nodes().any(|node: &Node| node.state == State::Infra) {
        Exit::Environment
    } else if boot_failed {
        Exit::BootFailed
    } else {
        Exit::Done
    }
}
