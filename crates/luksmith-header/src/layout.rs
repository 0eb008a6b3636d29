//! The binary structures of both formats, each written once: parser, writer, dump and the tables in
//! docs/formats all come from the tables here.

use alloc::{format, string::String};

/// How the bytes of a field are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes as they are.
    Bytes,
    /// Text that ends at its first zero byte; the last byte always counts as zero.
    Text,
    /// A big-endian number.
    BigEndian,
    /// A run of smaller structures.
    Table,
    /// Zero when written, ignored when read.
    Padding,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Text => "text",
            Self::BigEndian => "big-endian",
            Self::Table => "table",
            Self::Padding => "padding",
        }
    }
}

/// One field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The field's name.
    pub name: &'static str,
    /// First byte, from the start of the structure.
    pub offset: usize,
    /// Length in bytes.
    pub size: usize,
    /// How to read it.
    pub encoding: Encoding,
    /// What it says.
    pub meaning: &'static str,
}

/// A whole structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the structure is.
    pub title: &'static str,
    /// Length in bytes, padding included.
    pub size: usize,
    /// The fields, in order and without gaps.
    pub rows: &'static [Row],
}

impl Layout {
    /// Gives the table as Markdown, as it stands in docs/formats.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text =
            String::from("| offset | size | field | encoding | meaning |\n|---|---|---|---|---|\n");
        for row in self.rows {
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                row.offset,
                row.size,
                row.name,
                row.encoding.name(),
                row.meaning
            ));
        }
        text
    }
}

/// The place of a field of `N` bytes inside a structure of `S` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<const S: usize, const N: usize> {
    offset: usize,
}

impl<const S: usize, const N: usize> Field<S, N> {
    pub(crate) const fn at(offset: usize) -> Self {
        assert!(offset + N <= S, "a field lies inside its structure");
        Self { offset }
    }

    pub(crate) const fn offset(self) -> usize {
        self.offset
    }

    /// Gives the bytes of the field.
    pub(crate) fn get(self, raw: &[u8; S]) -> [u8; N] {
        let bytes = raw.get(self.offset..).and_then(|rest| rest.first_chunk());
        *bytes.expect("`at` asserted that the field lies inside its structure")
    }

    /// Sets the bytes of the field.
    pub(crate) fn set(self, raw: &mut [u8; S], value: [u8; N]) {
        let bytes = raw
            .get_mut(self.offset..)
            .and_then(|rest| rest.first_chunk_mut());
        *bytes.expect("`at` asserted that the field lies inside its structure") = value;
    }
}

impl<const S: usize, const N: usize> Field<S, N> {
    /// Sets the field to `text` and zeros behind it; what does not fit before the last byte is cut.
    pub(crate) fn set_text(self, raw: &mut [u8; S], text: &[u8]) {
        let mut value = [0; N];
        let room = N.saturating_sub(1);
        for (to, from) in value.iter_mut().zip(text.iter().take(room)) {
            *to = *from;
        }
        self.set(raw, value);
    }
}

