//! Boards, labs and tests.

use std::time::Duration;

use jiff::civil::Date;

use super::project::variant;
use super::record::record;
use super::scalars::{Positive, meaning, whole};
use super::{Context, Decode, Fields};
use crate::spec::declared::{Board, Definition, DefinitionFrom, Lab, LavaLab, Publish, Qemu, Skip, Test};
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::{PRIORITIES, Visibility};
use crate::spec::syntax::{Node, SyntaxKind};

/// A list that makes no sense without items.
fn not_empty<T>(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    why: &str,
    context: &mut Context,
) -> Option<Vec<T>>
where
    Vec<T>: Decode,
{
    let field = fields.take(name);
    let Some(field) = field else {
        // Taken again for the complaint that it is missing.
        return fields.required(name, context);
    };
    let list = Vec::<T>::decode(&field.value, context)?;
    if let SyntaxKind::List(items) = &field.value.unwrapped().kind
        && items.is_empty()
    {
        let diagnostic = Diagnostic::error("empty-list", format!("`{name}` is empty: {why}"));
        context.diagnostics.push(diagnostic.label(field.value.span, "expected at least one"));
    }
    Some(list)
}

impl Decode for Board {
    const EXPECTED: &'static str = "a board: `(requires: .., device_type: .., labs: [..], tests: [..])`";
    const PLURAL: &'static str = "boards";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let requires = fields.required("requires", context);
        let device_type = fields.required("device_type", context);
        let image = fields.optional("image", context);
        let head = fields.head();
        let qemu = fields.optional("qemu", context);
        let job = fields.optional("job", context);
        let dtb = fields.optional("dtb", context);
        let tags = fields.or_default("tags", context);
        let rootfs = fields.optional("rootfs", context);
        let labs = not_empty(&mut fields, "labs", "it could boot nowhere", context);
        let tests = not_empty(&mut fields, "tests", "a boot would show nothing", context);
        let attrs = fields.or_default("attrs", context);
        fields.finish(context);
        Some(Self {
            requires: requires?,
            // Reported already; the rest of the board is still worth checking.
            device_type: device_type.unwrap_or_else(|| Spanned { value: String::new(), span: head }),
            image: image.unwrap_or_else(|| Spanned { value: "image".into(), span: head }),
            qemu,
            job,
            dtb,
            tags,
            rootfs: rootfs.unwrap_or_else(|| Spanned { value: "initramfs".into(), span: head }),
            labs: labs.unwrap_or_default(),
            tests: tests.unwrap_or_default(),
            attrs,
        })
    }
}

record!(Qemu, "`(program: .., args: [..], cmdline: ..)`", "QEMU machines", {
    program: required,
    args: default,
    cmdline: default,
});

impl Decode for Lab {
    const EXPECTED: &'static str = "`Qemu(..)` or `Lava(..)`";
    const PLURAL: &'static str = "labs";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        let shape = match name {
            "Qemu" => "`Qemu(slots: 1)`",
            "Lava" => "`Lava(url: .., user: .., token: ..)`",
            _ => return context.unknown_variant(span, name, &["Qemu", "Lava"]),
        };
        if let SyntaxKind::Tuple { .. } = node.kind {
            return context.wrong_type(node, shape);
        }
        let mut fields = Fields::of_variant(node);
        let lab = if name == "Qemu" {
            Some(Self::Qemu { slots: fields.optional("slots", context).unwrap_or(Positive(1)).0 })
        } else {
            lava(&mut fields, context).map(|lab| Self::Lava(Box::new(lab)))
        };
        fields.finish(context);
        lab
    }
}

fn lava(fields: &mut Fields<'_, '_>, context: &mut Context) -> Option<LavaLab> {
    let url = fields.required("url", context);
    let user = fields.required("user", context);
    let token = fields.required("token", context);
    let slots = fields.optional("slots", context).unwrap_or(Positive(1)).0;
    let tags = fields.or_default("tags", context);
    let priority = fields.optional("priority", context).unwrap_or(Priority(50)).0;
    let visibility = fields.optional("visibility", context).unwrap_or(Visibility::Public);
    let queue = fields.optional("queue", context).unwrap_or(QUEUE);
    let timeout = fields.optional("timeout", context).unwrap_or(TIMEOUT);
    let events = fields.optional("events", context);
    let ca = fields.optional("ca", context);
    let (url, (user, token)) = url.zip(user.zip(token))?;
    Some(LavaLab { url, user, token, slots, tags, priority, visibility, queue, timeout, events, ca })
}

/// The default time that a job may wait for a device.
const QUEUE: Duration = Duration::from_hours(1);

/// The default time to wait for an answer of a LAVA server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A priority of LAVA's: one of its names, or a number.
struct Priority(u32);

