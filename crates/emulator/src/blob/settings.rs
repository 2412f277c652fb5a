//! What a storage account holds from the start, and its limits.

use twinroute_model::secret::Secret;

/// The account that every storage emulator has.
const ACCOUNT: &str = "devstoreaccount1";
/// The published key of [`ACCOUNT`], base64.
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The storage account.
#[derive(Clone, Debug)]
pub struct BlobSettings {
    /// Its name; by default that of the one that every storage emulator has.
    pub account: String,
    /// Its key, base64.
    pub account_key: Secret,
    /// The containers that are there from the start; clients may create more.
    pub containers: Vec<String>,
    /// Bounds that a test may want to reach.
    pub limits: BlobLimits,
}

impl Default for BlobSettings {
    fn default() -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            account_key: Secret::from(ACCOUNT_KEY),
            containers: Vec::new(),
            limits: BlobLimits::default(),
        }
    }
}

/// Bounds of a storage account.
#[derive(Clone, Debug)]
pub struct BlobLimits {
    /// Containers.
    pub containers_max: usize,
    /// Blobs in one container, and blobs that have blocks but no list yet; beyond it writes are refused.
    pub blobs_per_container_max: usize,
    /// Bytes of all blobs and blocks together; beyond it writes are refused, as by a full store.
    pub blob_bytes_max: usize,
    /// Largest body of one request, in bytes. Four of that size may be under way at once.
    pub body_bytes_max: usize,
    /// Blocks of one blob.
    pub blocks_per_blob_max: usize,
}

impl Default for BlobLimits {
    fn default() -> Self {
        Self {
            containers_max: 1_000,
            blobs_per_container_max: 100_000,
            blob_bytes_max: 256 * 1024 * 1024,
            body_bytes_max: 64 * 1024 * 1024,
            blocks_per_blob_max: 50_000,
        }
    }
}
