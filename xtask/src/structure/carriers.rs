//! Which types carry an accepted event from its match to its lane: the fewer, the easier the way is to follow.

use anyhow::Context as _;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use syn::Item;
use syn::visit::{self, Visit};

/// Where they are defined; of a folder, every file in it.
const PLACES: [&str; 2] = ["crates/router/src/accept", "crates/journal/src/appended.rs"];

/// What an event is in before the journal has it, and what afterwards.
const FIRST: [&str; 2] = ["NewEvent", "JournalEntry"];

/// The names of the types that hold such an event, or hold one that does.
pub(crate) fn of_checkout(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut texts = Vec::new();
    for place in PLACES {
        let place = root.join(place);
        let files = match place.is_dir() {
            true => fs::read_dir(&place)?
                .map(|entry| Ok(entry?.path()))
                .collect(),
            false => Ok::<_, std::io::Error>(vec![place]),
        };
        for file in files? {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            texts.push(text);
        }
    }
    of_texts(&texts)
}

pub(crate) fn of_texts(texts: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut types = Vec::new();
    for text in texts {
        for item in syn::parse_file(text)?.items {
            let mut named = NamedTypes::default();
            match &item {
                Item::Struct(item) => named.visit_fields(&item.fields),
                Item::Enum(item) => visit::visit_item_enum(&mut named, item),
                _ => continue,
            }
            let (Item::Struct(syn::ItemStruct { ident, .. })
            | Item::Enum(syn::ItemEnum { ident, .. })) = item
            else {
                continue;
            };
            types.push((ident.to_string(), named.0));
        }
    }
    let mut found = BTreeSet::from(FIRST.map(str::to_owned));
    // Each turn adds what holds something that was found before.
    loop {
        let before = found.len();
        for (name, held) in &types {
            if !held.is_disjoint(&found) {
                found.insert(name.clone());
            }
        }
        if found.len() == before {
            return Ok(found);
        }
    }
}

/// Every identifier of the types that a definition names.
#[derive(Default)]
struct NamedTypes(BTreeSet<String>);

impl<'ast> Visit<'ast> for NamedTypes {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        let name = segment.ident.to_string();
        // What can send something does not hold it.
        if !name.ends_with("Sender") {
            self.0.insert(name);
            visit::visit_path_segment(self, segment);
        }
    }
}
