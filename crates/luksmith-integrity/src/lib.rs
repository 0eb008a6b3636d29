//! What dm-integrity does: superblock, layout, tags, journal, bitmap.
