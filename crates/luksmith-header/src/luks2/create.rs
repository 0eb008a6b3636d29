//! The sizes and the first metadata of a new volume.

use alloc::{string::String, vec::Vec};

use luksmith_block::{ByteLen, ByteOffset};

use super::{
    HeaderSize, MAX_KEYSLOTS_AREA_BYTES, Metadata,
    edit::{NewDigest, decimal, number, object},
};
use crate::{
    Error,
    json::{Object, Value},
};

/// Length of headers and keyslot area where nothing else is asked for: 16 MiB.
const DEFAULT_TOTAL_BYTES: u64 = 16 * 1024 * 1024;
/// Most that is zeroed in front of the data.
const MAX_WIPED_BYTES: u64 = 136 * 1024 * 1024;
/// Unit of keyslot areas and data offsets.
const BLOCK: u64 = 4096;
/// Where the data start is a multiple of this, unless the caller says otherwise: 1 MiB.
pub const DEFAULT_ALIGNMENT: u64 = 1024 * 1024;

/// What a new header is to fit. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayoutOptions {
    /// Length of one header copy.
    pub header_size: HeaderSize,
    /// Length of the keyslot area, `None` for what fits.
    pub keyslots_len: Option<u64>,
    /// Start of the data, `None` for the first place that fits.
    pub data_offset: Option<u64>,
    /// What the start of the data is a multiple of, where it is not given. 0 stands for data on
    /// another device: they start at 0 there.
    pub alignment: u64,
    /// How far the device's own start is from alignment.
    pub alignment_offset: u64,
    /// Length of the device that holds the header.
    pub device_len: u64,
    /// Whether that device becomes longer when more is written to it.
    pub can_grow: bool,
}

impl LayoutOptions {
    /// Takes defaults for a device of this length that holds the data too.
    #[must_use]
    pub const fn attached(device_len: u64) -> Self {
        Self {
            header_size: HeaderSize::MIN,
            keyslots_len: None,
            data_offset: None,
            alignment: DEFAULT_ALIGNMENT,
            alignment_offset: 0,
            device_len,
            can_grow: false,
        }
    }

    /// Takes defaults for a header file beside its data.
    #[must_use]
    pub const fn detached(device_len: u64) -> Self {
        let mut options = Self::attached(device_len);
        options.alignment = 0;
        options.can_grow = true;
        options
    }
}

/// Where the parts of a new volume lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLayout {
    /// Length of one header copy.
    pub header_size: HeaderSize,
    /// Length of the keyslot area.
    pub keyslots_len: ByteLen,
    /// Start of the data, 0 for data on another device.
    pub data_offset: ByteOffset,
}

impl NewLayout {
    /// Lays a new volume out as cryptsetup does.
    ///
    /// # Errors
    /// [`Error::Option`] for sizes that are impossible, with the rule.
    ///
    /// # Format
    /// docs/formats/luks2.md, "Formatting".
    pub fn plan(options: &LayoutOptions) -> Result<Self, Error> {
        let headers = options.header_size.bytes().saturating_mul(2);
        check_options(options, headers)?;
        let data = options.data_offset.unwrap_or(0);
        let mut keyslots = match (options.keyslots_len, options.data_offset) {
            (Some(len), _) => len,
            (None, Some(data)) if data > 0 => data.saturating_sub(headers),
            (None, _) => 0,
        };
        keyslots = floor(keyslots).min(MAX_KEYSLOTS_AREA_BYTES);
        if keyslots == 0 {
            keyslots = DEFAULT_TOTAL_BYTES.saturating_sub(headers);
            let is_short = options.device_len < keyslots.saturating_add(headers);
            if is_short && !options.can_grow && options.device_len >= headers {
                keyslots = floor(options.device_len.saturating_sub(headers));
            }
        }
        if data > 0 && keyslots.saturating_add(headers) > data {
            keyslots = floor(data.saturating_sub(headers));
        }
        let data_offset = match options.data_offset {
            Some(data) if data > 0 => data,
            _ if options.alignment == 0 => 0,
            _ => align(headers.saturating_add(keyslots), options)?,
        };
        Ok(Self {
            header_size: options.header_size,
            keyslots_len: ByteLen::new(keyslots),
            data_offset: ByteOffset::new(data_offset),
        })
    }

