use super::SourceStructure;
use super::carriers;
use super::names::TypeName;
use std::fs;
use std::path::Path;

/// A checkout with one crate of these files.
fn checkout(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder can be made");
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    };
    let folder = root.path().join("crates/sample");
    let manifest = "[package]\nname = \"twinroute-sample\"\n\n[dependencies]\n\
                    twinroute-model.workspace = true\n\n[dev-dependencies]\n\
                    twinroute-tests.workspace = true\n";
    write(&folder.join("Cargo.toml"), manifest);
    for (name, text) in files {
        write(&folder.join("src").join(name), text);
    }
    root
}

fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let root = checkout(files);
    let structure = SourceStructure::read(root.path()).expect("the sample is Rust");
    let circles = structure.circles().into_iter();
    let short = |path: &String| path.replace("crates/sample/src/", "");
    circles
        .map(|circle| circle.files.iter().map(short).collect())
        .collect()
}

/// Pairs of files that belong together too closely to be read one after the other. The list only gets shorter.
const ALLOWED_PAIRS: [[&str; 2]; 0] = [];

#[test]
fn files_of_a_crate_import_downwards() {
    let structure = SourceStructure::read(super::root()).expect("the sources are Rust");
    let circles = structure.circles().into_iter().map(|circle| circle.files);
    let new = circles.filter(|files| !ALLOWED_PAIRS.iter().any(|pair| files == pair));
    let new: Vec<String> = new.map(|files| files.join(", ")).collect();
    assert!(
        new.is_empty(),
        "these files import each other; `cargo xtask structure --ties` shows what ties them: {new:#?}"
    );
}

/// Types that an event may pass on its way from its match to its lane.
const CARRIERS_MAX: usize = 7;

#[test]
fn an_event_passes_few_types_on_its_way_to_its_lane() {
    let found = carriers::of_checkout(super::root()).expect("the sources are Rust");
    assert!(
        found.contains("MatchedBatch") && found.contains("LaneDeliveries"),
        "the way is another now: {found:?}"
    );
    assert!(found.len() <= CARRIERS_MAX, "{found:?}");
}

#[test]
fn what_holds_what_holds_an_event_carries_it() {
    let text = "struct Outer { all: Vec<Inner> }
        enum Inner { Some(Box<JournalEntry>), None }
        struct Other { way: UnboundedSender<Inner> }";
    let found = carriers::of_texts(&[text.to_owned()]).expect("it is Rust");
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["Inner", "JournalEntry", "NewEvent", "Outer"]);
}

/// Names of one word: the words and traits of the design, and what a crate has one of.
const ONE_WORD: [&str; 24] = [
    "Acceptor",
    "Azure",
    "Clock",
    "Config",
    "Connect",
    "Definitions",
    "Delivery",
    "Endpoint",
    "Error",
    "Event",
    "Instance",
    "Journal",
    "Lane",
    "Ledger",
    "Owner",
    "Partition",
    "Route",
    "Router",
    "Secret",
    "Settings",
    "Sink",
    "Source",
    "Storage",
    "Timestamp",
];

#[test]
fn a_type_is_found_by_its_name_alone() {
    let structure = SourceStructure::read(super::root()).expect("the sources are Rust");
    let names = structure.type_names();
    let is_unclear =
        |named: &&TypeName| named.is_one_word() && !ONE_WORD.contains(&named.name.as_str());
    let unclear: Vec<String> = names
        .all()
        .filter(is_unclear)
        .map(|named| format!("{}: {}", named.file, named.name))
        .collect();
    assert!(
        unclear.is_empty(),
        "say in two words or more what these are: {unclear:#?}"
    );
}

#[test]
fn no_name_stands_for_two_types() {
    let structure = SourceStructure::read(super::root()).expect("the sources are Rust");
    let names = structure.type_names();
    // A crate may have one `Error` and one `Settings` a file of settings; the library has the names of what it wraps, which
    // nobody meets beside them (docs/decisions/0037-library.md). All other names stand for one thing.
    const ALLOWED: [&str; 6] = [
        "Config",
        "Error",
        "Router",
        "RouterBuilder",
        "Settings",
        "Sink",
    ];
    let repeated = names.repeated().filter(|(name, _)| !ALLOWED.contains(name));
    let repeated: Vec<String> = repeated
        .map(|(name, types)| {
            let files: Vec<&str> = types.iter().map(|named| named.file.as_str()).collect();
            format!("{name}: {}", files.join(", "))
        })
        .collect();
    assert!(repeated.is_empty(), "{repeated:#?}");
}

#[test]
fn files_that_import_each_other_are_a_circle() {
    let lib = ("lib.rs", "mod a;\nmod b;\n");
    let b = ("b.rs", "use crate::a::Left;\npub struct Right(Left);\n");
    for a in [
        "use crate::b::Right;\npub struct Left(Right);\n",
        "use super::b;\npub struct Left(b::Right);\n",
        "pub struct Left;\nfn f() { let _ = crate::b::Right::new(); }\n",
        "pub struct Left;\nfn f() { println!(\"{}\", crate::b::Right::NAME); }\n",
        "pub struct Left;\nimpl Left { fn f(&self) -> crate::b::Right { panic!() } }\n",
    ] {
        assert_eq!(circles(&[lib, ("a.rs", a), b]), [["a.rs", "b.rs"]], "{a}");
    }
    for a in [
        "pub struct Left;\n#[cfg(test)]\nmod tests { use crate::b::Right; }\n",
        "pub struct Left;\npub use crate::b::Right;\n",
        "pub struct Left;\nfn f() { let b = 1; b.max(2); }\n",
    ] {
        assert!(circles(&[lib, ("a.rs", a), b]).is_empty(), "{a}");
    }
}

#[test]
fn a_name_that_a_parent_hands_on_belongs_to_its_file() {
    let lib = ("lib.rs", "mod room;\n");
    let room = "mod a;\nmod b;\npub use a::Left;\npub use b::*;\n";
    let a = ("room/a.rs", "pub struct Left;\n");
    let b = ("room/b.rs", "use super::Left;\npub struct Right(Left);\n");
    assert!(circles(&[lib, ("room/mod.rs", room), a, b]).is_empty());
    let a = ("room/a.rs", "use super::Right;\npub struct Left(Right);\n");
    let found = circles(&[lib, ("room/mod.rs", room), a, b]);
    assert_eq!(found, [["room/a.rs", "room/b.rs"]]);
}

#[test]
fn names_are_counted_outside_tests() {
    let root = checkout(&[
        ("lib.rs", "pub mod a;\npub mod b;\n"),
        (
            "a.rs",
            "pub struct Step;\nstruct LaneStep;\n#[cfg(test)]\nstruct Third;\n",
        ),
        ("b.rs", "pub enum Step {}\ntype LaneStep = u8;\n"),
    ]);
    let structure = SourceStructure::read(root.path()).expect("the sample is Rust");
    let names = structure.type_names();
    let one_word = names.all().filter(|named| named.is_one_word());
    assert_eq!(one_word.count(), 2);
    let repeated: Vec<&str> = names.repeated().map(|(name, _)| name).collect();
    assert_eq!(repeated, ["LaneStep", "Step"]);
    assert_eq!(names.repeated_public().collect::<Vec<_>>(), ["Step"]);
    assert_eq!(structure.edges["sample"], ["model"]);
}
