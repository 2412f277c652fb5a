//! Public items of one crate's source, by name.

use anyhow::Context as _;
use quote::ToTokens;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, Visibility};

/// The source of a crate: modules by their path, with the crate's root as the empty one.
pub(super) struct CrateItems {
    modules: BTreeMap<Vec<String>, SourceModule>,
}

/// One module: its items, and under which condition it is there.
#[derive(Default)]
pub(super) struct SourceModule {
    pub(super) items: Vec<Item>,
}

impl CrateItems {
    /// Reads all of a crate, but for its tests.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut own = Self {
            modules: BTreeMap::new(),
        };
        own.read_file(&folder.join("src/lib.rs"), Vec::new())?;
        Ok(own)
    }

    fn read_file(&mut self, path: &Path, module: Vec<String>) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        self.read_items(path, module, file.items)
    }

    fn read_items(
        &mut self,
        path: &Path,
        module: Vec<String>,
        items: Vec<Item>,
    ) -> anyhow::Result<()> {
        for item in &items {
            let Item::Mod(inner) = item else { continue };
            if is_test(&inner.attrs) {
                continue;
            }
            let name = inner.ident.to_string();
            let below = [module.clone(), vec![name.clone()]].concat();
            match &inner.content {
                Some((_, items)) => self.read_items(path, below, items.clone())?,
                None => self.read_file(&file_of(path, &module, &name), below)?,
            }
        }
        self.modules.insert(module, SourceModule { items });
        Ok(())
    }

    pub(super) fn module(&self, path: &[String]) -> Option<&SourceModule> {
        self.modules.get(path)
    }

    /// The module that defines a public item of this name.
    pub(super) fn find(&self, name: &str) -> Option<(&Vec<String>, &Item)> {
        self.modules.iter().find_map(|(path, module)| {
            let mut items = module.items.iter();
            let item =
                items.find(|item| is_public(item) && item_name(item) == Some(name.to_owned()))?;
            (!matches!(item, Item::Mod(_) | Item::Use(_))).then_some((path, item))
        })
    }

    /// The names of all public types and traits.
    pub(super) fn types(&self) -> Vec<String> {
        let items = self.modules.values().flat_map(|module| &module.items);
        let types = items.filter(|item| {
            matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Trait(_)) && is_public(item)
        });
        types.filter_map(item_name).collect()
    }

    /// What the public methods and traits of a type are, as lines.
    pub(super) fn methods(&self, name: &str, path: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for item in self.modules.values().flat_map(|module| &module.items) {
            let Item::Impl(own) = item else { continue };
            if is_test(&own.attrs) || type_name(&own.self_ty).as_deref() != Some(name) {
                continue;
            }
            let feature = feature(&own.attrs);
            if let Some((_, of, _)) = &own.trait_ {
                let view = words(&own.self_ty);
                let view = view.replacen(name, path, 1);
                lines.push(format!("{feature}impl {} for {view}", words(of)));
                continue;
            }
            for item in &own.items {
                match item {
                    ImplItem::Fn(method) if matches!(method.vis, Visibility::Public(_)) => {
                        lines.push(format!("{feature}{}", function(&method.sig, path)));
                    }
                    ImplItem::Const(value) if matches!(value.vis, Visibility::Public(_)) => {
                        let (name, of) = (&value.ident, words(&value.ty));
                        lines.push(format!("{feature}pub const {path}::{name}: {of}"));
                    }
                    _ => {}
                }
            }
        }
        lines
    }
}

/// The file of a module that stands in one of its own.
fn file_of(path: &Path, module: &[String], name: &str) -> PathBuf {
    let folder = path.parent().expect("a file lies in a folder");
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let folder = match stem {
        Some("lib" | "mod") => folder.to_owned(),
        _ => folder.join(module.last().expect("it is not the root")),
    };
    let file = folder.join(format!("{name}.rs"));
    match file.exists() {
        true => file,
        false => folder.join(name).join("mod.rs"),
    }
}

