//! How many refused attempts are recorded: whoever floods a server must not fill the log.

use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// Of each kind, in each [`SPAN`].
const RECORDED_MAX: u32 = 60;

const SPAN: Duration = Duration::from_secs(60);

/// Those who may not, and those who may but asked for something that cannot be: the former cannot crowd the
/// latter out.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts {
    denied: CountedRefusals,
    others: CountedRefusals,
}

#[derive(Debug, Default)]
struct CountedRefusals {
    since: Option<Timestamp>,
    recorded: u32,
    unnoted: u64,
}

impl RefusalCounts {
    /// Whether one more is recorded now; then gives how many of its kind were not since the last.
    pub(crate) fn admit(&mut self, status: u16, now: Timestamp) -> Option<u64> {
        let counted = match status {
            401 | 403 => &mut self.denied,
            _ => &mut self.others,
        };
        // A clock that was set back begins a new span too.
        let over = counted
            .since
            .is_none_or(|since| now < since || now.since(since) >= SPAN);
        if over {
            counted.since = Some(now);
            counted.recorded = 0;
        }
        if counted.recorded == RECORDED_MAX {
            counted.unnoted += 1;
            return None;
        }
        counted.recorded += 1;
        Some(std::mem::take(&mut counted.unnoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_does_not_crowd_others_out() {
        let mut refusals = RefusalCounts::default();
        let start = Timestamp::from_unix_millis(1_000_000);
        for _ in 0..RECORDED_MAX {
            assert_eq!(refusals.admit(401, start), Some(0));
        }
        assert_eq!(refusals.admit(401, start), None);
        assert_eq!(refusals.admit(403, start), None);
        assert_eq!(refusals.admit(409, start), Some(0));
        let later = start.after(SPAN);
        assert_eq!(refusals.admit(403, later), Some(2));
        assert_eq!(refusals.admit(403, later), Some(0));
        assert_eq!(refusals.admit(403, start), Some(0), "set back");
    }
}