impl Decode for Priority {
    const EXPECTED: &'static str = "a priority: `Low`, `Medium`, `High` or 0 to 100";
    const PLURAL: &'static str = "priorities";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match node.kind {
            SyntaxKind::Int(number) => {
                let priority = whole(node, "0 to 100", context).filter(|number| *number <= 100).map(Self);
                // A number that does not fit was reported.
                if priority.is_none() && (0..=i64::from(u32::MAX)).contains(&number) {
                    let message = format!("the number {number} is out of range");
                    let diagnostic = Diagnostic::error("out-of-range", message);
                    return context.report(diagnostic.label(node.span, "expected 0 to 100"));
                }
                priority
            }
            SyntaxKind::Ident(word) => {
                let known = PRIORITIES.iter().find(|(name, _)| *name == word);
                known
                    .map(|(_, number)| Self(*number))
                    .or_else(|| context.unknown_variant(node.span, word, &PRIORITIES.map(|(name, _)| name)))
            }
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for Visibility {
    const EXPECTED: &'static str = "`Public`, `Personal` or `Group(\"name\")`";
    const PLURAL: &'static str = "visibilities";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        match (name, &node.kind) {
            ("Public", SyntaxKind::Ident(_)) => Some(Self::Public),
            ("Personal", SyntaxKind::Ident(_)) => Some(Self::Personal),
            ("Group", SyntaxKind::Tuple { items, .. }) if items.len() == 1 => {
                String::decode(&items[0], context).map(Self::Group)
            }
            ("Public" | "Personal" | "Group", _) => context.wrong_type(node, Self::EXPECTED),
            _ => context.unknown_variant(span, name, &["Public", "Personal", "Group"]),
        }
    }
}

/// The default age at which published files that no job uses are removed.
const PUBLISHED: Duration = Duration::from_hours(14 * 24);

record!(Publish, "`(dir: .., url: ..)`", "places that labs fetch from", {
    dir: required,
    url: required,
    age: or(PUBLISHED),
});

/// The default time limit of a boot.
const BOOT_TIME_LIMIT: Duration = Duration::from_mins(2);

/// The default time limit of a lab's tests.
const TESTS_TIME_LIMIT: Duration = Duration::from_mins(10);

impl Decode for Test {
    const EXPECTED: &'static str = "`Console(marker: ..)`, `Login(..)` or `Lava(definitions: [..])`";
    const PLURAL: &'static str = "tests";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        if !matches!(name, "Console" | "Login" | "Lava") {
            return context.unknown_variant(span, name, &["Console", "Login", "Lava"]);
        }
        if let SyntaxKind::Tuple { .. } = node.kind {
            return context.wrong_type(node, Self::EXPECTED);
        }
        let mut fields = Fields::of_variant(node);
        let time_limit = fields.optional("time_limit", context);
        let boot_limit = time_limit.unwrap_or(BOOT_TIME_LIMIT);
        let test = match name {
            "Console" => fields.required("marker", context).map(|marker: Spanned<String>| {
                if marker.value.is_empty() {
                    let diagnostic =
                        Diagnostic::error("empty-text", "the marker is empty: any boot would pass");
                    context.diagnostics.push(diagnostic.label(marker.span, "expected a text"));
                }
                Self::Console { marker, time_limit: boot_limit }
            }),
            "Login" => Some(Self::Login { time_limit: boot_limit }),
            _ => {
                let definitions = not_empty(&mut fields, "definitions", "nothing would run", context);
                let skip = fields.or_default("skip", context);
                let time_limit = time_limit.unwrap_or(TESTS_TIME_LIMIT);
                definitions.map(|definitions| Self::Lava { definitions, skip, time_limit })
            }
        };
        fields.finish(context);
        test
    }
}

impl Decode for Definition {
    const EXPECTED: &'static str =
        "`Inline(name: .., path: ..)` or `Git(name: .., url: .., rev: .., path: ..)`";
    const PLURAL: &'static str = "test definitions";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let (node, name, span) = variant(node, Self::EXPECTED, context)?;
        if !matches!(name, "Inline" | "Git") {
            return context.unknown_variant(span, name, &["Inline", "Git"]);
        }
        if let SyntaxKind::Tuple { .. } = node.kind {
            return context.wrong_type(node, Self::EXPECTED);
        }
        let mut fields = Fields::of_variant(node);
        let suite = fields.required("name", context);
        let from = if name == "Inline" {
            fields.required("path", context).map(|path| DefinitionFrom::Inline { path })
        } else {
            let url = fields.required("url", context);
            let rev = fields.required("rev", context);
            let path = fields.required("path", context);
            url.zip(rev.zip(path)).map(|(url, (rev, path))| DefinitionFrom::Git { url, rev, path })
        };
        let params = fields.or_default("params", context);
        fields.finish(context);
        suite.zip(from).map(|(name, from)| Self { name, from, params })
    }
}

record!(Skip, "a skip: `(case: \"SUITE/CASE\", reason: ..)`", "skips", {
    case: required,
    reason: required,
    until: readable,
});

impl Decode for Date {
    const EXPECTED: &'static str = "a day";
    const PLURAL: &'static str = "days";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        meaning(node, "bad-date", <Self as Decode>::EXPECTED, context, |text| {
            // Only this form is accepted: other forms have times and zones.
            let day = text.parse().ok().filter(|day: &Self| day.to_string() == text);
            day.ok_or_else(|| "expected such as `2027-01-31`".to_owned())
        })
    }
}
