//! Where a kernel reads and where it writes: one buffer or two.

use core::marker::PhantomData;

#[cfg(feature = "gcm")]
use aes::cipher::inout::InOutBuf;

use crate::Error;

/// A source and a destination of the same length, which may be the same memory.
///
/// Kernels see one type for both cases. The two are either identical or do not overlap, so writing
/// a piece never changes a later piece of the source.
pub(crate) struct Buffers<'a> {
    src: *const u8,
    dst: *mut u8,
    len: usize,
    life: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<'a> Buffers<'a> {
    /// One buffer, changed in place.
    pub(crate) fn in_place(data: &'a mut [u8]) -> Self {
        let dst = data.as_mut_ptr();
        Self {
            src: dst,
            dst,
            len: data.len(),
            life: PhantomData,
        }
    }

    /// Two buffers.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] if their lengths differ.
    pub(crate) fn between(src: &'a [u8], dst: &'a mut [u8]) -> Result<Self, Error> {
        if src.len() != dst.len() {
            return Err(Error::LengthMismatch {
                what: "destination",
                bytes: dst.len(),
                expected: src.len(),
            });
        }
        Ok(Self {
            src: src.as_ptr(),
            dst: dst.as_mut_ptr(),
            len: src.len(),
            life: PhantomData,
        })
    }

    /// Bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next `N` bytes off the front, or nothing if fewer are left.
    #[expect(
        unsafe_code,
        reason = "the pair is kept as pointers, since the halves may be one"
    )]
    #[inline]
    pub(crate) fn next<const N: usize>(&mut self) -> Option<Chunk<'a, N>> {
        let left = self.len.checked_sub(N)?;
        let chunk = Chunk {
            src: self.src.cast(),
            dst: self.dst.cast(),
            life: PhantomData,
        };
        // SAFETY: `checked_sub` found at least N of the `len` bytes that both pointers may touch,
        // so both stay inside their allocation or one past its end.
        unsafe {
            self.src = self.src.add(N);
            self.dst = self.dst.add(N);
        }
        self.len = left;
        Some(chunk)
    }
}

#[cfg(feature = "gcm")]
impl<'a> Buffers<'a> {
    /// Takes the next `count` bytes, or all that are left if they are fewer.
    pub(crate) fn take(&mut self, count: usize) -> Self {
        let count = count.min(self.len);
        let taken = Self {
            src: self.src,
            dst: self.dst,
            len: count,
            life: PhantomData,
        };
        #[expect(
            unsafe_code,
            reason = "the pair is kept as pointers, since the halves may be one"
        )]
        // SAFETY: `count` is at most the `len` bytes that both pointers may touch, so both stay
        // inside their allocation or one past its end.
        unsafe {
            self.src = self.src.add(count);
            self.dst = self.dst.add(count);
        }
        self.len -= count;
        taken
    }

    /// The same pair as the type that the `cipher` crates take.
    pub(crate) fn into_inout(self) -> InOutBuf<'a, 'a, u8> {
        #[expect(
            unsafe_code,
            reason = "the pair is kept as pointers, since the halves may be one"
        )]
        // SAFETY: `in_place` and `between` borrowed `len` readable and `len` writable bytes for
        // 'a, and the two are one slice or come from a shared and a mutable borrow, which cannot
        // overlap. `self` is consumed, so nothing else uses the pointers.
        unsafe {
            InOutBuf::from_raw(self.src, self.dst, self.len)
        }
    }
}

// The portable path has no padding.
#[cfg(any(
    test,
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    all(
        target_arch = "aarch64",
        target_feature = "neon",
        target_endian = "little",
        not(miri)
    )
))]
impl Buffers<'_> {
    /// Takes the next `count` bytes, fewer than `N`, padded with zeroes to a chunk that `work`
    /// changes in place; what it makes of the padding is dropped. Does nothing for 0 bytes.
    #[inline]
    pub(crate) fn next_padded<const N: usize>(
        &mut self,
        count: usize,
        work: impl FnOnce(Chunk<'_, N>),
    ) {
        if count == 0 {
            return;
        }
        let mut padded = [0; N];
        let mut places =
            core::array::from_fn::<_, N, _>(|at| if at < count { self.next::<1>() } else { None });
        for (byte, place) in padded.iter_mut().zip(places.iter().flatten()) {
            [*byte] = place.read();
        }
        if let Some(chunk) = Buffers::in_place(&mut padded).next() {
            work(chunk);
        }
        for (byte, place) in padded.iter().zip(places.iter_mut().flatten()) {
            place.write(&[*byte]);
        }
        zeroize::Zeroize::zeroize(&mut padded);
    }
}

