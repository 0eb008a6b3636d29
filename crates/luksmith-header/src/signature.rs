//! Marks of other formats at the start of a device.
//!
//! Small on purpose: magic numbers only. It errs towards seeing a format where there is none, which
//! costs an explicit repair or a confirmation, and never data.

/// What stands behind a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureKind {
    /// A volume, a part of one, or what belongs to one: nobody expects a plain copy to go over it.
    Volume,
    /// A file system, or an image of one.
    FileSystem,
    /// A partition table or a boot sector.
    PartitionTable,
    /// Swap space.
    Swap,
}

/// A format whose mark was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    name: &'static str,
    kind: SignatureKind,
}

impl Signature {
    /// Gives its name, with an article.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Gives what it stands for.
    #[must_use]
    pub const fn kind(self) -> SignatureKind {
        self.kind
    }
}

/// A mark: bytes at a place.
struct Mark {
    signature: Signature,
    at: usize,
    bytes: &'static [u8],
}

const fn mark(name: &'static str, kind: SignatureKind, at: usize, bytes: &'static [u8]) -> Mark {
    let signature = Signature { name, kind };
    Mark {
        signature,
        at,
        bytes,
    }
}

const fn volume(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    mark(name, SignatureKind::Volume, at, bytes)
}

const fn files(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    mark(name, SignatureKind::FileSystem, at, bytes)
}

const fn table(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    mark(name, SignatureKind::PartitionTable, at, bytes)
}

const fn swap(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    mark(name, SignatureKind::Swap, at, bytes)
}

/// What tells BitLocker To Go from the FAT that it looks like otherwise: the GUIDs
/// 4967d63b-2e29-4ad8-8399-f6a339e3d001 and, where only used space is encrypted,
/// 92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8, in the order of their bytes on disk (the format notes of
/// libbde).
const BITLOCKER_TO_GO: [[u8; 16]; 2] = [
    [
        0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0,
        0x01,
    ],
    [
        0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd, 0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3, 0x28, 0x4e, 0xae,
        0xd8,
    ],
];

/// What two bytes at the end of the first sector stand for.
pub(crate) const BOOT_SECTOR: &str = "a partition table or a boot sector";

