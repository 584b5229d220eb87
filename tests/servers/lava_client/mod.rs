//! The client for LAVA labs: against a real one (`scripts/lava.sh`), and against servers that do what no real one can be
//! made to do.

mod crowd;
mod definitions;
mod fake;
mod faults;
mod hostile;
mod jobs;
mod lab;
mod outages;
mod rights;
