//! The kinds of rules that need logic rather than a command, joined to the phases that run them.

mod config;
mod kbuild_records;
pub mod lava_job;
pub mod match_boards;
pub mod mirrors;
mod packages;
mod qemu_job;
mod stage3;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::exec::{BuildRecords, Kinds, LogReader, Messages, Runner};
use crate::graph::Action;
use crate::kernel::messages;
use crate::plan::{Inputs, PlanError, Projected, Projection};
use crate::spec::model::{Kind, Spec};

use config::Configured;
use kbuild_records::KbuildRecords;
use lava_job::{Labs, Lava};
use match_boards::Matching;
use mirrors::ProjectLock;
use packages::Packages;
use qemu_job::Boot;
use stage3::Stage3s;

/// All kinds, for one spec.
pub struct AllKinds<'a> {
    matching: Matching<'a>,
    boot: Boot,
    lava: Lava<'a>,
    stage3s: Stage3s<'a>,
    packages: Packages<'a>,
}

impl<'a> AllKinds<'a> {
    /// The kinds as this spec's boards make them.
    pub fn new(spec: &'a Spec) -> Self {
        let lock = Arc::new(ProjectLock::new(spec));
        Self {
            matching: Matching::new(spec),
            boot: Boot,
            lava: Lava { spec, labs: None },
            stage3s: Stage3s { spec, lock: Arc::clone(&lock) },
            packages: Packages { spec, lock },
        }
    }

    /// The same, with the labs that jobs are handed to.
    pub fn with_labs(spec: &'a Spec, labs: &'a Labs<'a>) -> Self {
        Self { lava: Lava { spec, labs: Some(labs) }, ..Self::new(spec) }
    }
}

impl Kinds for AllKinds<'_> {
    fn runner(&self, kind: Kind) -> Runner<'_> {
        match kind {
            Kind::Command => Runner::Steps,
            Kind::Config => Runner::Checked(&Configured),
            Kind::Match => Runner::Computed(&self.matching),
            Kind::Job => Runner::Watched(&self.boot),
            Kind::Lava => Runner::Submitted(&self.lava),
            Kind::Stage3 => Runner::Builtin(&self.stage3s),
            Kind::Binpkg => Runner::Builtin(&self.packages),
        }
    }

    fn records(&self) -> &dyn BuildRecords {
        &KbuildRecords
    }

    fn logs(&self) -> &dyn LogReader {
        self
    }
}

impl LogReader for AllKinds<'_> {
    fn messages(&self, log: &Path, trees: &[String]) -> io::Result<Messages> {
        let messages = match File::open(log) {
            Ok(log) => messages::read(BufReader::new(log), trees)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => messages::Messages::default(),
            Err(error) => return Err(error),
        };
        let json = serde_json::to_value(&messages).map_err(io::Error::other)?;
        Ok(Messages { warnings: messages.warnings, errors: messages.errors, json })
    }
}

impl Projection for AllKinds<'_> {
    fn project(&self, action: &Action, inputs: &dyn Inputs) -> Result<Projected, PlanError> {
        match action.rule.decl.kind {
            Kind::Match => {
                let fields = self.matching.projection(&inputs.read(match_boards::CONFIG)?);
                Ok(Projected { fields, inputs: HashSet::from([match_boards::CONFIG.to_owned()]) })
            }
            Kind::Lava => lava_job::projection(action, inputs),
            Kind::Stage3 => self.stage3s.projection(action),
            Kind::Binpkg => self.packages.projection(action),
            Kind::Command | Kind::Config | Kind::Job => Ok(Projected::default()),
        }
    }

    fn missing_requirement(&self, action: &Action) -> Option<String> {
        match action.rule.decl.kind {
            Kind::Binpkg => self.packages.missing_requirement(action),
            Kind::Stage3 | Kind::Command | Kind::Config | Kind::Job | Kind::Lava | Kind::Match => None,
        }
    }
}
