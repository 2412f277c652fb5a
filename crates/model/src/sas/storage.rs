//! Shared access signatures of Azure Storage, read for what they allow. They are neither made nor
//! verified here: the signature itself is checked to be there and then forgotten.
//!
//! Sources: Azure Storage "Create a service SAS", "Create a user delegation SAS", "Create an account
//! SAS" (service version 2026-04-06).

use crate::clock::Timestamp;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use time::format_description::well_known::Iso8601;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 << 10;

/// Why a token cannot be used. The texts hold nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SasMalformed {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the SAS token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// A parameter that it needs is not there, or empty.
    #[error("the SAS token has no `{0}`; copy it whole, with every parameter")]
    Missing(&'static str),
    /// A parameter stands twice, so it is open which one counts.
    #[error("the SAS token has `{0}` twice")]
    Twice(&'static str),
    /// A time that is not ISO 8601 in UTC.
    #[error("`{0}` of the SAS token is not a time such as 2030-01-31T08:00:00Z")]
    Time(&'static str),
    /// A percent-escape that stands for no UTF-8 text.
    #[error("`{0}` of the SAS token is not percent-encoded UTF-8")]
    Escape(&'static str),
    /// `&amp;` for `&`.
    #[error("the SAS token was copied out of HTML or XML: write `&` for each `&amp;`")]
    Markup,
    /// A signature with a character that base64 does not have.
    #[error(
        "`sig` of the SAS token holds {0:?}, which no signature does; copy it again without what follows it"
    )]
    Signature(char),
    /// A signature whose percent-escapes were escaped once more.
    #[error("`sig` of the SAS token is percent-encoded twice; write `%` for each `%25`")]
    EscapedTwice,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SasScope {
    /// `sr=c`: a container and its blobs.
    Container,
    /// Any other `sr`: one blob, version, snapshot or directory.
    Narrower(String),
    /// An account SAS.
    Account {
        /// `ss`: letters of the services, `b` for Blob.
        services: String,
        /// `srt`: letters of the levels: `s` service, `c` container, `o` object.
        levels: String,
    },
}

/// What a token allows and when. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSas {
    /// `sp`: letters such as `r`, `w`, `c` (create), `l` (list). `None`: a stored access policy says.
    pub permissions: Option<String>,
    /// `st`.
    pub starts_at: Option<Timestamp>,
    /// `se`. `None`: a stored access policy says.
    pub expires_at: Option<Timestamp>,
    /// `sr`, or `ss` and `srt`.
    pub scope: SasScope,
    /// `spr` is `https` alone.
    pub https_only: bool,
}

/// Whether a token is valid at a moment, as far as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SasValidity {
    /// It is, or a stored access policy decides.
    Valid,
    /// From this moment on.
    NotBefore(Timestamp),
    /// No longer, since this moment.
    ExpiredAt(Timestamp),
}

/// The parameters that are looked at.
const NAMES: [&str; 10] = [
    "sv", "sig", "sp", "st", "se", "sr", "ss", "srt", "spr", "si",
];

impl StorageSas {
    /// Reads a token: the query of a SAS URI, without its `?`.
    ///
    /// # Errors
    /// When something is missing without which no service takes the token.
    pub fn parse(token: &str) -> Result<Self, SasMalformed> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SasMalformed::TooLong);
        }
        let values = SasValues::read(token)?;
        values.required("sv")?;
        check_signature(values.required("sig")?)?;
        let policy = values.get("si").is_some();
        let scope = match (values.get("sr"), values.get("ss")) {
            (Some("c"), _) => SasScope::Container,
            (Some(other), _) => SasScope::Narrower(other.to_owned()),
            (None, Some(services)) => SasScope::Account {
                services: services.to_owned(),
                levels: values.required("srt")?.to_owned(),
            },
            (None, None) => return Err(SasMalformed::Missing("sr")),
        };
        if !policy {
            values.required("se")?;
            values.required("sp")?;
        }
        Ok(Self {
            permissions: values.get("sp").map(str::to_owned),
            starts_at: values.time("st")?,
            expires_at: values.time("se")?,
            scope,
            https_only: values.get("spr") == Some("https"),
        })
    }

    /// Whether new blobs can be written to a container: `w` or `c`.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.allows("wc") && self.covers('o')
    }

    /// Whether blobs can be replaced too: `w`.
    #[must_use]
    pub fn overwritable(&self) -> bool {
        self.allows("w") && self.covers('o')
    }

    /// Whether a container's blobs can be listed: `l`.
    #[must_use]
    pub fn listable(&self) -> bool {
        self.allows("l") && self.covers('c')
    }

    /// Whether blobs can be read: `r`.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.allows("r") && self.covers('o')
    }

    /// Looks at `st` and `se`.
    #[must_use]
    pub fn validity(&self, now: Timestamp) -> SasValidity {
        match (self.starts_at, self.expires_at) {
            (_, Some(at)) if at <= now => SasValidity::ExpiredAt(at),
            (Some(at), _) if at > now => SasValidity::NotBefore(at),
            _ => SasValidity::Valid,
        }
    }

    /// Whether it reaches no container at all: it is for one blob or directory, or for other services.
    #[must_use]
    pub fn is_narrower_than_a_container(&self) -> bool {
        match &self.scope {
            SasScope::Container => false,
            SasScope::Narrower(_) => true,
            SasScope::Account { services, .. } => !services.contains('b'),
        }
    }

    fn allows(&self, any_of: &str) -> bool {
        self.permissions
            .as_deref()
            .is_none_or(|granted| granted.contains(|letter| any_of.contains(letter)))
    }

    fn covers(&self, level: char) -> bool {
        match &self.scope {
            SasScope::Container => true,
            SasScope::Narrower(_) => false,
            SasScope::Account { services, levels } => {
                services.contains('b') && levels.contains(level)
            }
        }
    }
}

