//! PBKDF2 with HMAC-SHA256 and HMAC-SHA512 (RFC 8018, section 5.2).
//!
//! Each output block is a chain of its own, so chains run side by side where the CPU gains by it:
//! two in SHA-NI's registers, two or more of SHA-512 in the lanes of AVX-512, three or more in
//! those of AVX2.

use crate::Error;
use crate::arch::Kernels;
use crate::sha2::HashBackend;
use crate::sha2::{hmac_finish_256, hmac_finish_512, hmac_states_256, hmac_states_512, portable};
use core::ops::ControlFlow;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Iterations between two calls of the caller's callback: a few milliseconds.
const CHUNK: u32 = 1 << 15;

/// What the caller is told, and asked, between chunks: iterations done of each output block, and
/// how many there are in all.
pub type Pbkdf2Progress<'a> = &'a mut dyn FnMut(u32, u32) -> ControlFlow<()>;

/// Keyed states of the HMAC and the running chains.
///
/// `acc` of a chain is the xor of all its digests so far; `last` the newest digest.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Chain<W: Zeroize> {
    pub(crate) last: [W; 8],
    pub(crate) acc: [W; 8],
}

/// States of an HMAC after the inner and the outer key pad.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Pads<W: Zeroize> {
    pub(crate) inner: [W; 8],
    pub(crate) outer: [W; 8],
}

/// Chains of one call that advance together.
const CHAINS: usize = 4;

/// Fills `out` with PBKDF2-HMAC-SHA256 of `password` and `salt`.
///
/// # Errors
/// [`Error::Iterations`] if `iterations` is 0; [`Error::OutputBytes`] if `out` is longer than the
/// standard allows (2^32 - 1 blocks).
///
/// ```
/// let mut key = [0; 4];
/// luksmith_simd::pbkdf2_sha256(b"password", b"salt", 2, &mut key)?;
/// assert_eq!(key, [0xae, 0x4d, 0x0c, 0x95]);
/// # Ok::<(), luksmith_simd::Error>(())
/// ```
pub fn pbkdf2_sha256(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
) -> Result<(), Error> {
    pbkdf2_sha256_with(password, salt, iterations, out, &mut |_, _| {
        ControlFlow::Continue(())
    })
}

/// [`pbkdf2_sha256`] that asks `progress` every few milliseconds whether to go on.
///
/// # Errors
/// As [`pbkdf2_sha256`], and [`Error::Cancelled`] if `progress` breaks; `out` is zero then.
pub fn pbkdf2_sha256_with(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    progress: Pbkdf2Progress<'_>,
) -> Result<(), Error> {
    pbkdf2_sha256_by(
        HashBackend::best(),
        password,
        salt,
        iterations,
        out,
        progress,
    )
}

/// [`pbkdf2_sha256_with`] with the kernels of a backend chosen by hand.
///
/// # Errors
/// As [`pbkdf2_sha256_with`], and [`Error::HashBackendUnavailable`] if this machine lacks the
/// instructions.
pub fn pbkdf2_sha256_by(
    backend: HashBackend,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    progress: Pbkdf2Progress<'_>,
) -> Result<(), Error> {
    derive::<u32>(backend, password, salt, iterations, out, progress)
}

/// Fills `out` with PBKDF2-HMAC-SHA512 of `password` and `salt`.
///
/// # Errors
/// As [`pbkdf2_sha256`].
pub fn pbkdf2_sha512(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
) -> Result<(), Error> {
    pbkdf2_sha512_with(password, salt, iterations, out, &mut |_, _| {
        ControlFlow::Continue(())
    })
}

/// [`pbkdf2_sha512`] that asks `progress` every few milliseconds whether to go on.
///
/// # Errors
/// As [`pbkdf2_sha256_with`].
pub fn pbkdf2_sha512_with(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    progress: Pbkdf2Progress<'_>,
) -> Result<(), Error> {
    pbkdf2_sha512_by(
        HashBackend::best(),
        password,
        salt,
        iterations,
        out,
        progress,
    )
}

/// [`pbkdf2_sha512_with`] with the kernels of a backend chosen by hand.
///
/// # Errors
/// As [`pbkdf2_sha512_with`], and [`Error::HashBackendUnavailable`] if this machine lacks the
/// instructions.
pub fn pbkdf2_sha512_by(
    backend: HashBackend,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    progress: Pbkdf2Progress<'_>,
) -> Result<(), Error> {
    derive::<u64>(backend, password, salt, iterations, out, progress)
}

/// What PBKDF2 needs of the hash of these words: SHA-256 or SHA-512.
trait Word: Copy + Zeroize {
    /// Bytes of a digest.
    const DIGEST: usize;

