//! Exit codes: why a command did not do what it was to do.
//!
//! | code | `sysexits.h` | meaning |
//! |---|---|---|
//! | 0 | `EX_OK` | done |
//! | 1 | | the answer is no, or it failed: the text on standard error says why |
//! | 2 | | the command line is wrong |
//! | 65 | `EX_DATAERR` | journal or store cannot be read: of a newer version, or its key is missing |
//! | 66 | `EX_NOINPUT` | a file or folder that is read is not there |
//! | 69 | `EX_UNAVAILABLE` | somebody who is needed to start does not answer |
//! | 71 | `EX_OSERR` | the system refuses: too many open files, no memory |
//! | 73 | `EX_CANTCREAT` | a folder, file or socket cannot be made: its folder is missing, the disk is read-only |
//! | 74 | `EX_IOERR` | the disk is full or fails; standard output cannot be written |
//! | 75 | `EX_TEMPFAIL` | something is in use: a port, an address that is not there yet, a journal |
//! | 77 | `EX_NOPERM` | the user may not read, write or listen there |
//! | 78 | `EX_CONFIG` | only an edit of configuration or definitions helps; starting again never does |
//! | 141 | | whoever read standard output has gone: 128 and SIGPIPE |
//!
//! A service manager starts again after every code but 78 (`RestartPreventExitStatus=78`).

use super::output::{self, OutputEnd};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;
use twinroute_audit::AuditError;
use twinroute_journal::JournalOpenError;
use twinroute_listen::BindError;
use twinroute_management::StoreError;

/// Why, as far as a service manager cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    UnreadableData,
    MissingInput,
    Unavailable,
    System,
    CannotCreate,
    InputOutput,
    InUse,
    NotPermitted,
    Configuration,
}

impl ExitReason {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::UnreadableData => 65,
            Self::MissingInput => 66,
            Self::Unavailable => 69,
            Self::System => 71,
            Self::CannotCreate => 73,
            Self::InputOutput => 74,
            Self::InUse => 75,
            Self::NotPermitted => 77,
            Self::Configuration => 78,
        }
    }

    /// Of an error of a start, by what in its chain says most about it.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let reasons = error.chain().filter_map(|cause| {
            if let Some(reasoned) = cause.downcast_ref::<ReasonedError>() {
                return Some(reasoned.reason);
            }
            if let Some(error) = cause.downcast_ref::<BindError>() {
                return Some(Self::of_bind(error));
            }
            if let Some(error) = cause.downcast_ref::<JournalOpenError>() {
                return Self::of_journal(error);
            }
            if let Some(error) = cause.downcast_ref::<StoreError>() {
                return Self::of_store(error);
            }
            if let Some(AuditError::Locked { .. }) = cause.downcast_ref() {
                return Some(Self::InUse);
            }
            let error = cause.downcast_ref::<io::Error>()?;
            Some(Self::of_io(error.kind()))
        });
        // The rest is what twinroute itself says of a configuration.
        let mut reasons = reasons;
        reasons.next().unwrap_or(Self::Configuration)
    }

    fn of_bind(error: &BindError) -> Self {
        match error {
            BindError::InUse { .. } => Self::InUse,
            BindError::NotASocket { .. } => Self::CannotCreate,
            BindError::Io { source, .. } => match Self::of_io(source.kind()) {
                // The folder that a socket is to be made in.
                Self::MissingInput => Self::CannotCreate,
                other => other,
            },
        }
    }

    /// Nothing where the cause says more.
    fn of_journal(error: &JournalOpenError) -> Option<Self> {
        match error {
            JournalOpenError::Locked { .. } => Some(Self::InUse),
            JournalOpenError::Io { .. } => None,
            _ => Some(Self::UnreadableData),
        }
    }

    /// Nothing where the cause says more.
    fn of_store(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Locked { .. } => Some(Self::InUse),
            StoreError::Io { .. } => None,
            StoreError::Database { .. } => Some(Self::InputOutput),
            _ => Some(Self::UnreadableData),
        }
    }

    fn of_io(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::MissingInput,
            ErrorKind::PermissionDenied => Self::NotPermitted,
            ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists => Self::CannotCreate,
            ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
            | ErrorKind::ResourceBusy
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted => Self::InUse,
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut => Self::Unavailable,
            // What a file holds, or a name that the system does not take.
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::InvalidFilename => {
                Self::Configuration
            }
            ErrorKind::OutOfMemory => Self::System,
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::WriteZero
            | ErrorKind::UnexpectedEof => Self::InputOutput,
            // Too many open files among them.
            _ => Self::System,
        }
    }
}

