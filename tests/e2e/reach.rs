//! What a change reaches: what nothing reads runs nothing, and nothing that could make a difference is missed.
//!
//! The plan has to name what it goes by, and what is built has to be, bit for bit, what a build from nothing gives.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::project::{BOOT, Build, CONFIG, KERNEL, KilnOutput, MATCH, OUT, Project};

/// A project in which everything is up to date, but for an edit that was made before.
fn built_with(edit: impl FnOnce(&Project)) -> Project {
    let project = Project::new();
    edit(&project);
    project.kiln("build -j2").exits(0);
    project
}

fn built() -> Project {
    built_with(|_| {})
}

/// Plans a kernel that is stale for these reasons, in which no digest is compared, and builds it. Where the reasons
/// concern the configuration as well, that is made first.
#[track_caller]
fn rebuilt(project: &Project, reasons: &[&str]) -> Build {
    let plan = project.plan("");
    if plan.verdict(CONFIG) == "stale" {
        assert_eq!(plan.reasons(CONFIG).lines().collect::<Vec<_>>(), reasons);
        project.build("config:").exits(0);
    }
    let plan = project.plan("");
    assert_eq!(plan.reasons(KERNEL).lines().collect::<Vec<_>>(), reasons);
    project.build("")
}

#[test]
fn what_nothing_reads_runs_nothing() {
    let project = built_with(|project| {
        project.write("linux/Documentation/index.rst", "Words.\n");
        project.write("linux/Documentation/arch/x86.rst", "Words.\n");
    });
    project.write("linux/Documentation/index.rst", "Other words.\n");
    project.write("linux/Documentation/new.rst", "More words.\n");
    project.remove("linux/Documentation/arch/x86.rst");
    project.edit("linux/arch/arm64/Kconfig", "default y\n\nconfig 64BIT", "default n\n\nconfig 64BIT");
    project.write("linux/arch/arm64/include/asm/new.h", "int arm;\n");
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    project.edit("linux/drivers/pl011.c", "port_pl011", "port_other");
    project.write("linux/arch/x86/include/linux/unread.h", "int still_unread;\n");
    project.chmod("linux/arch/arm64/entry/syscall.c", 0o755);
    project.plan("").has_nothing_to_do();
    project.build("").exits(0).runs(&[]).restores(&[]);
    project.is_as_from_nothing();
}

#[test]
fn a_header_that_is_found_before_another_is_seen() {
    let project = built();
    // A directory that is there, and in which nothing was ever opened.
    let shadow = "arch/x86/include/linux/types.h";
    project.write(&format!("linux/{shadow}"), "typedef int u64;\n");
    rebuilt(&project, &[&format!("linux: {shadow} is new")]).runs(&[KERNEL, BOOT]).starts_anew(
        KERNEL,
        &format!("{shadow} is new or gone: it may be found first, and a search keeps no record"),
    );
    project.is_as_from_nothing();
}

#[test]
fn a_header_that_hides_a_generated_one_is_seen() {
    let project = built();
    // It is made from a table, in a root that is searched after this one.
    let shadow = "arch/x86/include/asm/syscalls.h";
    project.write(&format!("linux/{shadow}"), "#define __NR_all 1\n");
    rebuilt(&project, &[&format!("linux: {shadow} is new")])
        .runs(&[KERNEL, BOOT])
        .starts_anew(KERNEL, &format!("{shadow} is new or gone: `wildcard`, `find` and `__has_include` ask for names, and keep no record"));
    project.is_as_from_nothing();
}

#[test]
fn a_header_that_becomes_a_directory_is_passed_over() {
    let shadow = "arch/x86/include/linux/types.h";
    let project = built_with(|project| project.write(&format!("linux/{shadow}"), "typedef int u64;\n"));
    project.remove(&format!("linux/{shadow}"));
    project.write(&format!("linux/{shadow}/file"), "");
    let why = [format!("linux: {shadow} is another kind of file"), format!("linux: {shadow}/file is new")];
    rebuilt(&project, &[&why[0], &why[1]]).runs(&[KERNEL, BOOT]).starts_anew(
        KERNEL,
        &format!("{shadow} is or was a link, or another kind of file: kbuild's records name what a link led to, and not the link"),
    );
    project.is_as_from_nothing();
}

