use super::*;

/// How Event Hubs hashes a partition key: the lookup3 hash of Bob Jenkins with two seeds of zero, both halves
/// folded into the low 16 bits. Source: the `PartitionResolver` of Azure's clients (.NET, Java, Python).
fn partition_hash(key: &str) -> i16 {
    let seed = 0xdead_beef_u32.wrapping_add(u32::try_from(key.len()).unwrap());
    let [mut a, mut b, mut c] = [seed; 3];
    let mut blocks = key.as_bytes().chunks(12).peekable();
    while let Some(block) = blocks.next() {
        let mut words = [0; 12];
        words[..block.len()].copy_from_slice(block);
        let word = |at| u32::from_le_bytes(*words[at..].first_chunk().unwrap());
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        c = c.wrapping_add(word(8));
        if blocks.peek().is_some() {
            [a, b, c] = mix([a, b, c]);
        } else {
            [a, b, c] = last_mix([a, b, c]);
        }
    }
    let [low, high, ..] = (b ^ c).to_le_bytes();
    i16::from_le_bytes([low, high])
}

fn mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    for (first, second) in [(4, 6), (16, 19)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(if first == 4 { 8 } else { 4 });
        b = b.wrapping_add(a);
    }
    [a, b, c]
}

fn last_mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    [a, b, c]
}

/// How many buckets each of so many partitions has.
fn shares(partitions: usize, place: impl Fn(i16, usize) -> usize) -> Vec<usize> {
    let mut shares = vec![0; partitions];
    for key in KEYS {
        shares[place(partition_hash(key), partitions)] += 1;
    }
    shares
}

/// `Math.Abs(hash % count)`, as .NET, Java and JavaScript have it; a remainder has the sign of the hash there.
fn by_remainder(hash: i16, partitions: usize) -> usize {
    let partitions = i32::try_from(partitions).unwrap();
    usize::try_from((i32::from(hash) % partitions).abs()).unwrap()
}

/// As Python has it, where no remainder is negative.
fn by_modulo(hash: i16, partitions: usize) -> usize {
    let partitions = i32::try_from(partitions).unwrap();
    usize::try_from(i32::from(hash).rem_euclid(partitions)).unwrap()
}

/// By equal ranges of the hash, as IoT Hub has it over its own hub (Azure/iotedge,
/// `EventHubPartitionKeyResolver`): 32,767 places, of which the first partitions have one more each.
fn by_range(hash: i16, partitions: usize) -> usize {
    let place = usize::try_from((i32::from(hash) % 32_767).abs()).unwrap();
    let (width, wider) = (32_767 / partitions, 32_767 % partitions);
    match place < wider * (width + 1) {
        true => place / (width + 1),
        false => wider + (place - wider * (width + 1)) / width,
    }
}

/// The cases of Azure/azure-sdk-for-net, `PartitionResolverTests.cs` (`PartitionHashTestCases`), which
/// azure-sdk-for-java repeats.
#[test]
fn partition_keys_are_hashed_as_azures_clients_hash_them() {
    for (key, hash) in [
        ("7", -15_263),
        ("131", 30_562),
        ("7149583486996073602", 12_977),
        ("FWfAT", -22_341),
        ("sOdeEAsyQoEuEFPGerWO", -6_503),
        (
            "FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByANjs",
            5_226,
        ),
        ("!c*_!I@1^c", 15_372),
        ("p4*!jioeO/z-!-;w:dh", -3_104),
        ("$0cb", 26_269),
        ("-4189260826195535198", 453),
    ] {
        assert_eq!(partition_hash(key), hash, "{key}");
    }
}

#[test]
fn bucket_keys_reach_every_partition_in_equal_shares() {
    for place in [by_remainder, by_modulo, by_range] {
        for partitions in [1, 2, 4, 8, 16, 32] {
            assert_eq!(
                shares(partitions, place),
                vec![COUNT / partitions; partitions]
            );
        }
    }
}

#[test]
fn bucket_keys_have_shares_as_even_as_can_be_for_other_counts() {
    for partitions in [3, 5, 6, 7, 10, 12, 15, 20, 24, 40, 48, 50, 64, 80, 96, 100] {
        let shares = shares(partitions, by_remainder);
        let (least, most) = (COUNT / partitions, COUNT.div_ceil(partitions));
        assert!(
            shares.iter().all(|share| (least..=most).contains(share)),
            "{partitions}: {shares:?}"
        );
    }
}

#[test]
fn a_bucket_lands_on_the_partition_of_its_own_number() {
    for (bucket, key) in KEYS.iter().enumerate() {
        let hash = usize::try_from(partition_hash(key)).expect("no hash is negative");
        for partitions in (1..=960).filter(|partitions| 960 % partitions == 0) {
            assert_eq!(hash % partitions, bucket % partitions, "{key}");
        }
        // Who reads the events sees the bucket.
        assert_eq!(key.split_once('-').unwrap().0, bucket.to_string());
    }
}

#[test]
fn a_twin_stays_in_its_bucket() {
    for (hash, bucket) in [(0, 0), (31, 31), (32, 0), (32 * 7 + 31, 31), (u64::MAX, 31)] {
        assert_eq!(of_twin(hash), bucket);
        assert_eq!(key_of_twin(hash), KEYS[bucket]);
    }
}
