//! A container in Azure Blob Storage: dead letters are written to it, listed and read back.
//!
//! Writing takes no more than a SAS that may create (`c`) or write (`w`): one `Put Blob` with
//! `If-None-Match: *`, no look first. Nothing here repeats a call; who calls decides when to try again.
//!
//! Dropping a future is harmless: a blob is either written whole or not at all, and one that was written
//! unseen is found taken the next time.

use super::document::{BlobMetadata, CONTENT_TYPE, DeadLetterDocument};
use super::fault::{self, StoreFault, StoreFaultKind};
use super::name;
pub use super::page_guard::PAGE_BLOBS_MAX;
use super::page_guard::{PageGuard, lists};
use super::read::BLOB_BYTES_MAX;
use azure_core::credentials::TokenCredential;
use azure_core::http::{
    ClientOptions, HttpClient, Method, Request, RetryOptions, Transport, Url, UserAgentOptions,
};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobContainerClientListBlobsOptions, BlockBlobClientUploadOptions,
    HttpRange, ListBlobsIncludeItem,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::location::{ContainerAccess, ContainerLocation};
use twinroute_model::sas::storage::SasValidity;
use twinroute_outgoing::azure::BoundedHttp;

/// The longest that one call to the service takes.
pub const CALL_MAX: Duration = Duration::from_secs(30);

/// Bytes of a blob that go in one request: all that an event can have, so that no blob is ever half
/// written and no SAS needs more than one right.
const REQUEST_BYTES_MAX: NonZero<u64> = NonZero::new(256 << 20).expect("not zero");

/// Bytes of a blob that are read at least, however small events may be.
const BLOB_BYTES_MIN: usize = 2 << 20;

/// More than the HTTP client gives in one piece.
const SURPLUS_BYTES: usize = 1 << 20;

/// The HTTP side of all containers, with one pool of connections. Clones share it.
#[derive(Clone, Debug)]
pub struct ContainerClient {
    http: PageGuard,
    blob_bytes_max: usize,
}

impl ContainerClient {
    /// Uses `http`, which must not follow redirects, since a SAS goes nowhere else, and must not decode
    /// compressed answers. `reqwest::Client` is one.
    ///
    /// Blobs are read that are as large as an event of `event_bytes_max` makes them, its payload in base64 and an
    /// envelope around it, or 2 MiB if that is more.
    #[must_use]
    pub fn new(http: Arc<dyn HttpClient>, event_bytes_max: usize) -> Self {
        let one_event = event_bytes_max.saturating_add(event_bytes_max / 3 + (64 << 10));
        let blob_bytes_max = one_event.clamp(BLOB_BYTES_MIN, BLOB_BYTES_MAX);
        // Some more than is taken, so that a blob that is too large is seen by its own reader, which names it.
        let blob_answer = blob_bytes_max + SURPLUS_BYTES;
        let limit = move |request: &Request| answer_bytes_max(request, blob_answer);
        Self {
            http: PageGuard(BoundedHttp::new(http, limit)),
            blob_bytes_max,
        }
    }
}

/// An endpoint's container.
pub struct LetterContainer {
    location: ContainerLocation,
    client: BlobContainerClient,
    blob_bytes_max: usize,
}

impl fmt::Debug for LetterContainer {
    /// Leaves the client out, whose URL holds the SAS.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Container")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// Why a container cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableContainer {
    /// A `deadLetterUri` without a token credential.
    #[error("`deadLetterUri` needs the endpoint's identity; use a SAS in `deadLetterSecret`")]
    NoCredential,
    /// A token must not travel in the clear.
    #[error(
        "`deadLetterUri` must begin with https://: the identity's token would travel in the clear"
    )]
    Plain,
    /// The client library does not take the URL.
    #[error("the container's URL is not one that the storage client accepts")]
    Url,
}

/// Where a dead letter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was written.
    Written {
        /// The blob's name in its container.
        name: String,
    },
    /// It was there: an earlier call wrote it and its answer was lost.
    Known {
        /// The blob's name in its container.
        name: String,
    },
}

