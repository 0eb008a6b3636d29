//! Memory from the allocator, for systems whose own calls we do not use: nothing is locked there.

use std::{io, ops::Range, time::Duration};

/// Bytes of memory that belong to one owner.
pub(super) struct Mapping(Vec<u64>);

impl Mapping {
    /// Takes at least `len` bytes of zeros. Alignment to more than 8 is not promised here.
    pub(super) fn new(len: usize, _align: usize) -> io::Result<Self> {
        let mut words = Vec::new();
        let count = len.div_ceil(8);
        words
            .try_reserve_exact(count)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        words.resize(count, 0);
        Ok(Self(words))
    }

    #[expect(unsafe_code, reason = "words seen as bytes without a dependency")]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: any initialised `u64` is eight initialised bytes, and `u8` needs no alignment, so
        // the middle part is everything; the borrow of `self` is kept.
        unsafe { self.0.align_to::<u8>() }.1
    }

    #[expect(unsafe_code, reason = "words seen as bytes without a dependency")]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and any eight bytes are a `u64`, so writes keep the words valid.
        unsafe { self.0.align_to_mut::<u8>() }.1
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    pub(super) fn lock(&self) -> bool {
        false
    }

    pub(super) fn lock_on_fault(&self) -> bool {
        false
    }

    pub(super) fn exclude_from_dumps(&self) -> bool {
        false
    }

    pub(super) fn use_huge_pages(&self) -> bool {
        false
    }

    /// Tells where the pages are.
    pub(super) fn pages(&self) -> Pages {
        Pages
    }

    /// One thread wipes here.
    pub(super) fn wipe_by_two(&mut self) {}

    /// Overwrites everything with zeros.
    pub(super) fn wipe(&mut self) {
        self.0.fill(0);
        // The compiler must assume that someone reads the zeros here, so the stores stay.
        std::hint::black_box(&mut self.0);
    }
}

/// Nothing can be asked of the system here.
pub(super) struct Pages;

impl Pages {
    /// Pages come as they are first used.
    pub(super) fn populate(&self, _range: Range<usize>) {}

    /// There are no others.
    pub(super) fn use_small_pages(&self) {}
}

/// Nothing is measured here: no page is huge.
pub(super) fn thread_cpu_time() -> Duration {
    Duration::ZERO
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.wipe();
    }
}
