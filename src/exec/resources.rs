//! Cores, memory and named pools: what running actions share.
//!
//! Cores are the tokens of one GNU make jobserver. Each action holds as many as its rule asks for; a `make` among the
//! actions takes further ones from the same pipe, so that all builds together use no more than the cores. Only the scheduler
//! reserves tokens, for one action at a time, so that no two actions wait for each other.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use jobserver::Client;
use nix::fcntl::OFlag;

use super::sandbox::memory_of_this_machine;
use crate::spec::model::{Lab, Project, Resources};

/// The resources of this machine.
pub struct ResourcePool {
    client: Client,
    /// The pipe's read end, opened a second time: reading a token must not block, and `O_NONBLOCK` on the shared descriptor
    /// would affect every make.
    reader: File,
    jobserver: JobServer,
    cores: usize,
    memory: Budget,
    pools: HashMap<Pool, Budget>,
    held: usize,
}

/// A resource that is counted by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pool {
    /// A pool of the spec.
    Named(String),
    /// The slots of a lab.
    Lab(String),
}

struct Budget {
    total: u64,
    used: u64,
}

/// What a running action holds. It is returned by [`ResourcePool::release`].
pub struct Reservation {
    cores: usize,
    memory: u64,
    pools: Vec<(Pool, u64)>,
}

impl ResourcePool {
    /// The resources of this machine for a project: `jobs` cores, the machine's memory, and the project's pools and labs.
    pub fn of_project(project: &Project, jobs: usize) -> io::Result<Self> {
        let pools = project.pools.iter().map(|(name, size)| (name.clone(), *size));
        let labs = project.labs.iter().filter_map(|(name, lab)| match lab {
            Lab::Qemu { slots } => Some((name.clone(), *slots)),
            // The kind that sends jobs to a LAVA lab counts its slots.
            Lab::Lava(_) => None,
        });
        Self::new(jobs, memory_of_this_machine().unwrap_or(u64::MAX), pools, labs)
    }

    /// As many cores as `jobs`, `memory` bytes, the spec's pools, and the slots of its labs.
    pub fn new(
        jobs: usize,
        memory: u64,
        pools: impl IntoIterator<Item = (String, u32)>,
        labs: impl IntoIterator<Item = (String, u32)>,
    ) -> io::Result<Self> {
        let cores = jobs.max(1);
        let client = Client::new(cores)?;
        let jobserver = JobServer::of(&client, cores)?;
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(format!("/proc/self/fd/{}", jobserver.inherit[0]))?;
        Ok(Self {
            client,
            reader,
            jobserver,
            cores,
            memory: Budget { total: memory, used: 0 },
            pools: pools
                .into_iter()
                .map(|(name, total)| (Pool::Named(name), total))
                .chain(labs.into_iter().map(|(name, slots)| (Pool::Lab(name), slots)))
                .map(|(pool, total)| (pool, Budget { total: u64::from(total), used: 0 }))
                .collect(),
            held: 0,
        })
    }

    /// Reserves what an action asks for, and a slot of `lab`, or nothing. A request for more than exists counts as a request
    /// for all of it: such an action runs alone.
    pub fn reserve(&mut self, resources: &Resources, lab: Option<&str>) -> io::Result<Option<Reservation>> {
        let memory = resources.memory.min(self.memory.total);
        let named =
            resources.pools.iter().map(|(name, slots)| (Pool::Named(name.clone()), u64::from(*slots)));
        let pools: Vec<(Pool, u64)> = named
            .chain(lab.map(|lab| (Pool::Lab(lab.to_owned()), 1)))
            .filter_map(|(pool, slots)| {
                let total = self.pools.get(&pool)?.total;
                Some((pool, slots.min(total)))
            })
            .collect();
        if !self.memory.has(memory) || !pools.iter().all(|(pool, slots)| self.pools[pool].has(*slots)) {
            return Ok(None);
        }
        let wanted = (resources.cpu as usize).min(self.cores);
        let cores = self.take_cores(wanted)?;
        if cores < wanted {
            self.give_cores(cores)?;
            return Ok(None);
        }
        self.memory.used += memory;
        for (pool, slots) in &pools {
            self.pools.entry(pool.clone()).and_modify(|pool| pool.used += slots);
        }
        self.held += 1;
        Ok(Some(Reservation { cores, memory, pools }))
    }

    /// Releases what an action held.
    pub fn release(&mut self, held: Reservation) -> io::Result<()> {
        self.give_cores(held.cores)?;
        self.memory.used -= held.memory;
        for (name, slots) in held.pools {
            if let Some(pool) = self.pools.get_mut(&name) {
                pool.used -= slots;
            }
        }
        self.held -= 1;
        if self.held == 0 { self.settle() } else { Ok(()) }
    }

    /// Restores the pipe when nothing runs. A make that was killed takes its tokens with it, and a broken one may return too many.
    fn settle(&self) -> io::Result<()> {
        let mut available = self.client.available()?;
        while available < self.cores {
            self.client.release_raw()?;
            available += 1;
        }
        while available > self.cores {
            self.client.acquire_raw()?;
            available -= 1;
        }
        Ok(())
    }

