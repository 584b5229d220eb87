//! What most commands begin with: the project, its cache, its graph.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::remotes::{module_keys, remotes};
use super::terminal::Terminal;
use crate::exec::sandbox::Sandbox;
use crate::exec::trace::Tracer;
use crate::graph::{Graph, NodeId, Selection, UnknownTarget, expand};
use crate::kinds::AllKinds;
use crate::plan::World;
use crate::remote::Remotes;
use crate::report::Style;
use crate::spec::diagnostic::Severity;
use crate::spec::model::{Lab, Spec};
use crate::spec::{self, render};
use crate::store::{Store, Warning};

/// A project with its cache.
pub(super) struct Project {
    pub spec: Arc<Spec>,
    pub store: Store,
}

/// Finds `graph.ron` here or above, as git and cargo do.
pub(super) fn root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Environment, format!("no current directory: {error}")))?;
    here.ancestors().find(|dir| dir.join("graph.ron").is_file()).map(Path::to_owned).ok_or_else(|| {
        Failure::new(Exit::Spec, format!("no graph.ron in {} or above", here.display()))
            .help("`kiln init` starts a project here")
    })
}

/// Reads and checks the spec; says all that is wrong with it.
pub(super) fn load_spec(terminal: &Terminal) -> Result<Arc<Spec>, Failure> {
    let loaded = spec::load(&root()?);
    let lints = !terminal.quiet;
    let shown: Vec<_> = loaded
        .diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error || lints)
        .collect();
    if !shown.is_empty() {
        let color = terminal.err == Style::Color;
        eprint!("{}", render::text(&shown, &loaded.texts, Terminal::width(), color));
    }
    loaded.spec.map(Arc::new).ok_or_else(|| Failure::said(Exit::Spec))
}

impl Project {
    pub(super) fn open(terminal: &Terminal) -> Result<Self, Failure> {
        let spec = load_spec(terminal)?;
        let store = Store::open(&spec.root.join(&spec.project.cache.path))?;
        // Who has no labs has no jobs there.
        let concerns =
            |warning: &&Warning| has_lava_labs(&spec) || !matches!(warning, Warning::JournalLost { .. });
        for warning in store.warnings().iter().filter(concerns) {
            terminal.warning(&warning.to_string());
        }
        Ok(Self { spec, store })
    }

    /// Refuses to hand anything over once, where labs may have jobs that the cache has forgotten.
    pub(super) fn knows_its_jobs(&self) -> Result<(), Failure> {
        let lost = |warning: &Warning| matches!(warning, Warning::JournalLost { .. });
        if !has_lava_labs(&self.spec) || !self.store.warnings().iter().any(lost) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Environment,
            "nothing is built, as labs may have jobs that would be submitted twice",
        )
        .help("look for them on the labs' pages, under names that begin with `kiln lava:`, then build again"))
    }

    /// The caches elsewhere; none where they are not to be asked.
    pub(super) fn remotes(&self, offline: bool, terminal: &Terminal) -> Result<Remotes, Failure> {
        if offline { Ok(Remotes::default()) } else { remotes(&self.spec, terminal) }
    }

    pub(super) fn graph(&self) -> Result<Graph, Failure> {
        Ok(expand(Arc::clone(&self.spec))?)
    }

    /// The graph, and the world that its nodes are decided in. The one is made while the record for the other is read.
    pub(super) fn look<'a>(&'a self, kinds: &'a AllKinds<'a>) -> Result<(Graph, World<'a>), Failure> {
        let (graph, world) = rayon::join(
            || self.graph(),
            || World::new(&self.spec, &self.store, kinds, Tracer::probe(&Sandbox::new())),
        );
        let mut world = world?;
        world.module_keys = module_keys(&self.spec);
        Ok((graph?, world))
    }
}

/// Whether a project has labs that jobs are handed to.
pub(super) fn has_lava_labs(spec: &Spec) -> bool {
    spec.project.labs.values().any(|lab| matches!(lab, Lab::Lava(_)))
}

/// What targets mean, or what is wrong with them.
pub(super) fn select(targets: &[String], graph: &Graph) -> Result<Selection, Failure> {
    Selection::parse(targets, graph).map_err(|unknown| {
        let help = unknown.iter().find_map(|error| match error {
            UnknownTarget::NoMatch { similar, .. } if !similar.is_empty() => {
                Some(format!("did you mean {}?", similar.join(", ")))
            }
            _ => None,
        });
        let message = unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Failure::new(Exit::Spec, message)
            .help(help.unwrap_or_else(|| "`kiln query nodes` lists all names".to_owned()))
    })
}

/// The one node that a target means.
pub(super) fn one(target: &str, graph: &Graph) -> Result<NodeId, Failure> {
    if let Some(id) = graph.find(target) {
        return Ok(id);
    }
    let selection = select(&[target.to_owned()], graph)?;
    // A point that has become its nodes is not what anyone means.
    let wanted = |&id: &NodeId| selection.wants(graph, id) && graph.expansion(id).is_none();
    let meant: Vec<NodeId> = graph.ids().filter(wanted).collect();
    match meant.as_slice() {
        [id] => Ok(*id),
        several => {
            let names: Vec<&str> = several.iter().take(5).map(|&id| &**graph.name(id)).collect();
            Err(Failure::new(Exit::Spec, format!("{target:?} is {} nodes; one is wanted", several.len()))
                .help(format!("such as {}", names.join(", "))))
        }
    }
}

/// The one recorded node that a target means.
pub(super) fn recorded(project: &Project, target: &str) -> Result<String, Failure> {
    let id = project.store.project(&project.spec.root)?;
    if !project.store.runs(id, target, 1)?.is_empty() {
        return Ok(target.to_owned());
    }
    // Not a name that was recorded: it may be a glob, or a boot that the graph alone does not have yet.
    let nodes = project.store.load_nodes(id)?;
    let matcher =
        globset::Glob::new(target).map_err(|error| Failure::new(Exit::Spec, error))?.compile_matcher();
    let mut names: Vec<&str> =
        nodes.keys().map(String::as_str).filter(|name| matcher.is_match(name)).collect();
    names.sort_unstable();
    match names.as_slice() {
        [name] => Ok((*name).to_owned()),
        [] => {
            one(target, &project.graph()?)?;
            Err(Failure::new(Exit::Spec, format!("{target} has not run yet")))
        }
        several => {
            Err(Failure::new(Exit::Spec, format!("{target:?} is several nodes")).help(several.join(", ")))
        }
    }
}
