//! A tiny seeded generator: the same seed gives the same test on every machine.

/// SplitMix64. Good enough to choose test cases, useless for keys.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Gives the seed in the variable `LUKSMITH_SEED`, or `fallback`; prints it for a later rerun.
    ///
    /// # Panics
    /// If the variable holds anything but a number.
    #[must_use]
    pub fn from_env(fallback: u64) -> Self {
        let seed = std::env::var("LUKSMITH_SEED").map_or(fallback, |text| {
            text.parse().expect("LUKSMITH_SEED holds a number")
        });
        println!("seed {seed}; LUKSMITH_SEED={seed} runs this again");
        Self(seed)
    }

    /// Gives the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Gives a number below `bound`, 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of at most bound / 2^64 is nothing to a test.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64)
            .try_into()
            .unwrap_or(0)
    }

    /// Gives a number below `bound`, 0 if `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// Says yes `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }

    /// Gives `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

// What takes a generator for keys must be made to repeat itself in a test.
impl rand_core::TryRng for Prng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Prng {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        // From the published reference outputs of SplitMix64 with seed 1234567.
        let mut prng = Prng::new(1_234_567);
        assert_eq!(prng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(prng.next_u64(), 3_203_168_211_198_807_973);
        assert!((0..1000).all(|_| prng.below(7) < 7));
        assert_eq!(prng.below(0), 0);
    }
}
