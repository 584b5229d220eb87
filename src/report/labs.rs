//! `kiln labs`: labs x device types x devices, with the reason for each refusal, and the boards that this leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::style::Style;
use super::table::{Cell, columns};
use crate::lab::lava::{Availability, DeviceState, LabInventory};
use crate::spec::model::{Board, Lab, Project, Spec};

/// Labs with their inventories, or the reasons why they are not used. `without_events`: labs without an event stream, and why.
pub fn labs(
    spec: &Spec,
    inventories: &[(&str, Result<&LabInventory, String>)],
    without_events: &[(&str, String)],
    wanted: &dyn Fn(&str) -> bool,
    style: Style,
) -> String {
    let project = &spec.project;
    let mut text = String::new();
    for (name, lab) in &project.labs {
        if let (Lab::Qemu { slots }, true) = (lab, wanted(name)) {
            text.push_str(&format!("{} {name}: QEMU on this machine, {slots} at once\n", style.good("●")));
        }
    }
    for (name, surveyed) in inventories {
        match surveyed {
            Err(why) => text.push_str(&format!("{} {name}: {why}\n", style.bad("●"))),
            Ok(surveyed) => {
                let user = &surveyed.user;
                text.push_str(&format!(
                    "{} {name}: as {user}, who may submit and is neither staff nor administrator\n",
                    style.good("●")
                ));
                if let Some((_, why)) = without_events.iter().find(|(lab, _)| lab == name) {
                    let warning = style.warn("no events");
                    text.push_str(&format!(
                        "    {warning}: their line {why}; jobs are looked at now and then\n"
                    ));
                }
                text.push_str(&indented(&devices(project, name, surveyed, style)));
            }
        }
    }
    let boards = boards(project, inventories, wanted, style);
    if !boards.is_empty() {
        text.push_str(&format!("\n{boards}"));
    }
    text
}

/// The devices of the types that boards ask for.
fn devices(project: &Project, lab: &str, surveyed: &LabInventory, style: Style) -> String {
    let mut asked: BTreeMap<&str, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (_, board) in of_lab(project, lab) {
        asked.entry(&board.device_type).or_default().insert(tags(project, lab, board));
    }
    let head = ["DEVICE TYPE", "DEVICE", "STATE", ""];
    let mut rows = vec![head.map(Cell::text).into()];
    for (device_type, tags) in asked {
        for tags in tags {
            let mut any = false;
            for (device, readiness) in surveyed.readiness(device_type, &tags) {
                any = true;
                let (state, why) = match readiness {
                    Ok(DeviceState::Idle) => (word("idle", style.good("idle")), String::new()),
                    Ok(DeviceState::Busy) => {
                        (word("busy", style.warn("busy")), "a job would wait".to_owned())
                    }
                    Err(why) => (word("refused", style.bad("refused")), why.to_string()),
                };
                rows.push(vec![Cell::text(device_type), Cell::text(device), state, Cell::text(why)]);
            }
            if let (false, Availability::None(refusals)) = (any, surveyed.availability(device_type, &tags)) {
                let why =
                    refusals.iter().map(|refusal| refusal.why.to_string()).collect::<Vec<_>>().join(", ");
                rows.push(vec![
                    Cell::text(device_type),
                    Cell::text("-"),
                    word("refused", style.bad("refused")),
                    Cell::text(why),
                ]);
            }
        }
    }
    columns(&rows)
}

/// Each board with the devices of its labs.
fn boards(
    project: &Project,
    inventories: &[(&str, Result<&LabInventory, String>)],
    wanted: &dyn Fn(&str) -> bool,
    style: Style,
) -> String {
    let mut rows: Vec<Vec<Cell>> = vec![["BOARD", "LAB", "NOW"].map(Cell::text).into()];
    for (name, board) in &project.boards {
        for lab in board.labs.iter().filter(|lab| wanted(lab)) {
            let Some((_, surveyed)) = inventories.iter().find(|(name, _)| name == lab) else { continue };
            let now = match surveyed {
                Err(_) => word("no", style.bad("no")),
                Ok(surveyed) => match surveyed.availability(&board.device_type, &tags(project, lab, board)) {
                    Availability::Now(_) => word("yes", style.good("yes")),
                    Availability::Queued(_) => word("queued", style.warn("queued")),
                    Availability::None(_) => word("no", style.bad("no")),
                },
            };
            rows.push(vec![Cell::text(name.clone()), Cell::text(lab.clone()), now]);
        }
    }
    if rows.len() == 1 { String::new() } else { columns(&rows) }
}

fn of_lab<'a>(project: &'a Project, lab: &'a str) -> impl Iterator<Item = (&'a str, &'a Board)> {
    let has = move |board: &&Board| board.labs.iter().any(|named| named == lab);
    project.boards.iter().map(|(name, board)| (name.as_str(), board)).filter(move |(_, board)| has(board))
}

/// The tags that a device needs: those of the board and those of the lab.
fn tags(project: &Project, lab: &str, board: &Board) -> Vec<String> {
    let of_lab = match project.labs.get(lab) {
        Some(Lab::Lava(lava)) => lava.tags.clone(),
        _ => Vec::new(),
    };
    of_lab.into_iter().chain(board.tags.iter().cloned()).collect()
}

fn word(plain: &str, shown: String) -> Cell {
    Cell::styled(plain, shown)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