    /// Whether no core is free.
    pub fn has_no_free_core(&self) -> bool {
        self.client.available().is_ok_and(|available| available == 0)
    }

    /// How a make joins the jobserver.
    pub const fn jobserver(&self) -> &JobServer {
        &self.jobserver
    }

    /// Takes up to `wanted` tokens, without waiting.
    fn take_cores(&mut self, wanted: usize) -> io::Result<usize> {
        let mut tokens = vec![0; wanted];
        match self.reader.read(&mut tokens) {
            Ok(taken) => Ok(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn give_cores(&self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.client.release_raw())
    }
}

/// How a make joins the jobserver.
#[derive(Clone, Debug)]
pub struct JobServer {
    /// The value of `MAKEFLAGS`. GNU make reads `--jobserver-auth` since 4.2.
    pub makeflags: String,
    /// Descriptors that must be open under these numbers: the read end, then the write end.
    pub inherit: Vec<RawFd>,
}

impl JobServer {
    /// Describes the pipe of `client`, which has `cores` tokens, to a make.
    ///
    /// The value is the one that GNU make gives to a make that it starts, including the number after `-j`. kbuild filters
    /// `MAKEFLAGS` by word for the programs below `tools`: a bare `-j` would give these a jobserver and an unlimited number of
    /// jobs, which they warn about before they run one job.
    fn of(client: &Client, cores: usize) -> io::Result<Self> {
        // The crate only gives the descriptors to a command that it configures.
        let mut command = Command::new("make");
        client.configure_make(&mut command);
        let configured = command
            .get_envs()
            .find_map(|(name, value)| (name == "MAKEFLAGS").then(|| value?.to_str())?)
            .ok_or_else(|| io::Error::other("the jobserver names no MAKEFLAGS"))?;
        let auth = configured.rsplit("--jobserver-auth=").next().unwrap_or_default();
        let inherit: Vec<RawFd> = auth.split(',').filter_map(|fd| fd.trim().parse().ok()).collect();
        let [read, write] = inherit[..] else {
            return Err(io::Error::other(format!("the jobserver is no pipe: {configured}")));
        };
        Ok(Self { makeflags: format!("-j{cores} --jobserver-auth={read},{write}"), inherit })
    }
}

impl Budget {
    const fn has(&self, amount: u64) -> bool {
        self.used + amount <= self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(cpu: u32, memory: u64, pool: Option<u32>) -> Resources {
        let pools = pool.map(|slots| ("qemu".to_owned(), slots)).into_iter().collect();
        Resources { cpu, memory, pools, ..Resources::default() }
    }

    #[test]
    fn takes_all_or_nothing() {
        let mut pool =
            ResourcePool::new(2, 100, [("qemu".to_owned(), 1)], [("local".to_owned(), 1)]).unwrap();
        let first = pool.reserve(&resources(1, 60, Some(1)), None).unwrap().unwrap();
        assert!(pool.reserve(&resources(1, 60, None), None).unwrap().is_none(), "memory");
        assert!(pool.reserve(&resources(1, 10, Some(1)), None).unwrap().is_none(), "pool");
        assert!(pool.reserve(&resources(2, 10, None), None).unwrap().is_none(), "cores");
        let second = pool.reserve(&resources(1, 40, None), None).unwrap().unwrap();
        pool.release(first).unwrap();
        pool.release(second).unwrap();
        assert_eq!(pool.client.available().unwrap(), 2);
    }

    #[test]
    fn a_lab_boots_as_many_as_it_has_slots() {
        let mut pool = ResourcePool::new(4, 0, [("local".to_owned(), 9)], [("local".to_owned(), 1)]).unwrap();
        let first = pool.reserve(&resources(1, 0, None), Some("local")).unwrap().unwrap();
        assert!(pool.reserve(&resources(1, 0, None), Some("local")).unwrap().is_none());
        pool.release(first).unwrap();
        assert!(pool.reserve(&resources(1, 0, None), Some("local")).unwrap().is_some());
    }

    #[test]
    fn more_than_there_is_runs_alone() {
        let mut pool =
            ResourcePool::new(2, 100, [("qemu".to_owned(), 1)], [("local".to_owned(), 1)]).unwrap();
        let all = pool.reserve(&resources(64, 1 << 40, Some(9)), None).unwrap().unwrap();
        assert!(pool.reserve(&resources(1, 0, None), None).unwrap().is_none());
        pool.release(all).unwrap();
    }

    #[test]
    fn lost_and_surplus_tokens_are_made_good() {
        let mut pool = ResourcePool::new(3, 0, [], []).unwrap();
        let held = pool.reserve(&resources(1, 0, None), None).unwrap().unwrap();
        pool.client.acquire_raw().unwrap();
        pool.release(held).unwrap();
        assert_eq!(pool.client.available().unwrap(), 3);
        let held = pool.reserve(&resources(1, 0, None), None).unwrap().unwrap();
        pool.client.release_raw().unwrap();
        pool.client.release_raw().unwrap();
        pool.release(held).unwrap();
        assert_eq!(pool.client.available().unwrap(), 3);
    }
}
