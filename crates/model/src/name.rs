//! Names of instances, endpoints and routes: checked once, compared by their rules.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A name that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

impl InvalidName {
    /// The rule alone, where the name stands beside it already.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

/// Name of an endpoint: 3 to 49 letters, digits and hyphens; compared without case.
///
/// Azure's pattern `^(?![0-9]+$)(?!-)[a-zA-Z0-9-]{2,49}[a-zA-Z0-9]$` allows 3 to 50 characters, its
/// lengths 2 to 49; only what both allow is taken.
/// Source: Microsoft.DigitalTwins 2023-01-31, parameter `endpointName`.
#[derive(Clone, Debug)]
pub struct EndpointName(Arc<str>);

/// Name of an Azure Digital Twins instance: 3 to 63 letters, digits and hyphens; compared without case.
///
/// Source: Microsoft.DigitalTwins 2023-01-31, parameter `resourceName`.
#[derive(Clone, Debug)]
pub struct InstanceName(Arc<str>);

/// Id of an event route: 1 to 256 letters, digits, `-`, `_` and `.`; compared with case.
///
/// Azure publishes no rule beside "case sensitive"; these characters need no escaping in a URL, a file
/// name or a metric label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(Arc<str>);

impl EndpointName {
    /// Checks a name.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let rule = if !(3..=49).contains(&name.len()) {
            "must have 3 to 49 characters"
        } else if let Some(rule) = hyphenated(name) {
            rule
        } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
            "must not consist of digits alone"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidName {
            kind: "endpoint",
            name: name.to_owned(),
            rule,
        })
    }
}

impl InstanceName {
    /// Checks a name.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let rule = if !(3..=63).contains(&name.len()) {
            "must have 3 to 63 characters"
        } else if let Some(rule) = hyphenated(name) {
            rule
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidName {
            kind: "instance",
            name: name.to_owned(),
            rule,
        })
    }
}

impl RouteId {
    /// Checks an id.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(id: &str) -> Result<Self, InvalidName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let rule = if !(1..=256).contains(&id.len()) {
            "must have 1 to 256 characters"
        } else if !id.bytes().all(legal) {
            "consists of letters, digits, `-`, `_` and `.`"
        } else if id.bytes().all(|byte| byte == b'.') {
            "must not consist of dots alone"
        } else {
            return Ok(Self(id.into()));
        };
        Err(InvalidName {
            kind: "route",
            name: id.to_owned(),
            rule,
        })
    }
}

fn hyphenated(name: &str) -> Option<&'static str> {
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        Some("consists of letters, digits and hyphens")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen")
    } else {
        None
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )*};
}

text!(EndpointName, InstanceName, RouteId);

macro_rules! without_case {
    ($($name:ident),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                // Nearly always they are written alike, which is quicker to see.
                *self.0 == *other.0 || self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                // All at once: byte by byte a hasher is many times slower. No name is longer.
                let mut lower = [0; 64];
                for chunk in self.0.as_bytes().chunks(lower.len()) {
                    let lower = &mut lower[..chunk.len()];
                    lower.copy_from_slice(chunk);
                    lower.make_ascii_lowercase();
                    state.write(lower);
                }
                state.write_u8(0xff);
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let lower = |byte: u8| byte.to_ascii_lowercase();
                self.0.bytes().map(lower).cmp(other.0.bytes().map(lower))
            }
        }
    )*};
}

without_case!(EndpointName, InstanceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_names() {
        for good in ["abc", "A-1", "1a1", &"x".repeat(49)] {
            assert!(EndpointName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "123",
            "-ab",
            "ab-",
            "a_b",
            "a b",
            "",
            &"x".repeat(50),
            "äöü",
        ] {
            assert!(EndpointName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            EndpointName::new("My-Hub").unwrap(),
            EndpointName::new("my-hub").unwrap()
        );
        let error = EndpointName::new("a_b").unwrap_err();
        let text = "endpoint name \"a_b\": consists of letters, digits and hyphens";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn route_ids_keep_their_case() {
        assert_ne!(RouteId::new("a").unwrap(), RouteId::new("A").unwrap());
        for bad in ["", "..", "a/b", "a b", &"x".repeat(257)] {
            assert!(RouteId::new(bad).is_err(), "{bad}");
        }
    }
}
