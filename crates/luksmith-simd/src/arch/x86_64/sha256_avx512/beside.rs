//! AES-XTS and HMAC-SHA256 of 16 sectors in one loop.
//!
//! A round of the hash waits for the one before, which leaves the vector units idle half of the
//! time: the cipher's instructions stand among those of the hash. While block `b` of the 16
//! messages is hashed, 64 bytes of each of the 16 sectors are encrypted, two vectors side by side
//! in eight rounds; those bytes are two steps ahead, because a message starts with 24 bytes that
//! are not the sector's, and its next block is brought into lanes in the last rounds of this one.

use core::arch::x86_64::*;
use core::hint::black_box;

use super::sectors::{
    Halves, PREFIX, SHIFT, prepare_column, prepare_heads, prepare_part, prepare_tails,
};
use super::*;
use crate::arch::round_keys::{RoundKeys, XtsSchedule, wipe};
use crate::arch::x86_64::vaes512::{self, Vaes512};
use crate::buffers::{COLUMN, Column, Columns, Read};
use crate::sha2::layout::Layout;
use crate::xts::tweak::Ivs;

/// Proof that this machine has what the kernel of this file uses.
#[derive(Clone, Copy)]
pub(crate) struct Beside(());

impl Beside {
    /// The proof, from those of both parts.
    pub(crate) fn new(_cipher: Vaes512, _hash: Avx512) -> Self {
        Self(())
    }

    /// Encrypts 16 sectors and hashes each, with 24 bytes of prefix in front of the ciphertext,
    /// after the `inner` state, which took `keyed_bytes`; gives the states.
    ///
    /// Does nothing and gives `None` unless sectors are of whole columns, three or more.
    pub(crate) fn seal<const N: usize>(
        self,
        keys: &XtsSchedule<N>,
        ivs: impl Ivs,
        inner: &[u32; 8],
        keyed_bytes: usize,
        prefixes: &[[u8; PREFIX]; COLUMN],
        columns: &Columns<'_>,
    ) -> Option<[[u32; 16]; 8]> {
        let bytes = columns.sector_bytes();
        if bytes < 3 * 64 || !bytes.is_multiple_of(64) {
            return None;
        }
        let layout = Layout::new(keyed_bytes, prefixes[0].len(), bytes);
        let mut state = inner.map(|word| [word; 16]);
        // SAFETY: a `Beside` is made only from a `Vaes512` and an `Avx512`, which exist only if
        // their `detect` saw avx512f, avx512bw, vaes and vpclmulqdq on this machine; these are
        // what `seal_featured` enables.
        unsafe { seal_featured(keys, ivs, &layout, prefixes, columns, &mut state) };
        Some(state)
    }
}

/// For each sector the tweaks of its next two steps, with the last round key as `vaes512` has it.
#[repr(align(64))]
struct Tweaks([[[u8; 64]; 2]; COLUMN]);

/// What all steps of the cipher share.
struct Cipher<'a, const N: usize> {
    keys: &'a RoundKeys<N>,
    whiten: __m512i,
    /// What [`advance`] adds.
    constant: __m512i,
}

/// One step of the cipher: 64 bytes of each sector.
#[derive(Clone, Copy)]
struct Step<'a> {
    column: Column<'a>,
    /// Which of a sector's two tweak vectors.
    parity: usize,
}

#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn seal_featured<const N: usize, I: Ivs>(
    keys: &XtsSchedule<N>,
    ivs: I,
    layout: &Layout<64>,
    prefixes: &[[u8; PREFIX]; COLUMN],
    columns: &Columns<'_>,
    state: &mut [[u32; 16]; 8],
) {
    let last = vaes512::spread(&keys.encrypt.0[N - 1]);
    let cipher = Cipher {
        keys: &keys.encrypt,
        whiten: _mm512_xor_si512(vaes512::spread(&keys.encrypt.0[0]), last),
        constant: advance(last, last),
    };
    let steps = columns.sector_bytes() / 64;
    let mut tweaks = Tweaks([[[0; 64]; 2]; COLUMN]);
    prepare_tweaks(&keys.encrypt, &keys.tweak, ivs, &mut tweaks);
    encrypt_first(&cipher, [step(columns, 0), step(columns, 1)], &mut tweaks);
    let mut next = Scratch([[0; 16]; 16]);
    let made = columns.made();
    prepare_heads(prefixes, made.at(0), &mut next);
    hash_beside(state, &mut next, columns, &cipher, &mut tweaks);
    wipe(&mut tweaks.0, [[[0; 64]; 2]; COLUMN]);
    compress_words_featured(state, &next.0);
    prepare_column(&mut next, made.at(64 * (steps - 2) + SHIFT));
    compress_words_featured(state, &next.0);
    prepare_column(&mut next, made.at(64 * (steps - 1)));
    prepare_tails(layout, &mut next);
    compress_words_featured(state, &next.0);
}