impl PutOutcome {
    /// The blob's name in its container.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Written { name } | Self::Known { name } => name,
        }
    }
}

/// Some of a container's blobs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobPage {
    /// At most [`PAGE_BLOBS_MAX`].
    pub blobs: Vec<ListedBlob>,
    /// The marker of the next page; `None` behind the last.
    pub next: Option<String>,
}

/// A blob in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its name in its container.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified_at: Option<Timestamp>,
    /// Its metadata.
    pub metadata: BlobMetadata,
}

/// A blob that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadedBlob {
    /// What it holds, as much as [`ContainerClient::new`] says.
    pub content: Bytes,
    /// Its metadata.
    pub metadata: BlobMetadata,
}

/// What came of one conditional write.
enum WriteOutcome {
    Written,
    Taken,
    /// Not allowed, which for a SAS that may only create may mean that it is taken.
    Mismatch(StoreFault),
}

impl LetterContainer {
    /// Prepares a container that a SAS opens, without any I/O.
    ///
    /// # Errors
    /// When the location has no SAS.
    pub fn with_sas(
        client: &ContainerClient,
        location: ContainerLocation,
    ) -> Result<Self, UnusableContainer> {
        let ContainerAccess::Sas { token, .. } = location.access() else {
            return Err(UnusableContainer::NoCredential);
        };
        let url = format!("{}?{}", location.container_url(), token.expose());
        Self::new(client, &url, None, location)
    }

    /// Prepares a container that `credential` opens, without any I/O.
    ///
    /// # Errors
    /// When the container is not reached over `https`.
    pub fn with_credential(
        client: &ContainerClient,
        location: ContainerLocation,
        credential: Arc<dyn TokenCredential>,
    ) -> Result<Self, UnusableContainer> {
        if !location.container_url().starts_with("https://") {
            return Err(UnusableContainer::Plain);
        }
        let url = location.container_url().to_owned();
        Self::new(client, &url, Some(credential), location)
    }

