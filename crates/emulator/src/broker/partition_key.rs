//! Which partition a key names, as the clients of Event Hubs work it out when they place events
//! themselves: Bob Jenkins's lookup3 over the key, both halves folded into 16 bits.
//!
//! Source: azure-eventhub 5.15.1, `_buffered_producer/_partition_resolver.py`; the clients differ
//! for negative numbers, where this takes the remainder's absolute value as the .NET client does.

/// The index of the partition, below `partitions`.
pub(super) fn partition_of(key: &str, partitions: usize) -> usize {
    let remainder = i64::from(hash(key)) % i64::try_from(partitions).unwrap_or(i64::MAX);
    usize::try_from(remainder.unsigned_abs()).expect("a remainder is below the count")
}

fn hash(key: &str) -> i16 {
    let (first, second) = lookup3(key.as_bytes());
    let folded = (first ^ second).to_be_bytes();
    i16::from_be_bytes([folded[2], folded[3]])
}

/// `hashlittle2` with both seeds 0.
fn lookup3(key: &[u8]) -> (u32, u32) {
    const BLOCK: usize = 12;
    let len = u32::try_from(key.len()).expect("a key fits a message");
    let [mut a, mut b, mut c] = [0xdead_beef_u32.wrapping_add(len); 3];
    let mut rest = key;
    while rest.len() > BLOCK {
        let (block, after) = rest.split_at(BLOCK);
        (a, b, c) = mix(add(a, block, 0), add(b, block, 4), add(c, block, 8));
        rest = after;
    }
    if rest.is_empty() {
        return (c, b);
    }
    let (_, b, c) = finish(add(a, rest, 0), add(b, rest, 4), add(c, rest, 8));
    (c, b)
}

/// Adds the little-endian word at `start`, absent bytes being 0.
fn add(sum: u32, bytes: &[u8], start: usize) -> u32 {
    let word = bytes.iter().skip(start).take(4).rev();
    sum.wrapping_add(word.fold(0, |word, byte| word << 8 | u32::from(*byte)))
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for bits in [4, 6, 8, 16, 19, 4] {
        a = a.wrapping_sub(c) ^ c.rotate_left(bits);
        c = c.wrapping_add(b);
        // Each step is the one before with the words moved on by one place.
        (a, b, c) = (b, c, a);
    }
    (a, b, c)
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Expected values are what azure-eventhub 5.15.1 computes.
    #[test]
    fn hashes_are_those_of_the_client() {
        for (key, expect) in [
            ("", 0),
            ("0", 28433),
            ("7", -15263),
            ("31", 25952),
            ("room101", 30732),
            ("exactly12byt", -4129),
            ("thirteen-byte", 8654),
            ("a longer partition key, of many bytes", 3027),
        ] {
            assert_eq!(hash(key), expect, "{key:?}");
        }
    }

    /// Keys as short as these once shared two of four partitions.
    #[test]
    fn short_keys_reach_every_partition() {
        let mut keys = BTreeMap::new();
        for key in 0..32 {
            *keys.entry(partition_of(&key.to_string(), 4)).or_insert(0) += 1;
        }
        assert_eq!(keys, BTreeMap::from([(0, 7), (1, 10), (2, 5), (3, 10)]));
    }
}