/// The decoded values of [`NAMES`], in that order; empty ones count as absent. No form: a `+` stays one, since
/// signatures are base64.
struct SasValues<'a>([Option<Cow<'a, str>>; NAMES.len()]);

impl<'a> SasValues<'a> {
    fn read(token: &'a str) -> Result<Self, SasMalformed> {
        let mut values = [const { None }; NAMES.len()];
        for pair in token.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.starts_with("amp;") {
                return Err(SasMalformed::Markup);
            }
            let Some(place) = NAMES.iter().position(|known| *known == name) else {
                continue;
            };
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| SasMalformed::Escape(NAMES[place]))?;
            if !value.is_empty() && values[place].replace(value).is_some() {
                return Err(SasMalformed::Twice(NAMES[place]));
            }
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let place = NAMES.iter().position(|known| *known == name)?;
        self.0[place].as_deref()
    }

    fn required(&self, name: &'static str) -> Result<&str, SasMalformed> {
        self.get(name).ok_or(SasMalformed::Missing(name))
    }

    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, SasMalformed> {
        self.get(name)
            .map(|text| parse_time(text).ok_or(SasMalformed::Time(name)))
            .transpose()
    }
}

/// What people copy with a signature makes it another one, which the service refuses only when a dead letter goes up.
fn check_signature(signature: &str) -> Result<(), SasMalformed> {
    if signature.contains('%') {
        return Err(SasMalformed::EscapedTwice);
    }
    let strange = signature
        .chars()
        .find(|letter| ";:,()[]{}<>'|".contains(*letter));
    match strange.or(signature.chars().last().filter(|last| *last == '.')) {
        Some(letter) => Err(SasMalformed::Signature(letter)),
        None => Ok(()),
    }
}

