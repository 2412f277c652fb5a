//! Bytes to values. Any input is safe: depth, number of values and lengths are bounded.

use super::value::AmqpValue;
use bytes::Bytes;

/// How deep values may nest.
const DEPTH_MAX: usize = 32;
/// How many values one call may make; zero-width array items cost nothing on the wire.
const VALUES_MAX: usize = 65_536;
/// The longest descriptor of array items: each item gets its own copy.
const ARRAY_DESCRIPTOR_BYTES_MAX: usize = 128;

/// Why bytes are not AMQP 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the bytes end within a value")]
    Truncated,
    #[error("{0:#04x} is not a constructor of AMQP 1.0")]
    Constructor(u8),
    #[error("values nest deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("more than {VALUES_MAX} values")]
    TooMany,
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("a length and its content disagree")]
    Length,
    #[error("a value is not in its type's range")]
    Range,
    #[error("a section or performative is not described by a known code")]
    Descriptor,
}

/// Reads values from front to back. Binaries are slices of the source.
pub(crate) struct AmqpDecoder<'a> {
    source: &'a Bytes,
    at: usize,
    end: usize,
    values_left: usize,
}

impl<'a> AmqpDecoder<'a> {
    pub(crate) fn new(source: &'a Bytes) -> Self {
        Self {
            source,
            at: 0,
            end: source.len(),
            values_left: VALUES_MAX,
        }
    }

