//! Marks of other formats at the start of a device.
//!
//! Small on purpose: magic numbers only. It errs towards seeing a format where there is none, which
//! costs an explicit repair or a confirmation, and never data.

/// A mark: bytes at a place.
struct Mark {
    name: &'static str,
    at: usize,
    bytes: &'static [u8],
}

const fn mark(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    Mark { name, at, bytes }
}

/// What two bytes at the end of the first sector stand for.
pub(crate) const BOOT_SECTOR: &str = "a partition table or a boot sector";

/// Where each format puts its mark, in the order in which the more telling one comes first.
const MARKS: [Mark; 58] = [
    mark("an XFS file system", 0, b"XFSB"),
    mark("a SquashFS image", 0, b"hsqs"),
    mark("a SquashFS image", 0, b"sqsh"),
    mark("a cramfs image", 0, &[0x45, 0x3d, 0xcd, 0x28]),
    mark("a cramfs image", 0, &[0x28, 0xcd, 0x3d, 0x45]),
    mark("a romfs image", 0, b"-rom1fs-"),
    mark("a dm-verity hash area", 0, b"verity\0\0"),
    mark("a dm-integrity device", 0, b"integrt\0"),
    mark("a VDO device", 0, b"dmvdo001"),
    mark("a UBI device", 0, b"UBI#"),
    mark("an md RAID member", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    mark("an LVM1 physical volume", 0, b"HM\x01\0"),
    mark("an LVM1 physical volume", 0, b"HM\x02\0"),
    mark("an LVM2 physical volume", 0, b"LABELONE"),
    mark("an LVM2 physical volume", 512, b"LABELONE"),
    mark("an LVM2 physical volume", 1024, b"LABELONE"),
    mark("an LVM2 physical volume", 1536, b"LABELONE"),
    mark("an NTFS file system", 3, b"NTFS    "),
    mark("an exFAT file system", 3, b"EXFAT   "),
    mark("a BitLocker volume", 3, b"-FVE-FS-"),
    mark("a BitLocker volume", 3, b"MSWIN4.1"),
    mark("a FAT file system", 54, b"FAT"),
    mark("a FAT file system", 82, b"FAT32   "),
    mark("a Stratis member", 516, b"!Stra0tis\x86\xff\x02^\x41rh"),
    mark("a GPT partition table", 512, b"EFI PART"),
    mark("a Sun partition table", 508, &[0xda, 0xbe]),
    mark(BOOT_SECTOR, 510, &[0x55, 0xaa]),
    mark("an SGI partition table", 0, &[0x0b, 0xe5, 0xa9, 0x41]),
    mark("an Apple partition table", 0, b"ER"),
    mark("a BSD disk label", 64, &[0x57, 0x45, 0x56, 0x82]),
    mark("a BSD disk label", 512, &[0x57, 0x45, 0x56, 0x82]),
    mark("an ext2, ext3 or ext4 file system", 1080, &[0x53, 0xef]),
    mark("an F2FS file system", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    mark("an EROFS image", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    mark("an HFS file system", 1024, b"BD"),
    mark("an HFS+ file system", 1024, b"H+\0\x04"),
    mark("an HFSX file system", 1024, b"HX\0\x05"),
    mark("a VxFS file system", 1024, &[0xf5, 0xfc, 0x01, 0xa5]),
    mark("a NILFS2 file system", 1030, &[0x34, 0x34]),
    mark("a Minix file system", 1040, &[0x7f, 0x13]),
    mark("a Minix file system", 1040, &[0x8f, 0x13]),
    mark("a Minix file system", 1040, &[0x68, 0x24]),
    mark("a Minix file system", 1040, &[0x78, 0x24]),
    mark("an OCFS2 file system", 1024, b"OCFSV2"),
    mark("an OCFS2 file system", 2048, b"OCFSV2"),
    mark("swap space", 4086, b"SWAPSPACE2"),
    mark("swap space", 4086, b"SWAP-SPACE"),
    mark("a suspended system's memory", 4086, b"S1SUSPEND"),
    mark("a suspended system's memory", 4086, b"S2SUSPEND"),
    // From here on the marks lie behind the first 4096 bytes.
    mark("a GPT partition table", 4096, b"EFI PART"),
    mark("an md RAID member", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
    mark("an OCFS2 file system", 4096, b"OCFSV2"),
    mark(
        "a bcache device",
        4120,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca],
    ),
    mark("a JFS file system", 32768, b"JFS1"),
    mark("an ISO 9660 image", 32769, b"CD001"),
    mark("a UDF image", 32769, b"BEA01"),
    mark("a ReiserFS file system", 65588, b"ReIsEr"),
    mark("a Btrfs file system", 65600, b"_BHRfS_M"),
];

/// Names the format whose mark stands in `start`, the first bytes of a device: 65608 bytes see
/// every
/// mark, fewer see those that lie within them. LUKS itself is not among them.
///
/// ```
/// assert_eq!(luksmith_header::foreign_signature(b"hsqs...."), Some("a SquashFS image"));
/// assert_eq!(luksmith_header::foreign_signature(b"LUKS\xba\xbe"), None);
/// ```
#[must_use]
pub fn foreign_signature(start: &[u8]) -> Option<&'static str> {
    MARKS
        .iter()
        .find(|mark| {
            start
                .get(mark.at..)
                .is_some_and(|rest| rest.starts_with(mark.bytes))
        })
        .map(|mark| mark.name)
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
            assert_eq!(foreign_signature(&start), Some(mark.name));
            start.pop();
            assert_eq!(foreign_signature(&start), None, "{} cut", mark.name);
        }
        assert_eq!(foreign_signature(&[0; 70000]), None);
    }
}
