//! Texts, numbers, and the texts that mean more: durations, sizes, digests, fixups, templates, predicates.

use std::path::PathBuf;
use std::time::Duration;

use super::{Context, Decode, inside};
use crate::digest::Digest;
use crate::kernel::predicate::Predicate;
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::model::{AttrValue, Axis, Fixup, ParamValue, TarballDigest, Template};
use crate::spec::suggest;
use crate::spec::syntax::{Node, SyntaxKind};

impl Decode for String {
    const EXPECTED: &'static str = "a text";
    const PLURAL: &'static str = "texts";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Str(text) => Some(text.as_ref().to_owned()),
            SyntaxKind::Ident(word) => {
                let message = format!("expected a text, found the word `{word}`");
                let diagnostic = Diagnostic::error("wrong-type", message).label(node.span, "expected a text");
                context.report(diagnostic.help(format!("put it in quotes: `\"{word}\"`")))
            }
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    const PLURAL: &'static str = "`true` or `false`";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match node.kind {
            SyntaxKind::Bool(value) => Some(value),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

/// A whole number of the type, or a complaint that names its range.
pub(super) fn whole<T: TryFrom<i64>>(node: &Node<'_>, range: &str, context: &mut Context) -> Option<T> {
    let node = node.unwrapped();
    let SyntaxKind::Int(value) = node.kind else {
        return context.wrong_type(node, "a whole number");
    };
    T::try_from(value).ok().or_else(|| {
        let message = format!("the number {value} is out of range");
        context
            .report(Diagnostic::error("out-of-range", message).label(node.span, format!("expected {range}")))
    })
}

impl Decode for i64 {
    const EXPECTED: &'static str = "a whole number";
    const PLURAL: &'static str = "whole numbers";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        whole(node, "a whole number", context)
    }
}

impl Decode for i32 {
    const EXPECTED: &'static str = "a whole number";
    const PLURAL: &'static str = "whole numbers";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        whole(node, "at most 2147483647", context)
    }
}

impl Decode for u32 {
    const EXPECTED: &'static str = "a whole number";
    const PLURAL: &'static str = "whole numbers";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        whole(node, "0 to 4294967295", context)
    }
}

/// A count that must not be zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positive(pub(super) u32);

impl Decode for Positive {
    const EXPECTED: &'static str = "a whole number";
    const PLURAL: &'static str = "whole numbers";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let value = whole(node, "1 or more", context)?;
        if value == 0 {
            let label = "expected 1 or more";
            return context.report(
                Diagnostic::error("out-of-range", "the number 0 is out of range").label(node.span, label),
            );
        }
        Some(Self(value))
    }
}

/// Reads a text that means more, or reports that it doesn't.
pub(super) fn meaning<T>(
    node: &Node<'_>,
    code: &'static str,
    expected: &str,
    context: &mut Context,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let node = node.unwrapped();
    let Some(text) = node.as_str() else {
        return context.wrong_type(node, expected);
    };
    match read(text) {
        Ok(value) => Some(value),
        Err(why) => context.report(
            Diagnostic::error(code, format!("`{text}` is not {expected}: {why}")).label(node.span, why),
        ),
    }
}

impl Decode for PathBuf {
    const EXPECTED: &'static str = "a path";
    const PLURAL: &'static str = "paths";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        meaning(node, "bad-path", Self::EXPECTED, context, |text| match text {
            "" => Err("it is empty".into()),
            _ if text.contains('\0') => Err("it holds a NUL".into()),
            _ => Ok(Self::from(text)),
        })
    }
}

impl Decode for Duration {
    const EXPECTED: &'static str = "a duration";
    const PLURAL: &'static str = "durations";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        if let SyntaxKind::Int(value) = node.unwrapped().kind {
            let message = "expected a duration, found a number without a unit";
            let diagnostic =
                Diagnostic::error("bad-duration", message).label(node.span, "expected a duration");
            return context.report(diagnostic.help(format!("write `\"{value}s\"` or `\"{value}min\"`")));
        }
        let value = meaning(node, "bad-duration", Self::EXPECTED, context, |text| {
            humantime::parse_duration(text)
                .map_err(|_| "expected such as `90s`, `2min`, `1h 30min`".to_owned())
        })?;
        if value.is_zero() {
            let diagnostic = Diagnostic::error("bad-duration", "the duration is zero");
            return context.report(diagnostic.label(node.span, "expected more than nothing"));
        }
        Some(value)
    }
}

/// A size in bytes: `"1GiB"`, or a number.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes(pub(super) u64);

impl Decode for Bytes {
    const EXPECTED: &'static str = "a size";
    const PLURAL: &'static str = "sizes";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        if let SyntaxKind::Int(_) = node.unwrapped().kind {
            return whole(node, "0 or more", context).map(Self);
        }
        meaning(node, "bad-size", Self::EXPECTED, context, |text| {
            parse_size(text).map(Self).ok_or_else(|| "expected such as `512MiB`, `1.5GiB`".to_owned())
        })
    }
}

/// A size as people say it: `312 B`, `4.2 KiB`, `1.5 GiB`.
pub fn show_size(bytes: u64) -> String {
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1024 && unit < 4 {
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let value = bytes as f64 / f64::from(1_u32 << 10).powi(unit);
    let unit = ["B", "KiB", "MiB", "GiB", "TiB"][usize::try_from(unit).unwrap_or(0)];
    format!("{value:.1} {unit}")
}

/// The bytes of a text such as `1GiB`, `1.5GB`, `100` (bytes). Exact: a fraction is scaled as an integer.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u128 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = u128::from(whole.parse::<u64>().ok()?) * scale + u128::from(fraction.parse::<u64>().ok()?);
    u64::try_from(scaled.checked_mul(unit)? / scale).ok()
}

