//! Whether the pages of a listing go on: a container whose pages repeat, or hold nothing for ever, has no end.
//!
//! Source: Blob Storage REST API, "List Blobs": blobs are listed in alphabetical order; a page may hold fewer
//! blobs than were asked for, or none, and a marker all the same.

/// Pages without a blob that may follow one another.
const EMPTY_PAGES_MAX: u32 = 1_000;

/// Characters of a name that are repeated.
const NAME_CHARS_MAX: usize = 200;

/// Why a listing is not read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingFault {
    /// A name is not behind the one before it.
    #[error(
        "the container's listing does not go on: {name:?} follows {last:?}, and names must grow from page to page"
    )]
    NotGrowing {
        /// The name, cut off at 200 characters.
        name: String,
        /// The one before it, cut off likewise.
        last: String,
    },
    /// A page leads back to itself.
    #[error("the container's listing does not go on: a page's marker leads back to that page")]
    SameMarker,
    /// There seems to be no next blob and no end.
    #[error(
        "the container's listing has {EMPTY_PAGES_MAX} pages without a blob, one after the other"
    )]
    Empty,
}

/// Follows the pages of one listing.
#[derive(Debug, Default)]
pub struct ListingOrder {
    last: Option<String>,
    marker: Option<String>,
    empty_pages: u32,
}

impl ListingOrder {
    /// Looks at a page's names and at the marker of the next one.
    ///
    /// # Errors
    /// [`ListingFault`]: nothing on this page is to be used.
    pub fn check<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        next: Option<&str>,
    ) -> Result<(), ListingFault> {
        let mut last = self.last.as_deref();
        let mut empty = true;
        for name in names {
            if let Some(last) = last.filter(|last| name <= *last) {
                let [name, last] = [name, last].map(|name| name.chars().take(NAME_CHARS_MAX));
                return Err(ListingFault::NotGrowing {
                    name: name.collect(),
                    last: last.collect(),
                });
            }
            last = Some(name);
            empty = false;
        }
        if next.is_some() && next == self.marker.as_deref() {
            return Err(ListingFault::SameMarker);
        }
        self.empty_pages = if empty { self.empty_pages + 1 } else { 0 };
        if next.is_some() && self.empty_pages >= EMPTY_PAGES_MAX {
            return Err(ListingFault::Empty);
        }
        self.last = last.map(str::to_owned);
        self.marker = next.map(str::to_owned);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_whose_pages_repeat_does_not_go_on() {
        let mut order = ListingOrder::default();
        assert_eq!(order.check(["a", "b"], Some("1")), Ok(()));
        assert_eq!(order.check([], Some("2")), Ok(()));
        assert_eq!(order.check(["c"], Some("3")), Ok(()));
        let text = "the container's listing does not go on: \"c\" follows \"c\", and names must grow from page to page";
        let refused = order.check(["c"], Some("4")).unwrap_err();
        assert_eq!(refused.to_string(), text);
        assert!(order.check(["b", "d"], Some("4")).is_err());
        assert!(order.check(["e", "d"], Some("4")).is_err());
        let refused = order.check(["d"], Some("3"));
        assert_eq!(refused, Err(ListingFault::SameMarker));
        assert_eq!(order.check(["d"], None), Ok(()));
    }

    #[test]
    fn a_listing_without_blobs_and_without_end_is_left() {
        let mut order = ListingOrder::default();
        let mut pages = 0;
        let fault = loop {
            pages += 1;
            if let Err(fault) = order.check([], Some(&pages.to_string())) {
                break fault;
            }
        };
        assert_eq!((fault, pages), (ListingFault::Empty, EMPTY_PAGES_MAX));
    }
}
