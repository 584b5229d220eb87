//! CONFIG fixups: `@name` taken up, later ones over earlier ones.

use std::collections::HashSet;

use super::declared::Project;
use super::decode::fixup_symbol;
use super::diagnostic::Spanned;
use super::model::Fixup;

/// The fixups of a build of `defconfig` with `own` fixups: the config's first, then the build's. Of two for one
/// symbol the later one stays, optional or not. None is a list any more.
pub(super) fn resolve(project: &Project, defconfig: &str, own: &[Spanned<Fixup>]) -> Vec<Fixup> {
    let mut all = Vec::new();
    let mut chain = Vec::new();
    if let Some(config) = project.configs.get(defconfig) {
        expand(project, &config.value.fixups, false, &mut chain, &mut all);
    }
    expand(project, own, false, &mut chain, &mut all);
    let mut seen = HashSet::new();
    all.reverse();
    all.retain(|fixup| seen.insert(fixup_symbol(&fixup.text).to_owned()));
    all.reverse();
    all
}

/// Cycles and lists that don't exist are the checker's to report; here they add nothing.
fn expand<'p>(
    project: &'p Project,
    list: &'p [Spanned<Fixup>],
    optional: bool,
    chain: &mut Vec<&'p str>,
    all: &mut Vec<Fixup>,
) {
    for fixup in list {
        let optional = optional || fixup.value.optional;
        let Some(name) = fixup.value.list() else {
            all.push(Fixup { text: fixup.value.text.clone(), optional });
            continue;
        };
        if let Some(list) = project.fixups.get(name).filter(|_| !chain.contains(&name)) {
            chain.push(name);
            expand(project, &list.value, optional, chain, all);
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
