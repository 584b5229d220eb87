//! Finds jobs by name.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Deserialize;

use super::server::ApiCall;
use super::{JobId, Lava, LavaError};

/// How far the clocks of the lab and this machine may differ.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// The page size of the job list: each job comes with its definition.
const PAGE_SIZE: usize = 50;

/// A job of a list.
#[derive(Deserialize)]
struct Listed {
    id: JobId,
    submitter: Option<String>,
    description: Option<String>,
    submit_time: Option<Timestamp>,
}

impl Lava {
    /// The user's jobs with exactly this name, newest first, that were submitted after `since`, allowing for clock skew.
    ///
    /// The request filters by user and name. A LAVA that does not know these filters returns all jobs, so the results are
    /// filtered again.
    pub fn find(&self, job_name: &str, since: SystemTime) -> Result<Vec<JobId>, LavaError> {
        let since = since.checked_sub(CLOCK_SKEW).and_then(|since| Timestamp::try_from(since).ok());
        let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
        let call = ApiCall::get(&["jobs"])
            .page_size(PAGE_SIZE)
            .with("ordering", "-id")
            .with("submitter__username", &*self.server.user)
            .with("description", job_name)
            .with("submit_time__gt", since.to_string());
        // Job numbers grow with time, so all jobs after the first old one are old.
        let recent = |job: &Listed| job.submit_time.is_none_or(|submitted| submitted > since);
        let jobs = self.calls.wait(self.server.list(&call, recent))?;
        let ours = |job: &&Listed| {
            job.submitter.as_deref() == Some(&*self.server.user)
                && job.description.as_deref() == Some(job_name)
        };
        // A job that is submitted meanwhile shifts the pages, so a job may be on two of them.
        let ids: BTreeSet<JobId> = jobs.iter().filter(ours).map(|job| job.id).collect();
        Ok(ids.into_iter().rev().collect())
    }
}
