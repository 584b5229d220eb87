//! `gentoo`, `roots`, and what toolchains take of them.

use super::record::record;
use super::scalars::meaning;
use super::{Context, Decode, Fields};
use crate::gentoo::names::Stage3;
use crate::gentoo::portage::PACKAGES;
use crate::spec::declared::{Gentoo, RootMode, RootSpec, Signers};
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::User;
use crate::spec::syntax::{Node, SyntaxKind};

impl Decode for Gentoo {
    const EXPECTED: &'static str = "`(mirrors: [..], keys: .., signers: [..])`";
    const PLURAL: &'static str = "sources of stage3s";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let mirrors: Option<Vec<_>> = fields.required("mirrors", context);
        let signed_by = signers(&mut fields, context);
        let fresh = fields.optional("fresh", context);
        let ebuilds = fields.optional("ebuilds", context);
        fields.finish(context);
        let (mirrors, signed_by) = mirrors.zip(signed_by)?;
        Some(Self { mirrors, signed_by, fresh, ebuilds })
    }
}

record!(Signers, "`(keys: .., signers: [..])`", "signers", { keys: required, signers: required });

fn signers(fields: &mut Fields<'_, '_>, context: &mut Context) -> Option<Signers> {
    let keys = fields.required("keys", context);
    let signers = fields.required("signers", context);
    keys.zip(signers).map(|(keys, signers)| Signers { keys, signers })
}

impl Decode for RootSpec {
    const EXPECTED: &'static str = "a root: `(stage3: .., packages: [..])`";
    const PLURAL: &'static str = "roots";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let head = fields.head();
        let stage3 = fields.required("stage3", context);
        let packages = fields.optional("packages", context);
        let user = fields.or_default("user", context);
        let binhosts = fields.or_default("binhosts", context);
        let packages_signed_by = fields.optional("packages_signed_by", context);
        fields.finish(context);
        let default = || PACKAGES.map(|name| Spanned { value: name.to_owned(), span: head }).into();
        let packages = packages.unwrap_or_else(default);
        stage3.map(|stage3| Self { stage3, packages, user, binhosts, packages_signed_by })
    }
}

impl Decode for Stage3 {
    const EXPECTED: &'static str = "a stage3";
    const PLURAL: &'static str = "stage3s";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        meaning(node, "unknown-stage3", Self::EXPECTED, context, |text| {
            Self::named(text).map_err(|error| error.to_string())
        })
    }
}

impl Decode for User {
    const EXPECTED: &'static str = "an account: `(name: .., id: ..)`";
    const PLURAL: &'static str = "accounts";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let default = Self::default();
        let name = fields.optional::<Spanned<String>>("name", context);
        let id = fields.optional::<Spanned<u32>>("id", context);
        fields.finish(context);
        if let Some(name) = name.as_ref().filter(|name| !is_account(&name.value)) {
            let message = format!("`{}` can't be the name of an account", name.value);
            let label = "expected a small letter, then small letters, digits, `_`, `-`; not `root`";
            context.diagnostics.push(Diagnostic::error("bad-name", message).label(name.span, label));
        }
        if let Some(id) = id.as_ref().filter(|id| !IDS.contains(&id.value)) {
            let message = format!("{} can't be the number of an account for builds", id.value);
            let label = format!("expected {} to {}", IDS.start(), IDS.end());
            context.diagnostics.push(Diagnostic::error("out-of-range", message).label(id.span, label));
        }
        Some(Self {
            name: name.map_or(default.name, |name| name.value),
            id: id.map_or(default.id, |id| id.value),
        })
    }
}

/// Numbers below are the system's own, those above are no account's or need more than a range of 65,536 (`/etc/subuid`).
const IDS: std::ops::RangeInclusive<u32> = 500..=60_000;

fn is_account(name: &str) -> bool {
    name != "root"
        && name.len() <= 31
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

impl Decode for RootMode {
    const EXPECTED: &'static str = "`Emulated`, `Mixed` or `Hybrid(\"TOOLCHAIN\")`";
    const PLURAL: &'static str = "modes";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Ident("Emulated") => Some(Self::Emulated),
            SyntaxKind::Ident("Mixed") => Some(Self::Mixed),
            SyntaxKind::Tuple { name: Some(name), items } if name.text == "Hybrid" => {
                match items.as_slice() {
                    [toolchain] => Spanned::decode(toolchain, context).map(Self::Hybrid),
                    _ => context.wrong_type(node, "`Hybrid(\"TOOLCHAIN\")`"),
                }
            }
            SyntaxKind::Ident("Hybrid") => context.wrong_type(node, "`Hybrid(\"TOOLCHAIN\")`"),
            SyntaxKind::Ident(word) => {
                context.unknown_variant(node.span, word, &["Emulated", "Mixed", "Hybrid"])
            }
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}