/// Sets up the tweaks of the first two steps of each sector.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn prepare_tweaks<const N: usize, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    tweaks: &mut Tweaks,
) {
    for (group, sectors) in tweaks.0.chunks_exact_mut(vaes512::GROUP).enumerate() {
        let mut four = [0; 64];
        let first = group * vaes512::GROUP;
        vaes512::store(&mut four, vaes512::encrypt_tweaks(tweak_keys, ivs, first));
        for (tweak, [even, odd]) in four.as_chunks().0.iter().zip(sectors) {
            let tweak = crate::arch::x86_64::schedule::load128(tweak);
            let [first, second, ..] = vaes512::first_tweaks(tweak, data_keys);
            vaes512::store(even, first);
            vaes512::store(odd, second);
        }
    }
}

/// Encrypts the first two steps of all sectors, eight vectors side by side.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn encrypt_first<const N: usize>(
    cipher: &Cipher<'_, N>,
    steps: [Step<'_>; 2],
    tweaks: &mut Tweaks,
) {
    for first in (0..COLUMN).step_by(4) {
        let mut states = [_mm512_setzero_si512(); 8];
        for (i, one) in states.iter_mut().enumerate() {
            *one = whitened(cipher, steps[i / 4], first + i % 4, tweaks);
        }
        for key in &cipher.keys.0[1..N - 1] {
            let key = vaes512::spread(key);
            for one in &mut states {
                *one = vaes512::round::<false>(*one, key);
            }
        }
        for (i, one) in states.into_iter().enumerate() {
            close(cipher, steps[i / 4], first + i % 4, one, tweaks);
        }
    }
}

/// The bytes of a sector in this step, ready for the first round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn whitened<const N: usize>(
    cipher: &Cipher<'_, N>,
    step: Step<'_>,
    sector: usize,
    tweaks: &Tweaks,
) -> __m512i {
    // SAFETY: a column points to 64 readable bytes in each of its sectors; the load needs no
    // alignment.
    let plain = unsafe { _mm512_loadu_si512(step.column.src(sector).cast()) };
    let tweak = vaes512::load(&tweaks.0[sector % COLUMN][step.parity % 2]);
    vaes512::xor3(plain, tweak, cipher.whiten)
}

/// The last round; the result goes to its place, and the tweak on to the next step but one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn close<const N: usize>(
    cipher: &Cipher<'_, N>,
    step: Step<'_>,
    sector: usize,
    state: __m512i,
    tweaks: &mut Tweaks,
) {
    let place = &mut tweaks.0[sector % COLUMN][step.parity % 2];
    let tweak = vaes512::load(place);
    let made = vaes512::last_round::<false>(state, tweak);
    // SAFETY: a column points to 64 writable bytes in each of its sectors; the store needs no
    // alignment.
    unsafe { _mm512_storeu_si512(step.column.dst(sector).cast(), made) };
    vaes512::store(place, advance(tweak, cipher.constant));
}

/// A tweak times x^8, a shift by one byte. `constant` is what a tweak needs that carries the last
/// round key with it: that key times x^8, and the key itself.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn advance(tweak: __m512i, constant: __m512i) -> __m512i {
    let fell_out = _mm512_bsrli_epi128::<15>(tweak);
    let back = _mm512_clmulepi64_epi128::<0x00>(fell_out, _mm512_set1_epi64(0x87));
    vaes512::xor3(_mm512_bslli_epi128::<1>(tweak), back, constant)
}

