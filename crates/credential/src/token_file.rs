//! Files that hold one token.

use std::path::Path;
use twinroute_model::pasted;
use twinroute_model::secret::Secret;

/// No token is larger; those of users in many groups have some 20 KB.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// The token of a file, or why it has none. Blocks on the file system.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(format!("is larger than {TOKEN_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = Secret::new(text);
    let token = pasted::clean(text.expose());
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds no token: one line without blanks".to_owned());
    }
    Ok(Secret::new(token))
}
