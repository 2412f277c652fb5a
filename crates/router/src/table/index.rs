//! Which routes an event can match: an index over what filters require.
//!
//! Each route is filed under one of its filter's anchors, the one whose values the fewest routes share.
//! An event is looked up by the fields that are indexed, so routes that require something else cost
//! nothing. Routes without an anchor are looked at for every event.
//!
//! With thousands of routes the cost is that of memory out of the cache, so values are kept as hashes
//! alone: two that share one make a candidate too many, and the filter itself decides.

use rapidhash::RapidHashMap;
use rapidhash::v3::rapidhash_v3;
use smallvec::SmallVec;
use std::collections::HashMap;
use twinroute_filter::RouteFilter;
use twinroute_filter::anchor::{FieldCondition, FilterAnchor, IndexedField, StringTest};
use twinroute_filter::eval::EventScope;

/// The position of a route in its table.
pub(crate) type RouteNumber = u32;

/// Routes that an event could match, or did: few, nearly always.
pub(crate) type RouteNumbers = SmallVec<[RouteNumber; 4]>;

#[derive(Debug, Default)]
pub(crate) struct RouteIndex {
    /// Routes to look at for every event.
    always: Vec<RouteNumber>,
    fields: Vec<(IndexedField, FieldIndex)>,
}

#[derive(Debug, Default)]
struct FieldIndex {
    equals: RoutesByValue,
    prefixes: RoutesByValue,
    /// Lengths of the prefixes in bytes, ascending: one look-up for each.
    prefix_lengths: Vec<usize>,
}

/// Routes by the hash of a value. Nearly always one route, which then needs no look elsewhere.
#[derive(Debug, Default)]
struct RoutesByValue {
    single: RapidHashMap<u64, RouteNumber>,
    /// The further routes of a value that has more than one.
    further: RapidHashMap<u64, Vec<RouteNumber>>,
}

impl RouteIndex {
    /// Files every filter under its most selective anchor.
    pub(crate) fn new<'a>(filters: impl IntoIterator<Item = &'a RouteFilter>) -> Self {
        let anchors: Vec<Vec<FilterAnchor>> =
            filters.into_iter().map(RouteFilter::anchors).collect();
        let mut shared: HashMap<&FieldCondition, usize> = HashMap::new();
        for atom in anchors
            .iter()
            .flatten()
            .flat_map(|anchor| &anchor.alternatives)
        {
            *shared.entry(atom).or_default() += 1;
        }
        let crowd = |anchor: &&FilterAnchor| -> usize {
            anchor.alternatives.iter().map(|atom| shared[atom]).sum()
        };
        let mut index = Self::default();
        for (number, anchors) in anchors.iter().enumerate() {
            let number = RouteNumber::try_from(number).expect("fewer than 2^32 routes");
            match anchors.iter().min_by_key(crowd) {
                None => index.always.push(number),
                Some(anchor) => {
                    anchor
                        .alternatives
                        .iter()
                        .for_each(|atom| index.file(atom, number));
                }
            }
        }
        for (_, field) in &mut index.fields {
            field.prefix_lengths.sort_unstable();
            field.prefix_lengths.dedup();
        }
        // The body is read only if an event gets that far, so fields of the envelope go first.
        index.fields.sort_by_key(|(field, _)| *field);
        index
    }

    fn file(&mut self, atom: &FieldCondition, number: RouteNumber) {
        let at = self
            .fields
            .iter()
            .position(|(field, _)| *field == atom.field);
        let at = at.unwrap_or_else(|| {
            self.fields.push((atom.field, FieldIndex::default()));
            self.fields.len() - 1
        });
        let index = &mut self.fields[at].1;
        match &atom.test {
            StringTest::Equals(value) => index.equals.file(value, number),
            StringTest::Prefix(prefix) => {
                index.prefixes.file(prefix, number);
                index.prefix_lengths.push(prefix.len());
            }
        }
    }

    /// Collects the routes that the event could match, each once, in ascending order.
    pub(crate) fn candidates(&self, scope: &EventScope<'_>, found: &mut RouteNumbers) {
        found.clear();
        found.extend_from_slice(&self.always);
        for (field, index) in &self.fields {
            let Some(value) = scope.field(*field) else {
                continue;
            };
            index.equals.collect(value.as_bytes(), found);
            for length in &index.prefix_lengths {
                match value.as_bytes().get(..*length) {
                    Some(prefix) => index.prefixes.collect(prefix, found),
                    None => break,
                }
            }
        }
        found.sort_unstable();
        found.dedup();
    }
}

impl RoutesByValue {
    fn file(&mut self, value: &str, number: RouteNumber) {
        let hash = rapidhash_v3(value.as_bytes());
        if *self.single.entry(hash).or_insert(number) != number {
            self.further.entry(hash).or_default().push(number);
        }
    }

    fn collect(&self, value: &[u8], found: &mut RouteNumbers) {
        if self.single.is_empty() {
            return;
        }
        let hash = rapidhash_v3(value);
        let Some(first) = self.single.get(&hash) else {
            return;
        };
        found.push(*first);
        if let Some(further) = self.further.get(&hash) {
            found.extend_from_slice(further);
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
