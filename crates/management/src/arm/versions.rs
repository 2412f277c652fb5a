//! Which api-versions are taken.
//!
//! Azure's own clients send neighbours of the versions that are built here; the shapes are the same.

/// Microsoft.DigitalTwins: all that were published up to 2023-01-31.
pub(crate) const DIGITAL_TWINS: &[&str] = &[
    "2020-03-01-preview",
    "2020-10-31",
    "2020-12-01",
    "2021-06-30-preview",
    "2022-05-31",
    "2022-10-31",
    "2023-01-31",
];

/// The data plane of Azure Digital Twins.
pub(crate) const DATA_PLANE: &[&str] = &["2020-10-31", "2022-05-31", "2023-06-30", "2023-10-31"];

/// Microsoft.Devices/provisioningServices, with what released clients send.
pub(crate) const PROVISIONING: &[&str] = &[
    "2017-11-15",
    "2018-01-22",
    "2020-01-01",
    "2020-03-01",
    "2021-10-15",
    "2022-02-05",
    "2022-12-12",
    "2025-02-01-preview",
    "2026-08-31",
    "2026-11-01",
];

/// Subscriptions, groups and lists of all resources: what released clients send. Others are taken too.
pub(crate) const RESOURCES: &[&str] = &[
    "2016-06-01",
    "2019-10-01",
    "2020-10-01",
    "2021-04-01",
    "2022-09-01",
    "2022-12-01",
    "2024-03-01",
    "2024-11-01",
];

/// The version of a list that a client names, in any case.
pub(crate) fn find(all: &[&'static str], version: &str) -> Option<&'static str> {
    let mut all = all.iter();
    all.find(|known| known.eq_ignore_ascii_case(version))
        .copied()
}

/// Whether a text has the form of a version: `2023-01-31` or `2023-01-31-preview`.
pub(crate) fn is_version(text: &str) -> bool {
    let (date, suffix) = text.split_at_checked(10).unwrap_or((text, ""));
    let legal = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    date.len() == 10
        && date.bytes().enumerate().all(legal)
        && (suffix.is_empty()
            || suffix
                .strip_prefix('-')
                .is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates() {
        for known in DIGITAL_TWINS.iter().chain(DATA_PLANE).chain(PROVISIONING) {
            assert!(is_version(known), "{known}");
        }
        for bad in [
            "",
            "2023",
            "2023-1-31",
            "latest",
            "2023-01-31x",
            "2023-01-31-1",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
