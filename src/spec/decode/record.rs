//! Decoders that are lists: of the fields of a record, or of the words of a choice.

/// Decodes a record of the fields `name: how`, where `how` is
/// - `required`: an error if it is missing,
/// - `optional`: `None` if it is missing,
/// - `default`: the default of its type if it is missing,
/// - `or(value)`: that value if it is missing,
/// - `readable`: as `optional`, but the record is lost if the value can't be read.
///
/// A field that Rust or the file names differently is written `name as "name in the file": how`.
macro_rules! record {
    ($record:ident, $expected:literal, $plural:literal, {
        $($field:ident $(as $name:literal)?: $how:ident $(($default:expr))?),* $(,)?
    }) => {
        impl $crate::spec::decode::Decode for $record {
            const EXPECTED: &'static str = $expected;
            const PLURAL: &'static str = $plural;

            fn decode(
                node: &$crate::spec::syntax::Node<'_>,
                context: &mut $crate::spec::decode::Context,
            ) -> Option<Self> {
                let mut fields = $crate::spec::decode::Fields::of(node, Self::EXPECTED, context)?;
                // All fields before any is missed: each mistake is reported.
                $(let $field = record!(@take fields, context, (stringify!($field) $(, $name)?), $how $(($default))?);)*
                fields.finish(context);
                Some(Self { $($field: record!(@value $field, $how)),* })
            }
        }
    };
    (@take $fields:ident, $context:ident, ($field:expr, $name:literal), $($how:tt)*) => {
        record!(@take $fields, $context, ($name), $($how)*)
    };
    (@take $fields:ident, $context:ident, ($name:expr), required) => { $fields.required($name, $context) };
    (@take $fields:ident, $context:ident, ($name:expr), optional) => { $fields.optional($name, $context) };
    (@take $fields:ident, $context:ident, ($name:expr), default) => { $fields.or_default($name, $context) };
    (@take $fields:ident, $context:ident, ($name:expr), readable) => { $fields.readable($name, $context) };
    (@take $fields:ident, $context:ident, ($name:expr), or($default:expr)) => {
        $fields.optional($name, $context).unwrap_or($default)
    };
    (@value $field:ident, required) => { $field? };
    (@value $field:ident, readable) => { $field.ok()? };
    (@value $field:ident, $how:ident) => { $field };
}

/// Decodes a choice between bare words, each the name of a variant.
macro_rules! words {
    ($choice:ident, $expected:literal, $plural:literal, [$($word:ident),*]) => {
        impl $crate::spec::decode::Decode for $choice {
            const EXPECTED: &'static str = $expected;
            const PLURAL: &'static str = $plural;

            fn decode(
                node: &$crate::spec::syntax::Node<'_>,
                context: &mut $crate::spec::decode::Context,
            ) -> Option<Self> {
                let node = node.unwrapped();
                let $crate::spec::syntax::SyntaxKind::Ident(word) = node.kind else {
                    return context.wrong_type(node, Self::EXPECTED);
                };
                match [$((stringify!($word), Self::$word)),*].into_iter().find(|(name, _)| *name == word) {
                    Some((_, choice)) => Some(choice),
                    None => context.unknown_variant(node.span, word, &[$(stringify!($word)),*]),
                }
            }
        }
    };
}

pub(super) use {record, words};
