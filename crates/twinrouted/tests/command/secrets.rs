//! No secret gets out: a twinroute with marked secrets wherever it takes one, at the finest log level, asked for
//! everything it answers; then all it said and all it left on disk is searched for the marks.
//!
//! What may show a secret, and is left out here: `endpoint keys` of provisioning services with `--reveal`
//! (`listkeys` in Azure), `management export --with-secrets`, and the files that a user keeps secrets in.

mod files;
mod marks;
mod reader;
mod stage;
mod store;

use marks::SecretMarks;

/// Fails with every place where a secret was found.
fn nothing_found(marks: &SecretMarks) {
    let (places, bytes) = marks.extent();
    assert!(
        places > 20 && bytes > 40_000,
        "{bytes} bytes of {places} places are not all"
    );
    let found = marks.found();
    let lines = found.lines().count();
    let excerpt: Vec<&str> = found.lines().take(40).collect();
    assert!(
        found.is_empty(),
        "{lines} secrets in {places} places of {bytes} bytes:\n{}",
        excerpt.join("\n")
    );
}
