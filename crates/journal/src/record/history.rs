//! Records that only the history needs, as bytes.

use super::encode::{put_count, put_name, put_text, put_time, put_u32, put_u64};
use super::{FailedSendFault, JournalRecord};
use std::net::IpAddr;

impl JournalRecord<'_> {
    /// Bodies that only the history needs.
    pub(super) fn encode_history(&self, out: &mut Vec<u8>) {
        match self {
            Self::Clock { at } => put_time(out, *at),
            Self::Origin {
                generation,
                instance,
                caller,
                address,
            } => {
                put_u64(out, *generation);
                put_name(out, instance);
                put_text(out, caller);
                put_address(out, *address);
            }
            Self::Table {
                generation,
                content,
            } => {
                put_u64(out, *generation);
                out.extend_from_slice(content);
            }
            Self::Failed {
                lane,
                fault,
                text,
                sequences,
            } => {
                put_u32(out, *lane);
                out.push(fault_code(*fault));
                put_text(out, text);
                put_count(out, sequences.len());
                sequences.iter().for_each(|one| put_u64(out, *one));
            }
            _ => {}
        }
    }
}

fn put_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        None => out.push(0),
        Some(IpAddr::V4(four)) => {
            out.push(4);
            out.extend_from_slice(&four.octets());
        }
        Some(IpAddr::V6(six)) => {
            out.push(6);
            out.extend_from_slice(&six.octets());
        }
    }
}

/// Numbers on disk: never reused for another fault.
fn fault_code(fault: FailedSendFault) -> u8 {
    match fault {
        FailedSendFault::Event => 0,
        FailedSendFault::Endpoint => 1,
    }
}

pub(super) fn fault_of(code: u8) -> Option<FailedSendFault> {
    [FailedSendFault::Event, FailedSendFault::Endpoint]
        .into_iter()
        .find(|fault| fault_code(*fault) == code)
}
