//! Values to bytes, each in its shortest form, except that an empty list is written as `list8`: the
//! Python clients do not read `list0` in every place.

use super::value::Value;
use bytes::{BufMut, BytesMut};

/// Appends `value`.
pub(crate) fn value(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Bool(true) => out.put_u8(0x41),
        Value::Bool(false) => out.put_u8(0x42),
        Value::Uint(0) => out.put_u8(0x43),
        Value::Uint(number @ 1..=255) => out.put_slice(&[0x52, *number as u8]),
        Value::Ulong(0) => out.put_u8(0x44),
        Value::Ulong(number @ 1..=255) => out.put_slice(&[0x53, *number as u8]),
        Value::Int(number @ -128..=127) => out.put_slice(&[0x54, *number as u8]),
        Value::Long(number @ -128..=127) => out.put_slice(&[0x55, *number as u8]),
        Value::Binary(bytes) => variable(0xa0, bytes, out),
        Value::String(text) => variable(0xa1, text.as_bytes(), out),
        Value::Symbol(text) => variable(0xa3, text.as_bytes(), out),
        Value::List(items) => list(items, out),
        Value::Map(pairs) => map(pairs, out),
        Value::Array(items) => array(items, out),
        Value::Described(both) => {
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
pub(crate) fn list(items: &[Value], out: &mut BytesMut) {
    compound(0xc0, items.len(), out, |out| {
        items.iter().for_each(|item| value(item, out))
    });
}

/// Appends a map.
pub(crate) fn map(pairs: &[(Value, Value)], out: &mut BytesMut) {
    compound(0xc1, pairs.len() * 2, out, |out| {
        for (key, item) in pairs {
            value(key, out);
            value(item, out);
        }
    });
}

/// Appends `00 53 code` and a value: a performative or a section.
pub(crate) fn described(code: u8, content: &Value, out: &mut BytesMut) {
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

fn array(items: &[Value], out: &mut BytesMut) {
    compound(0xe0, items.len(), out, |out| {
        match items.first() {
            None => out.put_u8(0x40),
            Some(Value::Described(both)) => {
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

fn wide_code(value: &Value) -> u8 {
    match value {
        Value::Null => 0x40,
        Value::Bool(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
        Value::Described(_) => 0x00,
    }
}

fn wide_body(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null => {}
        Value::Bool(truth) => out.put_u8((*truth).into()),
        Value::Ubyte(number) => out.put_u8(*number),
        Value::Ushort(number) => out.put_u16(*number),
        Value::Uint(number) => out.put_u32(*number),
        Value::Ulong(number) => out.put_u64(*number),
        Value::Byte(number) => out.put_i8(*number),
        Value::Short(number) => out.put_i16(*number),
        Value::Int(number) => out.put_i32(*number),
        Value::Long(number) | Value::Timestamp(number) => out.put_i64(*number),
        Value::Float(number) => out.put_f32(*number),
        Value::Double(number) => out.put_f64(*number),
        Value::Decimal32(bytes) => out.put_slice(bytes),
        Value::Decimal64(bytes) => out.put_slice(bytes),
        Value::Decimal128(bytes) | Value::Uuid(bytes) => out.put_slice(bytes),
        Value::Char(letter) => out.put_u32((*letter).into()),
        Value::Binary(bytes) => wide_bytes(bytes, out),
        Value::String(text) | Value::Symbol(text) => wide_bytes(text.as_bytes(), out),
        Value::List(_) | Value::Map(_) | Value::Array(_) => wide_compound(value, out),
        Value::Described(_) => unreachable!("array items carry at most one descriptor"),
    }
}

fn wide_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

/// Compound items of an array share one wide constructor, so their narrow forms are widened.
fn wide_compound(value: &Value, out: &mut BytesMut) {
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
