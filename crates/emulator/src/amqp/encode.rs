//! Values to bytes, each in its shortest form, except that an empty list is written as `list8`: the
//! Python clients do not read `list0` in every place.

use super::value::AmqpValue;
use bytes::{BufMut, BytesMut};

/// Appends `value`.
pub(crate) fn value(value: &AmqpValue, out: &mut BytesMut) {
    match value {
        AmqpValue::Bool(true) => out.put_u8(0x41),
        AmqpValue::Bool(false) => out.put_u8(0x42),
        AmqpValue::Uint(0) => out.put_u8(0x43),
        AmqpValue::Uint(number @ 1..=255) => out.put_slice(&[0x52, *number as u8]),
        AmqpValue::Ulong(0) => out.put_u8(0x44),
        AmqpValue::Ulong(number @ 1..=255) => out.put_slice(&[0x53, *number as u8]),
        AmqpValue::Int(number @ -128..=127) => out.put_slice(&[0x54, *number as u8]),
        AmqpValue::Long(number @ -128..=127) => out.put_slice(&[0x55, *number as u8]),
        AmqpValue::Binary(bytes) => variable(0xa0, bytes, out),
        AmqpValue::String(text) => variable(0xa1, text.as_bytes(), out),
        AmqpValue::Symbol(text) => variable(0xa3, text.as_bytes(), out),
        AmqpValue::List(items) => list(items, out),
        AmqpValue::Map(pairs) => map(pairs, out),
        AmqpValue::Array(items) => array(items, out),
        AmqpValue::Described(both) => {
            out.put_u8(0x00);
            self::value(&both.0, out);
            self::value(&both.1, out);
        }
        other => {
            out.put_u8(wide_code(other));
            wide_body(other, out);
        }
    }
}

/// Appends a list.
pub(crate) fn list(items: &[AmqpValue], out: &mut BytesMut) {
    compound(0xc0, items.len(), out, |out| {
        items.iter().for_each(|item| value(item, out))
    });
}

/// Appends a map.
pub(crate) fn map(pairs: &[(AmqpValue, AmqpValue)], out: &mut BytesMut) {
    compound(0xc1, pairs.len() * 2, out, |out| {
        for (key, item) in pairs {
            value(key, out);
            value(item, out);
        }
    });
}

/// Appends `00 53 code` and a value: a performative or a section.
pub(crate) fn described(code: u8, content: &AmqpValue, out: &mut BytesMut) {
    out.put_slice(&[0x00, 0x53, code]);
    value(content, out);
}

/// Appends a data section.
pub(crate) fn variable(narrow_code: u8, bytes: &[u8], out: &mut BytesMut) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.put_slice(&[narrow_code, length]),
        Err(_) => {
            out.put_u8(narrow_code + 0x10);
            out.put_u32(length(bytes.len()));
        }
    }
    out.put_slice(bytes);
}

fn array(items: &[AmqpValue], out: &mut BytesMut) {
    compound(0xe0, items.len(), out, |out| {
        match items.first() {
            None => out.put_u8(0x40),
            Some(AmqpValue::Described(both)) => {
                out.put_u8(0x00);
                value(&both.0, out);
                out.put_u8(wide_code(&both.1));
            }
            Some(first) => out.put_u8(wide_code(first)),
        }
        for item in items {
            wide_body(item.plain(), out);
        }
    });
}