#[test]
fn a_header_that_goes_uncovers_another() {
    let shadow = "arch/x86/include/linux/types.h";
    let project = built_with(|project| project.write(&format!("linux/{shadow}"), "typedef int u64;\n"));
    project.remove(&format!("linux/{shadow}"));
    rebuilt(&project, &[&format!("linux: {shadow} is gone")]).runs(&[KERNEL, BOOT]).starts_anew(
        KERNEL,
        &format!("{shadow} is new or gone: `wildcard`, `find` and `__has_include` ask for names, and keep no record"),
    );
    project.is_as_from_nothing();
}

#[test]
fn a_file_that_a_wildcard_finds_is_seen_when_it_comes_and_when_it_is_renamed() {
    let project = built();
    project.write("linux/drivers/plug_new.c", "int new_driver;\n");
    rebuilt(&project, &["linux: drivers/plug_new.c is new"])
        .runs(&[KERNEL, BOOT])
        .starts_anew(KERNEL, "drivers/plug_new.c is new or gone: `wildcard`, `find` and `__has_include` ask for names, and keep no record");
    project.is_as_from_nothing();
    assert!(project.read(&format!("{OUT}/System.map")).contains("plug_new"));

    fs::rename(project.path("linux/drivers/plug_new.c"), project.path("linux/drivers/plug_old.c")).unwrap();
    rebuilt(&project, &["linux: drivers/plug_new.c is gone", "linux: drivers/plug_old.c is new"])
        .runs(&[KERNEL, BOOT])
        .starts_anew(
            KERNEL,
            "drivers/plug_new.c is new or gone: `wildcard`, `find` and `__has_include` ask for names, and keep no record",
        );
    project.is_as_from_nothing();
    assert!(!project.read(&format!("{OUT}/System.map")).contains("plug_new"));

    project.remove("linux/drivers/plug_old.c");
    assert_eq!(project.plan("").verdict(CONFIG), "cached");
    let build = project.build("").exits(0).runs(&[]);
    assert!(build.restored().contains(&KERNEL), "{}", build.said);
    project.is_as_from_nothing();
}

#[test]
fn a_file_that_is_included_if_it_is_there_is_seen() {
    let project = built();
    project.write("linux/Makefile.local", "ccflags-y := -DLOCAL\n");
    rebuilt(&project, &["linux: Makefile.local is new"])
        .runs(&[KERNEL, BOOT])
        .starts_anew(KERNEL, "Makefile.local is new or gone: `wildcard`, `find` and `__has_include` ask for names, and keep no record");
    project.is_as_from_nothing();
}

#[test]
fn a_directory_that_a_link_leads_to_elsewhere_is_seen() {
    let project = built_with(|project| {
        project.write("linux/lib/compat2/endian.h", "#define swab(x) (x + 2)\n");
    });
    project.remove("linux/include/compat");
    symlink("../lib/compat2", project.path("linux/include/compat")).unwrap();
    rebuilt(&project, &["linux: include/compat points elsewhere (../lib/compat -> ../lib/compat2)"])
        .runs(&[KERNEL, BOOT])
        .starts_anew(KERNEL, "include/compat is or was a link, or another kind of file: kbuild's records name what a link led to, and not the link");
    project.is_as_from_nothing();
}

#[test]
fn a_link_that_is_only_passed_on_the_way_is_seen() {
    // Nothing is ever opened in the directory that it is in.
    let project = built_with(|project| {
        project.write("linux/lib/compat2/endian.h", "#define swab(x) (x + 2)\n");
        fs::create_dir(project.path("linux/links")).unwrap();
        symlink("../lib/compat", project.path("linux/links/compat")).unwrap();
        project.remove("linux/include/compat");
        symlink("../links/compat", project.path("linux/include/compat")).unwrap();
    });
    project.remove("linux/links/compat");
    symlink("../lib/compat2", project.path("linux/links/compat")).unwrap();
    // A link is one whoever passes it: the configuration is asked again as well.
    rebuilt(&project, &["linux: links/compat points elsewhere (../lib/compat -> ../lib/compat2)"])
        .runs(&[KERNEL, BOOT])
        .starts_anew(KERNEL, "links/compat is or was a link, or another kind of file: kbuild's records name what a link led to, and not the link");
    project.is_as_from_nothing();
}

