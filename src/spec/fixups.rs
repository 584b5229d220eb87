//! CONFIG fixups: `@name` taken up, later ones over earlier ones.

use std::collections::HashSet;

use super::decode::fixup_symbol;
use super::diagnostic::Spanned;
use super::model::Project;

/// The fixups of a build of `defconfig` with `own` fixups: the config's first, then the build's. Of two for one
/// symbol the later one stays.
pub(super) fn resolve(project: &Project, defconfig: &str, own: &[Spanned<String>]) -> Vec<String> {
    let mut all = Vec::new();
    let mut chain = Vec::new();
    if let Some(config) = project.configs.get(defconfig) {
        expand(project, &config.value.fixups, &mut chain, &mut all);
    }
    expand(project, own, &mut chain, &mut all);
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = all.into_iter().rev().filter(|fixup| seen.insert(fixup_symbol(fixup))).collect();
    kept.reverse();
    kept.into_iter().map(str::to_owned).collect()
}

/// Cycles and lists that don't exist are the checker's to report; here they add nothing.
fn expand<'p>(
    project: &'p Project,
    list: &'p [Spanned<String>],
    chain: &mut Vec<&'p str>,
    all: &mut Vec<&'p str>,
) {
    for fixup in list {
        let Some(name) = fixup.value.strip_prefix('@') else {
            all.push(&fixup.value);
            continue;
        };
        if let Some(list) = project.fixups.get(name).filter(|_| !chain.contains(&name)) {
            chain.push(name);
            expand(project, &list.value, chain, all);
            chain.pop();
        }
    }
}

/// A fixup as a line of `.config`.
pub(super) fn config_line(fixup: &str) -> String {
    match fixup.split_once('=') {
        Some((symbol, "n")) => format!("# CONFIG_{symbol} is not set"),
        _ => format!("CONFIG_{fixup}"),
    }
}