    /// The states of the HMAC after its key pads.
    fn pads(password: &[u8]) -> ([Self; 8], [Self; 8]);
    /// Ends an HMAC of two parts that began with `state`.
    fn finish(state: &mut [Self; 8], outer: &[Self; 8], first: &[u8], second: &[u8]);
    /// Writes the first bytes of a digest.
    fn write(digest: &[Self; 8], out: &mut [u8]);
    /// Advances every chain by `n` iterations.
    fn advance(kernels: Kernels, pads: &Pads<Self>, chains: &mut [Chain<Self>], n: u32);
}

macro_rules! word {
    ($word:ty, $bytes:literal, $states:ident, $finish:ident, $write:ident, $advance:ident) => {
        impl Word for $word {
            const DIGEST: usize = $bytes;

            fn pads(password: &[u8]) -> ([Self; 8], [Self; 8]) {
                $states(password)
            }

            fn finish(state: &mut [Self; 8], outer: &[Self; 8], first: &[u8], second: &[u8]) {
                $finish(state, outer, first, second);
            }

            fn write(digest: &[Self; 8], out: &mut [u8]) {
                let mut full = [0; $bytes];
                portable::$write(digest, &mut full);
                out.copy_from_slice(&full[..out.len()]);
                full.zeroize();
            }

            fn advance(kernels: Kernels, pads: &Pads<Self>, chains: &mut [Chain<Self>], n: u32) {
                kernels.$advance(pads, chains, n);
            }
        }
    };
}

word!(
    u32,
    32,
    hmac_states_256,
    hmac_finish_256,
    write_be_256,
    pbkdf2_256
);
word!(
    u64,
    64,
    hmac_states_512,
    hmac_finish_512,
    write_be_512,
    pbkdf2_512
);

fn derive<W: Word>(
    backend: HashBackend,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    progress: Pbkdf2Progress<'_>,
) -> Result<(), Error> {
    let kernels = kernels(backend)?;
    check(iterations, out.len(), W::DIGEST)?;
    let (inner, outer) = W::pads(password);
    let pads = Pads { inner, outer };
    let start = |index: u32| {
        let mut first = pads.inner;
        W::finish(&mut first, &pads.outer, salt, &index.to_be_bytes());
        Chain {
            last: first,
            acc: first,
        }
    };
    run(
        iterations,
        out,
        W::DIGEST,
        progress,
        start,
        |chains, n| W::advance(kernels, &pads, chains, n),
        |chain: &Chain<W>, out| W::write(&chain.acc, out),
    )
}

fn kernels(backend: HashBackend) -> Result<Kernels, Error> {
    if backend.is_available() {
        Ok(Kernels::new(backend))
    } else {
        Err(Error::HashBackendUnavailable { backend })
    }
}

fn check(iterations: u32, bytes: usize, block: usize) -> Result<(), Error> {
    if iterations == 0 {
        return Err(Error::Iterations);
    }
    match u32::try_from(bytes.div_ceil(block)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::OutputBytes { bytes }),
    }
}

/// Runs the chains of all output blocks, a group at a time.
///
/// `start` makes the chain of a block from its number, from 1; `advance` iterates a group of them;
/// `write` cuts a finished chain to what is left of the output.
fn run<W: Zeroize>(
    iterations: u32,
    out: &mut [u8],
    block: usize,
    progress: Pbkdf2Progress<'_>,
    start: impl Fn(u32) -> Chain<W>,
    advance: impl Fn(&mut [Chain<W>], u32),
    write: impl Fn(&Chain<W>, &mut [u8]),
) -> Result<(), Error> {
    let mut index = 0_u32;
    for group_at in (0..out.len()).step_by(CHAINS * block) {
        let group_end = out.len().min(group_at + CHAINS * block);
        let used = (group_end - group_at).div_ceil(block);
        // Chains past the end of the output only fill the array: never advanced, never written.
        let mut chains: [Chain<W>; CHAINS] = core::array::from_fn(|_| {
            index = index.wrapping_add(1);
            start(index)
        });
        let mut done = 1;
        while done < iterations {
            if progress(done, iterations).is_break() {
                out.zeroize();
                return Err(Error::Cancelled);
            }
            let n = CHUNK.min(iterations - done);
            advance(&mut chains[..used], n);
            done += n;
        }
        for (chain, bytes) in chains
            .iter()
            .zip(out[group_at..group_end].chunks_mut(block))
        {
            write(chain, bytes);
        }
    }
    Ok(())
}

