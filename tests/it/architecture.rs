//! The page about the architecture names functions: they are where it says.

use std::fs;
use std::path::Path;

/// Links of a page to functions: the function, and the file that the link leads to.
fn functions(page: &str) -> Vec<(String, String)> {
    let links = page.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (target, _) = rest.split_once(')')?;
        let function = name.rsplit("::").next()?;
        target
            .ends_with(".rs")
            .then(|| (function.to_owned(), target.to_owned()))
    });
    links.collect()
}

fn is_defined(function: &str, text: &str) -> bool {
    [format!("fn {function}("), format!("fn {function}<")]
        .iter()
        .any(|definition| text.contains(definition))
}

#[test]
fn functions_on_the_page_are_where_it_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs");
    let page = fs::read_to_string(docs.join("architecture.md")).unwrap();
    let functions = functions(&page);
    assert!(functions.len() > 15, "{functions:?}");
    for (function, target) in functions {
        let text = fs::read_to_string(docs.join(&target)).unwrap_or_default();
        assert!(
            is_defined(&function, &text),
            "docs/architecture.md: {function} is not in {target}"
        );
    }
}

#[test]
fn a_function_that_moved_is_missed() {
    let page = "see [`Lane::push`](../a.rs) and [decisions](b.md)";
    assert_eq!(functions(page), [("push".to_owned(), "../a.rs".to_owned())]);
    assert!(is_defined("push", "pub fn push(&self)"));
    assert!(is_defined("push", "async fn push<B>(body: B)"));
    assert!(!is_defined("push", "fn push_all()"));
}