/// The lines of one public item, without its methods.
pub(super) fn lines(item: &Item, path: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match item {
        Item::Struct(own) => {
            lines.push(format!("pub struct {path}{}", words(&own.generics)));
            lines.extend(derives(&own.attrs, path));
            lines.extend(fields(&own.fields, path));
        }
        Item::Enum(own) => {
            lines.push(format!("pub enum {path}{}", words(&own.generics)));
            lines.extend(derives(&own.attrs, path));
            for variant in &own.variants {
                let name = &variant.ident;
                let unnamed = match &variant.fields {
                    Fields::Unnamed(fields) => words(fields),
                    Fields::Named(_) | Fields::Unit => String::new(),
                };
                lines.push(format!("pub variant {path}::{name}{unnamed}"));
                if let Fields::Named(fields) = &variant.fields {
                    lines.extend(fields.named.iter().map(|field| {
                        let field_name = field.ident.as_ref().expect("it is named");
                        format!(
                            "pub field {path}::{name}::{field_name}: {}",
                            words(&field.ty)
                        )
                    }));
                }
            }
        }
        Item::Trait(own) => {
            lines.push(format!("pub trait {path}: {}", words(&own.supertraits)));
            for item in &own.items {
                if let TraitItem::Fn(method) = item {
                    lines.push(function(&method.sig, path));
                }
            }
        }
        Item::Fn(own) => {
            let (outer, _) = path.rsplit_once("::").expect("it is below a crate");
            lines.push(function(&own.sig, outer));
        }
        Item::Type(own) => lines.push(format!("pub type {path} = {}", words(&own.ty))),
        Item::Const(own) => lines.push(format!("pub const {path}: {}", words(&own.ty))),
        _ => {}
    }
    lines
}

fn fields(fields: &Fields, path: &str) -> Vec<String> {
    let public = |field: &&syn::Field| matches!(field.vis, Visibility::Public(_));
    let view = fields.iter().enumerate().filter(|(_, field)| public(field));
    let view = view.map(|(place, field)| {
        let name = field.ident.as_ref().map(ToString::to_string);
        let name = name.unwrap_or_else(|| place.to_string());
        format!("pub field {path}::{name}: {}", words(&field.ty))
    });
    view.collect()
}

/// What is derived, and whether it may grow.
fn derives(attributes: &[Attribute], path: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident("non_exhaustive") {
            lines.push(format!("#[non_exhaustive] {path}"));
        }
        if attribute.path().is_ident("derive") {
            // What cannot be read here the compiler has refused already.
            drop(attribute.parse_nested_meta(|derived| {
                lines.push(format!("impl {} for {path}", words(&derived.path)));
                Ok(())
            }));
        }
    }
    lines
}

fn function(signature: &syn::Signature, path: &str) -> String {
    let name = signature.ident.to_string();
    let text = words(signature);
    format!(
        "pub {}",
        text.replacen(&format!("fn {name}"), &format!("fn {path}::{name}"), 1)
    )
}

/// `#[cfg(feature = "…")] ` where an item is a feature's.
pub(super) fn feature(attributes: &[Attribute]) -> String {
    let gates = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    gates.map(|gate| format!("{} ", words(gate))).collect()
}

pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    let mut gates = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    gates.any(|gate| ["#[cfg(test)]", "#[cfg(fuzzing)]"].contains(&&*words(gate)))
}

pub(super) fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(own) => &own.vis,
        Item::Enum(own) => &own.vis,
        Item::Fn(own) => &own.vis,
        Item::Mod(own) => &own.vis,
        Item::Struct(own) => &own.vis,
        Item::Trait(own) => &own.vis,
        Item::Type(own) => &own.vis,
        Item::Use(own) => &own.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(own) => &own.attrs,
        Item::Enum(own) => &own.attrs,
        Item::Fn(own) => &own.attrs,
        Item::Mod(own) => &own.attrs,
        Item::Struct(own) => &own.attrs,
        Item::Trait(own) => &own.attrs,
        Item::Type(own) => &own.attrs,
        Item::Use(own) => &own.attrs,
        _ => &[],
    }
}

pub(super) fn item_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(own) => &own.ident,
        Item::Enum(own) => &own.ident,
        Item::Fn(own) => &own.sig.ident,
        Item::Mod(own) => &own.ident,
        Item::Struct(own) => &own.ident,
        Item::Trait(own) => &own.ident,
        Item::Type(own) => &own.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn type_name(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

/// Tokens as people write them.
fn words(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, tight) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("< ", "<"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("& ", "&"),
        (" ;", ";"),
        (" :", ":"),
        ("# [", "#["),
        (" [", "["),
        ("[ ", "["),
        (" ]", "]"),
        (",)", ")"),
        (", >", ">"),
        ("- >", "->"),
        ("impl::", "impl ::"),
    ] {
        text = text.replace(spaced, tight);
    }
    text.replace("->", " -> ")
        .replace("  ", " ")
        .replace(", )", ")")
        .replace(" <", "<")
}
