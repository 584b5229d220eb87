//! User namespaces with many users: roots have files of several owners, and a build user.
//!
//! The kernel lets an ordinary user map only one id, its own. The administrator grants more in `/etc/subuid` and `/etc/subgid`
//! (see subuid(5)); the set-user-id programs `newuidmap` and `newgidmap` map them.

use std::fs;
use std::io::{Read, Write};
use std::process::{self, Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, User, getegid, geteuid};

use super::RunAs;
use super::failure::{During, Failure, SetupPart};
use crate::host::FIXED_DIRS;

/// The number of ids up to that of `nobody`, 65534, besides the user's own.
const ENOUGH: u32 = 65534;

/// The exit code of a shell for a program that does not exist or can't be executed.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

/// A line of a map: `count` ids, starting at `inside` and at `outside`.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    inside: u32,
    outside: u32,
    count: u32,
}

/// Enters a user namespace in which this user has the id of the steps, and all other ids are granted ones: what steps make belongs
/// to this user.
pub(super) fn enter(run_as: RunAs) -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    let own = match run_as {
        RunAs::Stripped | RunAs::Installer => 0,
        RunAs::User { id } => id,
    };
    let users = map(own, user.as_raw(), &granted("/etc/subuid", user)?);
    // Groups are granted by the user's name as well.
    let groups = map(own, group.as_raw(), &granted("/etc/subgid", user)?);
    let mapper = start_mapper(&users, &groups)?;
    unshare(CloneFlags::CLONE_NEWUSER)
        .during(SetupPart::UserNamespace, || "create a user namespace".to_owned())?;
    finish(mapper)
}

/// The command that grants enough ids to the user of this process.
pub(super) fn granting() -> String {
    let user = geteuid();
    let name = User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name);
    format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}")
}

/// The ids that a file grants to a user; an error if they are too few for a root.
fn granted(file: &str, user: Uid) -> Result<Vec<Range>, Failure> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = User::from_uid(user).ok().flatten().map(|user| user.name);
    let ranges = parse(&text, name.as_deref(), user.as_raw());
    let total = ranges.iter().fold(0_u32, |total, range| total.saturating_add(range.count));
    if total >= ENOUGH {
        return Ok(ranges);
    }
    let name = name.unwrap_or_else(|| user.to_string());
    Err(Failure::Refused {
        part: SetupPart::Granted,
        operation: "find ids for the users of the root".to_owned(),
        reason: format!("{file} grants {name} {total} ids, and a root takes {ENOUGH}"),
    })
}

/// Lines are `NAME-OR-NUMBER:FIRST:COUNT`.
fn parse(text: &str, name: Option<&str>, user: u32) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse::<u32>().ok()?);
        let is_ours = Some(who) == name || who.parse() == Ok(user);
        (is_ours && count > 0).then_some(Range { start, count })
    };
    text.lines().filter_map(range).collect()
}

/// Maps `own` to an id of the host, and all others, from 0 on, to the ranges.
fn map(own: u32, outside: u32, ranges: &[Range]) -> Vec<Line> {
    let mut lines = vec![Line { inside: own, outside, count: 1 }];
    let mut next = 0;
    for &Range { mut start, mut count } in ranges {
        while count > 0 {
            if next == own {
                next += 1;
            }
            let room = if next < own { own - next } else { u32::MAX - next };
            let part = count.min(room);
            lines.push(Line { inside: next, outside: start, count: part });
            (next, start, count) = (next + part, start.saturating_add(part), count - part);
            if next == u32::MAX {
                return lines;
            }
        }
    }
    lines
}

/// A process that stays outside, and maps ids for this one on request.
fn start_mapper(users: &[Line], groups: &[Line]) -> Result<Child, Failure> {
    let pid = process::id();
    let script = format!("read -r go && newuidmap {pid}{} && newgidmap {pid}{}", words(users), words(groups));
    Command::new("/bin/sh")
        .args(["-c", &script])
        .env_clear()
        .envs([("PATH", &*FIXED_DIRS.join(":")), ("LC_ALL", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .during(SetupPart::Other, || "start a shell to map ids".to_owned())
}

fn words(lines: &[Line]) -> String {
    lines.iter().map(|Line { inside, outside, count }| format!(" {inside} {outside} {count}")).collect()
}

fn finish(mut mapper: Child) -> Result<(), Failure> {
    let operation = || "map the ids of the root's users".to_owned();
    if let Some(mut go) = mapper.stdin.take() {
        // If it has ended, its exit status is the reason.
        let _ = go.write_all(b"go\n");
    }
    let mut reason = String::new();
    if let Some(mut said) = mapper.stderr.take() {
        let _ = said.read_to_string(&mut reason);
    }
    let status = mapper.wait().during(SetupPart::Other, operation)?;
    match status.code() {
        Some(0) => Ok(()),
        code => {
            let part = if matches!(code, Some(NOT_FOUND | NOT_EXECUTABLE)) {
                SetupPart::NoMapper
            } else {
                SetupPart::Granted
            };
            let reason = format!("{} ({status})", reason.trim());
            Err(Failure::Refused { part, operation: operation(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn line(inside: u32, outside: u32, count: u32) -> Line {
        Line { inside, outside, count }
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "other:1:2\nkiln:100000:65536\n1000:300000:10\nkiln:x:1\n\nkiln:5:0\nkiln:7\n";
        let both = [Range { start: 100_000, count: 65536 }, Range { start: 300_000, count: 10 }];
        assert_eq!(parse(text, Some("kiln"), 1000), both);
        assert_eq!(parse(text, None, 1000), both[1..]);
        assert_eq!(parse(text, Some("nobody"), 65534), []);
    }

    #[test]
    fn a_map_leaves_no_gap_and_its_own_place() {
        let ranges = [Range { start: 100_000, count: 2000 }, Range { start: 500_000, count: 70000 }];
        assert_eq!(
            map(0, 1000, &ranges),
            [line(0, 1000, 1), line(1, 100_000, 2000), line(2001, 500_000, 70000)]
        );
        assert_eq!(
            map(1500, 1000, &ranges),
            [
                line(1500, 1000, 1),
                line(0, 100_000, 1500),
                line(1501, 101_500, 500),
                line(2001, 500_000, 70000)
            ]
        );
        assert_eq!(map(2000, 7, &ranges[..1]), [line(2000, 7, 1), line(0, 100_000, 2000)]);
        let whole = Range { start: 1, count: u32::MAX };
        assert_eq!(map(0, 7, &[whole, whole]).len(), 2);
    }
}