/// An error that knows its reason, where no type below it does.
#[derive(Debug)]
pub(crate) struct ReasonedError {
    reason: ExitReason,
    text: String,
}

impl ReasonedError {
    pub(crate) fn new(reason: ExitReason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
}

/// An error about files whose own type lost why one of them cannot be read: the first that cannot says so again. Blocks
/// on the file system.
pub(crate) fn about_files<'a>(
    text: String,
    files: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Error {
    let unreadable = files.into_iter().find_map(|file| File::open(file).err());
    match unreadable {
        Some(error) => ReasonedError::new(ExitReason::of_io(error.kind()), text).into(),
        None => anyhow::anyhow!(text),
    }
}

impl fmt::Display for ReasonedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for ReasonedError {}

/// Where the reader of standard output has gone. We hear of that by an error instead of SIGPIPE, since a daemon must
/// outlive a connection that breaks; the code is the one that a shell shows for a program that the signal ended.
const CLOSED_PIPE: u8 = 141;

/// Says once why a command failed, and gives its exit code.
pub(super) fn failed(error: &anyhow::Error) -> ExitCode {
    ended(error, 1)
}

/// As [`failed`], for what keeps a daemon from starting, and a configuration from being read.
pub(super) fn not_started(error: &anyhow::Error) -> ExitCode {
    ended(error, ExitReason::of(error).code())
}

fn ended(error: &anyhow::Error, code: u8) -> ExitCode {
    match output::ended(error) {
        // Whoever read it has seen enough, which is not worth a word.
        Some(OutputEnd::Closed) => ExitCode::from(CLOSED_PIPE),
        Some(OutputEnd::Failed(failure)) => {
            output::error_line(format_args!("twinroute: {failure}"));
            ExitCode::from(ExitReason::InputOutput.code())
        }
        None => {
            output::error_text(format_args!("twinroute: {error:#}\n"));
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use std::path::PathBuf;
    use twinroute_listen::ListenAddress;

    fn io(kind: ErrorKind) -> anyhow::Error {
        anyhow::Error::from(io::Error::from(kind)).context("the folder /data")
    }

    #[test]
    fn exit_78_is_for_what_only_an_edit_can_fix() {
        let mistake = Err::<(), _>(anyhow::anyhow!("unknown field `lissten`"));
        let mistake = mistake.context("in the configuration x").unwrap_err();
        assert_eq!(ExitReason::of(&mistake).code(), 78);
        for (kind, code) in [
            (ErrorKind::NotFound, 66),
            (ErrorKind::PermissionDenied, 77),
            (ErrorKind::ReadOnlyFilesystem, 73),
            (ErrorKind::NotADirectory, 73),
            (ErrorKind::StorageFull, 74),
            (ErrorKind::AddrInUse, 75),
            (ErrorKind::AddrNotAvailable, 75),
            (ErrorKind::TimedOut, 69),
            (ErrorKind::OutOfMemory, 71),
            (ErrorKind::Other, 71),
            (ErrorKind::InvalidData, 78),
        ] {
            assert_eq!(ExitReason::of(&io(kind)).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn exit_code_is_that_of_the_cause_that_says_most() {
        let path = PathBuf::from("/run/none/t.sock");
        let no_folder = BindError::Io {
            address: ListenAddress::Unix(path.clone()),
            step: "bind",
            source: ErrorKind::NotFound.into(),
        };
        let locked = JournalOpenError::Locked {
            path: "/data".to_owned(),
            source: ErrorKind::WouldBlock.into(),
        };
        let full = JournalOpenError::Io {
            path: "/data".to_owned(),
            step: "creation".to_owned(),
            source: ErrorKind::StorageFull.into(),
        };
        let newer = JournalOpenError::Newer {
            segment: 1,
            offset: 0,
            version: 9,
            kind: 1,
        };
        let store = StoreError::Locked { path: path.clone() };
        let azure = ReasonedError::new(ExitReason::Unavailable, "no answer");
        for (error, code) in [
            (anyhow::Error::from(no_folder), 73),
            (locked.into(), 75),
            (full.into(), 74),
            (newer.into(), 65),
            (store.into(), 75),
            (AuditError::Locked { path }.into(), 75),
            (azure.into(), 69),
        ] {
            let error = error.context("[a table]");
            assert_eq!(ExitReason::of(&error).code(), code, "{error:#}");
        }
    }
}
