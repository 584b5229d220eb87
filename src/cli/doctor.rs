//! `kiln doctor`.

use std::collections::BTreeSet;

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::project::{load_spec, root};
use super::terminal::{Terminal, outln};
use crate::report::Style;
use crate::session::{Finding, State, check_host};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let root = root().ok();
    let spec = root.is_some().then(|| load_spec(terminal)).transpose()?;
    let dir = root.or_else(|| std::env::current_dir().ok());
    let findings = check_host(spec.as_ref(), dir.as_deref())?;
    match args.format {
        Format::Text => print(&findings, terminal.out),
        Format::Json => outln!("{:#}", serde_json::json!({ "version": 1, "findings": findings })),
    }
    let missing = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if missing { Exit::Environment } else { Exit::Done })
}

fn print(findings: &[Finding], style: Style) {
    for Finding { what, state, found, .. } in findings {
        let word = match state {
            State::Fine => style.good("ok     "),
            State::Absent => style.dim("absent "),
            State::Missing => style.bad("missing"),
        };
        outln!("{word}  {what}: {found}");
    }
    let remedies: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding.state == State::Missing)
        .filter_map(|finding| finding.remedy.as_deref())
        .collect();
    let packages: Vec<&str> =
        remedies.iter().filter_map(|remedy| remedy.strip_prefix("apt-get install ")).collect();
    let others: Vec<&&str> =
        remedies.iter().filter(|remedy| !remedy.starts_with("apt-get install ")).collect();
    if packages.is_empty() && others.is_empty() {
        return;
    }
    outln!("\nto mend it:");
    if !packages.is_empty() {
        outln!("  apt-get install {}", packages.join(" "));
    }
    for other in others {
        outln!("  {other}");
    }
}