/// Where each format puts its mark, in the order in which the more telling one comes first: volumes
/// before all else, since what stood there earlier often leaves its mark beside theirs.
const MARKS: [Mark; 59] = [
    volume("a dm-verity hash area", 0, b"verity\0\0"),
    volume("a dm-integrity device", 0, b"integrt\0"),
    volume("a VDO device", 0, b"dmvdo001"),
    volume("a UBI device", 0, b"UBI#"),
    volume("an md RAID member", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    volume("an LVM1 physical volume", 0, b"HM\x01\0"),
    volume("an LVM1 physical volume", 0, b"HM\x02\0"),
    volume("an LVM2 physical volume", 0, b"LABELONE"),
    volume("an LVM2 physical volume", 512, b"LABELONE"),
    volume("an LVM2 physical volume", 1024, b"LABELONE"),
    volume("an LVM2 physical volume", 1536, b"LABELONE"),
    volume("a BitLocker volume", 3, b"-FVE-FS-"),
    volume("a BitLocker volume", 424, &BITLOCKER_TO_GO[0]),
    volume("a BitLocker volume", 424, &BITLOCKER_TO_GO[1]),
    volume("a Stratis member", 516, b"!Stra0tis\x86\xff\x02^\x41rh"),
    volume("a suspended system's memory", 4086, b"S1SUSPEND"),
    volume("a suspended system's memory", 4086, b"S2SUSPEND"),
    volume("an md RAID member", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
    volume(
        "a bcache device",
        4120,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca],
    ),
    files("an XFS file system", 0, b"XFSB"),
    files("a SquashFS image", 0, b"hsqs"),
    files("a SquashFS image", 0, b"sqsh"),
    files("a cramfs image", 0, &[0x45, 0x3d, 0xcd, 0x28]),
    files("a cramfs image", 0, &[0x28, 0xcd, 0x3d, 0x45]),
    files("a romfs image", 0, b"-rom1fs-"),
    files("an NTFS file system", 3, b"NTFS    "),
    files("an exFAT file system", 3, b"EXFAT   "),
    files("a FAT file system", 54, b"FAT"),
    files("a FAT file system", 82, b"FAT32   "),
    table("a GPT partition table", 512, b"EFI PART"),
    table("a Sun partition table", 508, &[0xda, 0xbe]),
    table(BOOT_SECTOR, 510, &[0x55, 0xaa]),
    table("an SGI partition table", 0, &[0x0b, 0xe5, 0xa9, 0x41]),
    table("an Apple partition table", 0, b"ER"),
    table("a BSD disk label", 64, &[0x57, 0x45, 0x56, 0x82]),
    table("a BSD disk label", 512, &[0x57, 0x45, 0x56, 0x82]),
    files("an ext2, ext3 or ext4 file system", 1080, &[0x53, 0xef]),
    files("an F2FS file system", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    files("an EROFS image", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    files("an HFS file system", 1024, b"BD"),
    files("an HFS+ file system", 1024, b"H+\0\x04"),
    files("an HFSX file system", 1024, b"HX\0\x05"),
    files("a VxFS file system", 1024, &[0xf5, 0xfc, 0x01, 0xa5]),
    files("a NILFS2 file system", 1030, &[0x34, 0x34]),
    files("a Minix file system", 1040, &[0x7f, 0x13]),
    files("a Minix file system", 1040, &[0x8f, 0x13]),
    files("a Minix file system", 1040, &[0x68, 0x24]),
    files("a Minix file system", 1040, &[0x78, 0x24]),
    files("an OCFS2 file system", 1024, b"OCFSV2"),
    files("an OCFS2 file system", 2048, b"OCFSV2"),
    swap("swap space", 4086, b"SWAPSPACE2"),
    swap("swap space", 4086, b"SWAP-SPACE"),
    table("a GPT partition table", 4096, b"EFI PART"),
    files("an OCFS2 file system", 4096, b"OCFSV2"),
    files("a JFS file system", 32768, b"JFS1"),
    files("an ISO 9660 image", 32769, b"CD001"),
    files("a UDF image", 32769, b"BEA01"),
    files("a ReiserFS file system", 65588, b"ReIsEr"),
    files("a Btrfs file system", 65600, b"_BHRfS_M"),
];

/// Names the format whose mark stands in `start`, the first bytes of a device: 65608 bytes see
/// every mark, fewer see those that lie within them. Where there are several, a volume's is told.
/// LUKS itself is not among them.
///
/// ```
/// use luksmith_header::{SignatureKind, foreign_signature};
///
/// let found = foreign_signature(b"hsqs....").expect("a mark");
/// assert_eq!(found.name(), "a SquashFS image");
/// assert_eq!(found.kind(), SignatureKind::FileSystem);
/// assert_eq!(foreign_signature(b"LUKS\xba\xbe"), None);
/// ```
#[must_use]
pub fn foreign_signature(start: &[u8]) -> Option<Signature> {
    MARKS
        .iter()
        .find(|mark| {
            start
                .get(mark.at..)
                .is_some_and(|rest| rest.starts_with(mark.bytes))
        })
        .map(|mark| mark.signature)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn each_mark_is_found_at_its_place_and_not_one_byte_off() {
        for mark in &MARKS {
            let mut start = vec![0; mark.at];
            start.extend_from_slice(mark.bytes);
            assert_eq!(foreign_signature(&start), Some(mark.signature));
            start.pop();
            assert_eq!(
                foreign_signature(&start),
                None,
                "{} cut",
                mark.signature.name()
            );
        }
        assert_eq!(foreign_signature(&[0; 70000]), None);
    }

    /// Their spaces were lost once, so that any text with these letters there was taken for them.
    #[test]
    fn names_in_boot_sectors_count_with_the_spaces_behind_them() {
        for (at, name) in [(3, b"NTFS    "), (3, b"EXFAT   "), (82, b"FAT32   ")] {
            let mut start = vec![0; at];
            start.extend_from_slice(name);
            assert!(foreign_signature(&start).is_some());
            start.truncate(at + 6);
            start.extend_from_slice(b"xy");
            assert_eq!(foreign_signature(&start), None);
        }
    }

    /// Its name in the boot sector is that of Windows 98, which was taken for BitLocker To Go.
    #[test]
    fn an_old_fat_is_no_volume_of_bitlocker() {
        let mut start = vec![0; 512];
        start[3..11].copy_from_slice(b"MSWIN4.1");
        start[82..90].copy_from_slice(b"FAT32   ");
        start[510..].copy_from_slice(&[0x55, 0xaa]);
        let found = foreign_signature(&start).expect("a mark");
        assert_eq!(
            (found.name(), found.kind()),
            ("a FAT file system", SignatureKind::FileSystem)
        );
        for guid in &BITLOCKER_TO_GO {
            start[424..440].copy_from_slice(guid);
            let found = foreign_signature(&start).expect("a mark");
            assert_eq!(found.name(), "a BitLocker volume");
        }
    }

    /// A RAID member whose disk once had a file system was taken for that file system.
    #[test]
    fn a_volume_is_told_whatever_else_left_its_mark_there() {
        let is_volume = |mark: &Mark| mark.signature.kind() == SignatureKind::Volume;
        for volume in MARKS.iter().filter(|mark| is_volume(mark)) {
            for other in MARKS.iter().filter(|mark| !is_volume(mark)) {
                let mut start = vec![0; 70000];
                for mark in [other, volume] {
                    let place = mark.at..mark.at + mark.bytes.len();
                    start[place].copy_from_slice(mark.bytes);
                }
                let found = foreign_signature(&start).expect("a mark");
                assert_eq!(
                    found.kind(),
                    SignatureKind::Volume,
                    "{}",
                    other.signature.name()
                );
            }
        }
    }
}
