//! Values of a status whose JSON is not that of their type: where there is nothing a text is empty, and counts stand by the
//! words of their reasons, in the order of the alphabet.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
use std::collections::BTreeMap;
use std::fmt::Display;
use twinroute_journal::ledger::DiscardReason;

/// A moment, or an empty text.
pub(crate) mod moment {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use std::borrow::Cow;
    use twinroute_model::clock::Timestamp;

    pub(crate) fn serialize<S: Serializer>(
        moment: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => moment.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        match (&*text, Timestamp::parse_rfc3339(&text)) {
            ("", _) => Ok(None),
            (_, Some(moment)) => Ok(Some(moment)),
            (_, None) => Err(D::Error::custom(format_args!(
                "{text:?} is no time of RFC 3339"
            ))),
        }
    }
}

/// Counts by reason, ordered by its word.
pub(crate) fn by_word<R: Display, S: Serializer>(
    counts: &BTreeMap<R, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let counts = counts
        .iter()
        .map(|(reason, count)| (reason.to_string(), count));
    counts.collect::<BTreeMap<_, _>>().serialize(serializer)
}

/// Counts of discarded deliveries, whose reasons are the journal's.
pub(crate) fn discards<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<DiscardReason, u64>, D::Error> {
    let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let counts = counts.into_iter().map(|(word, count)| {
        let reason = DiscardReason::parse(&word);
        let unknown = || D::Error::custom(format_args!("{word:?} is no reason of discards"));
        Ok((reason.ok_or_else(unknown)?, count))
    });
    counts.collect()
}
