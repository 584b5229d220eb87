//! Programs of the host, by all that runs when they run.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::closure::Closure;
use super::packages::package_of;
use super::path::HostPathError;
use super::survey::Survey;
use crate::digest::{Digest, Domain, Hasher};
use crate::source::FileDigests;

/// Where programs are looked for after the directories asked for: the search path of a login shell of root.
pub const FIXED_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program with all that it needs of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolIdentity {
    /// Where it was found.
    pub program: PathBuf,
    /// What it needs: its file, libraries, interpreter, helpers and data.
    pub closure: Arc<Closure>,
    /// The digest of both.
    pub digest: Digest,
}

/// A program that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("the program `{program}` is not installed{}", install(package.as_deref()))]
    Missing {
        /// Its name.
        program: String,
        /// The Debian package that has it, if it is one of the usual ones.
        package: Option<String>,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// It, or a part of it, cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which part.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program that is to tell what it needs cannot be run.
    #[error("`{} {question}` cannot be run", program.display())]
    Ask {
        /// The program.
        program: PathBuf,
        /// What it was to tell.
        question: String,
        /// Why.
        source: io::Error,
    },
    /// A file or directory that it needs cannot be read.
    #[error(transparent)]
    Path(#[from] HostPathError),
}

fn install(package: Option<&str>) -> String {
    package.map(|package| format!(" (on Debian: apt install {package})")).unwrap_or_default()
}

impl ToolIdentity {
    /// Finds `program` in `path_dirs`, or else in [`FIXED_DIRS`], and all that it needs.
    ///
    /// Finding that out takes tens of milliseconds for a compiler, which has to be asked. The answer is remembered
    /// together with all that it rests on, so that later on a stat of each part is enough.
    pub fn resolve(program: &str, path_dirs: &[PathBuf], files: &FileDigests) -> Result<Self, ToolError> {
        let dirs = search_path(path_dirs);
        let missing = || ToolError::Missing {
            program: program.to_owned(),
            package: package_of(program),
            searched: dirs.clone(),
        };
        let path = find(Path::new(program), &dirs).ok_or_else(missing)?;
        let mut key = question("program", &dirs);
        identify(&path, files, &mut key)?;
        let closure = surveyed(key.finish(), &dirs, files, |survey| {
            survey.root_links();
            survey.program(&path)
        })?;
        let mut hasher = Hasher::new(Domain::Tool);
        hasher.text("tool").bytes(path.as_os_str().as_bytes()).digest(&closure.digest());
        Ok(Self { program: path, digest: hasher.finish(), closure: Arc::new(closure) })
    }
}

/// The beginning of a question's key.
pub(super) fn question(what: &str, dirs: &[PathBuf]) -> Hasher {
    let mut key = Hasher::new(Domain::Tool);
    key.text("survey 5").text(what).number(dirs.len() as u64);
    for dir in dirs {
        key.bytes(dir.as_os_str().as_bytes());
    }
    key
}

/// Adds a program to a question's key.
pub(super) fn identify(program: &Path, files: &FileDigests, key: &mut Hasher) -> Result<(), ToolError> {
    let failed = |source| ToolError::Unreadable { path: program.to_owned(), source };
    // Links on the way are part of the answer, which holds for as long as they lead where they led.
    key.bytes(program.as_os_str().as_bytes());
    key.digest(&files.digest(program).map_err(failed)?);
    Ok(())
}

/// What a survey finds: remembered, or looked for.
pub(super) fn surveyed(
    key: Digest,
    dirs: &[PathBuf],
    files: &FileDigests,
    look: impl FnOnce(&mut Survey<'_>) -> Result<(), ToolError>,
) -> Result<Closure, ToolError> {
    let (question, remembered) = files.ask(key);
    if let Some(remembered) = remembered
        && let Some(closure) = Closure::decode(&remembered.answer)
        && closure.is_current(files)
    {
        return Ok(closure);
    }
    let mut survey = Survey::new(files, dirs);
    look(&mut survey)?;
    let (closure, guards) = survey.finish();
    if let Some(answer) = closure.encode() {
        files.remember(question, answer, guards);
    }
    Ok(closure)
}

/// All directories in which programs are looked for, in order.
pub(super) fn search_path(path_dirs: &[PathBuf]) -> Vec<PathBuf> {
    path_dirs.iter().cloned().chain(FIXED_DIRS.iter().map(PathBuf::from)).collect()
}

/// Where a program is, by the same rule as [`ToolIdentity::resolve`].
pub fn find_program(program: &str, path_dirs: &[PathBuf]) -> Option<PathBuf> {
    find(Path::new(program), &search_path(path_dirs))
}

/// The first executable file of that name, as a shell would find it.
pub(super) fn find(program: &Path, dirs: &[PathBuf]) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(executable);
    }
    dirs.iter().map(|dir| dir.join(program)).find(executable)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn files(&self) -> FileDigests {
            FileDigests::open(&self.dir.path().join("cache/files"))
        }

        fn bin(&self) -> PathBuf {
            self.dir.path().join("bin")
        }

        fn script(&self, name: &str, text: &str) {
            fs::create_dir_all(self.bin()).unwrap();
            fs::write(self.bin().join(name), text).unwrap();
            fs::set_permissions(self.bin().join(name), Permissions::from_mode(0o755)).unwrap();
        }

        fn resolve(&self, program: &str) -> ToolIdentity {
            ToolIdentity::resolve(program, &[self.bin()], &self.files()).unwrap()
        }
    }

    fn has(tool: &ToolIdentity, name: &str) -> bool {
        tool.closure.entries().any(|(path, _)| path.to_string_lossy().contains(name))
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let bench = Bench::new();
        let error = ToolIdentity::resolve("qemu-system-mips", &[], &bench.files());
        if let Err(error) = error {
            let text =
                "the program `qemu-system-mips` is not installed (on Debian: apt install qemu-system-mips)";
            assert_eq!(error.to_string(), text);
        }
        let error = ToolIdentity::resolve("no-such-program", &[], &bench.files()).unwrap_err();
        assert_eq!(error.to_string(), "the program `no-such-program` is not installed");
    }

    #[test]
    fn a_script_is_its_interpreter_too() {
        let bench = Bench::new();
        bench.script("tool", "#!/usr/bin/env -S helper -x\n");
        bench.script("helper", "#!/bin/sh\n");
        let before = bench.resolve("tool");
        assert!(
            has(&before, "bin/helper") && has(&before, "bin/env") && has(&before, "libc.so"),
            "{before:?}"
        );
        bench.script("helper", "#!/bin/sh -e\n");
        assert_ne!(bench.resolve("tool").digest, before.digest);
    }

    #[test]
    fn scripts_that_run_each_other_come_to_an_end() {
        let bench = Bench::new();
        let at = |name: &str| bench.bin().join(name).display().to_string();
        bench.script("a", &format!("#!{}\n", at("b")));
        bench.script("b", &format!("#!{}\n", at("a")));
        assert_eq!(
            bench.resolve("a").closure.entries().filter(|(path, _)| path.starts_with(bench.bin())).count(),
            2
        );
    }

    /// A compiler that says on each run that it was run.
    fn compiler(bench: &Bench) -> PathBuf {
        let log = bench.dir.path().join("log");
        let helpers = bench.dir.path().join("helpers");
        fs::create_dir_all(helpers.join("include")).unwrap();
        fs::write(helpers.join("cc1"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(helpers.join("cc1"), Permissions::from_mode(0o755)).unwrap();
        fs::write(helpers.join("include/stddef.h"), "").unwrap();
        let (log_path, dir) = (log.display(), helpers.display());
        bench.script(
            "my-gcc-12",
            &format!(
                "#!/bin/sh\necho \"$1\" >>{log_path}\ncase $1 in\n\
                 *search-dirs) echo 'programs: ={dir}';;\n\
                 *=cc1|*=include) echo {dir}/${{1#*=}};;\n*) echo ${{1#*=}};;\nesac\n"
            ),
        );
        log
    }

    #[test]
    fn a_compiler_is_asked_once_and_its_helpers_count() {
        let bench = Bench::new();
        let log = compiler(&bench);
        sleep(Duration::from_millis(80));
        let files = bench.files();
        let resolve =
            |files: &FileDigests| ToolIdentity::resolve("my-gcc-12", &[bench.bin()], files).unwrap();
        let first = resolve(&files);
        assert!(has(&first, "helpers/cc1") && has(&first, "helpers/include"), "{first:?}");
        assert!(has(&first, "/bin"), "the bare name of `as` is looked for on the path");
        files.save().unwrap();

        fs::remove_file(&log).unwrap();
        assert_eq!(resolve(&bench.files()), first);
        assert!(!log.exists(), "no process was run");

        fs::write(bench.dir.path().join("helpers/include/stddef.h"), "#define NULL 0").unwrap();
        let second = resolve(&bench.files());
        assert_ne!(second.digest, first.digest);
        sleep(Duration::from_millis(80));
        // A place where gcc looks for programs changed, so it may now answer otherwise.
        fs::remove_file(&log).unwrap();
        fs::write(bench.dir.path().join("helpers/specs"), "").unwrap();
        resolve(&bench.files());
        assert!(log.exists());
    }

    #[test]
    fn headers_that_are_links_bring_what_they_lead_to() {
        let bench = Bench::new();
        let (include, uapi) = (bench.dir.path().join("include/asm"), bench.dir.path().join("uapi"));
        fs::create_dir_all(&include).unwrap();
        fs::create_dir_all(uapi.join("linux")).unwrap();
        fs::write(uapi.join("errno.h"), "").unwrap();
        fs::write(uapi.join("linux/types.h"), "").unwrap();
        std::os::unix::fs::symlink("../../uapi/errno.h", include.join("errno.h")).unwrap();
        std::os::unix::fs::symlink("../../uapi/linux", include.join("linux")).unwrap();
        // To a directory above, in circles, and nowhere: no more than what is there anyway.
        for (target, name) in [("..", "up"), ("circle", "circle"), ("none", "nowhere")] {
            std::os::unix::fs::symlink(target, include.join(name)).unwrap();
        }
        let text = format!(
            "#!/bin/sh\ncase $* in *-v*) printf '#include <...> search starts here:\n {}\nEnd of search list.\n' >&2 ;; \
             -print-search-dirs) ;; *) echo none ;; esac",
            bench.dir.path().join("include").display()
        );
        bench.script("my-gcc-12", &text);
        let tool = bench.resolve("my-gcc-12");
        assert!(has(&tool, "uapi/errno.h") && has(&tool, "uapi/linux"), "{tool:#?}");
        let whole = |path: &Path| tool.closure.entries().any(|(at, _)| at == path);
        assert!(whole(&bench.dir.path().join("include")) && !whole(bench.dir.path()), "{tool:#?}");
    }

    #[test]
    fn the_compiler_of_this_host_is_known_to_its_last_library() {
        let bench = Bench::new();
        let files = bench.files();
        let start = Instant::now();
        let Ok(gcc) = ToolIdentity::resolve("gcc", &[], &files) else {
            eprintln!("skipped: no gcc on this host");
            return;
        };
        let cold = start.elapsed();
        for part in ["/cc1", "/collect2", "libc.so.6", "crt1.o", "ld-linux", "/usr/include"] {
            assert!(has(&gcc, part), "{part} in {gcc:#?}");
        }
        files.save().unwrap();
        let start = Instant::now();
        assert_eq!(ToolIdentity::resolve("gcc", &[], &bench.files()).unwrap(), gcc);
        eprintln!("{} components, cold {cold:?}, warm {:?}", gcc.closure.entries().count(), start.elapsed());
    }
}