/// An eighth of the way of two vectors through the cipher, between rounds `J` and `J + 1`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn eighth<const J: usize, const N: usize>(
    pair: &mut [__m512i; 2],
    cipher: &Cipher<'_, N>,
    step: Step<'_>,
    pass: usize,
    tweaks: &mut Tweaks,
) {
    let sector = 4 * pass + J / 8 * 2;
    if J.is_multiple_of(8) {
        for (i, one) in pair.iter_mut().enumerate() {
            *one = ordered(whitened(cipher, step, sector + i, tweaks));
        }
    }
    // Broadcast from memory each time: all registers are taken.
    let keys = black_box(cipher.keys);
    for round in J % 8 * (N - 1) / 8 + 1..(J % 8 + 1) * (N - 1) / 8 + 1 {
        if round < N - 1 {
            let key = vaes512::spread(&keys.0[round]);
            for one in pair.iter_mut() {
                *one = ordered(vaes512::round::<false>(*one, key));
            }
        } else {
            for (i, one) in pair.iter().enumerate() {
                close(cipher, step, sector + i, *one, tweaks);
            }
        }
    }
}

/// Names what a round has beside it.
struct Side<'a, 'b, const N: usize> {
    pair: [__m512i; 2],
    lanes: Halves,
    cipher: &'a Cipher<'b, N>,
    step: Step<'a>,
    pass: usize,
    tweaks: &'a mut Tweaks,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn scheduled_beside<const J: usize, const N: usize>(
    s: &mut [__m512i; 8],
    pending: &mut [__m512i; 2],
    w: &mut [__m512i; 16],
    k: &[u32; 16],
    side: &mut Side<'_, '_, N>,
) {
    scheduled::<J, N>(s, pending, w, k);
    eighth::<J, N>(
        &mut side.pair,
        side.cipher,
        side.step,
        side.pass,
        side.tweaks,
    );
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn closing_beside<const J: usize, const N: usize>(
    s: &mut [__m512i; 8],
    pending: &mut [__m512i; 2],
    w: &[__m512i; 16],
    k: &[u32; 16],
    next: &mut Scratch,
    following: Read<'_>,
    side: &mut Side<'_, '_, N>,
) {
    prepare_part::<J>(next, following, &mut side.lanes);
    last::<J, N>(s, pending, w, k);
    eighth::<J, N>(
        &mut side.pair,
        side.cipher,
        side.step,
        side.pass,
        side.tweaks,
    );
}

/// Hashes all blocks of ciphertext but the last two, whose words it leaves in `next`, and encrypts
/// all steps but the first two.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn hash_beside<const N: usize>(
    state: &mut [[u32; 16]; 8],
    next: &mut Scratch,
    columns: &Columns<'_>,
    cipher: &Cipher<'_, N>,
    tweaks: &mut Tweaks,
) {
    let (k, _) = K256.as_chunks::<16>();
    let mut s = loaded(state);
    let mut side = Side {
        pair: [splat(0); 2],
        lanes: [[splat(0); 4]; 2],
        cipher,
        step: step(columns, 0),
        pass: 0,
        tweaks,
    };
    for block in 0..columns.sector_bytes() / 64 - 2 {
        let following = columns.made().at(64 * block + SHIFT);
        side.step = step(columns, block + 2);
        let before = s;
        let mut w = loaded(&next.0);
        let mut pending = [splat(0); 2];
        for (pass, k) in k[..3].iter().enumerate() {
            side.pass = pass;
            sixteen!(scheduled_beside[N](
                &mut s,
                &mut pending,
                &mut w,
                k,
                &mut side
            ));
        }
        side.pass = 3;
        sixteen!(closing_beside[N](
            &mut s,
            &mut pending,
            &w,
            &k[3],
            next,
            following,
            &mut side
        ));
        for (now, before) in s.iter_mut().zip(before) {
            *now = add(*now, before);
        }
    }
    for (row, now) in state.iter_mut().zip(s) {
        store(row, now);
    }
}

/// The step of the cipher that encrypts the `number`th 64 bytes of each sector.
#[inline]
fn step<'a>(columns: &'a Columns<'_>, number: usize) -> Step<'a> {
    Step {
        column: columns.at(64 * number),
        parity: number % 2,
    }
}