/// The forms of "Formatting DateTime values": a date, or a date and a time to the minute, the second or
/// its fraction, with a zone. Some clients leave the zone out and mean UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let day = format_description!("[year]-[month]-[day]");
    let minute = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    let second = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let moment = OffsetDateTime::parse(text, &Iso8601::PARSING)
        .ok()
        .or_else(|| Some(PrimitiveDateTime::parse(bare, second).ok()?.assume_utc()))
        .or_else(|| Some(PrimitiveDateTime::parse(bare, minute).ok()?.assume_utc()))
        .or_else(|| Some(Date::parse(text, day).ok()?.midnight().assume_utc()))?;
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis).ok().map(Timestamp::from_unix_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the Azure portal makes for a container.
    const CONTAINER: &str = "sp=cw&st=2026-01-01T00:00:00Z&se=2026-12-31T08:30:00Z&spr=https&sv=2024-11-04&sr=c&sig=c2ln%3D";

    #[test]
    fn a_container_token_says_what_it_allows_and_when() {
        let sas = StorageSas::parse(CONTAINER).unwrap();
        assert_eq!(sas.permissions.as_deref(), Some("cw"));
        assert_eq!(sas.scope, SasScope::Container);
        assert!(sas.https_only && sas.writable() && sas.overwritable());
        assert!(!sas.listable() && !sas.readable());
        let (start, end) = (sas.starts_at.unwrap(), sas.expires_at.unwrap());
        assert_eq!(start.rfc3339(), "2026-01-01T00:00:00Z");
        assert_eq!(end.rfc3339(), "2026-12-31T08:30:00Z");
        let millis = |moment: Timestamp, by: i64| {
            Timestamp::from_unix_millis(moment.unix_millis().saturating_add(by))
        };
        for (now, expect) in [
            (millis(start, -1), SasValidity::NotBefore(start)),
            (start, SasValidity::Valid),
            (millis(end, -1), SasValidity::Valid),
            (end, SasValidity::ExpiredAt(end)),
        ] {
            assert_eq!(sas.validity(now), expect, "{now:?}");
        }
        assert!(!format!("{sas:?}").contains("c2ln"));
    }

    #[test]
    fn rights_follow_permissions_and_scope() {
        // Writable, overwritable, listable, readable.
        for (part, expect) in [
            ("sp=w&se=2030-01-01&sr=c", [true, true, false, false]),
            ("sp=c&se=2030-01-01&sr=c", [true, false, false, false]),
            ("sp=rl&se=2030-01-01&sr=c", [false, false, true, true]),
            ("sp=rwl&se=2030-01-01&sr=b", [false; 4]),
            ("sp=rwl&se=2030-01-01&sr=d&sdd=1", [false; 4]),
            (
                "sp=w&se=2030-01-01&ss=bfqt&srt=o",
                [true, true, false, false],
            ),
            ("sp=rwl&se=2030-01-01&ss=b&srt=sco", [true; 4]),
            (
                "sp=rwl&se=2030-01-01&ss=b&srt=c",
                [false, false, true, false],
            ),
            ("sp=rwl&se=2030-01-01&ss=fqt&srt=sco", [false; 4]),
            // A stored access policy may allow all of it.
            ("si=policy&sr=c", [true; 4]),
        ] {
            let sas = StorageSas::parse(&format!("{part}&sv=2024-11-04&sig=x")).unwrap();
            let rights = [
                sas.writable(),
                sas.overwritable(),
                sas.listable(),
                sas.readable(),
            ];
            assert_eq!(rights, expect, "{part}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (token, expect) in [
            ("", SasMalformed::Missing("sv")),
            ("sv=1&sp=w&se=2030-01-01&sr=c", SasMalformed::Missing("sig")),
            (
                "sv=1&sig=&sp=w&se=2030-01-01&sr=c",
                SasMalformed::Missing("sig"),
            ),
            ("sv=1&sig=x&sp=w&sr=c", SasMalformed::Missing("se")),
            ("sv=1&sig=x&se=2030-01-01&sr=c", SasMalformed::Missing("sp")),
            ("sv=1&sig=x&se=2030-01-01&sp=w", SasMalformed::Missing("sr")),
            (
                "sv=1&sig=x&se=2030-01-01&sp=w&ss=b",
                SasMalformed::Missing("srt"),
            ),
            ("sv=1&sig=x&sp=w&se=soon&sr=c", SasMalformed::Time("se")),
            (
                "sv=1&sig=x&sp=w&se=2030-02-30&sr=c",
                SasMalformed::Time("se"),
            ),
            (
                "sv=1&sig=x&sig=y&sp=w&se=2030-01-01&sr=c",
                SasMalformed::Twice("sig"),
            ),
            ("sv=1&sig=x&sp=%ff&sr=c", SasMalformed::Escape("sp")),
            ("sv=1&amp;sig=x&amp;sp=w", SasMalformed::Markup),
            ("sv=1&sp=w&sig=a%252Fb%253D", SasMalformed::EscapedTwice),
            ("sv=1&sp=w&sig=ab%3D;", SasMalformed::Signature(';')),
            ("sv=1&sp=w&sig=ab%3D,", SasMalformed::Signature(',')),
            ("sv=1&sp=w&sig=ab.", SasMalformed::Signature('.')),
            ("sv=1&sp=w&sig=ab)", SasMalformed::Signature(')')),
        ] {
            assert_eq!(StorageSas::parse(token), Err(expect), "{token}");
        }
        let long = format!("{CONTAINER}&x={}", "y".repeat(TOKEN_BYTES_MAX));
        assert_eq!(StorageSas::parse(&long), Err(SasMalformed::TooLong));
    }

    #[test]
    fn every_published_form_of_a_time_is_read() {
        for (text, expect) in [
            ("2030-01-31", "2030-01-31T00:00:00Z"),
            ("2030-01-31T08:15Z", "2030-01-31T08:15:00Z"),
            ("2030-01-31T08:15:30Z", "2030-01-31T08:15:30Z"),
            ("2030-01-31T08:15:30.1234567Z", "2030-01-31T08:15:30.123Z"),
            ("2030-01-31T08:15:30+02:00", "2030-01-31T06:15:30Z"),
            ("2030-01-31T08:15:30", "2030-01-31T08:15:30Z"),
        ] {
            let read = parse_time(text).map(Timestamp::rfc3339);
            assert_eq!(read.as_deref(), Some(expect), "{text}");
        }
        for text in ["", "Z", "tomorrow", "2030-13-01", "08:15:30Z", "1893456000"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_token_panics(token in "((sv|sig|sp|st|se|sr|ss|srt|si)?=?[%a-z0-9:TZ+-]{0,24}&?){0,12}") {
            // The result does not matter here.
            drop(StorageSas::parse(&token));
        }
    }
}
