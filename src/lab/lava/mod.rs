//! A client for LAVA labs: the token's rights, available devices, and jobs from submission to verdict.
//!
//! It uses the REST API v0.2 (`URL/api/v0.2/`), as observed on LAVA 2023.01. Comments name the API's pitfalls where they are
//! avoided. Responses are bounded in size and time, redirects and URLs in responses are not followed, and the token is only
//! sent to the lab's own address.

mod availability;
mod concurrent;
mod connect;
mod error;
mod events;
mod find_jobs;
mod job;
mod judge;
mod log;
mod permissions;
mod response;
mod results;
mod server;
mod settings;
mod submit;
mod survey;
#[cfg(test)]
mod tests;
mod yaml;

pub use availability::{Availability, DeviceState, Unavailable, UnavailableReason};
pub use error::{LavaError, SubmitError};
pub use events::Events;
pub use job::{Action, Health, Job, JobId, Phase, State};
pub use judge::{Judgement, Skip, SkippedCase, Verdict, judge};
pub use results::{Case, CaseResult, Fault, Results, Suite};
pub use settings::{Settings, Token};
pub use survey::{Device, LabInventory, Survey, Unusable, Worker, survey_all};

use server::Server;

use crate::net::Driver;

/// The client of one lab. Every method blocks for a bounded time and may be called from any thread.
pub struct Lava {
    name: String,
    calls: Driver,
    server: Server,
}

impl Lava {
    /// A client for the lab `name`. Sends no request.
    pub fn new(name: &str, settings: Settings) -> Result<Self, LavaError> {
        let server = Server::new(settings)?;
        Ok(Self { name: name.to_owned(), calls: Driver::new("kiln-lava").map_err(LavaError::Local)?, server })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a job's web page.
    pub fn page(&self, id: JobId) -> String {
        self.server.page(id)
    }
}
