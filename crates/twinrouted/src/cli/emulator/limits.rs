//! Settings that the services do not have: what is tried here must not be refused there.
//!
//! Sources: Azure Service Bus, "Message transfers, locks, and settlement" (a lock of at most five minutes), its
//! resource provider (a lock of 5 s at least, 1 to 2,000 deliveries), "Service Bus quotas" (100 MB for a message of the
//! Premium tier) and "Event Hubs quotas".

use anyhow::bail;
use std::time::Duration;

const LOCK_MIN: Duration = Duration::from_secs(5);
const LOCK_MAX: Duration = Duration::from_secs(300);
const DELIVERIES_MAX: u32 = 2_000;
const MESSAGE_BYTES_MIN: u64 = 1 << 10;
const MESSAGE_BYTES_MAX: u64 = 100 << 20;

/// Checks what is set for all queues and subscriptions, and the size of a message.
///
/// # Errors
/// The option that no service takes, with what it does.
pub(super) fn check(lock: Duration, deliveries: u32, message_bytes: u64) -> anyhow::Result<()> {
    if !(LOCK_MIN..=LOCK_MAX).contains(&lock) {
        bail!("--lock-duration: must be 5s to 5m, as Service Bus has it");
    }
    if !(1..=DELIVERIES_MAX).contains(&deliveries) {
        bail!("--max-delivery-count: must be 1 to {DELIVERIES_MAX}, as Service Bus has it");
    }
    if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&message_bytes) {
        bail!("--max-message-size: must be 1KiB to 100MiB; no service takes larger messages");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_emulator_are_those_of_the_services() {
        let lock = Duration::from_secs(30);
        for (lock, deliveries, bytes, expect) in [
            (lock, 10, 1 << 20, ""),
            (LOCK_MIN, 1, 1 << 10, ""),
            (LOCK_MAX, 2_000, 100 << 20, ""),
            (Duration::ZERO, 10, 1 << 20, "--lock-duration"),
            (
                LOCK_MAX + Duration::from_millis(1),
                10,
                1 << 20,
                "--lock-duration",
            ),
            (lock, 0, 1 << 20, "--max-delivery-count"),
            (lock, 2_001, 1 << 20, "--max-delivery-count"),
            (lock, 10, 0, "--max-message-size"),
            (lock, 10, (100 << 20) + 1, "--max-message-size"),
        ] {
            let refused = check(lock, deliveries, bytes).err();
            let refused = refused.map_or_else(String::new, |error| error.to_string());
            assert_eq!(refused.split(':').next(), Some(expect), "{refused}");
        }
    }
}
