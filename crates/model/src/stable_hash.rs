//! A hash that is the same in every process and version. What is written to disk or to other systems may depend on it.

/// FNV-1a 64 over the first text, NUL and the second, finished with [`mix`] so that its low bits are as good as its high
/// ones.
#[inline]
#[must_use]
pub fn stable_hash(first: &str, second: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    // Plain loops: a chain of iterators is not always inlined, and then a byte costs three times as much.
    for part in [first.as_bytes(), &[0], second.as_bytes()] {
        for byte in part {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
    mix(hash)
}

/// The mixer of MurmurHash3: each bit of the result depends on each bit of the number, and no two numbers give the same.
#[inline]
#[must_use]
pub const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_for_ever() {
        assert_eq!(stable_hash("h", "room1"), 0x009e_862b_9aba_1246);
        assert_ne!(stable_hash("a", "bc"), stable_hash("ab", "c"));
        assert_eq!(mix(0), 0);
    }
}
