//! Any AMQP 1.0 value.

use bytes::Bytes;
use twinroute_model::clock::Timestamp;

/// One value of the AMQP 1.0 type system (AMQP 1.0 part 1 §1.6).
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the variants carry the names of the specification"
)]
pub enum AmqpValue {
    Null,
    Bool(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal32([u8; 4]),
    Decimal64([u8; 8]),
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    /// In network order.
    Uuid([u8; 16]),
    Binary(Bytes),
    String(String),
    Symbol(String),
    List(Vec<AmqpValue>),
    /// Pairs in their order on the wire.
    Map(Vec<(AmqpValue, AmqpValue)>),
    /// All items are of one type.
    Array(Vec<AmqpValue>),
    /// Descriptor and value.
    Described(Box<(AmqpValue, AmqpValue)>),
}

impl AmqpValue {
    /// The text of a string or symbol.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// The number in any integer type or timestamp, if it fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => i64::try_from(number).ok(),
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) | Self::Timestamp(number) => Some(number),
            _ => None,
        }
    }

    /// The truth value of a boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// What a map has under a string or symbol key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&AmqpValue> {
        match self {
            Self::Map(pairs) => find(pairs, key),
            _ => None,
        }
    }

    pub(crate) fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn symbol(text: impl Into<String>) -> Self {
        Self::Symbol(text.into())
    }

    pub(crate) fn time(moment: Timestamp) -> Self {
        Self::Timestamp(moment.unix_millis())
    }

    /// A map with texts for keys.
    pub(crate) fn map<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Map(texts(pairs))
    }

    pub(crate) fn described(code: u64, value: AmqpValue) -> Self {
        Self::Described(Box::new((Self::Ulong(code), value)))
    }

    /// The value without its descriptor.
    pub(crate) fn plain(&self) -> &AmqpValue {
        match self {
            Self::Described(both) => &both.1,
            other => other,
        }
    }

    /// Items of a list or array, described or not.
    pub(crate) fn items(&self) -> &[AmqpValue] {
        match self.plain() {
            Self::List(items) | Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn into_items(self) -> Vec<AmqpValue> {
        match self {
            Self::List(items) | Self::Array(items) => items,
            Self::Described(both) => both.1.into_items(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn into_pairs(self) -> Vec<(AmqpValue, AmqpValue)> {
        match self {
            Self::Map(pairs) => pairs,
            _ => Vec::new(),
        }
    }
}

/// Pairs with texts for keys, as application properties are.
pub(crate) fn texts<const N: usize>(pairs: [(&str, AmqpValue); N]) -> Vec<(AmqpValue, AmqpValue)> {
    pairs
        .map(|(name, value)| (AmqpValue::string(name), value))
        .into()
}

/// Pairs with symbols for keys, as annotations are.
pub(crate) fn symbols<const N: usize>(
    pairs: [(&str, AmqpValue); N],
) -> Vec<(AmqpValue, AmqpValue)> {
    pairs
        .map(|(name, value)| (AmqpValue::symbol(name), value))
        .into()
}

/// What `pairs` has under a string or symbol key.
pub(crate) fn find<'a>(pairs: &'a [(AmqpValue, AmqpValue)], key: &str) -> Option<&'a AmqpValue> {
    pairs
        .iter()
        .find(|(name, _)| name.as_str() == Some(key))
        .map(|(_, value)| value)
}

impl PartialEq<str> for AmqpValue {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for AmqpValue {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}
