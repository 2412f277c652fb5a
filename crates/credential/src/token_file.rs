//! Files that hold one token.

use std::path::Path;
use twinroute_files::text_file::read_text;
use twinroute_model::secret::Secret;

/// No token is larger; those of users in many groups have some 20 KB.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// The token of a file, or why it has none. Who else may read it is not asked: Kubernetes lets everybody in the
/// container read a service account's. Blocks on the file system.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let text = read_text("token file", path, TOKEN_BYTES_MAX);
    let token = Secret::pasted(text.map_err(|error| error.reason())?.expose());
    let is_token = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if token.expose().is_empty() || !is_token(token.expose()) {
        return Err("holds no token: one line without blanks".to_owned());
    }
    Ok(token)
}
