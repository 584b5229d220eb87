//! Files whose times prove nothing: images, writable maps, clocks that count in seconds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::support::project::Project;

/// A rule that copies a file of a source tree and one of the project.
const COPIER: &str = r#"(
    version: 1,
    inputs: { "source": Source("shown"), "file": File("shown/file") },
    steps: [["sh", "-c", "cat $1/dir/file $2 >$3/made", "sh", "{in.source}", "{in.file}", "{out}"]],
    outputs: { "made": File("made") },
    tools: ["sh", "cat"],
    export: "copied",
)
"#;

fn project() -> Project {
    let project = Project::with_graph(
        "(version: 1, sources: { \"shown\": Dir(\"shown\") }, actions: { \"it\": (rule: \"copier\") })\n",
    );
    project.write("rules/copier.ron", COPIER);
    project
}

/// An image that is mounted, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where that can't be done here.
    fn mount(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).args([image, at]).output().unwrap();
        if !mounted.status.success() {
            eprintln!("skipped: no image can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A squashfs image of `dir/file` and `file`, with fixed times, as an image is that is made to be reproducible.
fn squashfs(project: &Project, name: &str, content: &str) -> PathBuf {
    project.write(&format!("{name}/dir/file"), content);
    project.write(&format!("{name}/file"), content);
    let image = project.path(format!("{name}.squashfs"));
    let fixed = ["-all-root", "-mkfs-time", "1", "-all-time", "1", "-noappend", "-quiet", "-no-progress"];
    let made = Command::new("mksquashfs").arg(project.path(name)).arg(&image).args(fixed).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    image
}

#[test]
fn an_image_is_replaced_by_one_with_equal_times() {
    if !geteuid().is_root() || !has("mksquashfs") {
        return eprintln!("skipped: needs root and mksquashfs");
    }
    let project = project();
    let images = [squashfs(&project, "a", "one\n"), squashfs(&project, "b", "two\n")];
    let stat = |path: &Path| {
        let stat = fs::metadata(path).unwrap();
        let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
        (stat.dev(), stat.ino(), stat.size(), stat.mode(), times)
    };
    let at = project.path("shown");
    let Some(first) = Mounted::mount(&images[0], &at) else { return };
    let before = stat(&at.join("dir/file"));
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/copied/made"), "one\none\n");
    project.plan("").has_nothing_to_do();
    drop(first);

    let Some(_second) = Mounted::mount(&images[1], &at) else { return };
    if stat(&at.join("dir/file")) != before {
        eprintln!("note: the second image got another loop device, so that anything would tell them apart");
    }
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/copied/made"), "two\ntwo\n");
}

/// The second write to a page that has not been written back changes no time.
#[test]
fn a_file_is_written_to_through_a_map() {
    let held = r"
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    map = mmap.mmap(file.fileno(), 0)
for line in sys.stdin:
    map[0:3] = line[0:3].encode()
    print('written', flush=True)
";
    let project = project();
    for path in ["shown/dir/file", "shown/file"] {
        project.write("shown/dir/file", "old\n");
        project.write("shown/file", "old\n");
        let mut python = Command::new("python3");
        python.args(["-c", held]).arg(project.path(path)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut python) = python.spawn() else { return eprintln!("skipped: needs python3") };
        let (mut tell, mut told) =
            (python.stdin.take().unwrap(), BufReader::new(python.stdout.take().unwrap()));
        let mut write = |text: &str| {
            writeln!(tell, "{text}").unwrap();
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            assert_eq!(line, "written\n");
        };
        write("one");
        std::thread::sleep(std::time::Duration::from_millis(100));
        project.kiln("build").exits(0);
        assert!(project.read("out/copied/made").contains("one\n"), "{path}");
        write("two");
        project.kiln("build").exits(0);
        assert!(project.read("out/copied/made").contains("two\n"), "{path}: it is open still");
        write("six");
        drop(tell);
        python.wait().unwrap();
        project.kiln("build").exits(0);
        assert!(project.read("out/copied/made").contains("six\n"), "{path}");
        project.plan("").has_nothing_to_do();
    }
}

#[test]
fn a_clock_that_counts_in_seconds_is_waited_for() {
    if !geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let project = project();
    let image = project.path("image");
    fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    // Inodes of 128 bytes have no room for a fraction of a second.
    let made = Command::new("mkfs.ext2").args(["-q", "-I", "128"]).arg(&image).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    project.write("shown/file", "beside\n");
    let at = project.path("shown/dir");
    let Some(_mounted) = Mounted::mount(&image, &at) else { return };
    for round in 0..3 {
        project.write("shown/dir/file", &format!("{round} one\n"));
        project.kiln("build").exits(0);
        assert_eq!(project.read("out/copied/made"), format!("{round} one\nbeside\n"));
        // Often within the same second.
        project.write("shown/dir/file", &format!("{round} two\n"));
        project.kiln("build").exits(0);
        assert_eq!(project.read("out/copied/made"), format!("{round} two\nbeside\n"));
    }
}
