//! A LUKS1 image under change.

/// A LUKS1 image under change.
#[derive(Clone, Debug)]
pub struct Draft1 {
    image: Vec<u8>,
}

impl Draft1 {
    pub(super) fn new(image: &[u8]) -> Self {
        Self {
            image: image.to_vec(),
        }
    }

    pub(super) fn into_image(self) -> Vec<u8> {
        self.image
    }

    /// Writes bytes anywhere.
    pub fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.image[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a big-endian number.
    pub fn number(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_be_bytes());
    }

    /// Writes text into a field of `size` bytes, with zeros behind it.
    pub fn text(&mut self, at: usize, size: usize, text: &[u8]) {
        let mut field = vec![0; size];
        field[..text.len()].copy_from_slice(text);
        self.bytes(at, &field);
    }

    /// Cuts the image.
    pub fn truncate(&mut self, len: usize) {
        assert!(len < self.image.len(), "truncating makes it shorter");
        self.image.truncate(len);
    }

    /// Gives the first byte of keyslot `slot`.
    #[must_use]
    pub const fn slot(slot: usize) -> usize {
        208 + 48 * slot
    }
}
