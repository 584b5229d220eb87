//! Jobs by their name.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Deserialize;

use super::ask::Ask;
use super::{JobId, Lava, LavaError};

/// How far the lab's clock may be behind or before ours.
const CLOCKS: Duration = Duration::from_hours(1);

/// How many jobs are asked for at once: each comes with its whole definition.
const AT_ONCE: usize = 50;

/// A job of a list, as far as it matters here.
#[derive(Deserialize)]
struct Listed {
    id: JobId,
    submitter: Option<String>,
    description: Option<String>,
    submit_time: Option<Timestamp>,
}

impl Lava {
    /// Our jobs of exactly this name, newest first: those that were submitted after `since`, give or take what clocks
    /// differ by. It looks through as many pages as there are.
    ///
    /// The lab is asked for these alone. A LAVA that does not know such a filter sends all jobs, so all are looked at.
    pub fn find(&self, job_name: &str, since: SystemTime) -> Result<Vec<JobId>, LavaError> {
        let since = since.checked_sub(CLOCKS).and_then(|since| Timestamp::try_from(since).ok());
        let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
        let ask = Ask::get(&["jobs"])
            .at_once(AT_ONCE)
            .with("ordering", "-id")
            .with("submitter__username", &*self.server.user)
            .with("description", job_name)
            .with("submit_time__gt", since.to_string());
        // Numbers grow with time: behind the first one that is too old are none that are not.
        let recent = |job: &Listed| job.submit_time.is_none_or(|submitted| submitted > since);
        let jobs = self.calls.wait(self.server.list(&ask, recent))?;
        let ours = |job: &&Listed| {
            job.submitter.as_deref() == Some(&*self.server.user)
                && job.description.as_deref() == Some(job_name)
        };
        // One that comes while we read shifts the pages, so that a job may be on two of them.
        let ids: BTreeSet<JobId> = jobs.iter().filter(ours).map(|job| job.id).collect();
        Ok(ids.into_iter().rev().collect())
    }
}