/// Sectors side by side in [`Columns`] and [`Sectors`].
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) const COLUMN: usize = 16;

/// 16 neighbouring sectors, to be read by columns: the same 64 bytes of each.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[derive(Clone, Copy)]
pub(crate) struct Sectors<'a> {
    start: *const u8,
    sector_bytes: usize,
    life: PhantomData<&'a [u8]>,
}

/// 64 bytes at one place of each of 16 sectors, to be read.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[derive(Clone, Copy)]
pub(crate) struct Read<'a>(Sectors<'a>);

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
impl<'a> Sectors<'a> {
    /// `data` by columns, if it is 16 sectors of `sector_bytes`, 64 or more.
    pub(crate) fn new(data: &'a [u8], sector_bytes: usize) -> Option<Self> {
        let fits = sector_bytes >= 64 && sector_bytes.checked_mul(COLUMN) == Some(data.len());
        fits.then_some(Self {
            start: data.as_ptr(),
            sector_bytes,
            life: PhantomData,
        })
    }

    /// The 64 bytes from `at` on of every sector, or the last 64 if fewer follow.
    #[inline]
    pub(crate) fn at(self, at: usize) -> Read<'a> {
        let at = at.min(self.sector_bytes - 64);
        Read(Self {
            start: self.start.wrapping_add(at),
            ..self
        })
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
impl Read<'_> {
    /// Points to 32 readable bytes, those from byte `from` (up to 32) on, in sector `sector % 16`.
    #[inline]
    pub(crate) fn half(self, sector: usize, from: usize) -> *const [u8; 32] {
        let Sectors {
            start,
            sector_bytes,
            ..
        } = self.0;
        start
            .wrapping_add(sector % COLUMN * sector_bytes + from.min(32))
            .cast()
    }
}

/// 16 neighbouring sectors, to be taken by columns: the same 64 bytes of each.
///
/// Columns give pointers, not references: kernels read some columns while they write others.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) struct Columns<'a> {
    src: *const u8,
    dst: *mut u8,
    sector_bytes: usize,
    life: PhantomData<(&'a [u8], &'a mut [u8])>,
}

/// 64 bytes at one place of each of 16 sectors.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    src: *const u8,
    dst: *mut u8,
    sector_bytes: usize,
    life: PhantomData<&'a [u8]>,
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
impl<'a> Buffers<'a> {
    /// These buffers by columns, if they are 16 sectors of `sector_bytes`, 64 or more.
    pub(crate) fn columns(&mut self, sector_bytes: usize) -> Option<Columns<'_>> {
        let fits = sector_bytes >= 64 && sector_bytes.checked_mul(COLUMN) == Some(self.len);
        fits.then_some(Columns {
            src: self.src,
            dst: self.dst,
            sector_bytes,
            life: PhantomData,
        })
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
impl Columns<'_> {
    /// Bytes of a sector.
    pub(crate) fn sector_bytes(&self) -> usize {
        self.sector_bytes
    }

    /// The 64 bytes from `at` on of every sector, or the last 64 if fewer follow.
    #[inline]
    pub(crate) fn at(&self, at: usize) -> Column<'_> {
        let at = at.min(self.sector_bytes - 64);
        Column {
            src: self.src.wrapping_add(at),
            dst: self.dst.wrapping_add(at),
            sector_bytes: self.sector_bytes,
            life: PhantomData,
        }
    }

    /// The destination, to be read.
    #[inline]
    pub(crate) fn made(&self) -> Sectors<'_> {
        Sectors {
            start: self.dst.cast_const(),
            sector_bytes: self.sector_bytes,
            life: PhantomData,
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
impl Column<'_> {
    /// Points to 64 readable bytes of the source, in sector `sector % 16`.
    #[inline]
    pub(crate) fn src(self, sector: usize) -> *const [u8; 64] {
        self.src
            .wrapping_add(sector % COLUMN * self.sector_bytes)
            .cast()
    }

    /// Points to 64 writable bytes of the destination, in sector `sector % 16`.
    #[inline]
    pub(crate) fn dst(self, sector: usize) -> *mut [u8; 64] {
        self.dst
            .wrapping_add(sector % COLUMN * self.sector_bytes)
            .cast()
    }
}

