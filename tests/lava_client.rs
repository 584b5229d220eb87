//! The client for LAVA labs: against a real one (`scripts/lava.sh`), and against servers that do what no real one can be
//! made to do.

#[path = "lava_client/crowd.rs"]
mod crowd;
#[path = "lava_client/definitions.rs"]
mod definitions;
#[path = "lava_client/fake.rs"]
mod fake;
#[path = "lava_client/faults.rs"]
mod faults;
#[path = "lava_client/hostile.rs"]
mod hostile;
#[path = "lava_client/jobs.rs"]
mod jobs;
#[path = "lava_client/lab.rs"]
mod lab;
#[path = "lava_client/outages.rs"]
mod outages;
#[path = "lava_client/rights.rs"]
mod rights;
