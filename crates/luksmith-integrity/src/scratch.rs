//! Room for the tags of one request, on the stack where they are few.

/// Bytes that are kept on the stack: the tags of 32 blocks, 32 bytes each.
const SMALL: usize = 1024;

/// Bytes to work with, zeros at first. Small requests allocate nothing.
pub(crate) struct Scratch {
    small: [u8; SMALL],
    large: Vec<u8>,
}

impl Scratch {
    /// Makes room for `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            small: [0; SMALL],
            large: if len > SMALL {
                vec![0; len]
            } else {
                Vec::new()
            },
        }
    }

    /// Gives the first `len` bytes, at most as many as were asked for.
    pub(crate) fn first(&mut self, len: usize) -> &mut [u8] {
        let bytes = if self.large.is_empty() {
            self.small.as_mut_slice()
        } else {
            self.large.as_mut_slice()
        };
        bytes.get_mut(..len).unwrap_or(&mut [])
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_are_on_the_stack_and_many_are_as_many_as_asked_for() {
        for len in [0, 1, SMALL, SMALL + 1, 9 * SMALL] {
            let mut scratch = Scratch::new(len);
            assert_eq!(scratch.large.len(), if len > SMALL { len } else { 0 });
            assert!(scratch.first(len).iter().all(|byte| *byte == 0));
            assert_eq!(scratch.first(len).len(), len);
        }
    }
}
