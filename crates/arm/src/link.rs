//! Where a server's links may lead: to the configured origin, and nowhere else.

use super::error::Error;
use reqwest::Url;
use std::collections::BTreeSet;

/// Signed URLs of operations have several kilobytes.
const LINK_BYTES_MAX: usize = 64 << 10;

/// The URL to ask for `link`.
///
/// A link to the configured host is asked for at the configured origin: a server behind a proxy may not
/// know its scheme and port. `nextLink` and the URLs of operations are absolute (ARM resource provider
/// contract); relative ones are taken as well.
///
/// # Errors
/// [`Error::Foreign`] for another host.
pub(super) fn at_home(base: &Url, request: &str, link: &str) -> Result<Url, Error> {
    let refuse = |reason: &str| Error::Answer {
        request: request.to_owned(),
        reason: reason.to_owned(),
    };
    if link.len() > LINK_BYTES_MAX {
        return Err(refuse("has a link that is too long"));
    }
    let target = base
        .join(link)
        .map_err(|_| refuse("has a link that is no URL"))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(refuse("has a link that is no HTTP URL"));
    }
    if target.host_str() != base.host_str() {
        return Err(Error::Foreign {
            request: request.to_owned(),
            host: target.host_str().unwrap_or_default().to_owned(),
        });
    }
    let mut url = base.clone();
    url.set_path(target.path());
    url.set_query(target.query());
    Ok(url)
}

/// Pages that were asked for. A link that repeats one, or only repeats a parameter of it, is a loop.
#[derive(Default)]
pub(super) struct VisitedPages(BTreeSet<String>);

impl VisitedPages {
    /// Whether `url` is new.
    pub(super) fn enter(&mut self, url: &Url) -> bool {
        let pairs: BTreeSet<_> = url
            .query_pairs()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
            .collect();
        let path = url.path().to_ascii_lowercase();
        self.0.insert(format!("{path} {pairs:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_configured_origin() {
        let base = Url::parse("https://localhost:8443/instances/a").unwrap();
        let check = |link: &str, expect: &str| {
            assert_eq!(at_home(&base, "GET /x", link).unwrap().as_str(), expect);
        };
        check(
            "https://localhost:8443/b?c=%24d",
            "https://localhost:8443/b?c=%24d",
        );
        check("http://LOCALHOST/b?c", "https://localhost:8443/b?c");
        check("/b?c", "https://localhost:8443/b?c");
        check("https://user:word@localhost/b", "https://localhost:8443/b");
        let refused = |link: &str| at_home(&base, "GET /x", link).unwrap_err().to_string();
        for link in [
            "https://evil.example/b",
            "//evil.example/b",
            "https://localhost@evil.example/",
        ] {
            let expect = "GET /x: the answer leads to evil.example, not to the configured host; not followed";
            assert_eq!(refused(link), expect);
        }
        assert!(refused("ftp://localhost/").contains("no HTTP URL"));
        assert!(refused("https://[").contains("no URL"));
        assert!(refused(&"x".repeat(LINK_BYTES_MAX + 1)).contains("too long"));
    }

    #[test]
    fn a_parameter_that_is_only_repeated_makes_no_new_page() {
        let mut visited = VisitedPages::default();
        let mut enter = |text: &str| visited.enter(&Url::parse(text).unwrap());
        assert!(enter("http://h/a?api-version=1"));
        assert!(enter("http://h/a?api-version=1&$skiptoken=x"));
        assert!(!enter(
            "http://h/A?$skiptoken=x&%24skipToken=x&api-version=1"
        ));
        assert!(enter("http://h/a?api-version=1&$skiptoken=y"));
    }
}