/// Gives what a text field says: the bytes before the first zero, the last byte counting as zero.
pub(crate) fn text_of(field: &[u8]) -> &[u8] {
    let room = field.len().saturating_sub(1);
    let text = field.get(..room).unwrap_or_default();
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Defines a structure: offsets follow from the sizes, and the sum is checked at compile time.
macro_rules! structure {
    (
        $(#[$doc:meta])*
        mod $module:ident, $layout:ident, $title:literal, $total:literal bytes
        { $($name:ident $size:literal $encoding:ident $meaning:literal;)+ }
    ) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use super::{Encoding, Field, Layout, Row};

            /// Length of the structure in bytes.
            pub(crate) const SIZE: usize = $total;
            structure!(@fields 0; $($name $size)+);
            /// The table.
            pub(crate) const LAYOUT: Layout = Layout {
                title: $title,
                size: SIZE,
                rows: &[$(Row {
                    name: stringify!($name),
                    offset: $name.offset(),
                    size: $size,
                    encoding: Encoding::$encoding,
                    meaning: $meaning,
                }),+],
            };
            const _: () = assert!(0 $(+ $size)+ == SIZE, "the fields fill the structure");
        }

        $(#[$doc])*
        pub const $layout: Layout = $module::LAYOUT;
    };
    (@fields $offset:expr; $name:ident $size:literal $($rest:tt)*) => {
        #[expect(non_upper_case_globals, reason = "the name is the one that the format \
        documents print")]
        pub(crate) const $name: Field<SIZE, $size> = Field::at($offset);
        structure!(@fields $offset + $size; $($rest)*);
    };
    (@fields $offset:expr;) => {};
}

structure! {
    /// The binary header at the start of each LUKS2 header copy.
    mod luks2_binary, LUKS2_BINARY, "LUKS2 binary header", 4096 bytes {
        magic 6 Bytes "`4c 55 4b 53 ba be` in the primary copy, `53 4b 55 4c ba be` in the \
        secondary";
        version 2 BigEndian "2";
        hdr_size 8 BigEndian "length of one copy, JSON area included: 16 KiB doubled up to 4 MiB";
        seqid 8 BigEndian "raised by every update; the copy with the higher one is newer";
        label 48 Text "free text";
        checksum_alg 32 Text "name of the checksum's hash, in any letter case";
        salt 64 Bytes "random, new for each written copy; only makes the checksum differ";
        uuid 40 Text "36 characters, lower case";
        subsystem 48 Text "free text";
        hdr_offset 8 BigEndian "where this copy starts on the device";
        padding 184 Padding "covered by the checksum";
        csum 64 Bytes "hash of the whole copy with this field zero; longer than the hash: \
        zero behind it";
        padding4096 3584 Padding "covered by the checksum";
    }
}

structure! {
    /// The LUKS1 header.
    mod luks1_header, LUKS1_HEADER, "LUKS1 header", 1024 bytes {
        magic 6 Bytes "`4c 55 4b 53 ba be`";
        version 2 BigEndian "1";
        cipher_name 32 Text "for example `aes`";
        cipher_mode 32 Text "for example `xts-plain64`";
        hash_spec 32 Text "one hash for the anti-forensic split, the keyslots and the digest";
        payload_offset 4 BigEndian "start of the data in 512-byte sectors; 0 for a detached header";
        key_bytes 4 BigEndian "length of the volume key";
        digest 20 Bytes "PBKDF2 of the volume key";
        digest_salt 32 Bytes "salt of the digest";
        digest_iterations 4 BigEndian "iterations of the digest";
        uuid 40 Text "36 characters";
        keyslots 384 Table "eight keyslots of 48 bytes";
        padding 432 Padding "ignored when read, zero when written";
    }
}

structure! {
    /// One keyslot of a LUKS1 header.
    mod luks1_keyslot, LUKS1_KEYSLOT, "LUKS1 keyslot", 48 bytes {
        active 4 BigEndian "`00ac71f3` enabled, `0000dead` disabled";
        iterations 4 BigEndian "PBKDF2 iterations";
        salt 32 Bytes "PBKDF2 salt";
        key_material_offset 4 BigEndian "start of the keyslot area in 512-byte sectors";
        stripes 4 BigEndian "4000";
    }
}

/// Every structure of this crate, in the order of the documents.
pub const ALL: [Layout; 3] = [LUKS1_HEADER, LUKS1_KEYSLOT, LUKS2_BINARY];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_each_other_without_gaps() {
        for layout in ALL {
            let mut next = 0;
            for row in layout.rows {
                assert_eq!(row.offset, next, "{} {}", layout.title, row.name);
                next += row.size;
            }
            assert_eq!(next, layout.size, "{}", layout.title);
        }
    }

    #[test]
    fn well_known_offsets_hold() {
        assert_eq!(luks2_binary::hdr_offset.offset(), 0x100);
        assert_eq!(luks2_binary::csum.offset(), 0x1c0);
        assert_eq!(luks1_header::payload_offset.offset(), 104);
        assert_eq!(luks1_header::keyslots.offset(), 208);
        assert_eq!(luks1_header::padding.offset(), 592);
    }

    #[test]
    fn text_ends_at_the_first_zero_and_before_the_last_byte() {
        assert_eq!(text_of(b"sha256\0junk"), b"sha256");
        assert_eq!(text_of(b"full"), b"ful");
        assert_eq!(text_of(b""), b"");
    }
}
