//! Which strings a path can have where a condition is true.

use crate::ast::{Compare, Expr, Op, Operand, Path};

/// The values that `path` must be one of for `expr` to be true; `None` if that is not known.
pub(super) fn allowed<'a>(expr: &'a Expr, path: &str) -> Option<Vec<&'a str>> {
    match expr {
        Expr::Compare(Compare {
            left,
            op: Op::Equal,
            right,
            ..
        }) => {
            let is_path = |operand: &Operand| operand.path().is_some_and(|it| it.as_str() == path);
            let text = match (is_path(left), is_path(right)) {
                (true, false) => right.text(),
                (false, true) => left.text(),
                _ => None,
            };
            text.map(|text| vec![text])
        }
        Expr::And(group) => {
            let children = group.children.iter().map(|child| allowed(child, path));
            children.fold(None, both)
        }
        Expr::Or(group) => {
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

/// Adds the paths that `expr` compares with a string by `=`.
pub(super) fn equated<'a>(expr: &'a Expr, paths: &mut Vec<&'a str>) {
    if let Expr::Compare(Compare {
        left,
        op: Op::Equal,
        right,
        ..
    }) = expr
        && (left.text().is_some() || right.text().is_some())
    {
        let found = [left, right]
            .into_iter()
            .filter_map(|operand| operand.path());
        for path in found.map(Path::as_str) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    expr.children()
        .iter()
        .for_each(|child| equated(child, paths));
}
