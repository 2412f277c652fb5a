//! Each way in which files are replaced, on the real file system.

use super::*;
use std::fs::{create_dir, create_dir_all, remove_dir_all, remove_file, rename, write};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Only ends a test that fails: far below the poll, which must not be what sees a change.
const LIMIT: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_secs(60);

/// A tree `defs` with a file, in a folder beside others.
fn scene() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    create_dir_all(root.path().join("defs/routes")).unwrap();
    write(root.path().join("defs/routes/hot.json"), "1").unwrap();
    write(root.path().join("twinroute.toml"), "1").unwrap();
    root
}

struct TestObserver {
    watch: FileWatch,
}

impl TestObserver {
    fn of(trees: &[&Path], files: &[&Path]) -> Self {
        // Polls after longer than any test waits.
        let watch = FileWatch::new(trees, files, LIMIT * 10);
        Self { watch }
    }

    fn tree(root: &TempDir) -> Self {
        Self::of(&[&root.path().join("defs")], &[])
    }

    async fn sees(&self, what: &str) {
        let seen = timeout(LIMIT, self.watch.changed()).await;
        assert!(seen.is_ok(), "{what}: not seen");
    }

    /// Makes a change and waits until it is seen.
    async fn sees_after(&self, what: &str, change: impl FnOnce()) {
        change();
        self.sees(what).await;
    }
}

#[tokio::test]
async fn lost_watch_folder_moved_away_and_back() {
    let root = scene();
    let (defs, x) = (root.path().join("defs"), root.path().join("x"));
    let observer = TestObserver::tree(&root);
    let moved = || {
        rename(&defs, &x).unwrap();
        rename(&x, &defs).unwrap();
    };
    observer.sees_after("moved and back", moved).await;
    // The same folder as before, so its watch would be there still if the system had not dropped it.
    let file = defs.join("routes/hot.json");
    observer
        .sees_after("a write after it", || write(&file, "2").unwrap())
        .await;
    observer
        .sees_after("moved", || rename(&defs, &x).unwrap())
        .await;
    observer
        .sees_after("back", || rename(&x, &defs).unwrap())
        .await;
    observer
        .sees_after("a write after that", || write(&file, "3").unwrap())
        .await;
}

#[tokio::test]
async fn lost_watch_link_to_the_folder_swapped() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        create_dir_all(elsewhere.path().join(version).join("routes")).unwrap();
    }
    let current = elsewhere.path().join("current");
    symlink("v1", &current).unwrap();
    let defs = root.path().join("defs");
    symlink(&current, &defs).unwrap();
    let observer = TestObserver::of(&[&defs], &[&root.path().join("twinroute.toml")]);
    let swap = || {
        let new = elsewhere.path().join("new");
        symlink("v2", &new).unwrap();
        rename(&new, &current).unwrap();
    };
    observer.sees_after("the swap", swap).await;
    let file = elsewhere.path().join("v2/routes/hot.json");
    observer
        .sees_after("a write behind it", || write(&file, "1").unwrap())
        .await;
    let unlinked = || {
        remove_file(&defs).unwrap();
        symlink(elsewhere.path().join("v1"), &defs).unwrap();
    };
    observer.sees_after("the outer link", unlinked).await;
    let file = elsewhere.path().join("v1/routes/hot.json");
    observer
        .sees_after("a write behind that", || write(&file, "1").unwrap())
        .await;
}

#[tokio::test]
async fn lost_watch_folder_deleted_and_made_again() {
    let root = scene();
    let defs = root.path().join("defs");
    let observer = TestObserver::tree(&root);
    observer
        .sees_after("deleted", || remove_dir_all(&defs).unwrap())
        .await;
    observer
        .sees_after("made", || create_dir(&defs).unwrap())
        .await;
    observer
        .sees_after("filled", || create_dir(defs.join("routes")).unwrap())
        .await;
    let file = defs.join("routes/hot.json");
    observer
        .sees_after("written", || write(file, "1").unwrap())
        .await;
}

#[tokio::test]
async fn lost_watch_parent_moved_and_another_in_its_place() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    for parent in [&a, &b] {
        create_dir_all(parent.join("deep/defs")).unwrap();
    }
    let observer = TestObserver::of(&[&a.join("deep/defs")], &[]);
    let swapped = || {
        rename(&a, root.path().join("old")).unwrap();
        rename(&b, &a).unwrap();
    };
    observer.sees_after("the parent", swapped).await;
    let file = a.join("deep/defs/hot.json");
    observer
        .sees_after("a write behind it", || write(file, "1").unwrap())
        .await;
}

#[tokio::test]
async fn lost_watch_file_replaced_behind_its_link() {
    let root = scene();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.toml");
    write(&target, "1").unwrap();
    let file = root.path().join("linked.toml");
    symlink(&target, &file).unwrap();
    let observer = TestObserver::of(&[], &[&file]);
    observer
        .sees_after("written", || write(&target, "2").unwrap())
        .await;
    let replaced = || {
        let new = elsewhere.path().join("new.toml");
        write(&new, "3").unwrap();
        rename(&new, &target).unwrap();
    };
    observer.sees_after("replaced", replaced).await;
    let pointed = || {
        let new = root.path().join("new");
        symlink(root.path().join("twinroute.toml"), &new).unwrap();
        rename(&new, &file).unwrap();
    };
    observer.sees_after("pointed elsewhere", pointed).await;
    let there = root.path().join("twinroute.toml");
    observer
        .sees_after("a write there", || write(there, "2").unwrap())
        .await;
}