    /// Gives the length of both copies and the keyslot area.
    #[must_use]
    pub const fn total_len(&self) -> ByteLen {
        // 8 MiB and 128 MiB at most.
        ByteLen::new(
            self.header_size
                .bytes()
                .saturating_mul(2)
                .saturating_add(self.keyslots_len.get()),
        )
    }

    /// Gives how many bytes from the start of the header device cryptsetup zeroes before it writes
    /// the first header, on a device of `device_len` bytes.
    #[must_use]
    pub fn wiped_len(&self, device_len: ByteLen) -> ByteLen {
        let wanted = match self.data_offset.get() {
            0 => MAX_WIPED_BYTES,
            offset => offset.min(MAX_WIPED_BYTES),
        };
        ByteLen::new(wanted.min(device_len.get()))
    }
}

fn check_options(options: &LayoutOptions, headers: u64) -> Result<(), Error> {
    let refuse = |option, value, rule| {
        Err(Error::Option {
            option,
            value,
            rule,
        })
    };
    if let Some(data) = options.data_offset
        && data > 0
    {
        if data < headers {
            return refuse(
                "data offset",
                data,
                "the two header copies do not fit before it",
            );
        }
        if !data.is_multiple_of(BLOCK) {
            return refuse("data offset", data, "it must be a multiple of 4096 bytes");
        }
    }
    if let Some(len) = options.keyslots_len {
        if !len.is_multiple_of(BLOCK) {
            return refuse("keyslot area", len, "it must be a multiple of 4096 bytes");
        }
        if len > MAX_KEYSLOTS_AREA_BYTES {
            return refuse("keyslot area", len, "it must not be larger than 128 MiB");
        }
    }
    Ok(())
}

fn align(from: u64, options: &LayoutOptions) -> Result<u64, Error> {
    from.checked_next_multiple_of(options.alignment)
        .and_then(|aligned| aligned.checked_add(options.alignment_offset))
        .ok_or(Error::Option {
            option: "alignment",
            value: options.alignment,
            rule: "the data would start past 2^64",
        })
}

const fn floor(bytes: u64) -> u64 {
    bytes.saturating_sub(bytes % BLOCK)
}

/// Authentication of a new segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIntegrity {
    /// For example `hmac(sha256)`.
    pub kind: String,
    /// Length of the integrity key in bytes, where it is not the usual one.
    pub key_bytes: Option<u32>,
}

/// The encrypted segment of a new volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// Cipher, as `aes-xts-plain64`.
    pub encryption: String,
    /// Encryption sector size in bytes.
    pub sector_size: u32,
    /// Authentication, if there is any.
    pub integrity: Option<NewIntegrity>,
}

impl NewSegment {
    /// The members in the order in which cryptsetup writes them.
    fn to_value(&self, offset: ByteOffset) -> Value {
        let mut segment: Object = [
            ("type", Value::string("crypt")),
            ("offset", decimal(offset.get())),
            ("size", Value::string("dynamic")),
            ("iv_tweak", decimal(0)),
            ("encryption", Value::string(&self.encryption)),
            ("sector_size", number(self.sector_size)),
        ]
        .into_iter()
        .collect();
        if let Some(integrity) = &self.integrity {
            let mut members: Object = [
                ("type", Value::string(&integrity.kind)),
                ("journal_encryption", Value::string("none")),
                ("journal_integrity", Value::string("none")),
            ]
            .into_iter()
            .collect();
            if let Some(bytes) = integrity.key_bytes {
                members.set("key_size", number(bytes));
            }
            segment.set("integrity", Value::Object(members));
        }
        Value::Object(segment)
    }
}

