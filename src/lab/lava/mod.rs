//! A client for a LAVA lab: who we are there, what there is to boot on, and jobs from their submission to their verdict.
//!
//! It speaks the REST API v0.2 (`URL/api/v0.2/`), whose answers were looked at on LAVA 2023.01. That API has traps, each
//! named where it is stepped around. What a lab answers is bounded in size and in time, no redirect is followed, no
//! address that it gives is gone to, and the token goes to the lab's own address alone.

mod answer;
mod ask;
mod availability;
mod beside;
mod connect;
mod error;
mod events;
mod find;
mod job;
mod judge;
mod log;
mod probes;
mod results;
mod settings;
mod submit;
mod survey;
#[cfg(test)]
mod tests;
mod yaml;

pub use availability::{Availability, Readiness, Refusal, Why};
pub use error::{LavaError, Submit};
pub use events::Events;
pub use job::{Action, Health, Job, JobId, Stage, State};
pub use judge::{Judged, Skip, Skipped, Verdict, judge};
pub use results::{Case, CaseResult, Fault, Results, Suite};
pub use settings::{Settings, Token};
pub use survey::{Device, Survey, Surveyed, Unusable, Worker, survey_all};

use ask::Server;

use crate::net::Driver;

/// One lab. Every method waits for the lab, each for a bounded time, and may be called from any thread.
pub struct Lava {
    name: String,
    calls: Driver,
    server: Server,
}

impl Lava {
    /// A lab that people call `name`. Nothing is asked of it yet.
    pub fn new(name: &str, settings: Settings) -> Result<Self, LavaError> {
        let server = Server::new(settings)?;
        Ok(Self { name: name.to_owned(), calls: Driver::new("kiln-lava").map_err(LavaError::Local)?, server })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The page of a job, for people.
    pub fn page(&self, id: JobId) -> String {
        self.server.page(id)
    }
}
