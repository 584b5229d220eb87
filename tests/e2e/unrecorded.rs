//! Reads of which kbuild leaves no record: whoever tells what was read, a change of them is no up-to-date kernel.

use kiln::digest::Digest;
use kiln::store::Store;

use crate::support::project::{CONFIG, KERNEL, Project};

/// A script and a makefile that read as those of a real tree do, and the files that they read.
const FILES: [(&str, &str); 7] = [
    // Data in a directory of its own, which a makefile finds by a wildcard; a linker script; what the assembler takes.
    (
        "scripts/unrecorded.sh",
        "#!/bin/sh\ncat $1/lib/data/* $1/arch/$2/entry/vmlinux.lds\nprintf '.incbin \"%s/firmware/fw.bin\"\\n' $1 >fw.gen.S\n\
         cat \"$(sed 's/.*\"\\(.*\\)\".*/\\1/' fw.gen.S)\"\n",
    ),
    // Makefiles that are entered and make nothing.
    (
        "scripts/Makefile.dts",
        "include $(srctree)/$(obj)/Makefile\ninclude $(foreach dir,$(subdir-y),$(srctree)/$(obj)/$(dir)/Makefile)\n\
         all:\n\t@echo $(dtb-y)\n",
    ),
    ("lib/data/table.txt", "one\n"),
    ("arch/x86/entry/vmlinux.lds", "SECTIONS one\n"),
    ("firmware/fw.bin", "firmware one\n"),
    ("arch/x86/boot/dts/Makefile", "subdir-y := vendor\n"),
    ("arch/x86/boot/dts/vendor/Makefile", "dtb-y := one.dtb\n"),
];

/// What makes the kernel of them.
const RULE: &str = "
vmlinux: unrecorded
unrecorded: prepare FORCE
\t@$(srctree)/scripts/unrecorded.sh $(srctree) $(SRCARCH) >$@.new
\t+@$(MAKE) -s -f $(srctree)/scripts/Makefile.dts obj=arch/$(SRCARCH)/boot/dts >>$@.new
\t@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
";

fn project() -> Project {
    let project = Project::new();
    for (path, text) in FILES {
        project.write(&format!("linux/{path}"), text);
    }
    project.chmod("linux/scripts/unrecorded.sh", 0o755);
    let makefile = "linux/scripts/Makefile.kernel";
    project.edit(
        makefile,
        "cat $(addsuffix /built-in.a,$(dirs)); } >$@",
        "cat $(addsuffix /built-in.a,$(dirs)) unrecorded; } >$@",
    );
    project.write_more(makefile, RULE);
    project
}

/// Changes each file in turn, and a defconfig.
fn none_is_missed(project: &Project, discoverer: &str) {
    project.build("").exits(0);
    assert_eq!(project.plan("").node(KERNEL)["discovered-by"], discoverer);
    for (path, text) in &FILES[2..] {
        let path = format!("linux/{path}");
        project.write(&path, &text.replace("one", "two"));
        project.build("config:").exits(0);
        assert_eq!(project.plan("").verdict(KERNEL), "stale", "{path} changed");
    }
    project.write("linux/lib/data/more.txt", "more\n");
    project.build("").exits(0);
    project.is_as_from_nothing();
    project.write("linux/lib/data/more.txt", "more and more\n");
    project.build("config:").exits(0);
    assert_eq!(project.plan("").verdict(KERNEL), "stale", "a file that a wildcard found");

    project.edit("linux/arch/x86/configs/x86_64_defconfig", "CONFIG_VIRTIO_BLK=m\n", "");
    assert_eq!(project.plan("config:").verdict(CONFIG), "stale", "the defconfig changed");
}

#[test]
fn where_root_traces() {
    let project = project();
    if project.traces("to find what is read") {
        none_is_missed(&project, "fanotify");
    }
}

#[test]
fn where_an_ordinary_user_traces_copies() {
    let project = project().of_ordinary_user();
    if project.traces("to find what is read in copies") {
        none_is_missed(&project, "fanotify");
    }
}

#[test]
fn where_records_tell() {
    none_is_missed(&project().that_can_not_trace(), "kbuild");
}

/// What a kernel's last run read.
fn path_set(project: &Project) -> Digest {
    let store = Store::open(&project.path("cache")).unwrap();
    let id = store.project(&project.path("")).unwrap();
    store.node(id, KERNEL).unwrap().unwrap().path_set.unwrap()
}

#[test]
fn copies_tell_what_trees_tell_and_are_continued_from() {
    let (root, user) = (project(), project().of_ordinary_user());
    if !user.traces("to compare what is told") {
        return;
    }
    let both = [&root, &user];
    for project in both {
        project.build("").exits(0);
    }
    assert_eq!(path_set(&root), path_set(&user));
    for project in both {
        project.edit("linux/init/main.c", "Hello", "Goodbye");
        project.build("").exits(0).continues(KERNEL);
    }
    assert_eq!(path_set(&root), path_set(&user));
    user.is_as_from_nothing();
}
