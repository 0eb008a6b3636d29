//! AES on Arm's 128-bit vectors.

use core::arch::aarch64::{
    uint8x16_t, vaesdq_u8, vaeseq_u8, vaesimcq_u8, vaesmcq_u8, vdup_n_p8, vdupq_n_u8, veorq_u8,
    vextq_u8, vget_low_u8, vld1q_u8, vmull_p8, vreinterpret_p8_u8, vreinterpretq_u8_p16, vst1q_u8,
};
use core::hint::black_box;

use crate::arch::round_keys::{RoundKeys, XtsSchedule, wipe};
use crate::buffers::{Buffers, Chunk};
use crate::xts::tweak::{Ivs, times_x};

/// Proof that this CPU has what the kernels of this file enable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeonAes(());

impl NeonAes {
    /// The only door: `None` where the CPU lacks the AES instructions, or where nothing can tell.
    pub(crate) fn detect() -> Option<Self> {
        // Without an operating system to ask, what the compiler was told counts.
        #[cfg(feature = "std")]
        let found = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "aes");
        found.then_some(Self(()))
    }
}

/// Blocks in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 8;
/// Bytes in one step.
const STEP: usize = WIDE * 16;

/// Encrypts or decrypts whole sectors with AES-XTS.
pub(crate) fn xts<const N: usize, const DECRYPT: bool>(
    _cpu: NeonAes,
    keys: &XtsSchedule<N>,
    ivs: impl Ivs,
    sector_bytes: usize,
    buffers: Buffers<'_>,
) {
    let data = if DECRYPT {
        &keys.decrypt
    } else {
        &keys.encrypt
    };
    #[expect(unsafe_code, reason = "call of a function with a target feature")]
    // SAFETY: a `NeonAes` exists only if `NeonAes::detect` saw `aes` on this machine, which is all
    // that `run` enables.
    unsafe {
        run::<N, DECRYPT, _>(data, &keys.tweak, ivs, sector_bytes, buffers);
    }
}

/// Rounds alone, on chains that do not wait for each other: more than cover the latency of one.
pub(crate) fn rounds_alone(_cpu: NeonAes, blocks: usize) {
    const CHAINS: usize = 12;
    #[target_feature(enable = "aes")]
    fn run(steps: usize) {
        let zero = vdupq_n_u8(0);
        let (mut chains, key) = black_box(([zero; CHAINS], zero));
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = vaesmcq_u8(vaeseq_u8(*chain, key));
            }
        }
        black_box(chains);
    }
    #[expect(unsafe_code, reason = "call of a function with a target feature")]
    // SAFETY: a `NeonAes` exists only if `NeonAes::detect` saw `aes` on this machine.
    unsafe {
        run(blocks.div_ceil(48) * 4);
    }
}

/// Sectors of any size. The tweaks of eight sectors are encrypted together, and the tweaks of the
/// next step are ready before the rounds of the current step start.
#[target_feature(enable = "aes")]
fn run<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    sector_bytes: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = Keys::new(data_keys);
    let mut group = [[0; 16]; WIDE];
    for sector in 0..buffers.len() / sector_bytes {
        if sector.is_multiple_of(WIDE) {
            encrypt_tweaks(tweak_keys, ivs, sector, &mut group);
        }
        let mut tweaks = first_tweaks(&group[sector % WIDE], keys.last());
        for _ in 0..sector_bytes / STEP {
            let Some(chunk) = buffers.next::<STEP>() else {
                break;
            };
            let now = tweaks;
            tweaks = advance(now, keys.advance);
            rounds::<N, DECRYPT>(&keys, now, chunk);
        }
        buffers.next_padded::<STEP>(sector_bytes % STEP, |padded| {
            rounds::<N, DECRYPT>(&keys, tweaks, padded);
        });
    }
    wipe(&mut group, [[0; 16]; WIDE]);
}

/// What a step needs of the round keys.
///
/// Tweaks carry the last round key with them: with U = tweak ^ last, the whitening before the
/// rounds is U ^ (first ^ last), where the constant takes the place of the first round key, and the
/// whitening after them is U itself.
struct Keys<'a, const N: usize> {
    first: uint8x16_t,
    advance: uint8x16_t,
    rounds: &'a RoundKeys<N>,
}

