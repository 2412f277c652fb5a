//! What the embedding program wants done with events before they are matched.

use super::*;
use crate::accept::AckLevel;
use crate::router::tests::{accept, event};
use crate::testing::ScriptedSink;