#[test]
fn a_script_that_can_not_be_run_any_more_fails_the_build() {
    let project = built();
    project.chmod("linux/scripts/setlocalversion", 0o644);
    let build = rebuilt(&project, &["linux: scripts/setlocalversion is no longer executable"]).exits(1);
    assert_eq!(build.finished(KERNEL)["outcome"], "fail");
    project.kiln(&format!("log {KERNEL}")).exits(0).says("Permission denied");
    project.twin().kiln("build --clean kernel:").exits(1);

    project.chmod("linux/scripts/setlocalversion", 0o755);
    project.build("").exits(0).runs(&[]);
    project.plan("").has_nothing_to_do();
    project.is_as_from_nothing();
}

#[test]
fn a_script_that_becomes_executable_mends_the_build() {
    let project = Project::new();
    project.chmod("linux/scripts/syscalltbl.sh", 0o644);
    project.build("").exits(1);
    project.chmod("linux/scripts/syscalltbl.sh", 0o755);
    let script = "linux: scripts/syscalltbl.sh became executable";
    assert_eq!(project.plan("").reasons(CONFIG), format!("{script}\n"));
    project.build("config:").exits(0);
    let reasons = project.plan("").reasons(KERNEL);
    assert_eq!(reasons, format!("its last run ended as fail\n{script}\n"));
    project.build("").exits(0).runs(&[KERNEL, BOOT]);
    project.is_as_from_nothing();
}

#[test]
fn a_kconfig_edit_that_changes_no_result_ends_at_the_config() {
    let project = built();
    project.edit("linux/drivers/Kconfig", "\"Terminals\"", "\"Terminals, and what they need\"");
    let plan = project.plan("");
    assert!(plan.reasons(CONFIG).starts_with("linux: drivers/Kconfig changed ("), "{}", plan.reasons(CONFIG));
    assert_eq!((plan.verdict(KERNEL), plan.verdict(MATCH)), ("unknown", "unknown"));
    let build = project.build("").exits(0).runs(&[CONFIG]).restores(&[]);
    assert_eq!(build.finished(CONFIG)["how"], "ran-unchanged");
    project.plan("").has_nothing_to_do();
    project.is_as_from_nothing();
}

/// A symbol that is new and off.
fn add_a_symbol(project: &Project) {
    let kconfig = project.read("linux/drivers/Kconfig");
    project.write("linux/drivers/Kconfig", &format!("{kconfig}\nconfig NEW\n\tbool \"New\"\n"));
}

#[test]
fn a_new_symbol_that_is_off_builds_no_kernel() {
    let project = built();
    if !project.traces("a kernel that is known not to read its .config") {
        return;
    }
    add_a_symbol(&project);
    let build = project.build("").exits(0).runs(&[CONFIG]).restores(&[]);
    assert_eq!(build.finished(CONFIG)["how"], "ran");
    assert!(project.read(&format!("{OUT}/config")).contains("# CONFIG_NEW is not set\n"));
    project.plan("").has_nothing_to_do();
    project.is_as_from_nothing();
}

#[test]
fn a_kconfig_edit_that_changes_a_value_builds_the_kernel() {
    let project = built();
    project.edit("linux/Kconfig", "default 0x1000000", "default 0x2000000");
    // The kernel of another configuration: nothing of the last one is gone on from.
    let build = project.build("").exits(0).begins(KERNEL);
    assert!(build.ran().contains(&CONFIG) && build.ran().contains(&KERNEL), "{}", build.said);
    assert!(!build.ran().contains(&MATCH), "{}", build.said);
    project.is_as_from_nothing();
}