impl<'a, const N: usize> Keys<'a, N> {
    #[inline]
    #[target_feature(enable = "aes")]
    fn new(rounds: &'a RoundKeys<N>) -> Self {
        let last = load(&rounds.0[N - 1]);
        let first = veorq_u8(load(&rounds.0[0]), last);
        let [advance, ..] = advance([last; WIDE], last);
        Self {
            first,
            advance,
            rounds,
        }
    }

    #[inline]
    fn last(&self) -> &[u8; 16] {
        &self.rounds.0[N - 1]
    }
}

/// One step: `WIDE` independent chains. An AES instruction of Arm adds the round key before the
/// S-box, so the last round key is added by an ordinary xor, which U already is.
#[inline]
#[target_feature(enable = "aes")]
fn rounds<const N: usize, const DECRYPT: bool>(
    keys: &Keys<'_, N>,
    tweaks: [uint8x16_t; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
    let mut state = tweaks;
    for (one, block) in state.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = round::<DECRYPT>(veorq_u8(load(block), *one), keys.first);
    }
    // Read again at each use: kept across the steps, they would push the tweaks out of registers.
    let round_keys = black_box(keys.rounds);
    for key in &round_keys.0[1..N - 2] {
        let key = load(key);
        for one in &mut state {
            *one = round::<DECRYPT>(*one, key);
        }
    }
    let key = load(&round_keys.0[N - 2]);
    for ((to, one), tweak) in chunk
        .dst()
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(state)
        .zip(tweaks)
    {
        let block = if DECRYPT {
            vaesdq_u8(one, key)
        } else {
            vaeseq_u8(one, key)
        };
        store(to, veorq_u8(block, tweak));
    }
}

#[inline]
#[target_feature(enable = "aes")]
fn round<const DECRYPT: bool>(state: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
    if DECRYPT {
        vaesimcq_u8(vaesdq_u8(state, key))
    } else {
        vaesmcq_u8(vaeseq_u8(state, key))
    }
}

/// The tweaks of `WIDE` sectors from `first` on.
#[inline]
#[target_feature(enable = "aes")]
fn encrypt_tweaks<const N: usize>(
    keys: &RoundKeys<N>,
    ivs: impl Ivs,
    first: usize,
    to: &mut [[u8; 16]; WIDE],
) {
    let mut state = [vdupq_n_u8(0); WIDE];
    for (at, one) in state.iter_mut().enumerate() {
        *one = load(&ivs.iv(first + at).to_le_bytes());
    }
    for key in &keys.0[..N - 2] {
        let key = load(key);
        for one in &mut state {
            *one = round::<false>(*one, key);
        }
    }
    let (key, last) = (load(&keys.0[N - 2]), load(&keys.0[N - 1]));
    for (to, one) in to.iter_mut().zip(state) {
        store(to, veorq_u8(vaeseq_u8(one, key), last));
    }
}

/// The tweaks of the first step of a sector, xor the last round key: block `i` gets the sector's
/// tweak times x^i.
#[inline]
#[target_feature(enable = "neon")]
fn first_tweaks(tweak: &[u8; 16], last: &[u8; 16]) -> [uint8x16_t; WIDE] {
    let last = load(last);
    let mut power = u128::from_le_bytes(*tweak);
    let mut tweaks = [last; WIDE];
    for to in &mut tweaks {
        *to = veorq_u8(load(&power.to_le_bytes()), last);
        power = times_x(power);
    }
    tweaks
}

/// The tweaks of the next step: times x^8, a shift by one byte. The byte that falls out comes back
/// times 0x87.
#[inline]
#[target_feature(enable = "neon")]
fn advance(tweaks: [uint8x16_t; WIDE], constant: uint8x16_t) -> [uint8x16_t; WIDE] {
    let (zero, poly) = (vdupq_n_u8(0), vdup_n_p8(0x87));
    let mut next = tweaks;
    for to in &mut next {
        let fell_out = vget_low_u8(vextq_u8::<15>(*to, zero));
        let back = vreinterpretq_u8_p16(vmull_p8(vreinterpret_p8_u8(fell_out), poly));
        let up = vextq_u8::<15>(zero, *to);
        *to = veorq_u8(veorq_u8(up, constant), back);
    }
    next
}

#[expect(unsafe_code, reason = "a load through a pointer")]
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array type says that 16 bytes are readable; the load needs no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[expect(unsafe_code, reason = "a store through a pointer")]
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn store(bytes: &mut [u8; 16], value: uint8x16_t) {
    // SAFETY: the array type says that 16 bytes are writable; the store needs no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), value) }
}
