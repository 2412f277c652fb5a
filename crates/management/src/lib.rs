//! The management API of Azure: served from an embedded store, and read as a source of definitions.
