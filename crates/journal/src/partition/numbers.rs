//! Numbers of lanes within a group, and those of this process.

use super::lanes::LaneRegister;
use crate::record::{JournalRecord, LaneId, LaneList};
use std::collections::BTreeMap;
use twinroute_model::name::{EndpointName, InstanceName};

/// Which lane each number of a group stands for.
#[derive(Debug, Default)]
pub(crate) struct GroupNumbers(BTreeMap<u32, LaneId>);

impl GroupNumbers {
    /// Lanes of an event; none when the group does not say what one of them is.
    pub(crate) fn all(&self, lanes: LaneList<'_>) -> Option<Vec<LaneId>> {
        lanes
            .iter()
            .map(|lane| self.0.get(&lane).copied())
            .collect()
    }

    /// The lane that a number stands for; none where the group does not say.
    pub(crate) fn of(&self, number: u32) -> Option<LaneId> {
        self.0.get(&number).copied()
    }

    /// The record with numbers of the register. A binding is taken note of. None of a record that no group holds, or whose
    /// lane the group does not say.
    pub(crate) fn renumbered<'a>(
        &mut self,
        record: JournalRecord<'a>,
        register: &LaneRegister,
    ) -> Option<JournalRecord<'a>> {
        let number = |lane: u32| self.0.get(&lane).map(|lane| lane.0);
        match record {
            JournalRecord::Binding {
                lane,
                instance,
                endpoint,
            } => {
                let name = InstanceName::new(instance).ok()?;
                let bound = register.bind(&(name, EndpointName::new(endpoint).ok()?));
                self.0.insert(lane, bound);
                Some(JournalRecord::Binding {
                    lane: bound.0,
                    instance,
                    endpoint,
                })
            }
            JournalRecord::Settle { lane, settlements } => Some(JournalRecord::Settle {
                lane: number(lane)?,
                settlements,
            }),
            JournalRecord::Attempt {
                sequence,
                lane,
                attempts,
                due,
            } => Some(JournalRecord::Attempt {
                sequence,
                lane: number(lane)?,
                attempts,
                due,
            }),
            JournalRecord::Dead {
                lane,
                letter,
                sequences,
            } => Some(JournalRecord::Dead {
                lane: number(lane)?,
                letter,
                sequences,
            }),
            JournalRecord::State { lane, state } => Some(JournalRecord::State {
                lane: number(lane)?,
                state,
            }),
            _ => None,
        }
    }
}
