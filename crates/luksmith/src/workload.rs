//! The footer of confidential-workload images: what a micro-VM loader reads before it can unlock.
//!
//! # Format
//! At the end of the file: JSON, the four bytes `KRUN`, the length of the JSON in eight bytes,
//! little endian. Zeros in front make the whole file a multiple of 4096 bytes. A LUKS1 reader sees
//! all of it as the end of its data.

use std::io::Write;

use luksmith_block::{BlockDevice, ByteDevice, ByteLen, ByteOffset};
use luksmith_header::json::{Object, ParseLimits, Value, parse_object};

use crate::Error;

/// The magic in front of the length.
const MAGIC: &[u8; 4] = b"KRUN";
/// Bytes of magic and length.
const TAIL_BYTES: u64 = 12;
/// What the length of the whole file is a multiple of.
const FILE_UNIT: u64 = 4096;
/// Longest JSON that is read.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// What a workload image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Kind of trusted execution environment: `sev`, `snp` and so on.
    pub tee: String,
    /// What that environment needs, as JSON in a string.
    pub tee_data: String,
    /// Name under which the broker knows the workload.
    pub workload_id: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub ram_mib: u32,
    /// Where the broker is.
    pub attestation_url: String,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            tee: String::new(),
            tee_data: String::new(),
            workload_id: String::new(),
            cpus: 2,
            ram_mib: 512,
            attestation_url: String::new(),
        }
    }
}

impl Workload {
    /// Gives the JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let members: Object = [
            ("tee", Value::string(&self.tee)),
            ("tee_data", Value::string(&self.tee_data)),
            ("workload_id", Value::string(&self.workload_id)),
            ("cpus", Value::integer(u64::from(self.cpus))),
            ("ram_mib", Value::integer(u64::from(self.ram_mib))),
            ("attestation_url", Value::string(&self.attestation_url)),
        ]
        .into_iter()
        .collect();
        members.to_compact()
    }

    /// Takes what is known of a JSON text; members that are missing have their defaults.
    ///
    /// # Errors
    /// [`Error::Footer`] if it is no JSON object.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let limits = ParseLimits::default();
        let malformed = |_| Error::Footer {
            problem: "its JSON is malformed",
        };
        let (object, _) = parse_object(text, &limits).map_err(malformed)?;
        let string = |key: &str| {
            let text = object.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let number = |key: &str, default| {
            let number = object.get(key).and_then(Value::as_integer);
            number.and_then(|number| number.as_u32()).unwrap_or(default)
        };
        Ok(Self {
            tee: string("tee"),
            tee_data: string("tee_data"),
            workload_id: string("workload_id"),
            cpus: number("cpus", 2),
            ram_mib: number("ram_mib", 512),
            attestation_url: string("attestation_url"),
        })
    }
}

/// Reads the JSON of the footer at the end of `device`, or gives `None` if there is no footer.
///
/// # Errors
/// [`Error::Footer`] for a length that cannot be; [`Error::Device`].
pub fn read_footer(device: &dyn BlockDevice) -> Result<Option<Vec<u8>>, Error> {
    let bytes = ByteDevice::new(device);
    let Some(tail_at) = device.size().get().checked_sub(TAIL_BYTES) else {
        return Ok(None);
    };
    let mut tail = [0; 12];
    bytes.read_at(ByteOffset::new(tail_at), &mut tail)?;
    let Some((magic, len)) = tail.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if magic != MAGIC {
        return Ok(None);
    }
    let len = u64::from_le_bytes(len.try_into().expect("12 bytes less 4 are 8"));
    let start = tail_at.checked_sub(len).filter(|_| len <= MAX_JSON_BYTES);
    let (Some(start), Some(room)) = (start, ByteLen::new(len).to_usize()) else {
        return Err(Error::Footer {
            problem: "its length is more than 1 MiB or than the file",
        });
    };
    let mut json = vec![0; room];
    bytes.read_at(ByteOffset::new(start), &mut json)?;
    Ok(Some(json))
}

/// Writes zeros and a footer behind a volume of `volume_bytes` bytes, and gives how many bytes that
/// are: together they are a multiple of 4096.
///
/// # Errors
/// [`Error::Footer`] for more than 1 MiB of JSON; [`Error::Stream`].
pub fn write_footer(out: &mut dyn Write, volume_bytes: u64, json: &[u8]) -> Result<u64, Error> {
    let len = ByteLen::of(json).get();
    if len > MAX_JSON_BYTES {
        return Err(Error::Footer {
            problem: "its JSON has more than 1 MiB",
        });
    }
    let end = volume_bytes.checked_add(len + TAIL_BYTES);
    let end = end.and_then(|end| end.checked_next_multiple_of(FILE_UNIT));
    let Some(end) = end else {
        return Err(Error::Footer {
            problem: "it would end past 2^64",
        });
    };
    let zeros = end - volume_bytes - len - TAIL_BYTES;
    let mut write = || -> std::io::Result<()> {
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), zeros), out)?;
        out.write_all(json)?;
        out.write_all(MAGIC)?;
        out.write_all(&len.to_le_bytes())?;
        out.flush()
    };
    write().map_err(|source| Error::Stream {
        what: "writing the footer",
        source,
    })?;
    Ok(end - volume_bytes)
}
