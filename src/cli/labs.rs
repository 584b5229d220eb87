//! `kiln labs`, and the labs of a project for the other commands.

use std::path::Path;
use std::time::SystemTime;

use super::exit::{Exit, Failure};
use super::project::load_spec;
use super::remotes::secret;
use super::terminal::{Terminal, out};
use crate::kinds::lava_job::{Labs, OnInterrupt};
use crate::lab::lava::Token;
use crate::lab::publish::Publisher;
use crate::report;
use crate::spec::model::{LavaLab, SecretFrom, Spec};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only these labs.
    labs: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    if let Some(unknown) = args.labs.iter().find(|lab| !spec.project.labs.contains_key(*lab)) {
        let known: Vec<&str> = spec.project.labs.keys().map(String::as_str).collect();
        return Err(Failure::new(Exit::Spec, format!("graph.ron has no lab {unknown}"))
            .help(format!("it has {}", known.join(", "))));
    }
    let wanted = |lab: &str| args.labs.is_empty() || args.labs.iter().any(|wanted| wanted == lab);
    let labs = labs(&spec, || OnInterrupt::Leave);
    let inventories: Vec<_> = labs.inventories().filter(|(lab, _)| wanted(lab)).collect();
    let unusable = inventories.iter().any(|(_, surveyed)| surveyed.is_err());
    let without_events = labs.without_events();
    out!("{}", report::labs(&spec, &inventories, &without_events, &wanted, terminal.out));
    Ok(if unusable { Exit::Environment } else { Exit::Done })
}

/// The LAVA labs of a project. None of them has been asked yet.
pub(super) fn labs<'a>(
    spec: &'a Spec,
    on_interrupt: impl Fn() -> OnInterrupt + Send + Sync + 'a,
) -> Labs<'a> {
    Labs::new(spec, |lab| token(lab, &spec.root), on_interrupt)
}

/// Takes away what was published for labs and has not been asked for in a long time.
pub(super) fn sweep_published(spec: &Spec, terminal: &Terminal) {
    let Some(publish) = &spec.project.publish else { return };
    let publisher = Publisher::new(&spec.root.join(&publish.dir), &publish.url);
    if let Err(error) = publisher.sweep(publish.age, SystemTime::now()) {
        terminal.warning(&format!("old files that were published for labs stay: {error}"));
    }
}

fn token(lab: &LavaLab, root: &Path) -> Result<Token, String> {
    match secret(&lab.token, root)? {
        Some(secret) => Ok(Token::new(secret.reveal().to_owned())),
        None => Err(match &lab.token {
            SecretFrom::Env(name) => format!("its token is not here: {name} is not set"),
            SecretFrom::File(path) => format!("its token is not here: there is no {}", path.display()),
        }),
    }
}
