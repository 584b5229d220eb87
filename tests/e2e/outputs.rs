//! `out/` belongs to kiln: what is missing or was changed there is put back, without running anything.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kiln::digest::Digest;
use kiln::store::Store;

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, OUT, Project};

/// Builds, harms the kernel's image, and holds kiln to mending it.
#[track_caller]
fn mends(harm: impl Fn(&Project, &str)) {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let image = format!("{OUT}/bzImage");
    let before = project.read(&image);
    harm(&project, &image);

    assert_eq!(project.plan("").verdict(KERNEL), "cached");
    project.kiln(&format!("why {KERNEL}")).exits(0).says(&format!("{image} is missing or was changed"));
    project.build("").exits(0).runs(&[]).restores(&[KERNEL]);
    assert_eq!(project.read(&image), before);
    assert!(project.path(&image).symlink_metadata().unwrap().is_file());
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_file_that_was_removed() {
    mends(Project::remove);
}

#[test]
fn a_file_that_was_changed() {
    mends(|project, image| project.write(image, "something else\n"));
}

#[test]
fn a_file_that_was_emptied_and_made_unreadable() {
    mends(|project, image| {
        project.write(image, "");
        project.chmod(image, 0o000);
    });
}

#[test]
fn a_directory_in_the_place_of_a_file() {
    mends(|project, image| {
        project.remove(image);
        project.write(&format!("{image}/file"), "");
    });
}

#[test]
fn a_link_in_the_place_of_a_file() {
    mends(|project, image| {
        project.write("precious", "not kiln's\n");
        project.remove(image);
        symlink(project.path("precious"), project.path(image)).unwrap();
    });
}

#[test]
fn a_file_in_a_tree_that_was_removed() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let module = format!("{OUT}/modules/6.1.0/kernel/drivers/virtio_blk.ko");
    project.remove(&module);
    project.build("").exits(0).runs(&[]).restores(&[KERNEL]);
    assert!(project.exists(&module));
}

#[test]
fn all_of_out_comes_back_from_the_cache() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    fs::remove_dir_all(project.path("out")).unwrap();
    project.build("").exits(0).runs(&[]).restores(&[CONFIG, KERNEL, BOOT]);
    assert!(project.exists(&format!("{OUT}/vmlinux")));
    assert!(project.exists(&format!("{OUT}/qemu-pc/boot/console.log")));
}

#[test]
fn what_users_put_beside_outputs_stays() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let notes = format!("{OUT}/notes");
    project.write(&notes, "mine\n");
    project.plan("").has_nothing_to_do();
    project.kiln("clean").exits(0);
    assert_eq!(project.read(&notes), "mine\n");
    assert!(!project.exists(&format!("{OUT}/bzImage")));
    assert!(!project.exists(&format!("{OUT}/qemu-pc")));
}

#[test]
fn clean_takes_outputs_and_clean_cache_all_that_is_known() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.kiln("clean kernel:").exits(0).says("removed 8 files from out/; the cache still has them");
    project.build("").exits(0).runs(&[]).restores(&[KERNEL]);

    project.kiln("clean").exits(0);
    assert!(!project.exists("out/linux"));
    project.kiln("clean --cache").exits(0).says("removed the cache");
    for part in ["cas", "index.sqlite", "VERSION"] {
        assert!(!project.exists(&format!("cache/{part}")), "{part}");
    }
    project.build("").exits(0).runs(&[CONFIG, INITRAMFS, KERNEL, MATCH, BOOT]);
}

#[test]
fn clean_cache_forgets_no_job_that_a_lab_has() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let home = project.path("cache");
    {
        let store = Store::open(&home).unwrap();
        let id = store.project(&project.path("").canonicalize().unwrap()).unwrap();
        let key = Digest::of_bytes(b"a job");
        let mut job = store.intend(id, "lava:a", &key, "far", "kiln lava:a 1").unwrap();
        store.handed_over(&mut job, 17).unwrap();
        store.intend(id, "lava:b", &Digest::of_bytes(b"another"), "far", "kiln lava:b 2").unwrap();
        let mut ended =
            store.intend(id, "lava:c", &Digest::of_bytes(b"a third"), "far", "kiln lava:c 3").unwrap();
        store.fetched(&mut ended).unwrap();
    }
    let refused = project.kiln("clean --cache").exits(4);
    refused.complains("lava:a (job 17 at lab far), lava:b (a job at lab far)").complains("--force");
    assert!(project.exists("cache/index.sqlite"));
    project.kiln("clean --force").exits(2);
    project.kiln("clean --cache --force").exits(0).says("removed the cache");
    assert!(!project.exists("cache/index.sqlite"));
}

#[test]
fn blobs_that_were_lost_are_made_again() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    fs::remove_dir_all(project.path("cache/cas")).unwrap();
    project.remove(&format!("{OUT}/bzImage"));
    let plan = project.plan("");
    assert_eq!(
        plan.reasons(CONFIG),
        "output config is missing from the cache\noutput settings is missing from the cache\n"
    );
    project.build("").exits(0);
    assert!(project.exists(&format!("{OUT}/bzImage")));
    project.plan("").has_nothing_to_do();
}

#[test]
fn blobs_that_were_damaged_are_made_again() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let image = project.read(&format!("{OUT}/bzImage"));
    for blob in files(&project.path("cache/cas")) {
        let size = fs::metadata(&blob).unwrap().len();
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&blob, "x".repeat(usize::try_from(size).unwrap())).unwrap();
    }
    project.remove(&format!("{OUT}/bzImage"));
    project.kiln("build -j2").exits(0);
    assert_eq!(project.read(&format!("{OUT}/bzImage")), image);
    project.plan("").has_nothing_to_do();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