#[tokio::test]
async fn lost_watch_file_in_the_tree_is_a_link_out_of_it() {
    let root = scene();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("hub.json");
    write(&target, "1").unwrap();
    symlink(&target, root.path().join("defs/hub.json")).unwrap();
    let observer = TestObserver::tree(&root);
    observer
        .sees_after("written", || write(&target, "2").unwrap())
        .await;
}

/// As Kubernetes mounts a `ConfigMap`: files are links through `..data`, which is swapped.
#[tokio::test]
async fn mounted_folder_is_swapped_by_its_data_link() {
    let mount = tempfile::tempdir().unwrap();
    let root = mount.path();
    for version in ["..1", "..2"] {
        create_dir(root.join(version)).unwrap();
        write(root.join(version).join("twinroute.toml"), version).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/twinroute.toml", root.join("twinroute.toml")).unwrap();
    let file = root.join("twinroute.toml");
    for trees in [&[][..], &[root]] {
        let observer = TestObserver::of(trees, &[&file]);
        for version in ["..2", "..1"] {
            let swap = || {
                symlink(version, root.join("..tmp")).unwrap();
                rename(root.join("..tmp"), root.join("..data")).unwrap();
            };
            observer.sees_after(version, swap).await;
        }
    }
}

#[tokio::test]
async fn file_that_an_editor_renames_into_place_is_seen_each_time() {
    let root = scene();
    let file = root.path().join("twinroute.toml");
    let observer = TestObserver::of(&[], &[&file]);
    for content in ["2", "3", "4"] {
        let save = || {
            let swap = root.path().join(".twinroute.toml.swp");
            write(&swap, content).unwrap();
            rename(&swap, &file).unwrap();
        };
        observer.sees_after(content, save).await;
    }
}

#[tokio::test]
async fn folder_that_is_not_there_yet_is_seen_when_it_comes() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("secrets/inner");
    let observer = TestObserver::of(&[&folder], &[]);
    observer
        .sees_after("made", || create_dir_all(&folder).unwrap())
        .await;
    let file = folder.join("accessKey1");
    observer
        .sees_after("filled", || write(file, "k").unwrap())
        .await;
}

/// A log that was written beside the configuration made every reload wait for its silence, and
/// the definitions be read again and again.
#[tokio::test]
async fn busy_log_beside_the_configuration_is_no_change() {
    let root = scene();
    let base = root.path().canonicalize().unwrap();
    let plan = WatchPlan::of(&[base.join("defs")], &[base.join("twinroute.toml")]);
    let modified = EventKind::Modify(notify::event::ModifyKind::Any);
    let counts =
        |kind, path: &str| super::counts(&plan, &Event::new(kind).add_path(base.join(path)));
    assert!(!counts(modified, "twinroute.log"));
    assert!(!counts(modified, "twinroute.toml.swp"));
    assert!(counts(modified, "twinroute.toml"));
    assert!(counts(modified, "defs"));
    assert!(counts(modified, "defs/routes/hot.json"));
    let read = EventKind::Access(notify::event::AccessKind::Any);
    assert!(!counts(read, "twinroute.toml"));
    assert!(super::counts(&plan, &Event::new(modified)));
}

#[test]
fn links_in_a_circle_and_to_folders_above_end() {
    let root = scene();
    let defs = root.path().join("defs");
    symlink(&defs, defs.join("self")).unwrap();
    symlink("b", defs.join("a")).unwrap();
    symlink("a", defs.join("b")).unwrap();
    let plan = WatchPlan::of(std::slice::from_ref(&defs), &[defs.join("a/x.json")]);
    assert!(plan.folders().count() < 10 + root.path().components().count());
}

/// A reload for another reason that came in the quiet time lost the change.
#[tokio::test(start_paused = true)]
async fn change_is_not_lost_with_the_future_that_saw_it() {
    let root = scene();
    let watch = FileWatch::new(&[], &[&root.path().join("twinroute.toml")], POLL);
    watch.shared.changed.notify_one();
    let dropped = timeout(QUIET / 2, watch.changed()).await;
    assert!(dropped.is_err());
    let started = Instant::now();
    watch.changed().await;
    assert!(started.elapsed() < BURST_MAX);
}

#[tokio::test(start_paused = true)]
async fn files_are_polled_in_turns() {
    let root = scene();
    let watch = FileWatch::new(&[root.path()], &[], POLL);
    let started = Instant::now();
    watch.changed().await;
    assert!(started.elapsed() >= POLL);
}

/// Where the system refused a watch, the three that asked for one polled by themselves, and never asked again.
#[tokio::test(start_paused = true)]
async fn watch_that_was_refused_polls_and_is_set_again() {
    let root = scene();
    let watch = FileWatch::new(&[root.path()], &[], POLL);
    *watch.shared.watcher.lock().unwrap() = None;
    let started = Instant::now();
    watch.changed().await;
    assert!(started.elapsed() >= POLL);
    assert!(watch.shared.watcher.lock().unwrap().is_some());
}
