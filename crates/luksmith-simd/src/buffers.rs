//! Where a kernel reads and where it writes: one buffer or two.

use core::marker::PhantomData;

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

/// `N` bytes of the source and the same place in the destination.
pub(crate) struct Chunk<'a, const N: usize> {
    src: *const [u8; N],
    dst: *mut [u8; N],
    life: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<const N: usize> Chunk<'_, N> {
    /// Reads the source.
    #[expect(unsafe_code, reason = "a load through a pointer")]
    #[inline]
    pub(crate) fn read(&self) -> [u8; N] {
        // SAFETY: `Buffers` makes a chunk only from N readable bytes that are borrowed for the
        // life of the chunk, and a byte array needs no alignment.
        unsafe { self.src.read() }
    }

    /// Writes the destination, and with it the source where both are the same memory.
    #[expect(unsafe_code, reason = "a store through a pointer")]
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8; N]) {
        // SAFETY: `Buffers` makes a chunk only from N writable bytes that are borrowed mutably for
        // the life of the chunk; no reference to them exists while `self` is borrowed.
        unsafe { self.dst.write(*bytes) }
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