/// Makes the metadata of a new volume: one segment, no keyslot, no token.
///
/// The digest is for segment 0, whatever segments it names.
///
/// # Errors
/// [`Error::Field`] for a layout or a segment that breaks a rule.
pub fn initial_metadata(
    layout: &NewLayout,
    segment: &NewSegment,
    digest: &NewDigest,
) -> Result<Metadata, Error> {
    let digest = NewDigest {
        segments: Vec::from([0]),
        ..digest.clone()
    };
    let empty = || Value::Object(Object::new());
    let tree: Object = [
        ("keyslots", empty()),
        ("tokens", empty()),
        (
            "segments",
            object([("0", segment.to_value(layout.data_offset))]),
        ),
        ("digests", object([("0", digest.to_value())])),
        (
            "config",
            object([
                ("json_size", decimal(layout.header_size.json_bytes())),
                ("keyslots_size", decimal(layout.keyslots_len.get())),
            ]),
        ),
    ]
    .into_iter()
    .collect();
    Metadata::from_tree(tree, layout.header_size.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(change: impl FnOnce(&mut LayoutOptions)) -> (u64, u64) {
        let mut options = LayoutOptions::attached(1 << 30);
        change(&mut options);
        let layout = NewLayout::plan(&options).unwrap();
        (layout.keyslots_len.get(), layout.data_offset.get())
    }

    const MIB: u64 = 1 << 20;

    fn size(kib: u64) -> HeaderSize {
        HeaderSize::from_bytes(kib * 1024).unwrap()
    }

    #[test]
    fn the_measured_layouts_come_out() {
        assert_eq!(planned(|_| {}), (16_744_448, 16 * MIB));
        let offset =
            |sectors: u64| planned(move |options| options.data_offset = Some(sectors * 512)).0;
        assert_eq!(offset(2048), 1_015_808);
        assert_eq!(offset(65536), 33_521_664);
        assert_eq!(
            planned(|options| options.header_size = size(64)).0,
            16_646_144
        );
        assert_eq!(
            planned(|options| options.header_size = size(4096)).0,
            8_388_608
        );
        assert_eq!(
            planned(|options| options.keyslots_len = Some(256 * 1024)),
            (256 * 1024, MIB)
        );
        assert_eq!(
            planned(|options| {
                options.keyslots_len = Some(128 * MIB);
                options.device_len = 40 * MIB;
                options.can_grow = true;
            }),
            (128 * MIB, 129 * MIB)
        );
        assert_eq!(
            planned(|options| {
                options.header_size = size(4096);
                options.data_offset = Some(16384 * 512);
            }),
            (0, 8 * MIB)
        );
    }

    #[test]
    fn a_detached_header_starts_its_data_at_0() {
        let layout = NewLayout::plan(&LayoutOptions::detached(0)).unwrap();
        assert_eq!(layout.data_offset, ByteOffset::ZERO);
        assert_eq!(layout.total_len(), ByteLen::new(16 * MIB));
        // The compact header of one keyslot.
        let mut options = LayoutOptions::detached(0);
        options.keyslots_len = Some(409_600);
        let layout = NewLayout::plan(&options).unwrap();
        assert_eq!(layout.total_len(), ByteLen::new(442_368));
    }

    #[test]
    fn a_short_device_that_cannot_grow_gets_the_keyslot_area_that_fits() {
        let (keyslots, _) = planned(|options| options.device_len = 2 * MIB);
        assert_eq!(keyslots, 2 * MIB - 32768);
    }

    #[test]
    fn impossible_sizes_are_refused_with_the_rule() {
        let refused = |change: fn(&mut LayoutOptions)| {
            let mut options = LayoutOptions::attached(1 << 30);
            change(&mut options);
            match NewLayout::plan(&options) {
                Err(Error::Option { option, value, .. }) => (option, value),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            refused(|options| options.data_offset = Some(28672)),
            ("data offset", 28672)
        );
        assert_eq!(
            refused(|options| options.data_offset = Some(32769)),
            ("data offset", 32769)
        );
        assert_eq!(
            refused(|options| options.keyslots_len = Some(5000)),
            ("keyslot area", 5000)
        );
        assert_eq!(
            refused(|options| options.keyslots_len = Some(129 * MIB)),
            ("keyslot area", 129 * MIB)
        );
        assert_eq!(
            refused(|options| {
                options.alignment = u64::MAX / 2 + 2;
                options.alignment_offset = u64::MAX / 2;
            }),
            ("alignment", u64::MAX / 2 + 2)
        );
    }
}
