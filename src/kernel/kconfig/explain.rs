//! Explains why a symbol does not have a wanted value.

use std::fmt;
use std::sync::Arc;

use super::expr::{Expr, Tristate, Values, number};
use super::{Definition, Kconfig, Select, SymbolType};
use crate::kernel::config::KConfig;
use crate::kernel::predicate::unquote;

/// The depth to which unmet dependencies of unmet dependencies are explained.
const MAX_CHAIN: usize = 8;

/// The number of names in a list.
const MAX_NAMES: usize = 6;

/// Why a symbol does not have a wanted value. The text does not repeat its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such symbol.
    NoSuchSymbol {
        /// The symbols with the most similar names.
        near: Vec<String>,
    },
    /// A dependency is not met.
    Unmet {
        /// The unmet part, with values.
        what: String,
        /// If that is one symbol: its name, and why it lacks the needed value.
        because: Option<(String, Box<Reason>)>,
    },
    /// The dependencies are met, but the prompt's condition is not.
    NotAsked {
        /// The unmet part, with values.
        what: String,
    },
    /// It has no prompt: other symbols set it.
    NeverAsked {
        /// The first few symbols that select it.
        by: Vec<String>,
    },
    /// Other symbols select it.
    Selected {
        /// These symbols.
        by: Vec<String>,
    },
    /// Another member of its choice is set.
    Chosen {
        /// The other member.
        other: String,
    },
    /// The kernel has no modules.
    NoModules,
    /// It can't be a module.
    NoModule,
    /// It is a number out of its range.
    OutOfRange {
        /// The lower bound.
        low: String,
        /// The upper bound.
        high: String,
    },
    /// It depends on something that only Kconfig can evaluate.
    Untold {
        /// The text of it.
        what: String,
    },
}

pub(super) struct Explainer<'a> {
    kconfig: &'a Kconfig,
    config: &'a KConfig<'a>,
}

impl Values for Explainer<'_> {
    fn value(&self, word: &str) -> String {
        match (word, self.config.raw(word)) {
            ("m", None) if !self.modules() => "n".to_owned(),
            (_, Some(raw)) => {
                let raw = String::from_utf8_lossy(raw);
                unquote(&raw).map_or_else(|| raw.to_string(), std::borrow::Cow::into_owned)
            }
            (_, None) => match self.kconfig.symbol(word).map(|symbol| symbol.ty) {
                Some(Some(SymbolType::Text | SymbolType::Int | SymbolType::Hex)) => String::new(),
                Some(_) => "n".to_owned(),
                // A constant, a number, or an undefined symbol, which Kconfig treats as its own name.
                None => word.to_owned(),
            },
        }
    }
}

impl<'a> Explainer<'a> {
    pub(super) fn new(kconfig: &'a Kconfig, config: &'a KConfig<'a>) -> Self {
        Self { kconfig, config }
    }

    pub(super) fn explain(&self, symbol: &str, wanted: &str) -> Option<Reason> {
        self.reason(symbol, wanted, MAX_CHAIN)
    }

    fn modules(&self) -> bool {
        self.config.raw("MODULES") == Some(b"y")
    }

    fn reason(&self, name: &str, wanted: &str, chain: usize) -> Option<Reason> {
        let Some(symbol) = self.kconfig.symbol(name) else {
            return Some(Reason::NoSuchSymbol { near: self.near(name) });
        };
        let wants = Tristate::read(wanted);
        let logical = matches!(symbol.ty, None | Some(SymbolType::Bool | SymbolType::Tristate));
        if wanted == "m" && symbol.ty == Some(SymbolType::Bool) {
            return Some(Reason::NoModule);
        }
        if wanted == "m" && !self.modules() {
            return Some(Reason::NoModules);
        }
        // For a symbol that is no tristate, `m` is enough.
        let need = if symbol.ty == Some(SymbolType::Tristate) && wants == Tristate::Yes {
            Tristate::Yes
        } else {
            Tristate::Module
        };
        let definitions = &symbol.definitions;
        // An undefined symbol is unset.
        if (!logical || wants != Tristate::No)
            && let Some(unmet) =
                self.least(definitions, need, |definition| Some(definition.depends.as_slice()))
        {
            return Some(self.unmet(unmet, need, chain));
        }
        let by = self.kconfig.selected_by.get(name).map(Vec::as_slice).unwrap_or_default();
        let holding: Vec<String> = by
            .iter()
            .filter(|select| self.holds_above(select, wants))
            .map(|select| select.by.clone())
            .collect();
        if logical && !holding.is_empty() {
            return Some(Reason::Selected { by: names(holding) });
        }
        if definitions.iter().all(|definition| definition.prompt.is_none()) {
            return Some(Reason::NeverAsked { by: names(by.iter().map(|select| select.by.clone())) });
        }
        if let Some(unmet) = self.least(definitions, need, |definition| definition.prompt.as_deref()) {
            return Some(Reason::NotAsked { what: self.told(&unmet, need) });
        }
        definitions.iter().find_map(|definition| self.limits(name, definition, wanted)).or_else(|| {
            let depends = definitions.iter().flat_map(|definition| &definition.depends);
            let untold = depends.filter(|expr| expr.eval(self).is_none()).map(ToString::to_string);
            let untold: Vec<String> = untold.collect();
            (!untold.is_empty()).then(|| Reason::Untold { what: untold.join(" && ") })
        })
    }

