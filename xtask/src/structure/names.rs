//! Names of types: how many are one word, and which stand for two things.

use std::collections::BTreeMap;
use std::fmt;

/// One type: a struct, enum, union, trait or alias outside tests.
#[derive(Clone, Debug)]
pub(crate) struct TypeName {
    pub(crate) name: String,
    /// The file, from the root.
    pub(crate) file: String,
    /// Whether it is `pub` without a restriction.
    pub(crate) public: bool,
}

impl TypeName {
    /// Whether the name has no second word in it.
    pub(crate) fn is_one_word(&self) -> bool {
        let inner = self.name.chars().skip(1);
        !inner.into_iter().any(char::is_uppercase)
    }
}

/// All types of a checkout by their names.
pub(crate) struct TypeNames {
    by_name: BTreeMap<String, Vec<TypeName>>,
}

impl TypeNames {
    pub(super) fn of(types: impl Iterator<Item = TypeName>) -> Self {
        let mut by_name: BTreeMap<String, Vec<TypeName>> = BTreeMap::new();
        for named in types {
            by_name.entry(named.name.clone()).or_default().push(named);
        }
        Self { by_name }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TypeName> {
        self.by_name.values().flatten()
    }

    /// Names that stand for more than one thing, with each.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = (&str, &[TypeName])> {
        let repeated = self.by_name.iter().filter(|(_, types)| types.len() > 1);
        repeated.map(|(name, types)| (name.as_str(), types.as_slice()))
    }

    /// Names that stand for more than one public thing.
    pub(crate) fn repeated_public(&self) -> impl Iterator<Item = &str> {
        self.repeated()
            .filter(|(_, types)| types.iter().filter(|named| named.public).count() > 1)
            .map(|(name, _)| name)
    }
}

impl fmt::Display for TypeNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all().count();
        let share = |count: usize| (count * 100).checked_div(all).unwrap_or_default();
        let one_word = self.all().filter(|named| named.is_one_word()).count();
        let repeated: usize = self.repeated().map(|(_, types)| types.len()).sum();
        writeln!(
            formatter,
            "types: {all}, one word: {one_word} ({} %), with a name of several: {repeated} ({} %)",
            share(one_word),
            share(repeated)
        )?;
        let mut often: Vec<_> = self.repeated().collect();
        often.sort_by_key(|(name, types)| (std::cmp::Reverse(types.len()), *name));
        for (name, types) in often {
            let files: Vec<&str> = types.iter().map(|named| named.file.as_str()).collect();
            writeln!(
                formatter,
                "  {name} {} times: {}",
                types.len(),
                files.join(" ")
            )?;
        }
        let public = self.repeated_public().count();
        writeln!(formatter, "public names of several: {public}")
    }
}
