//! The requirements of roots: images that can be mounted, and foreign programs that can be run.

use std::collections::BTreeSet;

use nix::unistd::geteuid;

use super::finding::{Finding, State};
use super::tools::program;
use crate::exec::sandbox::{Probe, Sandbox, probe_images};
use crate::host::binfmt::{self, BinfmtError, Fault, Machine};
use crate::kinds::mirrors::unlocked;
use crate::spec::model::Spec;

/// The requirements of roots. They are missing only if the project has roots.
pub(super) fn roots(spec: Option<&Spec>) -> Vec<Finding> {
    let declared = spec.iter().flat_map(|spec| spec.project.roots.values());
    let machines: BTreeSet<Machine> =
        declared.clone().filter_map(|root| Machine::named(root.stage3.machine())).collect();
    let if_missing = if declared.clone().next().is_some() { State::Missing } else { State::Absent };
    let mut findings = vec![images(if_missing)];
    if findings[0].state != State::Fine && !geteuid().is_root() {
        // Mounting reports only the first thing that is missing.
        findings.extend(["newuidmap", "squashfuse"].map(|name| program(name, &[], if_missing)));
    }
    if if_missing == State::Missing {
        findings.push(program("mksquashfs", &[], if_missing));
    }
    let foreign: Vec<_> = machines.into_iter().filter(|machine| !machine.is_native()).collect();
    if foreign.is_empty() {
        findings.extend(any_machine());
    } else {
        findings.extend(foreign.into_iter().map(|machine| foreign_machine(machine, if_missing)));
    }
    findings.extend(spec.into_iter().flat_map(unlocked).map(unlocked_item));
    findings
}

/// Something that `kiln.lock` does not pin.
fn unlocked_item(problem: String) -> Finding {
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

/// The foreign machines whose programs run, and what is wrong with others, for a project without foreign roots.
fn any_machine() -> Vec<Finding> {
    let (mut fine, mut faulty, mut none) = (Vec::new(), Vec::new(), None);
    for machine in Machine::all().filter(|machine| !machine.is_native()) {
        match binfmt::handler(&machine) {
            Ok(_) => fine.push(machine.to_string()),
            Err(error) if matches!(error.fault, Fault::NotMounted | Fault::NotRegistered { .. }) => {
                none = Some(error.fault);
            }
            Err(error) => faulty.push(emulator_fault(error, State::Absent)),
        }
    }
    let whole = match (fine.is_empty(), none) {
        (false, _) => {
            let found = format!("programs for {} run in roots", fine.join(", "));
            Some(Finding { what: WHAT.to_owned(), state: State::Fine, found, remedy: None })
        }
        (true, Some(fault)) if faulty.is_empty() => {
            let (found, remedy) = (format!("no programs of other machines run: {fault}"), fault.remedy());
            Some(Finding { what: WHAT.to_owned(), state: State::Absent, found, remedy: Some(remedy) })
        }
        (true, _) => None,
    };
    whole.into_iter().chain(faulty).collect()
}

fn foreign_machine(machine: Machine, if_missing: State) -> Finding {
    match binfmt::handler(&machine) {
        Ok(handler) => Finding {
            what: WHAT.to_owned(),
            state: State::Fine,
            found: format!("programs for {machine} run by {}", handler.interpreter.display()),
            remedy: None,
        },
        Err(error) => emulator_fault(error, if_missing),
    }
}

fn emulator_fault(error: BinfmtError, state: State) -> Finding {
    let BinfmtError { machine, fault } = error;
    let found = format!("programs for {machine} can't be run: {fault}");
    Finding { what: WHAT.to_owned(), state, found, remedy: Some(fault.remedy()) }
}

const WHAT: &str = "binfmt_misc";
