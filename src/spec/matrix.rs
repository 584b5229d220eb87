//! The matrix: which builds a project has.

use std::collections::{BTreeMap, BTreeSet};

use super::declared::{AxisFilter, BuildPart, Project};
use super::diagnostic::Spanned;
use super::fixups;
use super::model::Build;
use super::name::BuildId;

/// All builds of a project, sorted by id, each id once.
pub(super) fn builds(project: &Project) -> Vec<Build> {
    let mut builds = BTreeMap::new();
    for entry in &project.builds {
        let part = flatten(project, &entry.value);
        let params: BTreeMap<_, _> =
            part.params.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect();
        for point in points(&part) {
            let [source, arch, defconfig, toolchain] = point.map(str::to_owned);
            let resolved = fixups::resolve(project, &defconfig, &part.fixups);
            let optional = resolved.iter().filter(|fixup| fixup.optional);
            let optional = optional.map(|fixup| fixup.text.clone()).collect();
            let fixups = resolved.into_iter().map(|fixup| fixup.text).collect();
            let params = params.clone();
            let id = BuildId { source, arch, defconfig, toolchain };
            let build = Build { id, fixups, optional, params };
            builds.entry(build.id.to_string()).or_insert(build);
        }
    }
    builds.into_values().collect()
}

/// A build or preset with all that it extends: their lists first, its own after, its own params over theirs.
pub(super) fn flatten(project: &Project, part: &BuildPart) -> BuildPart {
    let mut flat = BuildPart::default();
    flatten_into(project, part, &mut Vec::new(), &mut flat);
    flat
}

fn flatten_into<'p>(
    project: &'p Project,
    part: &'p BuildPart,
    chain: &mut Vec<&'p str>,
    flat: &mut BuildPart,
) {
    for name in &part.extends {
        // Cycles and presets that don't exist are the checker's to report.
        if let Some(preset) =
            project.presets.get(&name.value).filter(|_| !chain.contains(&name.value.as_str()))
        {
            chain.push(&name.value);
            flatten_into(project, &preset.value, chain, flat);
            chain.pop();
        }
    }
    flat.extends.extend_from_slice(&part.extends);
    flat.sources.extend_from_slice(&part.sources);
    flat.archs.extend_from_slice(&part.archs);
    flat.defconfigs.extend_from_slice(&part.defconfigs);
    flat.toolchains.extend_from_slice(&part.toolchains);
    flat.fixups.extend_from_slice(&part.fixups);
    flat.params.extend(part.params.iter().map(|(name, value)| (name.clone(), value.clone())));
    flat.exclude.extend_from_slice(&part.exclude);
    flat.include.extend_from_slice(&part.include);
}

/// A combination: source, arch, defconfig, toolchain.
pub(super) type Point<'p> = [&'p str; 4];

/// Every combination of the axes, each once, before anything is excluded.
pub(super) fn product(part: &BuildPart) -> Vec<Point<'_>> {
    let mut points = BTreeSet::new();
    for source in &part.sources {
        for arch in &part.archs {
            for defconfig in &part.defconfigs {
                for toolchain in &part.toolchains {
                    points.insert([&*source.value, &*arch.value, &*defconfig.value, &*toolchain.value]);
                }
            }
        }
    }
    points.into_iter().collect()
}

/// The combinations of a flattened entry, after `exclude` and `include`.
pub(super) fn points(part: &BuildPart) -> Vec<Point<'_>> {
    let mut points = product(part);
    points.retain(|point| !part.exclude.iter().any(|filter| filter.value.matches(*point)));
    for point in part.include.iter().filter_map(|filter| filter.value.point()) {
        if !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

impl AxisFilter {
    /// The axes in the order of a point.
    pub(super) const fn axes(&self) -> [Option<&Spanned<String>>; 4] {
        [self.source.as_ref(), self.arch.as_ref(), self.defconfig.as_ref(), self.toolchain.as_ref()]
    }

    /// Whether every axis it names is equal.
    pub(super) fn matches(&self, point: Point<'_>) -> bool {
        self.axes().into_iter().zip(point).all(|(own, value)| own.is_none_or(|own| own.value == value))
    }

    /// The one combination it names, if it names all axes.
    fn point(&self) -> Option<Point<'_>> {
        let [source, arch, defconfig, toolchain] = self.axes();
        Some([&source?.value, &arch?.value, &defconfig?.value, &toolchain?.value])
    }
}
