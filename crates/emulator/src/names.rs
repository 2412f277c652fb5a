//! Names of entities, as the services take them.
//!
//! Source: "Naming rules and restrictions for Azure resources", Microsoft.EventHub, Microsoft.ServiceBus and
//! Microsoft.EventGrid.

use crate::settings_error::SettingsError;

/// Checks a name with so many characters.
pub(crate) fn check_name(
    what: &'static str,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<(), SettingsError> {
    let letter = |letter: char| letter.is_ascii_alphanumeric();
    let inside = |one: char| letter(one) || matches!(one, '.' | '-' | '_');
    let rule = if !lengths.contains(&name.len()) {
        format!(
            "it must have {} to {} characters",
            lengths.start(),
            lengths.end()
        )
    } else if !name.chars().all(inside) {
        "letters, digits, dots, hyphens and underscores are allowed".to_owned()
    } else if !name.starts_with(letter) || !name.ends_with(letter) {
        "it must start and end with a letter or digit".to_owned()
    } else {
        return Ok(());
    };
    Err(SettingsError::entity_name(what, name, rule))
}

/// Checks that no two are the same; names are compared without case.
pub(crate) fn check_distinct(names: &[String]) -> Result<(), SettingsError> {
    for (at, name) in names.iter().enumerate() {
        if names[..at]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
        {
            return Err(SettingsError::NameTwice(name.clone()));
        }
    }
    Ok(())
}
