//! Names that all providers share, and locations.

use super::error::Error;

/// ARM RPC 1.0: 1 to 90 letters, digits and `-_().`, not ending in a dot.
pub(crate) fn check_group(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_alphanumeric() || "-_().".contains(c);
    if (1..=90).contains(&name.chars().count()) && name.chars().all(legal) && !name.ends_with('.') {
        return Ok(());
    }
    Err(Error::InvalidName {
        name: name.to_owned(),
        rule: "a resource group has 1 to 90 letters, digits and -_()., and does not end in a dot"
            .to_owned(),
    })
}

/// Connections have no published rule; what needs no escaping is taken.
pub(crate) fn check_connection(name: &str) -> Result<(), Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let dots = name.bytes().all(|byte| byte == b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(legal) && !dots {
        return Ok(());
    }
    Err(Error::InvalidName {
        name: name.to_owned(),
        rule: "a connection has 1 to 128 letters, digits and -_., and not dots alone".to_owned(),
    })
}

/// ARM RPC 1.0: `West US 2`, `WestUS2` and `westus2` are one.
pub(crate) fn location(text: &str) -> Result<String, Error> {
    let location: String = text.chars().filter(|c| *c != ' ').collect();
    let location = location.to_ascii_lowercase();
    let legal = location.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if legal && (3..=40).contains(&location.len()) {
        return Ok(location);
    }
    let rule = "must be the name of a region, such as westus2";
    Err(Error::invalid("location", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_reported() {
        assert_eq!(location("West US 2").unwrap(), "westus2");
        assert!(location("../x").is_err() && location("").is_err());
        assert!(check_group("my.Group_(1)").is_ok());
        assert!(check_group("ends.").is_err() && check_group("a b").is_err());
        assert!(check_connection("a.b_c-1").is_ok() && check_connection("a/b").is_err());
    }
}