impl Decode for TarballDigest {
    const EXPECTED: &'static str = "a digest";
    const PLURAL: &'static str = "digests";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        meaning(node, "bad-digest", Self::EXPECTED, context, |text| {
            let expected = || "expected `sha256:` or `blake3:` and 64 hex digits".to_owned();
            let (kind, hex) = text.split_once(':').ok_or_else(expected)?;
            let digest: Digest = hex.parse().map_err(|_| expected())?;
            match kind {
                "sha256" => Ok(Self::Sha256(*digest.as_bytes())),
                "blake3" => Ok(Self::Blake3(digest)),
                _ => Err(expected()),
            }
        })
    }
}

impl Decode for Fixup {
    const EXPECTED: &'static str = "a fixup";
    const PLURAL: &'static str = "fixups";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let unwrapped = node.unwrapped();
        if let SyntaxKind::Tuple { name: Some(name), items } = &unwrapped.kind {
            return match (name.text, items.as_slice()) {
                ("Optional", [fixup]) => fixup_text(fixup, context).map(|text| Self { text, optional: true }),
                ("Optional", _) => context.wrong_type(unwrapped, "`Optional(\"SYMBOL=VALUE\")`"),
                _ => context.unknown_variant(name.span, name.text, &["Optional"]),
            };
        }
        fixup_text(node, context).map(|text| Self { text, optional: false })
    }
}

/// `SYMBOL=VALUE`, with or without `CONFIG_`; `# CONFIG_SYMBOL is not set`, which is `SYMBOL=n`; or `@name`.
fn fixup_text(node: &Node<'_>, context: &mut Context) -> Option<String> {
    meaning(node, "bad-fixup", Fixup::EXPECTED, context, |text| {
        let expected = || "expected `SYMBOL=VALUE` or `@name`".to_owned();
        if let Some(name) = text.strip_prefix('@') {
            return if name.is_empty() { Err(expected()) } else { Ok(text.into()) };
        }
        let unset = text.strip_prefix("# CONFIG_").and_then(|rest| rest.strip_suffix(" is not set"));
        let plain = text.strip_prefix("CONFIG_").unwrap_or(text);
        let (symbol, value) = match unset {
            Some(symbol) => (symbol, "n"),
            None => plain.split_once('=').ok_or_else(expected)?,
        };
        let word = !symbol.is_empty() && symbol.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || value.is_empty() || value.contains(['\n', '\r', '\0']) {
            return Err(expected());
        }
        Ok(format!("{symbol}={value}"))
    })
}

/// The symbol of a fixup that is not `@name`.
pub(in crate::spec) fn fixup_symbol(fixup: &str) -> &str {
    fixup.split_once('=').map_or(fixup, |(symbol, _)| symbol)
}

/// The length of the literal in the file, quotes included.
const fn literal_len(span: Span) -> usize {
    (span.end - span.start) as usize
}

impl Decode for Template {
    const EXPECTED: &'static str = "a text";
    const PLURAL: &'static str = "texts";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let Some(text) = node.as_str() else {
            return String::decode(node, context).and(None);
        };
        match Self::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                let span = inside(node.span, text, literal_len(node.span), error.start, error.end);
                let help = "placeholders are written `{name}`; write `{{` and `}}` for the braces themselves";
                let diagnostic = Diagnostic::error("bad-template", error.message);
                context.report(diagnostic.label(span, "here").help(help))
            }
        }
    }
}

impl Decode for Predicate {
    const EXPECTED: &'static str = "a predicate over CONFIG symbols";
    const PLURAL: &'static str = "predicates";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let Some(text) = node.as_str() else {
            return context.wrong_type(node, Self::EXPECTED);
        };
        match Self::parse(text) {
            Ok(predicate) => Some(predicate),
            Err(error) => {
                let span = inside(node.span, text, literal_len(node.span), error.start, error.end);
                let message = format!("the predicate can't be read: {}", error.message);
                let diagnostic = Diagnostic::error("bad-predicate", message).label(span, error.message);
                context.report(diagnostic.maybe_help(error.help))
            }
        }
    }
}

impl Decode for ParamValue {
    const EXPECTED: &'static str = "a text, number, `true`, `false` or list of texts";
    const PLURAL: &'static str = "values of parameters";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Str(text) => Some(Self::Text(text.as_ref().to_owned())),
            SyntaxKind::Int(number) => Some(Self::Int(*number)),
            SyntaxKind::Bool(value) => Some(Self::Bool(*value)),
            SyntaxKind::List(_) => Vec::decode(node, context).map(Self::List),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for AttrValue {
    const EXPECTED: &'static str = "a text or a list of texts";
    const PLURAL: &'static str = "texts or lists of texts";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Str(text) => Some(Self::Text(text.as_ref().to_owned())),
            SyntaxKind::List(_) => Vec::decode(node, context).map(Self::List),
            _ => context.wrong_type(node, Self::EXPECTED),
        }
    }
}

impl Decode for Axis {
    const EXPECTED: &'static str = "an axis";
    const PLURAL: &'static str = "axes";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        Self::ALL.into_iter().find(|axis| axis.name() == text).or_else(|| {
            let names = Self::ALL.map(Self::name);
            let message = format!("`{text}` is not an axis");
            let help = suggest::help(&text, "axes", names);
            context.broken.extend(suggest::nearest(&text, names).map(str::to_owned));
            let diagnostic = Diagnostic::error("unknown-axis", message).label(node.span, "not an axis");
            context.report(diagnostic.help(help))
        })
    }
}