/// Writes the wide form and moves the content down when the narrow form holds it.
fn compound(narrow_code: u8, count: usize, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    const WIDE: usize = 9;
    const NARROW: usize = 3;
    let start = out.len();
    out.put_bytes(0, WIDE);
    fill(out);
    let content = out.len() - start - WIDE;
    match (u8::try_from(content + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => {
            out[start..start + NARROW].copy_from_slice(&[narrow_code, size, count]);
            out.copy_within(start + WIDE.., start + NARROW);
            out.truncate(start + NARROW + content);
        }
        _ => {
            out[start] = narrow_code + 0x10;
            out[start + 1..start + 5].copy_from_slice(&length(content + 4).to_be_bytes());
            out[start + 5..start + WIDE].copy_from_slice(&length(count).to_be_bytes());
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("messages are bounded far below 4 GiB")
}

fn wide_code(value: &AmqpValue) -> u8 {
    match value {
        AmqpValue::Null => 0x40,
        AmqpValue::Bool(_) => 0x56,
        AmqpValue::Ubyte(_) => 0x50,
        AmqpValue::Ushort(_) => 0x60,
        AmqpValue::Uint(_) => 0x70,
        AmqpValue::Ulong(_) => 0x80,
        AmqpValue::Byte(_) => 0x51,
        AmqpValue::Short(_) => 0x61,
        AmqpValue::Int(_) => 0x71,
        AmqpValue::Long(_) => 0x81,
        AmqpValue::Float(_) => 0x72,
        AmqpValue::Double(_) => 0x82,
        AmqpValue::Decimal32(_) => 0x74,
        AmqpValue::Decimal64(_) => 0x84,
        AmqpValue::Decimal128(_) => 0x94,
        AmqpValue::Char(_) => 0x73,
        AmqpValue::Timestamp(_) => 0x83,
        AmqpValue::Uuid(_) => 0x98,
        AmqpValue::Binary(_) => 0xb0,
        AmqpValue::String(_) => 0xb1,
        AmqpValue::Symbol(_) => 0xb3,
        AmqpValue::List(_) => 0xd0,
        AmqpValue::Map(_) => 0xd1,
        AmqpValue::Array(_) => 0xf0,
        AmqpValue::Described(_) => 0x00,
    }
}

fn wide_body(value: &AmqpValue, out: &mut BytesMut) {
    match value {
        AmqpValue::Null => {}
        AmqpValue::Bool(truth) => out.put_u8((*truth).into()),
        AmqpValue::Ubyte(number) => out.put_u8(*number),
        AmqpValue::Ushort(number) => out.put_u16(*number),
        AmqpValue::Uint(number) => out.put_u32(*number),
        AmqpValue::Ulong(number) => out.put_u64(*number),
        AmqpValue::Byte(number) => out.put_i8(*number),
        AmqpValue::Short(number) => out.put_i16(*number),
        AmqpValue::Int(number) => out.put_i32(*number),
        AmqpValue::Long(number) | AmqpValue::Timestamp(number) => out.put_i64(*number),
        AmqpValue::Float(number) => out.put_f32(*number),
        AmqpValue::Double(number) => out.put_f64(*number),
        AmqpValue::Decimal32(bytes) => out.put_slice(bytes),
        AmqpValue::Decimal64(bytes) => out.put_slice(bytes),
        AmqpValue::Decimal128(bytes) | AmqpValue::Uuid(bytes) => out.put_slice(bytes),
        AmqpValue::Char(letter) => out.put_u32((*letter).into()),
        AmqpValue::Binary(bytes) => wide_bytes(bytes, out),
        AmqpValue::String(text) | AmqpValue::Symbol(text) => wide_bytes(text.as_bytes(), out),
        AmqpValue::List(_) | AmqpValue::Map(_) | AmqpValue::Array(_) => wide_compound(value, out),
        AmqpValue::Described(_) => unreachable!("array items carry at most one descriptor"),
    }
}

fn wide_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

/// Compound items of an array share one wide constructor, so their narrow forms are widened.
fn wide_compound(value: &AmqpValue, out: &mut BytesMut) {
    let mut one = BytesMut::new();
    self::value(value, &mut one);
    if matches!(one[0], 0xc0 | 0xc1 | 0xe0) {
        out.put_u32(u32::from(one[1]) + 3);
        out.put_u32(one[2].into());
        out.put_slice(&one[3..]);
    } else {
        out.put_slice(&one[1..]);
    }
}
