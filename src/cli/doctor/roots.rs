//! What roots take of the host: images that can be mounted, and programs of other machines that run.

use std::collections::BTreeSet;

use nix::unistd::geteuid;

use super::{Finding, State, of_tool};
use crate::exec::sandbox::{Probe, Sandbox, probe_images};
use crate::host::binfmt::{self, BinfmtError, Fault, Machine};
use crate::kinds::mirrors::unlocked;
use crate::spec::model::Spec;

/// What there is for roots; it is needed where the project has any.
pub(super) fn of_roots(spec: Option<&Spec>) -> Vec<Finding> {
    let roots = spec.iter().flat_map(|spec| spec.project.roots.values());
    let machines: BTreeSet<Machine> =
        roots.clone().filter_map(|root| Machine::named(root.stage3.machine())).collect();
    let if_missing = if roots.clone().next().is_some() { State::Missing } else { State::Absent };
    let mut findings = vec![images(if_missing)];
    if findings[0].state != State::Fine && !geteuid().is_root() {
        // One thing at a time is found wrong by trying.
        findings.extend(["newuidmap", "squashfuse"].map(|program| of_tool(program, &[], if_missing)));
    }
    if if_missing == State::Missing {
        findings.push(of_tool("mksquashfs", &[], if_missing));
    }
    let foreign: Vec<_> = machines.into_iter().filter(|machine| !machine.is_native()).collect();
    if foreign.is_empty() {
        findings.extend(of_any_machine());
    } else {
        findings.extend(foreign.into_iter().map(|machine| of_machine(machine, if_missing)));
    }
    findings.extend(spec.into_iter().flat_map(unlocked).map(of_unlocked));
    findings
}

/// What `kiln.lock` lacks.
fn of_unlocked(problem: String) -> Finding {
    let remedy = Some("kiln update".to_owned());
    Finding { what: "kiln.lock".to_owned(), state: State::Missing, found: problem, remedy }
}

fn images(if_missing: State) -> Finding {
    let (state, found, remedy) = match probe_images(&Sandbox::new()) {
        Probe::Root => (State::Fine, "mounted by the kernel, by way of loop devices".to_owned(), None),
        Probe::UserNamespace => {
            (State::Fine, "mounted by squashfuse, with ids that are granted to this user".to_owned(), None)
        }
        Probe::Unavailable { reason, remedy } => (if_missing, reason, remedy),
    };
    Finding { what: "images of roots".to_owned(), state, found, remedy }
}

/// Where it does not matter which, those that work are told, and what is odd about others.
fn of_any_machine() -> Vec<Finding> {
    let (mut fine, mut odd, mut none) = (Vec::new(), Vec::new(), None);
    for machine in Machine::all().filter(|machine| !machine.is_native()) {
        match binfmt::handler(&machine) {
            Ok(_) => fine.push(machine.to_string()),
            Err(error) if matches!(error.fault, Fault::NotMounted | Fault::NotRegistered { .. }) => {
                none = Some(error.fault);
            }
            Err(error) => odd.push(of_fault(error, State::Absent)),
        }
    }
    let whole = match (fine.is_empty(), none) {
        (false, _) => {
            let found = format!("programs for {} run in roots", fine.join(", "));
            Some(Finding { what: WHAT.to_owned(), state: State::Fine, found, remedy: None })
        }
        (true, Some(fault)) if odd.is_empty() => {
            let (found, remedy) = (format!("no programs of other machines run: {fault}"), fault.remedy());
            Some(Finding { what: WHAT.to_owned(), state: State::Absent, found, remedy: Some(remedy) })
        }
        (true, _) => None,
    };
    whole.into_iter().chain(odd).collect()
}

fn of_machine(machine: Machine, if_missing: State) -> Finding {
    match binfmt::handler(&machine) {
        Ok(handler) => Finding {
            what: WHAT.to_owned(),
            state: State::Fine,
            found: format!("programs for {machine} run by {}", handler.interpreter.display()),
            remedy: None,
        },
        Err(error) => of_fault(error, if_missing),
    }
}

fn of_fault(error: BinfmtError, state: State) -> Finding {
    let BinfmtError { machine, fault } = error;
    let found = format!("programs for {machine} can't be run: {fault}");
    Finding { what: WHAT.to_owned(), state, found, remedy: Some(fault.remedy()) }
}

const WHAT: &str = "binfmt_misc";
