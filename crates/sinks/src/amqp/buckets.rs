//! The partition keys of `partition_key = "bucket"`: one for each bucket of twins.
//!
//! A hub picks the partition by a hash of the key, a lookup3 of which the low 16 bits count as a signed number,
//! modulo the count of partitions (Azure/azure-sdk-for-net, `Azure.Messaging.EventHubs` 5.12,
//! `PartitionResolver`: a port of the service's own code). Keys that nobody chose leave partitions empty, so
//! these are chosen by their hash; see `docs/decisions/0034-bucket-keys.md` for how, and for what a change of
//! them costs.

/// How many buckets twins fall into: a power of two, as counts of partitions mostly are.
const COUNT: usize = 32;

/// The keys of the buckets: the bucket's number, and what makes its hash right. They decide where events land:
/// never change them.
const KEYS: [&str; COUNT] = [
    "0-54465",
    "1-85",
    "2-16201",
    "3-113640",
    "4-11380",
    "5-162479",
    "6-55987",
    "7-48199",
    "8-50917",
    "9-3965",
    "10-18968",
    "11-81091",
    "12-66249",
    "13-39535",
    "14-28629",
    "15-39760",
    "16-1461",
    "17-64890",
    "18-104211",
    "19-5246",
    "20-25376",
    "21-18723",
    "22-110310",
    "23-94976",
    "24-17774",
    "25-72826",
    "26-17087",
    "27-47916",
    "28-33825",
    "29-52958",
    "30-27944",
    "31-51291",
];

/// The bucket of a twin, by its stable hash.
pub(super) const fn of_twin(hash: u64) -> usize {
    // The remainder is below 32.
    (hash % COUNT as u64) as usize
}

/// The partition key of a twin's bucket, by the twin's stable hash.
pub(super) const fn key_of_twin(hash: u64) -> &'static str {
    KEYS[of_twin(hash)]
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