    /// The definition with the fewest unmet conditions, and these conditions; `None` if one has none.
    fn least<'e>(
        &self,
        definitions: &'e [Definition],
        need: Tristate,
        of: impl Fn(&'e Definition) -> Option<&'e [Arc<Expr>]>,
    ) -> Option<Vec<&'e Expr>> {
        let lacks = definitions.iter().filter_map(of).map(|conditions| {
            let mut unmet = Vec::new();
            for condition in conditions {
                self.unmet_parts(condition, need, &mut unmet);
            }
            unmet
        });
        lacks.min_by_key(Vec::len).filter(|unmet| !unmet.is_empty())
    }

    fn unmet_parts<'e>(&self, expr: &'e Expr, need: Tristate, unmet: &mut Vec<&'e Expr>) {
        if let Expr::All(items) = expr {
            return items.iter().for_each(|item| self.unmet_parts(item, need, unmet));
        }
        if expr.eval(self).is_some_and(|value| value < need) && !unmet.contains(&expr) {
            unmet.push(expr);
        }
    }

    fn unmet(&self, unmet: Vec<&Expr>, need: Tristate, chain: usize) -> Reason {
        let because = match unmet.as_slice() {
            [Expr::Symbol(symbol)] if chain > 0 && !matches!(symbol.as_str(), "y" | "m" | "n") => {
                let wanted = match self.kconfig.symbol(symbol).and_then(|symbol| symbol.ty) {
                    Some(SymbolType::Tristate) if self.modules() => need,
                    _ => Tristate::Yes,
                };
                self.reason(symbol, wanted.text(), chain - 1).map(|reason| (symbol.clone(), Box::new(reason)))
            }
            _ => None,
        };
        Reason::Unmet { what: self.told(&unmet, need), because }
    }

    /// The unmet part of an expression, with values.
    fn told(&self, unmet: &[&Expr], need: Tristate) -> String {
        match unmet {
            [Expr::Symbol(symbol)] => format!("{symbol}, which is {}", self.shown(symbol)),
            [one] => self.blame(one, need),
            several => several.iter().map(|expr| self.blame_in(expr, need)).collect::<Vec<_>>().join(" && "),
        }
    }

    fn blame(&self, expr: &Expr, need: Tristate) -> String {
        match expr {
            Expr::Symbol(symbol) => format!("{symbol} (is {})", self.shown(symbol)),
            Expr::Not(inner) => match &**inner {
                Expr::Symbol(symbol) => format!("!{symbol} (is {})", self.shown(symbol)),
                _ => expr.to_string(),
            },
            Expr::Compare(_, left, _) => match &**left {
                Expr::Symbol(symbol) => format!("{expr} (is {})", self.shown(symbol)),
                _ => expr.to_string(),
            },
            Expr::All(items) => {
                let unmet = items.iter().filter(|item| item.eval(self).is_some_and(|value| value < need));
                unmet.map(|item| self.blame_in(item, need)).collect::<Vec<_>>().join(" && ")
            }
            Expr::Any(items) => {
                let shown = items.iter().take(MAX_NAMES).map(|item| self.blame_in(item, need));
                let more = items.len().saturating_sub(MAX_NAMES);
                let more = (more > 0).then(|| format!("{more} more"));
                shown.chain(more).collect::<Vec<_>>().join(" || ")
            }
            Expr::Text(_) | Expr::Unknown(_) => expr.to_string(),
        }
    }

    fn blame_in(&self, expr: &Expr, need: Tristate) -> String {
        let told = self.blame(expr, need);
        if matches!(expr, Expr::Any(_)) { format!("({told})") } else { told }
    }

    /// A symbol's value, for messages.
    fn shown(&self, symbol: &str) -> String {
        let constant = matches!(symbol, "y" | "m" | "n");
        if !constant && self.kconfig.symbol(symbol).is_none() && self.config.raw(symbol).is_none() {
            return "n".to_owned();
        }
        match self.value(symbol) {
            value if value.is_empty() => "not set".to_owned(),
            value => value,
        }
    }

    /// Whether a `select` keeps a symbol above the wanted value.
    fn holds_above(&self, select: &Select, wants: Tristate) -> bool {
        let by = Tristate::read(&self.value(&select.by));
        let condition = select.condition.as_ref().map_or(Some(Tristate::Yes), |expr| expr.eval(self));
        condition.is_some_and(|condition| condition.min(by) > wants)
    }

    /// A choice or a range that excludes the wanted value.
    fn limits(&self, name: &str, definition: &Definition, wanted: &str) -> Option<Reason> {
        if let Some(choice) = definition.choice
            && wanted == "y"
        {
            let taken = |other: &&String| *other != name && self.config.raw(other) == Some(b"y");
            let other = self.kconfig.choices[choice].iter().find(taken)?.clone();
            return Some(Reason::Chosen { other });
        }
        let wanted = number(wanted)?;
        let holds = |condition: &Option<Arc<Expr>>| {
            condition.as_ref().is_none_or(|expr| expr.eval(self).is_some_and(|value| value > Tristate::No))
        };
        let range = definition.ranges.iter().find(|range| holds(&range.condition))?;
        let (low, high) = (range.low.word(self)?, range.high.word(self)?);
        let inside = (number(&low)?..=number(&high)?).contains(&wanted);
        (!inside).then_some(Reason::OutOfRange { low, high })
    }

    /// The most similar names to an undefined one.
    fn near(&self, name: &str) -> Vec<String> {
        let budget = (name.len() / 3).max(1);
        let mut near: Vec<(usize, &str)> = self
            .kconfig
            .symbols()
            .filter(|(known, _)| known.len().abs_diff(name.len()) <= budget)
            .map(|(known, _)| (strsim::osa_distance(name, known), known))
            .filter(|(distance, _)| *distance <= budget)
            .collect();
        near.sort_unstable();
        let least = near.first().map_or(0, |(distance, _)| *distance);
        let close = near.into_iter().take_while(|(distance, _)| *distance <= least + 1).take(3);
        close.map(|(_, known)| known.to_owned()).collect()
    }
}

