//! The configuration and the definitions of a run, as files.

use super::content::ROUTES;
use super::history::Endpoint;
use anyhow::Context as _;
use std::fs;
use std::path::Path;

/// Small segments, so that they roll and are compacted all the time.
const CONFIGURATION: &str = "\
instance = 'crash'
definitions = 'table'
shutdown_grace = '1s'

[ingress]
listen = ['127.0.0.1:0']
ack = 'durable'

[admin]
listen = ['127.0.0.1:0']

[journal]
path = 'data'
segment_bytes = '1MiB'
bytes_max = '2GiB'
seal = SEAL

[log]
format = 'json'
";

/// Of every endpoint. A batch that stalls is abandoned after a second, the least there is. An event that
/// failed alone waits about as long as a life lasts, so that kills come while it does. The plan may keep
/// destinations away for most of a run: no queue is ever full.
const ENDPOINT: &str = "\
attempt_timeout = '1s'
queue_bytes_max = '1GiB'
queue_events_max = 1000000
retry_schedule = ['200ms', '400ms', '1s']
";

/// Writes all of it into an empty folder. Runs with an odd seed seal the journal.
pub(super) fn write(
    folder: &Path,
    seed: u64,
    definitions: &[(Endpoint, String)],
) -> anyhow::Result<()> {
    let put = |file: String, content: &str| {
        let path = folder.join(file);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let mut configuration =
        CONFIGURATION.replace("SEAL", if seed % 2 == 1 { "true" } else { "false" });
    for (endpoint, body) in definitions {
        let name = endpoint.name();
        put(format!("table/endpoints/{name}.json"), body)?;
        configuration.push_str(&format!("\n[endpoints.\"{name}\"]\n{ENDPOINT}"));
    }
    for (id, endpoint, filter) in ROUTES {
        let route = serde_json::json!({ "endpointName": endpoint.name(), "filter": filter });
        put(format!("table/routes/{id}.json"), &route.to_string())?;
    }
    put("twinroute.toml".to_owned(), &configuration)
}
