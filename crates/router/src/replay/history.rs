//! The replay of past events: to the endpoint that they went to, or to another one.

use super::job::HistoryReplay;
use super::run::{LaneReplay, StopReason};
use crate::history::{EventHistory, ReplayTarget};
use std::error::Error as _;

impl LaneReplay<'_> {
    /// Events of the history, in the order of acceptance; what came after the replay was begun is not among them.
    pub(super) async fn past(
        &mut self,
        history: Option<&EventHistory>,
        wanted: HistoryReplay,
    ) -> Result<(), StopReason> {
        let Some(history) = history else {
            return Err(StopReason("the journal keeps no history".to_owned()));
        };
        let query = wanted.query.clone().parse().map_err(StopReason)?;
        let status = self.job.status();
        let target = ReplayTarget {
            instance: self.lane.instance.to_string(),
            endpoint: self.lane.name.to_string(),
            is_named: !wanted.to.is_empty(),
            end: status.history_end.unwrap_or(u64::MAX),
        };
        let label = format!("{}/{}", self.lane.instance, self.lane.name);
        let place = status.history_places.get(&label);
        let mut after = place
            .and_then(|place| place.parse().ok())
            .unwrap_or_default();
        loop {
            let found = history
                .to_replay(query.clone(), target.clone(), after)
                .await;
            let found = found.map_err(|error| {
                let cause = error.source().map(|cause| format!(": {cause}"));
                StopReason(format!("{error}{}", cause.unwrap_or_default()))
            })?;
            for event in found.events {
                if self.is_enough() {
                    return self.wait_for_all().await;
                }
                self.make_room(event.size()).await?;
                let twin = self.order.order_key(&event);
                self.put_back(None, event, twin).await?;
            }
            after = found.next;
            self.job.update(|progress| {
                progress
                    .history_places
                    .insert(label.clone(), after.to_string());
            });
            if found.at_end {
                return self.wait_for_all().await;
            }
        }
    }
}
