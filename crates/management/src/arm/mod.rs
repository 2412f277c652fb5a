//! What all ARM resources share: ids, requests, answers, errors, links, bodies.
//!
//! Source: Azure Resource Manager's contract for resource providers (RPC 1.0), as far as clients see it.

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod id;
pub(crate) mod identity;
pub(crate) mod json;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod versions;