    /// Where the next value begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn value(&mut self) -> Result<AmqpValue, DecodeError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<AmqpValue, DecodeError> {
        if depth > DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        match self.byte()? {
            0x00 => {
                let descriptor = self.nested(depth + 1)?;
                let value = self.nested(depth + 1)?;
                Ok(AmqpValue::Described(Box::new((descriptor, value))))
            }
            code => self.body(code, depth),
        }
    }

    // AMQP 1.0 part 1 §1.6: the constructor of each primitive type.
    fn body(&mut self, code: u8, depth: usize) -> Result<AmqpValue, DecodeError> {
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or(DecodeError::TooMany)?;
        Ok(match code {
            0x40 => AmqpValue::Null,
            0x41 => AmqpValue::Bool(true),
            0x42 => AmqpValue::Bool(false),
            0x43 => AmqpValue::Uint(0),
            0x44 => AmqpValue::Ulong(0),
            0x45 => AmqpValue::List(Vec::new()),
            0x50 => AmqpValue::Ubyte(self.byte()?),
            0x51 => AmqpValue::Byte(i8::from_be_bytes(self.fixed()?)),
            0x52 => AmqpValue::Uint(self.byte()?.into()),
            0x53 => AmqpValue::Ulong(self.byte()?.into()),
            0x54 => AmqpValue::Int(i8::from_be_bytes(self.fixed()?).into()),
            0x55 => AmqpValue::Long(i8::from_be_bytes(self.fixed()?).into()),
            0x56 => match self.byte()? {
                0 => AmqpValue::Bool(false),
                1 => AmqpValue::Bool(true),
                _ => return Err(DecodeError::Range),
            },
            0x60 => AmqpValue::Ushort(u16::from_be_bytes(self.fixed()?)),
            0x61 => AmqpValue::Short(i16::from_be_bytes(self.fixed()?)),
            0x70 => AmqpValue::Uint(u32::from_be_bytes(self.fixed()?)),
            0x71 => AmqpValue::Int(i32::from_be_bytes(self.fixed()?)),
            0x72 => AmqpValue::Float(f32::from_be_bytes(self.fixed()?)),
            0x73 => {
                let point = u32::from_be_bytes(self.fixed()?);
                AmqpValue::Char(char::from_u32(point).ok_or(DecodeError::Range)?)
            }
            0x74 => AmqpValue::Decimal32(self.fixed()?),
            0x80 => AmqpValue::Ulong(u64::from_be_bytes(self.fixed()?)),
            0x81 => AmqpValue::Long(i64::from_be_bytes(self.fixed()?)),
            0x82 => AmqpValue::Double(f64::from_be_bytes(self.fixed()?)),
            0x83 => AmqpValue::Timestamp(i64::from_be_bytes(self.fixed()?)),
            0x84 => AmqpValue::Decimal64(self.fixed()?),
            0x94 => AmqpValue::Decimal128(self.fixed()?),
            0x98 => AmqpValue::Uuid(self.fixed()?),
            0xa0 | 0xb0 => AmqpValue::Binary(self.variable(code)?),
            0xa1 | 0xb1 => AmqpValue::String(self.text(code)?),
            0xa3 | 0xb3 => AmqpValue::Symbol(self.text(code)?),
            0xc0 | 0xd0 | 0xc1 | 0xd1 | 0xe0 | 0xf0 => self.compound(code, depth)?,
            other => return Err(DecodeError::Constructor(other)),
        })
    }

    fn compound(&mut self, code: u8, depth: usize) -> Result<AmqpValue, DecodeError> {
        let narrow = matches!(code, 0xc0 | 0xc1 | 0xe0);
        let size = self.length(narrow)?;
        let end = self.at.checked_add(size).filter(|end| *end <= self.end);
        let end = end.ok_or(DecodeError::Truncated)?;
        let outer = std::mem::replace(&mut self.end, end);
        let count = self.length(narrow)?;
        if count > self.values_left {
            return Err(DecodeError::TooMany);
        }
        let value = match code {
            0xc0 | 0xd0 => {
                let items = (0..count).map(|_| self.nested(depth + 1));
                AmqpValue::List(items.collect::<Result<_, _>>()?)
            }
            0xc1 | 0xd1 if count.is_multiple_of(2) => {
                let pairs =
                    (0..count / 2).map(|_| Ok((self.nested(depth + 1)?, self.nested(depth + 1)?)));
                AmqpValue::Map(pairs.collect::<Result<_, DecodeError>>()?)
            }
            0xc1 | 0xd1 => return Err(DecodeError::Length),
            _ => AmqpValue::Array(self.array(count, depth)?),
        };
        if self.at != end {
            return Err(DecodeError::Length);
        }
        self.end = outer;
        Ok(value)
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Vec<AmqpValue>, DecodeError> {
        if depth >= DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        let mut code = self.byte()?;
        let mut descriptor = None;
        if code == 0x00 {
            let value = self.nested(depth + 1)?;
            match &value {
                AmqpValue::Ulong(_) => {}
                AmqpValue::Symbol(text) if text.len() <= ARRAY_DESCRIPTOR_BYTES_MAX => {}
                _ => return Err(DecodeError::Descriptor),
            }
            descriptor = Some(value);
            code = self.byte()?;
        }
        (0..count)
            .map(|_| {
                let item = self.body(code, depth + 1)?;
                Ok(match &descriptor {
                    Some(known) => AmqpValue::Described(Box::new((known.clone(), item))),
                    None => item,
                })
            })
            .collect()
    }

    fn text(&mut self, code: u8) -> Result<String, DecodeError> {
        let bytes = self.variable(code)?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| DecodeError::NotUtf8)
    }

    fn variable(&mut self, code: u8) -> Result<Bytes, DecodeError> {
        let length = self.length(code < 0xb0)?;
        let start = self.advance(length)?;
        Ok(self.source.slice(start..self.at))
    }

    fn length(&mut self, narrow: bool) -> Result<usize, DecodeError> {
        if narrow {
            return Ok(self.byte()?.into());
        }
        usize::try_from(u32::from_be_bytes(self.fixed()?)).map_err(|_| DecodeError::Length)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let start = self.advance(1)?;
        Ok(self.source[start])
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.advance(N)?;
        Ok(self.source[start..self.at]
            .try_into()
            .expect("the slice has the length asked for"))
    }

    fn advance(&mut self, length: usize) -> Result<usize, DecodeError> {
        let start = self.at;
        let next = start.checked_add(length).filter(|next| *next <= self.end);
        self.at = next.ok_or(DecodeError::Truncated)?;
        Ok(start)
    }
}

/// The one value that `bytes` hold, and nothing after it.
#[cfg(test)]
pub(crate) fn whole(bytes: &Bytes) -> Result<AmqpValue, DecodeError> {
    let mut decoder = AmqpDecoder::new(bytes);
    let value = decoder.value()?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError::Length)
    }
}

/// Where the undescribed value that starts at `at` ends, from its constructor alone.
pub(crate) fn skip(bytes: &[u8], at: usize) -> Result<usize, DecodeError> {
    let code = *bytes.get(at).ok_or(DecodeError::Truncated)?;
    let after = at + 1;
    let length = match code >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => 1 + usize::from(*bytes.get(after).ok_or(DecodeError::Truncated)?),
        0xb | 0xd | 0xf => {
            let size = bytes.get(after..after + 4).ok_or(DecodeError::Truncated)?;
            let size = u32::from_be_bytes(size.try_into().expect("four bytes"));
            usize::try_from(size)
                .ok()
                .and_then(|size| size.checked_add(4))
                .ok_or(DecodeError::Length)?
        }
        _ => return Err(DecodeError::Constructor(code)),
    };
    after
        .checked_add(length)
        .filter(|end| *end <= bytes.len())
        .ok_or(DecodeError::Truncated)
}