    fn new(
        client: &ContainerClient,
        url: &str,
        credential: Option<Arc<dyn TokenCredential>>,
        location: ContainerLocation,
    ) -> Result<Self, UnusableContainer> {
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(client.http.clone()))),
            user_agent: UserAgentOptions {
                application_id: Some("twinroute".to_owned()),
            },
            ..ClientOptions::default()
        };
        let options = BlobContainerClientOptions {
            client_options,
            ..BlobContainerClientOptions::default()
        };
        // The library's errors hold the URL.
        let url = Url::parse(url).map_err(|_| UnusableContainer::Url)?;
        let blob_bytes_max = client.blob_bytes_max;
        let client = BlobContainerClient::new(url, credential, Some(options))
            .map_err(|_| UnusableContainer::Url)?;
        Ok(Self {
            location,
            client,
            blob_bytes_max,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &ContainerLocation {
        &self.location
    }

    /// Writes a dead letter. It is stored when this returns `Ok`.
    ///
    /// When its first name is taken, by another event with the same id or by itself, it is written under
    /// its second one; where that is taken, it is already stored. `now` is compared with the SAS's times.
    ///
    /// # Errors
    /// See [`fault`]. The letter may be stored all the same when the answer was lost.
    pub async fn put(
        &self,
        letter: &DeadLetterDocument<'_>,
        now: Timestamp,
    ) -> Result<PutOutcome, StoreFault> {
        self.check(now)?;
        let content = Bytes::from(letter.content());
        let metadata: HashMap<String, String> = letter.metadata().into_iter().collect();
        let died_at = letter.dead.died_at;
        let name = name::first(letter.endpoint, died_at, letter.event);
        let first = self.write(&name, content.clone(), &metadata, now).await?;
        let mismatch = match first {
            WriteOutcome::Written => return Ok(PutOutcome::Written { name }),
            WriteOutcome::Taken => None,
            WriteOutcome::Mismatch(fault) if !self.only_creates() => return Err(fault),
            WriteOutcome::Mismatch(fault) => Some(fault),
        };
        let name = name::second(letter.endpoint, died_at, letter.event, &content);
        match self.write(&name, content, &metadata, now).await? {
            WriteOutcome::Written => Ok(PutOutcome::Written { name }),
            WriteOutcome::Taken => Ok(PutOutcome::Known { name }),
            // Whether it is there or may not be written stays open: not stored, until it is certain.
            WriteOutcome::Mismatch(fault) => Err(mismatch.unwrap_or(fault)),
        }
    }

    /// Lists blobs whose names begin with `prefix`, from `marker` on, in the order of their names.
    ///
    /// # Errors
    /// See [`fault`].
    pub async fn list(
        &self,
        prefix: &str,
        marker: Option<&str>,
        now: Timestamp,
    ) -> Result<BlobPage, StoreFault> {
        self.check(now)?;
        let options = BlobContainerClientListBlobsOptions {
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            marker: marker.map(str::to_owned),
            maxresults: Some(PAGE_BLOBS_MAX),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let listing = self
            .bounded(async {
                let mut pages = self.client.list_blobs(Some(options))?.into_pages();
                pages
                    .next()
                    .await
                    .transpose()?
                    .map(|page| page.into_model())
                    .transpose()
            })
            .await?
            .map_err(|error| StoreFault::of(&error, &self.location, now))?;
        let Some(listing) = listing else {
            return Ok(BlobPage::default());
        };
        let blobs = listing.blob_items.into_iter().filter_map(|item| {
            let properties = item.properties.unwrap_or_default();
            let modified_at = properties.last_modified.and_then(|moment| {
                let millis = moment.unix_timestamp_nanos() / 1_000_000;
                i64::try_from(millis).ok().map(Timestamp::from_unix_millis)
            });
            let metadata = item.metadata.and_then(|metadata| metadata.values);
            Some(ListedBlob {
                name: item.name?,
                bytes: properties.content_length.unwrap_or_default(),
                modified_at,
                metadata: lower_case(metadata.unwrap_or_default()),
            })
        });
        Ok(BlobPage {
            blobs: blobs.collect(),
            next: listing.next_marker.filter(|marker| !marker.is_empty()),
        })
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// See [`fault`]; [`StoreFaultKind::Invalid`] when it has more bytes than [`ContainerClient::new`] says.
    pub async fn read(&self, name: &str, now: Timestamp) -> Result<DownloadedBlob, StoreFault> {
        self.check(now)?;
        let read_bytes = NonZero::<usize>::MIN.saturating_add(self.blob_bytes_max);
        let options = BlobClientDownloadOptions {
            // In one piece: an Event Grid blob may be rewritten between two.
            partition_size: Some(read_bytes),
            range: Some(HttpRange::new(0, read_bytes.get() as u64)),
            ..BlobClientDownloadOptions::default()
        };
        let blob = self.client.blob_client(name);
        let read = self
            .bounded(async {
                let downloaded = blob.download(Some(options)).await?;
                let metadata = lower_case(downloaded.properties.metadata);
                let content = collect(downloaded.body, self.blob_bytes_max).await?;
                Ok(DownloadedBlob { content, metadata })
            })
            .await?;
        match read {
            Ok(blob) if blob.content.len() > self.blob_bytes_max => Err(self.too_large(name)),
            Ok(blob) => Ok(blob),
            Err(error) => Err(StoreFault::of(&error, &self.location, now)),
        }
    }

    /// One conditional `Put Blob`.
    async fn write(
        &self,
        name: &str,
        content: Bytes,
        metadata: &HashMap<String, String>,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreFault> {
        let options = BlockBlobClientUploadOptions {
            blob_content_type: Some(CONTENT_TYPE.to_owned()),
            metadata: Some(metadata.clone()),
            partition_size: Some(REQUEST_BYTES_MAX),
            ..BlockBlobClientUploadOptions::default()
        }
        .if_not_exists();
        let blob = self.client.blob_client(name);
        let upload = blob.upload(content.into(), Some(options));
        match self.bounded(upload).await? {
            Ok(_) => Ok(WriteOutcome::Written),
            Err(error) if fault::is_taken(&error) => Ok(WriteOutcome::Taken),
            Err(error) => {
                let fault = StoreFault::of(&error, &self.location, now);
                if fault::is_permission_mismatch(&error) {
                    Ok(WriteOutcome::Mismatch(fault))
                } else {
                    Err(fault)
                }
            }
        }
    }

    /// Whether the SAS may create blobs and not overwrite them.
    fn only_creates(&self) -> bool {
        let sas = self.location.sas();
        sas.is_some_and(|sas| sas.writable() && !sas.overwritable())
    }

    /// Looks at the SAS's own times, which saves a call and names the cause.
    fn check(&self, now: Timestamp) -> Result<(), StoreFault> {
        let validity = self.location.sas().map(|sas| sas.validity(now));
        let (kind, what) = match validity {
            None | Some(SasValidity::Valid) => return Ok(()),
            Some(SasValidity::ExpiredAt(at)) => (
                StoreFaultKind::SasExpired,
                format!("its SAS expired at {}", at.rfc3339()),
            ),
            Some(SasValidity::NotBefore(at)) => (
                StoreFaultKind::SasNotYetValid,
                format!("its SAS is valid from {} on", at.rfc3339()),
            ),
        };
        Err(StoreFault::new(kind, &self.location, &what))
    }

    fn too_large(&self, name: &str) -> StoreFault {
        let bytes_max = self.blob_bytes_max;
        let what = format!(
            "blob {name} has more than {bytes_max} bytes, the most that `event_bytes_max` makes one have"
        );
        StoreFault::new(StoreFaultKind::Invalid, &self.location, &what)
    }

    /// Gives a call up after [`CALL_MAX`].
    async fn bounded<T>(
        &self,
        call: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<azure_core::Result<T>, StoreFault> {
        tokio::time::timeout(CALL_MAX, call).await.map_err(|_| {
            let what = format!("no answer within {} s", CALL_MAX.as_secs());
            StoreFault::new(StoreFaultKind::Unavailable, &self.location, &what)
        })
    }
}

/// A blob's content, up to the piece that makes it longer than `bytes_max`; it is never held twice.
async fn collect(
    mut pieces: impl Stream<Item = azure_core::Result<Bytes>> + Unpin,
    bytes_max: usize,
) -> azure_core::Result<Bytes> {
    const GROWTH_BYTES: usize = 256 << 10;
    let mut content = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if content.capacity() - content.len() < piece.len() {
            content.reserve_exact(piece.len() + GROWTH_BYTES);
        }
        content.extend_from_slice(&piece);
        if content.len() > bytes_max {
            break;
        }
    }
    Ok(content.into())
}

/// Header names come in any case; ours are looked up in one.
fn lower_case(metadata: HashMap<String, String>) -> BlobMetadata {
    metadata
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// Bytes of the answer to a write, which says nothing that is looked at.
const WRITTEN_BYTES_MAX: usize = 16 << 10;

/// Bytes of one page of a listing: metadata has at most 8 KiB a blob, names 1,024 characters.
/// Source: Azure Storage "Setting and retrieving properties and metadata for Blob service resources".
const LISTING_BYTES_MAX: usize = 2 << 20;

const _: () = assert!(LISTING_BYTES_MAX / PAGE_BLOBS_MAX as usize >= (8 << 10) + 2 * (1 << 10));

/// Bytes of the answer to `request`, when it is a success.
fn answer_bytes_max(request: &Request, blob_bytes_max: usize) -> usize {
    match request.method() {
        Method::Get if lists(request) => LISTING_BYTES_MAX,
        Method::Get => blob_bytes_max,
        _ => WRITTEN_BYTES_MAX,
    }
}