#[test]
fn a_configuration_counts_as_it_is_written_only_where_it_is_read_so() {
    // As IKCONFIG does, and as a kernel does.
    let rule = |file: &str| {
        format!(
            r#"(
                version: 1,
                per: ["source", "arch", "defconfig", "toolchain"],
                inputs: {{ "settings": Output(rule: "config", output: "settings") }},
                steps: [["cp", "{{in.settings}}/{file}", "{{out}}/copy"]],
                outputs: {{ "copy": File("copy") }},
                discover: (inputs: ["settings"], by: [Fanotify]),
                tools: ["cp"],
            )"#
        )
    };
    let project = built_with(|project| {
        project.write("rules/written.ron", &rule(".config"));
        project.write("rules/meant.ron", &rule("auto.conf"));
    });
    if !project.traces("to tell who reads a .config") {
        return;
    }
    let (written, meant) = ("written:linux/x86_64/pc/fake", "meant:linux/x86_64/pc/fake");
    add_a_symbol(&project);
    project.build("config:").exits(0).runs(&[CONFIG]);
    let plan = project.plan("");
    let reasons = plan.reasons(written);
    assert!(reasons.starts_with(&format!("settings of {CONFIG}: .config changed (")), "{reasons}");
    assert_eq!((plan.verdict(meant), plan.verdict(KERNEL), plan.verdict(MATCH)), ("fresh", "fresh", "fresh"));
    project.build("").exits(0).runs(&[written]);
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_result_is_found_again_by_what_was_read_for_it() {
    let project = built();
    let image = || project.read(&format!("{OUT}/bzImage"));
    let (main, first) = (project.read("linux/init/main.c"), image());
    let other = format!("#include <asm/abi.h>\n{main}");
    project.write("linux/init/main.c", &other);
    project.build("").exits(0).runs(&[KERNEL, BOOT]);
    let second = image();
    assert_ne!(first, second);

    // Read by neither, and by the second alone.
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    let abi = project.read("linux/arch/x86/include/uapi/asm/abi.h");
    project.write("linux/arch/x86/include/uapi/asm/abi.h", &format!("{abi}int changed;\n"));
    project.write("linux/init/main.c", &main);
    let plan = project.plan("");
    assert_eq!((plan.verdict(CONFIG), plan.verdict(KERNEL)), ("fresh", "cached"));
    assert_eq!(plan.reasons(KERNEL), "the same inputs as in an earlier run\n");
    project.build("").exits(0).runs(&[]);
    assert_eq!(image(), first);
    project.is_as_from_nothing();

    // The second state is not what it was, until that header is.
    project.write("linux/init/main.c", &other);
    assert_eq!(project.plan("").verdict(KERNEL), "stale");
    project.write("linux/arch/x86/include/uapi/asm/abi.h", &abi);
    project.edit("linux/drivers/noisy.c", "int quiet", "int silent");
    assert_eq!(project.plan("").verdict(KERNEL), "cached");
    project.build("").exits(0).runs(&[]);
    assert_eq!(image(), second);
    project.is_as_from_nothing();
}

#[test]
fn without_a_trace_a_kernel_is_told_by_its_records() {
    let project = Project::new().that_can_not_trace();
    project.build("").exits(0);
    let plan = project.plan("");
    assert_eq!(plan.node(KERNEL)["discovered-by"], "kbuild");
    assert_eq!(plan.node(CONFIG)["discovered-by"], "nobody");

    // Of a configuration kbuild has no records, so that all counts for it.
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    project.edit("linux/drivers/pl011.c", "port_pl011", "port_other");
    project.write("linux/arch/arm64/Kconfig", "config ARM64\n\tbool\n");
    project.build("").exits(0).runs(&[CONFIG]);
    project.plan("").has_nothing_to_do();

    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project
        .kiln("plan")
        .exits(0)
        .says("note: what kernel reads can't be traced: ")
        .says("its reads are told by kbuild");
    project.build("").exits(0).runs(&[CONFIG, KERNEL, BOOT]).continues(KERNEL);
    project.is_as_from_nothing();

    project.edit("linux/scripts/syscalltbl.sh", "Made from", "Generated from");
    project.build("config:").exits(0);
    let reasons = project.plan("").reasons(KERNEL);
    assert!(reasons.starts_with("linux: scripts/syscalltbl.sh changed ("), "{reasons}");
    let build = project.build("").exits(0).starts_anew(
        KERNEL,
        "scripts/syscalltbl.sh changed: kbuild does not always make again what it has made",
    );
    assert!(build.ran().contains(&KERNEL), "{}", build.said);
    project.is_as_from_nothing();

    let shadow = "arch/x86/include/linux/types.h";
    project.write(&format!("linux/{shadow}"), "typedef int u64;\n");
    project.build("config:").exits(0);
    assert_eq!(project.plan("").reasons(KERNEL), format!("linux: {shadow} is new\n"));
    project.build("").exits(0);
    project.is_as_from_nothing();
}

