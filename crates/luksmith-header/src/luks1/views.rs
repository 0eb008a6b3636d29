//! A LUKS1 header in the words of LUKS2: what unlocking needs is the same.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use luksmith_block::{ByteLen, ByteOffset};

use super::{Header, SlotState, area_sectors, parse::KeyslotRecord};
use crate::{
    error::JsonPath,
    objects::{
        AntiForensic, Area, Blob, CryptParameters, Digest, Kdf, Keyslot, KeyslotKind, Priority,
        Segment, SegmentKind,
    },
};

impl Header {
    /// Gives the enabled keyslots as LUKS2 keyslots of normal priority, by id.
    #[must_use]
    pub fn keyslot_objects(&self) -> Vec<Keyslot> {
        (0_u32..)
            .zip(self.keyslots())
            .filter(|(_, record)| record.state == SlotState::Enabled)
            .map(|(id, record)| self.keyslot_object(id, record))
            .collect()
    }

    fn keyslot_object(&self, id: u32, record: &KeyslotRecord) -> Keyslot {
        let path = JsonPath::top().member("keyslot").member(&id.to_string());
        Keyslot {
            key: id.to_string(),
            id: Some(id),
            type_name: String::from("luks1"),
            key_bytes: self.key_bytes(),
            priority: Priority::Normal,
            area: Area {
                kind: String::from("raw"),
                offset: ByteOffset::new(u64::from(record.key_material_offset).saturating_mul(512)),
                len: ByteLen::new(area_sectors(self.key_bytes()).saturating_mul(512)),
                encryption: Some(self.encryption()),
                key_bytes: Some(self.key_bytes()),
            },
            kind: KeyslotKind::Luks2 {
                kdf: Kdf::Pbkdf2 {
                    hash: self.hash_name(),
                    iterations: record.iterations,
                    salt: Blob::new(Ok(record.salt.to_vec()), path.member("salt")),
                },
                af: AntiForensic {
                    hash: self.hash_name(),
                    stripes: record.stripes,
                },
            },
        }
    }

    /// Gives the digest as a LUKS2 digest that lists the enabled keyslots and segment 0.
    #[must_use]
    pub fn digest_object(&self) -> Digest {
        let path = JsonPath::top().member("digest");
        let blob = |bytes: &[u8], field| Blob::new(Ok(bytes.to_vec()), path.clone().member(field));
        Digest {
            key: String::from("0"),
            id: Some(0),
            type_name: String::from("pbkdf2"),
            keyslots: self
                .keyslot_objects()
                .iter()
                .filter_map(|slot| slot.id)
                .collect(),
            segments: vec![0],
            hash: Some(self.hash_name()),
            iterations: Some(self.digest_iterations()),
            salt: Some(blob(&self.digest_salt(), "salt")),
            digest: Some(blob(&self.digest(), "digest")),
            path,
        }
    }

    /// Gives the data as a LUKS2 segment: from the payload offset to the end of the device, in
    /// 512-byte sectors.
    #[must_use]
    pub fn segment_object(&self) -> Segment {
        Segment {
            id: 0,
            kind: SegmentKind::Crypt,
            type_name: String::from("crypt"),
            offset: ByteOffset::new(u64::from(self.payload_sector()).saturating_mul(512)),
            len: None,
            crypt: Some(CryptParameters {
                iv_tweak: 0,
                encryption: format!("{}-{}", self.cipher_name(), self.cipher_mode()),
                sector_size: 512,
                integrity: None,
            }),
            opal: None,
            flags: Vec::new(),
        }
    }
}
