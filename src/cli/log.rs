//! `kiln log`.

use std::io::Write;

use super::exit::{Exit, Failure};
use super::project::Project;
use super::terminal::{ColorChoice, Terminal};
use crate::store::BlobError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that means one.
    node: String,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let project = Project::open(&Terminal::new(ColorChoice::Never, true))?;
    let id = project.store.project(&project.spec.root)?;
    let runs = project.store.runs(id, &args.node, 1)?;
    let name = match runs.first() {
        Some(_) => args.node.clone(),
        None => {
            // Not a name that was recorded: it may be a glob, or a boot that the graph alone does not have yet.
            let recorded = project.store.load_nodes(id)?;
            let matcher = globset::Glob::new(&args.node)
                .map_err(|error| Failure::new(Exit::Spec, error))?
                .compile_matcher();
            let mut names: Vec<&String> = recorded.keys().filter(|name| matcher.is_match(name)).collect();
            names.sort();
            match names.as_slice() {
                [name] => (*name).clone(),
                [] => {
                    super::project::one(&args.node, &project.graph()?)?;
                    return Err(Failure::new(Exit::Spec, format!("{} has not run yet", args.node)));
                }
                several => {
                    let list = several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(
                        Failure::new(Exit::Spec, format!("{:?} is several nodes", args.node)).help(list)
                    );
                }
            }
        }
    };
    let runs = project.store.runs(id, &name, 1)?;
    let Some(log) = runs.first().and_then(|(_, run)| run.log) else {
        return Err(Failure::new(Exit::Environment, format!("no log of {name} was kept")));
    };
    let text = project.store.read(&log.digest, log.size).map_err(|error| match error {
        BlobError::Store(error) => error.into(),
        lost => Failure::new(Exit::Environment, format!("the log of {name} is lost: {lost}")),
    })?;
    // A pager that was closed is no failure.
    let _ = std::io::stdout().write_all(&text);
    Ok(Exit::Done)
}
