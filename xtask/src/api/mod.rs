//! The public API of the library, as a list that stands in the repository: what changes there is a change for programs.
//!
//! It is read from the source, so that it needs no other compiler than the project's. What the library takes from
//! another crate is found there by its name; what macros make is not seen.

mod items;
mod tree;

use anyhow::Context as _;
use clap::Args;
use std::path::Path;

/// Where the list stands.
const LISTING: &str = "crates/twinroute/public-api.txt";

/// What to do with the list.
#[derive(Args, Clone, Debug)]
pub(super) struct ApiOptions {
    /// Writes the list, in place of comparing it
    #[arg(long)]
    write: bool,
}

/// Compares the list with the source, or writes it.
pub(super) fn run(options: &ApiOptions) -> anyhow::Result<bool> {
    let root = root();
    let now = tree::listing(root)?;
    let unnamed = tree::unnamed(root, &now)?;
    for unnamed in &unnamed {
        println!("cannot be named by programs: {unnamed}");
    }
    let path = root.join(LISTING);
    if options.write {
        std::fs::write(&path, now).with_context(|| path.display().to_string())?;
        return Ok(unnamed.is_empty());
    }
    let listed = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let changes = differences(&listed, &now);
    for change in &changes {
        println!("{change}");
    }
    if !changes.is_empty() {
        println!("the public API changed: if that is meant, run `cargo xtask api --write`");
    }
    Ok(changes.is_empty() && unnamed.is_empty())
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask stands below the root")
}

/// Lines that went and lines that came.
fn differences(listed: &str, now: &str) -> Vec<String> {
    let went = listed
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line));
    let came = now
        .lines()
        .filter(|line| !listed.lines().any(|other| other == *line));
    let went = went.map(|line| format!("- {line}"));
    went.chain(came.map(|line| format!("+ {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_public_api_is_that_of_the_source() {
        let listed = std::fs::read_to_string(root().join(LISTING)).unwrap();
        let changes = differences(&listed, &tree::listing(root()).unwrap());
        let none: [String; 0] = [];
        assert_eq!(changes, none, "if that is meant: cargo xtask api --write");
    }

    #[test]
    fn the_list_has_what_programs_use_and_nothing_else() {
        let listing = tree::listing(root()).unwrap();
        for line in [
            "pub fn twinroute::Router::accept(&self, event: Event) -> AcceptRequest<'_>",
            "pub async fn twinroute::RouterBuilder::start(self) -> Result<Router, Error>",
            "pub fn twinroute::event::Event::from_json(json: impl Into<Bytes>) -> Result<Self, InvalidEvent>",
            "pub field twinroute::status::JournalStatus::dropped: u64",
            "pub variant twinroute::AckLevel::Durable",
            "pub use twinroute::prelude::Event = twinroute::event::Event",
            "#[cfg(feature = \"azure\")] pub fn twinroute::azure::Azure::connector() -> Result<AzureConnect, AzureError>",
            "impl IntoFuture for twinroute::AcceptRequest<'a>",
        ] {
            assert!(listing.lines().any(|listed| listed == line), "{line}");
        }
        for hidden in [
            "credential_refresh",
            "DefinitionKeeper",
            "pub(crate)",
            "last_definitions",
        ] {
            assert!(!listing.contains(hidden), "{hidden}");
        }
    }

    #[test]
    fn every_type_in_the_list_can_be_named() {
        let listing = tree::listing(root()).unwrap();
        let unnamed = tree::unnamed(root(), &listing).unwrap();
        let none: [String; 0] = [];
        assert_eq!(unnamed, none, "let the library have them too");
        let hidden = "pub fn twinroute::Router::f(&self) -> DiskJournal\n";
        let unnamed = tree::unnamed(root(), hidden).unwrap();
        assert_eq!(
            unnamed,
            ["DiskJournal, in pub fn twinroute::Router::f(&self) -> DiskJournal"]
        );
    }

    /// Enums whose cases are all there are, by a published format; docs/decisions/0048-what-may-grow.md says of each why.
    const CLOSED_ENUMS: [&str; 8] = [
        "ingress::ListenAddress",
        "definitions::ConnectionCredential",
        "definitions::EndpointType",
        "definitions::NamespaceAccess",
        "event::EventData",
        "event::ExtensionValue",
        "filter::CompareOp",
        "filter::StringTest",
    ];

    #[test]
    fn enums_may_grow_unless_a_published_format_closes_them() {
        let listing = tree::listing(root()).unwrap();
        let named = |mark: &str| -> Vec<String> {
            let lines = listing.lines().filter_map(|line| line.split_once(mark));
            let names = lines.map(|(_, name)| name.replace("<'a>", ""));
            names.collect()
        };
        let open = named("#[non_exhaustive] twinroute::");
        let enums = named("pub enum twinroute::");
        assert!(enums.len() > 40, "{enums:?}");
        let closed: Vec<&String> = enums.iter().filter(|name| !open.contains(name)).collect();
        assert_eq!(closed, CLOSED_ENUMS);
    }

    #[test]
    fn what_changed_is_said_line_by_line() {
        assert_eq!(differences("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
