//! The one error that crosses the device borders.

use core::fmt;

use crate::{ByteLen, ByteOffset, SectorNumber, SectorSize};

/// What a device was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a path.
    Open,
    /// Taking a lock.
    Lock,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Flushing.
    Flush,
    /// Discarding.
    Discard,
    /// Finding the size or changing it.
    Size,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Size => "size",
        })
    }
}

/// How the system described a failure: its error number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoFailure {
    /// The operating system's error number.
    Os(i32),
    /// The device ended before the data did.
    UnexpectedEnd,
    /// The device took no byte of a write.
    WroteNothing,
    /// A device that is no file (memory, network, a test) failed.
    Other,
}

impl IoFailure {
    /// Gives the operating system's error number, if the failure came from it.
    #[must_use]
    pub const fn raw_os_error(self) -> Option<i32> {
        match self {
            Self::Os(code) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "std")]
            Self::Os(code) => std::io::Error::from_raw_os_error(*code).fmt(f),
            #[cfg(not(feature = "std"))]
            Self::Os(code) => write!(f, "os error {code}"),
            Self::UnexpectedEnd => f.write_str("the device ended before the data did"),
            Self::WroteNothing => f.write_str("the device took no byte"),
            Self::Other => f.write_str("the device reported a failure"),
        }
    }
}

#[cfg(feature = "std")]
impl From<&std::io::Error> for IoFailure {
    fn from(error: &std::io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (Some(code), _) => Self::Os(code),
            (None, std::io::ErrorKind::UnexpectedEof) => Self::UnexpectedEnd,
            (None, std::io::ErrorKind::WriteZero) => Self::WroteNothing,
            (None, _) => Self::Other,
        }
    }
}

/// Why a device did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system or the medium failed.
    #[error("{operation} at byte {at} failed: {failure}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// Where it was being done.
        at: ByteOffset,
        /// What the system said.
        failure: IoFailure,
    },
    /// The system refused something that has no place on the device.
    #[error("{operation} failed: {failure}")]
    System {
        /// What was being done.
        operation: Operation,
        /// What the system said.
        failure: IoFailure,
    },
    /// The path leads to something without addressable bytes.
    #[error("{found} cannot hold a volume; give a regular file or a block device")]
    NotStorage {
        /// What the path leads to.
        found: &'static str,
    },
    /// The system does not tell how large the device is.
    #[error("this system does not tell the size of this device; give it with FileOptions::size")]
    SizeUnknown,
    /// Direct requests cannot reach the last bytes of a file of this size.
    #[error(
        "a size of {size} bytes is no multiple of {unit}, which direct input and output needs; open \
         it without FileOptions::direct"
    )]
    DirectSize {
        /// Size of the file.
        size: ByteLen,
        /// What it has to be a multiple of.
        unit: ByteLen,
    },
    /// The request reaches past the end of the device.
    #[error("{len} bytes at byte {at} reach past the end of the device, which has {size} bytes")]
    PastEnd {
        /// First byte of the request.
        at: ByteOffset,
        /// Length of the request.
        len: ByteLen,
        /// Size of the device.
        size: ByteLen,
    },
    /// The request does not start or end between sectors of the device.
    #[error("{len} bytes at byte {at} are not whole sectors of {sector_size} bytes")]
    Misaligned {
        /// First byte of the request.
        at: ByteOffset,
        /// Length of the request.
        len: ByteLen,
        /// The device's sector size.
        sector_size: SectorSize,
    },
    /// A conversion between units left 64 bits.
    #[error("{what} {value} does not fit 64 bits once converted")]
    Overflow {
        /// What was converted.
        what: &'static str,
        /// Its value before.
        value: u64,
    },
    /// Tags do not match the data that was read.
    #[error(
        "sector {first} ({count} in all): tag does not match the data; it was changed outside, or \
         the volume key is not this volume's"
    )]
    TagMismatch {
        /// First sector of the first block whose tag failed.
        first: SectorNumber,
        /// How many 512-byte sectors failed in this request.
        count: u64,
    },
    /// What a layer keeps beside the data is no longer what it was when the device was opened.
    #[error(
        "{what} {number} is not what it was when the device was opened: somebody else writes to it"
    )]
    ChangedOutside {
        /// What was changed.
        what: &'static str,
        /// Which one.
        number: u64,
    },
    /// What a layer needs for writing is damaged. What is there can still be read.
    #[error(
        "{what} {number} is damaged, so nothing can be written; everything can still be read: copy \
         it to a new device"
    )]
    Damaged {
        /// What is damaged.
        what: &'static str,
        /// Which one.
        number: u64,
    },
    /// The device was opened for reading.
    #[error("the device was opened read-only")]
    ReadOnly,
    /// The device cannot do this at all.
    #[error("this device does not support {operation}")]
    Unsupported {
        /// What was asked.
        operation: Operation,
    },
    /// An earlier failure left durability unknown, so the device takes no more writes.
    #[error(
        "an earlier {operation} failed and what is on the medium is unknown; writes are refused \
         until the device is opened again"
    )]
    FailStop {
        /// The operation that failed first.
        operation: Operation,
    },
    /// Another process holds the lock that this use needs.
    #[error(
        "another process has this device open; close it there, or open read-only on both sides"
    )]
    Busy,
    /// Two slices given to one call do not belong together.
    #[error("{what} has {found} bytes, this request needs {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A layer that stores random IVs got none for this write.
    #[error("the random generator gave no bytes for the IVs of this write; none of it was written")]
    Random,
    /// The caller cancelled the work.
    #[error("cancelled by the caller")]
    Cancelled,
}

impl Error {
    /// Tells whether somebody changed what only this device should change, which no failing medium
    /// explains.
    #[must_use]
    pub const fn is_tampering(&self) -> bool {
        matches!(self, Self::TagMismatch { .. } | Self::ChangedOutside { .. })
    }

    /// Gives the operating system's error number, if the failure came from it.
    #[must_use]
    pub const fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { failure, .. } | Self::System { failure, .. } => failure.raw_os_error(),
            _ => None,
        }
    }
}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    /// Keeps the error as the source, under the nearest kind.
    fn from(error: Error) -> Self {
        use std::io::ErrorKind;

        let kind = match error {
            Error::Io { failure, .. } | Error::System { failure, .. } => match failure {
                IoFailure::Os(code) => Self::from_raw_os_error(code).kind(),
                IoFailure::UnexpectedEnd => ErrorKind::UnexpectedEof,
                IoFailure::WroteNothing => ErrorKind::WriteZero,
                IoFailure::Other => ErrorKind::Other,
            },
            Error::PastEnd { .. } => ErrorKind::UnexpectedEof,
            Error::Misaligned { .. } | Error::Overflow { .. } | Error::Length { .. } => {
                ErrorKind::InvalidInput
            }
            Error::TagMismatch { .. } | Error::ChangedOutside { .. } | Error::Damaged { .. } => {
                ErrorKind::InvalidData
            }
            Error::ReadOnly => ErrorKind::ReadOnlyFilesystem,
            Error::NotStorage { .. }
            | Error::SizeUnknown
            | Error::DirectSize { .. }
            | Error::Unsupported { .. } => ErrorKind::Unsupported,
            Error::Busy => ErrorKind::ResourceBusy,
            // Not `Interrupted`: std would try again.
            Error::FailStop { .. } | Error::Random | Error::Cancelled => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
