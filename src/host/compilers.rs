//! What compilers run, read and link with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::ask::{ask, ask_errors};
use super::needs::is_private;
use super::survey::Survey;
use super::tools::ToolError;

/// Programs that gcc runs.
const GCC_PROGRAMS: [&str; 7] = ["cc1", "as", "ld", "collect2", "lto1", "lto-wrapper", "cc1plus"];

/// Files and directories of gcc's own that may be elsewhere than its other ones.
const GCC_FILES: [&str; 6] = ["libgcc.a", "liblto_plugin.so", "specs", "include", "include-fixed", "plugin"];

/// What is linked with any program, and the libraries of C itself.
const LINKED: [&str; 32] = [
    "crt1.o",
    "Scrt1.o",
    "rcrt1.o",
    "gcrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtbeginT.o",
    "crtend.o",
    "crtendS.o",
    "libgcc.a",
    "libgcc_eh.a",
    "libgcc_s.so",
    "libgcc_s.so.1",
    "libc.so",
    "libc.a",
    "libc_nonshared.a",
    "libm.so",
    "libm.a",
    "libmvec.so",
    "libmvec.a",
    "libpthread.so",
    "libpthread.a",
    "libdl.so",
    "libdl.a",
    "librt.so",
    "librt.a",
    "libutil.a",
    "libresolv.a",
    "libstdc++.so",
    "libstdc++.a",
];

/// Which questions a compiler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Gcc,
    Clang,
}

impl Family {
    /// By the name of the driver, less its version.
    pub(super) fn of(name: &str) -> Option<Self> {
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
        let ends = |names: &[&str]| names.iter().any(|name| bare.ends_with(name));
        if ends(&["clang", "clang++"]) {
            Some(Self::Clang)
        } else if ends(&["gcc", "g++", "cc", "c++"]) {
            Some(Self::Gcc)
        } else {
            None
        }
    }
}

/// The directories of a compiler, by its own word.
#[derive(Debug, Default)]
pub(super) struct SearchDirs {
    /// Where its own files are.
    install: Option<PathBuf>,
    programs: Vec<PathBuf>,
    /// Where it looks for libraries.
    pub(super) libraries: Vec<PathBuf>,
}

impl SearchDirs {
    pub(super) fn of(driver: &Path, dirs: &[PathBuf]) -> Result<Self, ToolError> {
        let answer = ask(driver, &["-print-search-dirs"], dirs)?.unwrap_or_default();
        Ok(Self::parse(&answer.to_string_lossy()))
    }

    fn parse(text: &str) -> Self {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let list = |name: &str| {
            let list = line(name).map(|list| list.trim_start_matches('='));
            list.into_iter().flat_map(|list| list.split(':')).filter(|dir| !dir.is_empty()).map(PathBuf::from)
        };
        Self {
            install: line("install:").map(PathBuf::from),
            programs: list("programs:").collect(),
            libraries: list("libraries:").collect(),
        }
    }
}

pub(super) fn needs(survey: &mut Survey<'_>, family: Family, driver: &Path) -> Result<(), ToolError> {
    let search = SearchDirs::of(driver, survey.dirs)?;
    match family {
        Family::Gcc => gcc(survey, driver, &search)?,
        Family::Clang => {
            if let Some(resources) = ask(driver, &["-print-resource-dir"], survey.dirs)? {
                survey.data(Path::new(&resources))?;
            }
        }
    }
    for dir in include_dirs(driver, survey.dirs)? {
        if !is_private(&dir, driver) {
            survey.data(&dir)?;
        }
    }
    for name in LINKED {
        if let Some(path) = search.libraries.iter().map(|dir| dir.join(name)).find(|path| path.is_file()) {
            survey.linked(&path)?;
        }
    }
    // What it does not find now, it may find in one of these later.
    survey.guard(search.programs);
    survey.guard(search.libraries);
    Ok(())
}

fn gcc(survey: &mut Survey<'_>, driver: &Path, search: &SearchDirs) -> Result<(), ToolError> {
    let questions = GCC_PROGRAMS.iter().map(|name| format!("-print-prog-name={name}"));
    let questions: Vec<String> =
        questions.chain(GCC_FILES.iter().map(|name| format!("-print-file-name={name}"))).collect();
    // Each answer takes a process of its own.
    let dirs = survey.dirs;
    let answers: Vec<Option<PathBuf>> = questions
        .par_iter()
        .map(|question| Ok(ask(driver, &[question], dirs)?.map(PathBuf::from)))
        .collect::<Result<_, ToolError>>()?;
    let (programs, files) = answers.split_at(GCC_PROGRAMS.len());
    // A bare name is one that the driver leaves to the search path.
    programs.iter().flatten().try_for_each(|program| survey.helper(program))?;
    for path in files.iter().flatten().filter(|path| path.is_absolute()) {
        survey.path(path)?;
    }
    // One that is shared with others, as that of a wrapper may be, is not gcc's.
    if let Some(install) = search.install.as_ref().filter(|dir| dir.join("libgcc.a").is_file()) {
        survey.data(install)?;
    }
    Ok(())
}

/// Where the compiler looks for headers.
fn include_dirs(driver: &Path, dirs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, ToolError> {
    let text = ask_errors(driver, &["-xc", "-E", "-v", "/dev/null"], dirs)?.unwrap_or_default();
    let list = text.lines().skip_while(|line| !line.starts_with("#include <...>")).skip(1);
    Ok(list.take_while(|line| line.starts_with(' ')).map(|line| line.trim().into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_known_by_name() {
        for (name, family) in [
            ("gcc", Some(Family::Gcc)),
            ("x86_64-linux-gnu-gcc-12", Some(Family::Gcc)),
            ("g++-12.2", Some(Family::Gcc)),
            ("clang-16", Some(Family::Clang)),
            ("clang++", Some(Family::Clang)),
            ("gcc-ar-12", None),
            ("ccache", None),
            ("make", None),
        ] {
            assert_eq!(Family::of(name), family, "{name}");
        }
    }

    #[test]
    fn search_dirs_of_gcc_and_clang_are_read() {
        let gcc = SearchDirs::parse("install: /usr/lib/gcc/x/12/\nprograms: =/a/:/b/\nlibraries: =/c/:/d/\n");
        assert_eq!(gcc.install, Some("/usr/lib/gcc/x/12/".into()));
        assert_eq!(gcc.programs, [PathBuf::from("/a/"), "/b/".into()]);
        assert_eq!(gcc.libraries, [PathBuf::from("/c/"), "/d/".into()]);
        let clang = SearchDirs::parse("programs: =/usr/bin\nlibraries: =/usr/lib/llvm/lib:/lib\n");
        assert_eq!((clang.install, clang.libraries.len()), (None, 2));
    }
}
