//! Which routes an event can match: an index over what filters require.
//!
//! Each route is filed under one of its filter's anchors, the one whose values the fewest routes share.
//! An event is looked up by the fields that are indexed, so routes that require something else cost
//! nothing. Routes without an anchor are looked at for every event.

use std::collections::HashMap;
use twinroute_filter::Filter;
use twinroute_filter::anchor::{Anchor, Atom, Field, Test};
use twinroute_filter::eval::Scope;

/// The position of a route in its table.
pub(crate) type RouteNumber = u32;

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Routes to look at for every event.
    always: Vec<RouteNumber>,
    fields: Vec<(Field, FieldIndex)>,
}

#[derive(Debug, Default)]
struct FieldIndex {
    equals: HashMap<Box<str>, Vec<RouteNumber>>,
    prefixes: HashMap<Box<str>, Vec<RouteNumber>>,
    /// Lengths of the prefixes in bytes, ascending: one look-up for each.
    prefix_lengths: Vec<usize>,
}

impl Index {
    /// Files every filter under its most selective anchor.
    pub(crate) fn new<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Self {
        let anchors: Vec<Vec<Anchor>> = filters.into_iter().map(Filter::anchors).collect();
        let mut shared: HashMap<&Atom, usize> = HashMap::new();
        for atom in anchors
            .iter()
            .flatten()
            .flat_map(|anchor| &anchor.alternatives)
        {
            *shared.entry(atom).or_default() += 1;
        }
        let crowd = |anchor: &&Anchor| -> usize {
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
            field.prefix_lengths = field.prefixes.keys().map(|prefix| prefix.len()).collect();
            field.prefix_lengths.sort_unstable();
            field.prefix_lengths.dedup();
        }
        // The body is read only if an event gets that far, so fields of the envelope go first.
        index.fields.sort_by_key(|(field, _)| *field);
        index
    }

    fn file(&mut self, atom: &Atom, number: RouteNumber) {
        let at = self
            .fields
            .iter()
            .position(|(field, _)| *field == atom.field);
        let at = at.unwrap_or_else(|| {
            self.fields.push((atom.field, FieldIndex::default()));
            self.fields.len() - 1
        });
        let index = &mut self.fields[at].1;
        let (map, value) = match &atom.test {
            Test::Equals(value) => (&mut index.equals, value),
            Test::Prefix(prefix) => (&mut index.prefixes, prefix),
        };
        map.entry(value.clone()).or_default().push(number);
    }

    /// Collects the routes that the event could match, each once, in ascending order.
    pub(crate) fn candidates(&self, scope: &Scope<'_>, found: &mut Vec<RouteNumber>) {
        found.clear();
        found.extend_from_slice(&self.always);
        for (field, index) in &self.fields {
            let Some(value) = scope.field(*field) else {
                continue;
            };
            if let Some(routes) = index.equals.get(value) {
                found.extend_from_slice(routes);
            }
            for length in &index.prefix_lengths {
                let Some(prefix) = value.get(..*length) else {
                    if *length > value.len() {
                        break;
                    }
                    continue;
                };
                if let Some(routes) = index.prefixes.get(prefix) {
                    found.extend_from_slice(routes);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
    }
}