#[test]
fn records_do_not_count_where_reads_can_be_traced() {
    let project = Project::new().that_can_not_trace();
    project.build("").exits(0);
    let project = project.that_can_trace();
    if !project.traces("to replace what records tell") {
        return;
    }
    // In the very same trees there is nothing to know better.
    project.plan("").has_nothing_to_do();
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    project.build("config:").exits(0).runs(&[CONFIG]);
    let plan = project.plan("");
    assert_eq!(plan.verdict(KERNEL), "stale");
    let reasons = plan.reasons(KERNEL);
    let first = "the reads of its last run are known from kbuild's records alone, and can be traced here\n";
    assert!(reasons.starts_with(first), "{reasons}");
    let why = "what was read for it is known from kbuild's records alone, and can be traced here";
    project.build("").exits(0).runs(&[KERNEL]).starts_anew(KERNEL, why);

    // The trace counts for those who can't trace as well, and is what is left.
    project.edit("linux/drivers/noisy.c", "int quiet", "int silent");
    project.plan("").has_nothing_to_do();
    let project = project.that_can_not_trace();
    project.edit("linux/drivers/noisy.c", "int silent", "int hushed");
    project.build("").exits(0).runs(&[]);
}

/// A rule that reads a file, and then waits until it is told to go on.
pub const WAITER: &str = r#"(
    version: 1,
    per: ["source"],
    inputs: { "source": Source("{source}") },
    steps: [
        ["sh", "-c", "read line <$1/lib/string.c; touch begun; until test -e go; do sleep 0.01; done", "sh", "{in.source}"],
    ],
    outputs: {},
    discover: (inputs: ["source"], by: [Fanotify]),
    tools: ["sh", "sleep", "touch"],
    time_limit: "1min",
)
"#;

pub const WAITING: &str = "waiter:linux";

/// A build of [`WAITER`] that has read, and waits.
pub struct Waiting {
    kiln: Child,
    out: PathBuf,
}

impl Waiting {
    pub fn start(project: &Project) -> Self {
        let mut command = project.command("build waiter: --format json-lines");
        let mut kiln = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let below =
            |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        loop {
            let mut outs = below(project.path("cache/work")).flat_map(below).map(|work| work.join("out"));
            if let Some(out) = outs.find(|out| out.join("begun").exists()) {
                return Self { kiln, out };
            }
            assert!(kiln.try_wait().unwrap().is_none(), "kiln ended before its action ran");
            sleep(Duration::from_millis(10));
        }
    }

    pub fn go(self) -> Build {
        fs::write(self.out.join("go"), "").unwrap();
        let output = self.kiln.wait_with_output().unwrap();
        Build::new(KilnOutput::new("kiln build waiter:", &output))
    }
}

#[test]
fn what_changes_during_a_run_spoils_it_only_if_it_was_read() {
    let project = Project::new();
    project.write("rules/waiter.ron", WAITER);
    if !project.traces("to tell what a run has not read") {
        return;
    }
    let waiting = Waiting::start(&project);
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    project.write("linux/include/linux/new.h", "int new;\n");
    let build = waiting.go().exits(0);
    assert_eq!(build.finished(WAITING)["outcome"], "pass");
    assert!(build.finished(WAITING)["message"].is_null(), "{}", build.said);
    assert_eq!(project.plan("waiter:").verdict(WAITING), "fresh");

    for (path, edit) in [
        ("lib/string.c", &(|| project.edit("linux/lib/string.c", "int strlen", "long strlen")) as &dyn Fn()),
        ("lib", &|| project.write("linux/lib/new.c", "")),
        ("lib/string.c", &|| project.write("linux/drivers/string.c", "")),
    ] {
        let text = project.read("linux/lib/string.c");
        project.write("linux/lib/string.c", &format!("// Something to run for.\n{text}"));
        let waiting = Waiting::start(&project);
        edit();
        let build = waiting.go().exits(4);
        let message =
            format!("source linux: {path} changed while this ran: nothing is recorded; run kiln again");
        assert_eq!(build.finished(WAITING)["outcome"], "infra");
        assert_eq!(build.finished(WAITING)["message"], message);
        assert_eq!(project.plan("waiter:").verdict(WAITING), "stale");
        Waiting::start(&project).go().exits(0);
    }
}