fn names(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = all.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_NAMES {
        let more = names.len() - MAX_NAMES;
        names.truncate(MAX_NAMES);
        names.push(format!("{more} more"));
    }
    names
}

impl Reason {
    fn of(&self, subject: &str) -> String {
        match self {
            Self::NoSuchSymbol { .. } => {
                format!("no Kconfig file of this tree knows {subject} for this arch")
            }
            _ => format!("{subject} {self}"),
        }
    }
}

/// The reason, as the end of a sentence.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSymbol { near } => {
                f.write_str("no Kconfig file of this tree knows it for this arch")?;
                if near.is_empty() { Ok(()) } else { write!(f, "; did you mean {}?", near.join(" or ")) }
            }
            Self::Unmet { what, because } => {
                write!(f, "depends on {what}")?;
                because.as_ref().map_or(Ok(()), |(symbol, reason)| write!(f, "; {}", reason.of(symbol)))
            }
            Self::NotAsked { what } => write!(f, "can be set only with {what}"),
            Self::NeverAsked { by } if by.is_empty() => {
                f.write_str("has no prompt: its defaults alone decide")
            }
            Self::NeverAsked { by } => {
                write!(f, "has no prompt: it is set by what selects it ({})", by.join(", "))
            }
            Self::Selected { by } => write!(f, "is selected by {}", by.join(", ")),
            Self::Chosen { other } => write!(f, "is one of a choice, and {other} was taken"),
            Self::NoModules => f.write_str("can't be a module, as MODULES is n"),
            Self::NoModule => f.write_str("can't be a module, only y or n"),
            Self::OutOfRange { low, high } => write!(f, "must be from {low} to {high}"),
            Self::Untold { what } => write!(f, "depends on {what}, which only the configuring can tell"),
        }
    }
}
