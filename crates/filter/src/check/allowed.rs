//! Which strings a path can have where a condition is true.

use std::collections::BTreeMap;

use crate::ast::{CompareExpr, CompareOp, CompareOperand, FieldPath, FilterExpr, FilterSpan};

/// The values that `path` must be one of for `expr` to be true; `None` if that is not known.
pub(super) fn allowed<'a>(expr: &'a FilterExpr, path: &str) -> Option<Vec<&'a str>> {
    match expr {
        FilterExpr::Compare(CompareExpr {
            left,
            op: CompareOp::Equal,
            right,
            ..
        }) => {
            let is_path =
                |operand: &CompareOperand| operand.path().is_some_and(|it| it.as_str() == path);
            let text = match (is_path(left), is_path(right)) {
                (true, false) => right.text(),
                (false, true) => left.text(),
                _ => None,
            };
            text.map(|text| vec![text])
        }
        FilterExpr::And(group) => {
            let children = group.children.iter().map(|child| allowed(child, path));
            children.fold(None, both)
        }
        FilterExpr::Or(group) => {
            let children = group.children.iter().map(|child| allowed(child, path));
            children
                .collect::<Option<Vec<_>>>()
                .map(|values| values.concat())
        }
        _ => None,
    }
}

/// What two sets of allowed values have in common.
pub(super) fn both<'a>(
    left: Option<Vec<&'a str>>,
    right: Option<Vec<&'a str>>,
) -> Option<Vec<&'a str>> {
    match (left, right) {
        (Some(mut left), Some(right)) => {
            left.retain(|value| right.contains(value));
            Some(left)
        }
        (left, right) => left.or(right),
    }
}

/// Clauses that leave no value for a path, and that path.
///
/// Every part of the filter is looked at once, whatever the nesting.
pub(super) fn contradictions(expr: &FilterExpr) -> Vec<(FilterSpan, &str)> {
    let mut found = Vec::new();
    allowed_by_path(expr, &mut found);
    found
}

type ByPath<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn allowed_by_path<'a>(expr: &'a FilterExpr, found: &mut Vec<(FilterSpan, &'a str)>) -> ByPath<'a> {
    match expr {
        FilterExpr::Compare(compare) if compare.op == CompareOp::Equal => {
            let operands = [&compare.left, &compare.right];
            let paths = operands.into_iter().filter_map(|operand| operand.path());
            let values = |path: &'a FieldPath| Some((path.as_str(), allowed(expr, path.as_str())?));
            paths.filter_map(values).collect()
        }
        FilterExpr::And(group) => {
            let mut all = ByPath::new();
            for child in &group.children {
                let mut clash = None;
                for (path, here) in allowed_by_path(child, found) {
                    let before = all.get(path).cloned();
                    let was_empty = here.is_empty() || before.as_ref().is_some_and(Vec::is_empty);
                    let left = both(before, Some(here)).unwrap_or_default();
                    if left.is_empty() && !was_empty {
                        clash = Some((child.span(), path));
                    }
                    all.insert(path, left);
                }
                found.extend(clash);
            }
            all
        }
        FilterExpr::Or(group) => {
            let mut children = group
                .children
                .iter()
                .map(|child| allowed_by_path(child, found));
            let mut any = children.next().unwrap_or_default();
            for mut child in children {
                any.retain(|path, values| match child.remove(path) {
                    Some(here) => {
                        values.extend(here);
                        true
                    }
                    None => false,
                });
            }
            any
        }
        _ => ByPath::new(),
    }
}