/// Advances every chain by `n` iterations, portably.
pub(crate) fn advance_256(pads: &Pads<u32>, chains: &mut [Chain<u32>], n: u32) {
    for chain in chains {
        for _ in 0..n {
            let mut block = portable::outer_block_256(&chain.last);
            let mut state = pads.inner;
            portable::compress_256(&mut state, &[block]);
            block = portable::outer_block_256(&state);
            chain.last = pads.outer;
            portable::compress_256(&mut chain.last, &[block]);
            for (acc, word) in chain.acc.iter_mut().zip(chain.last) {
                *acc ^= word;
            }
        }
    }
}

/// Advances every chain by `n` iterations, portably.
pub(crate) fn advance_512(pads: &Pads<u64>, chains: &mut [Chain<u64>], n: u32) {
    for chain in chains {
        for _ in 0..n {
            let mut block = portable::outer_block_512(&chain.last);
            let mut state = pads.inner;
            portable::compress_512(&mut state, &[block]);
            block = portable::outer_block_512(&state);
            chain.last = pads.outer;
            portable::compress_512(&mut chain.last, &[block]);
            for (acc, word) in chain.acc.iter_mut().zip(chain.last) {
                *acc ^= word;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// RFC 8018 in so many words, over the `hmac` crate.
    fn by_definition_256(password: &[u8], salt: &[u8], iterations: u32, bytes: usize) -> Vec<u8> {
        use hmac::{KeyInit, Mac};
        let prf = |text: &[&[u8]]| -> [u8; 32] {
            let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(password).expect("any length");
            text.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        };
        let mut out = Vec::new();
        let mut index = 1_u32;
        while out.len() < bytes {
            let mut u = prf(&[salt, &index.to_be_bytes()]);
            let mut acc = u;
            for _ in 1..iterations {
                u = prf(&[&u]);
                acc.iter_mut().zip(u).for_each(|(a, b)| *a ^= b);
            }
            out.extend_from_slice(&acc);
            index += 1;
        }
        out.truncate(bytes);
        out
    }

    /// The same for SHA-512.
    fn by_definition_512(password: &[u8], salt: &[u8], iterations: u32, bytes: usize) -> Vec<u8> {
        use hmac::{KeyInit, Mac};
        let prf = |text: &[&[u8]]| -> [u8; 64] {
            let mut mac = hmac::Hmac::<sha2::Sha512>::new_from_slice(password).expect("any length");
            text.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        };
        let mut out = Vec::new();
        let mut index = 1_u32;
        while out.len() < bytes {
            let mut u = prf(&[salt, &index.to_be_bytes()]);
            let mut acc = u;
            for _ in 1..iterations {
                u = prf(&[&u]);
                acc.iter_mut().zip(u).for_each(|(a, b)| *a ^= b);
            }
            out.extend_from_slice(&acc);
            index += 1;
        }
        out.truncate(bytes);
        out
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("two hex digits"))
            .collect()
    }

    #[test]
    fn the_vectors_of_rfc_7914_hold_for_sha256() {
        for (password, salt, iterations, expected) in [
            (
                "passwd",
                "salt",
                1,
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                 49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
            ),
            (
                "Password",
                "NaCl",
                80_000,
                "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56\
                 a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
            ),
        ] {
            let mut out = [0; 64];
            pbkdf2_sha256(password.as_bytes(), salt.as_bytes(), iterations, &mut out)
                .expect("not 0");
            assert_eq!(out.to_vec(), hex(expected), "{iterations}");
        }
    }

    #[test]
    fn a_backend_chosen_by_hand_gives_the_same_keys_or_is_refused() {
        // From one chain to more than advance together.
        for bytes in [20, 64, 65, 128, 200, 300] {
            let want_256 = by_definition_256(b"password", b"salt", 3, bytes);
            let want_512 = by_definition_512(b"password", b"salt", 3, bytes);
            for backend in HashBackend::ALL {
                let mut out = vec![0; bytes];
                let mut go_on = |_, _| ControlFlow::Continue(());
                let refused = Err(Error::HashBackendUnavailable { backend });
                let done = pbkdf2_sha256_by(backend, b"password", b"salt", 3, &mut out, &mut go_on);
                if backend.is_available() {
                    assert_eq!((done, &out), (Ok(()), &want_256), "{backend}, {bytes}");
                } else {
                    assert_eq!(done, refused);
                }
                let done = pbkdf2_sha512_by(backend, b"password", b"salt", 3, &mut out, &mut go_on);
                if backend.is_available() {
                    assert_eq!((done, &out), (Ok(()), &want_512), "{backend}, {bytes}");
                } else {
                    assert_eq!(done, refused);
                }
            }
        }
    }

    #[test]
    fn keys_of_other_programs_come_out_for_sha512() {
        // No RFC has vectors for SHA-512; OpenSSL and Python give these.
        for (password, salt, iterations, expected) in [
            (
                "password",
                "salt",
                1,
                "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252\
                 c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce",
            ),
            (
                "password",
                "salt",
                2,
                "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c\
                 f76cab2868a39b9f7840edce4fef5a82be67335c77a6068e04112754f27ccf4e",
            ),
            (
                "passwordPASSWORDpassword",
                "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096,
                "8c0511f4c6e597c6ac6315d8f0362e225f3c501495ba23b868c005174dc4ee71\
                 115b59f9e60cd9532fa33e0f75aefe30225c583a186cd82bd4daea9724a3d3b8",
            ),
        ] {
            let mut out = [0; 64];
            pbkdf2_sha512(password.as_bytes(), salt.as_bytes(), iterations, &mut out)
                .expect("not 0");
            assert_eq!(out.to_vec(), hex(expected), "{iterations}");
        }
    }

    #[test]
    fn both_hashes_match_the_definition_for_every_output_length() {
        let password = [0x5a; 150];
        for bytes in 0..=300 {
            let mut out = vec![0; bytes];
            let salt = &password[..bytes % 140];
            let password = &password[..bytes % 150];
            pbkdf2_sha256(password, salt, 3, &mut out).expect("3 iterations");
            assert_eq!(
                out,
                by_definition_256(password, salt, 3, bytes),
                "sha256 {bytes}"
            );
            pbkdf2_sha512(password, salt, 3, &mut out).expect("3 iterations");
            assert_eq!(
                out,
                by_definition_512(password, salt, 3, bytes),
                "sha512 {bytes}"
            );
        }
    }

    #[test]
    fn iteration_counts_around_a_chunk_match_the_definition() {
        for iterations in [1, 2, CHUNK, CHUNK + 1, CHUNK + 2] {
            // Two blocks of the one, one of the other; how many there are matters elsewhere.
            let mut out = [0; 40];
            pbkdf2_sha256(b"pass", b"salt", iterations, &mut out).expect("not 0");
            assert_eq!(
                out.to_vec(),
                by_definition_256(b"pass", b"salt", iterations, 40)
            );
            pbkdf2_sha512(b"pass", b"salt", iterations, &mut out).expect("not 0");
            assert_eq!(
                out.to_vec(),
                by_definition_512(b"pass", b"salt", iterations, 40)
            );
        }
    }

    #[test]
    fn every_backend_advances_1_to_5_chains_as_the_portable_one() {
        let (inner, outer) = hmac_states_256(b"key");
        let pads = Pads { inner, outer };
        let (inner, outer) = hmac_states_512(b"key");
        let wide = Pads { inner, outer };
        for backend in HashBackend::available() {
            let kernels = Kernels::new(backend);
            for count in 1..=5_u32 {
                let make = || -> Vec<Chain<u32>> {
                    (0..count)
                        .map(|i| Chain {
                            last: [i; 8],
                            acc: [i + 9, 1, 2, 3, 4, 5, 6, 7],
                        })
                        .collect()
                };
                let (mut have, mut want) = (make(), make());
                kernels.pbkdf2_256(&pads, &mut have, 100);
                advance_256(&pads, &mut want, 100);
                for (have, want) in have.iter().zip(&want) {
                    assert_eq!(
                        (have.last, have.acc),
                        (want.last, want.acc),
                        "{backend} {count}"
                    );
                }
                let make = || -> Vec<Chain<u64>> {
                    (0..count)
                        .map(|i| Chain {
                            last: [i.into(); 8],
                            acc: [7; 8],
                        })
                        .collect()
                };
                let (mut have, mut want) = (make(), make());
                kernels.pbkdf2_512(&wide, &mut have, 100);
                advance_512(&wide, &mut want, 100);
                for (have, want) in have.iter().zip(&want) {
                    assert_eq!(
                        (have.last, have.acc),
                        (want.last, want.acc),
                        "{backend} {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_iterations_are_refused() {
        assert_eq!(
            pbkdf2_sha256(b"", b"", 0, &mut [0; 1]),
            Err(Error::Iterations)
        );
        assert_eq!(
            pbkdf2_sha512(b"", b"", 0, &mut [0; 1]),
            Err(Error::Iterations)
        );
    }

    #[test]
    fn a_cancelled_derivation_leaves_zeroes() {
        let mut calls = Vec::new();
        let mut out = [1; 64];
        let total = 3 * CHUNK;
        let result = pbkdf2_sha256_with(b"p", b"s", total, &mut out, &mut |done, all| {
            calls.push((done, all));
            if calls.len() == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(result, Err(Error::Cancelled));
        assert_eq!(out, [0; 64]);
        assert_eq!(calls, [(1, total), (1 + CHUNK, total)]);
    }
}