/// `N` bytes of the source and the same place in the destination.
pub(crate) struct Chunk<'a, const N: usize> {
    src: *const [u8; N],
    dst: *mut [u8; N],
    life: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<const N: usize> Chunk<'_, N> {
    /// The source. Borrowed from the chunk, so it is gone before the destination is written.
    #[expect(
        unsafe_code,
        reason = "the pair is kept as pointers, since the halves may be one"
    )]
    #[inline]
    pub(crate) fn src(&self) -> &[u8; N] {
        // SAFETY: `Buffers` makes a chunk only from N readable bytes that are borrowed for the
        // life of the chunk. While the result lives, `self` is borrowed, so neither `dst` nor
        // `write` can touch the same memory; chunks of one `Buffers` never overlap.
        unsafe { &*self.src }
    }

    /// The destination.
    #[expect(
        unsafe_code,
        reason = "the pair is kept as pointers, since the halves may be one"
    )]
    #[inline]
    pub(crate) fn dst(&mut self) -> &mut [u8; N] {
        // SAFETY: `Buffers` makes a chunk only from N writable bytes that are borrowed mutably for
        // the life of the chunk. While the result lives, `self` is borrowed mutably, so no other
        // reference to the same memory exists; chunks of one `Buffers` never overlap.
        unsafe { &mut *self.dst }
    }

    /// Reads the source.
    #[inline]
    pub(crate) fn read(&self) -> [u8; N] {
        *self.src()
    }

    /// Writes the destination, and with it the source where both are the same memory.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8; N]) {
        *self.dst() = *bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_walk_both_buffers_and_stop_before_a_partial_one() {
        let src = [1, 2, 3, 4, 5];
        let mut dst = [0; 5];
        let mut buffers = Buffers::between(&src, &mut dst).unwrap();
        for expected in [[1, 2], [3, 4]] {
            let mut chunk = buffers.next::<2>().unwrap();
            assert_eq!(chunk.read(), expected);
            chunk.write(&expected.map(|byte| byte + 10));
        }
        assert!(buffers.next::<2>().is_none());
        assert_eq!(buffers.len(), 1);
        assert_eq!(dst, [11, 12, 13, 14, 0]);
    }

    #[test]
    fn in_place_reads_what_was_there_before_the_write() {
        let mut data = [1, 2, 3, 4];
        let mut buffers = Buffers::in_place(&mut data);
        while let Some(mut chunk) = buffers.next::<2>() {
            let [a, b] = chunk.read();
            chunk.write(&[b, a]);
        }
        assert_eq!(data, [2, 1, 4, 3]);
    }

    #[test]
    fn a_padded_piece_changes_its_own_bytes_only() {
        let mut data = [1, 2, 3, 4, 5];
        let mut buffers = Buffers::in_place(&mut data);
        buffers.next_padded::<4>(0, |_| panic!("nothing to do"));
        buffers.next_padded::<4>(3, |mut chunk| {
            assert_eq!(chunk.read(), [1, 2, 3, 0]);
            chunk.write(&[9; 4]);
        });
        assert_eq!(buffers.len(), 2);
        assert_eq!(data, [9, 9, 9, 4, 5]);
    }

    #[test]
    fn buffers_of_different_lengths_are_refused() {
        let refused = Buffers::between(&[0; 4], &mut [0; 3]).err();
        let expected = Error::LengthMismatch {
            what: "destination",
            bytes: 3,
            expected: 4,
        };
        assert_eq!(refused, Some(expected));
    }
}
