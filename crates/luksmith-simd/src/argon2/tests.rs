use super::*;
use alloc::vec;
use alloc::vec::Vec;

fn ours(argon2: Argon2, kernel: Argon2Kernel, password: &[u8], salt: &[u8], out: usize) -> Vec<u8> {
    from_texts(
        argon2,
        kernel,
        &Texts {
            password,
            salt,
            secret: &[],
            data: &[],
        },
        out,
    )
}

fn from_texts(argon2: Argon2, kernel: Argon2Kernel, texts: &Texts<'_>, out: usize) -> Vec<u8> {
    let mut arena = vec![0x5555_5555_5555_5555; argon2.arena_words()];
    let mut out = vec![0; out];
    let mut progress = |_, _| ControlFlow::Continue(());
    argon2
        .derive_by(
            kernel,
            texts,
            &mut arena,
            &mut out,
            &OneThread,
            &mut progress,
        )
        .expect("sizes fit");
    out
}

#[test]
fn the_vectors_of_rfc_9106_hold() {
    let texts = Texts {
        password: &[1; 32],
        salt: &[2; 16],
        secret: &[3; 8],
        data: &[4; 12],
    };
    for kernel in Argon2Kernel::available() {
        let tag = |variant| {
            from_texts(
                Argon2::new(variant, 3, 32, 4).expect("valid"),
                kernel,
                &texts,
                32,
            )
        };
        // Section 5.2.
        let expected = [
            0xc8, 0x14, 0xd9, 0xd1, 0xdc, 0x7f, 0x37, 0xaa, 0x13, 0xf0, 0xd7, 0x7f, 0x24, 0x94,
            0xbd, 0xa1, 0xc8, 0xde, 0x6b, 0x01, 0x6d, 0xd3, 0x88, 0xd2, 0x99, 0x52, 0xa4, 0xc4,
            0x67, 0x2b, 0x6c, 0xe8,
        ];
        assert_eq!(tag(Argon2Variant::I), expected, "{kernel:?}");
        // Section 5.3.
        let expected = [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b,
            0x53, 0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9,
            0x6b, 0x01, 0xe6, 0x59,
        ];
        assert_eq!(tag(Argon2Variant::Id), expected, "{kernel:?}");
    }
}

fn theirs(
    variant: Argon2Variant,
    costs: [u32; 3],
    password: &[u8],
    salt: &[u8],
    out: usize,
) -> Vec<u8> {
    let algorithm = match variant {
        Argon2Variant::I => argon2::Algorithm::Argon2i,
        Argon2Variant::Id => argon2::Algorithm::Argon2id,
    };
    let [passes, memory_kib, lanes] = costs;
    let params =
        argon2::Params::new(memory_kib, passes, lanes, Some(out)).expect("costs that exist");
    let mut tag = vec![0; out];
    argon2::Argon2::new(algorithm, argon2::Version::V0x13, params)
        .hash_password_into(password, salt, &mut tag)
        .expect("costs that exist");
    tag
}

const VARIANTS: [Argon2Variant; 2] = [Argon2Variant::I, Argon2Variant::Id];

#[test]
fn every_kernel_agrees_with_the_argon2_crate_over_many_costs() {
    let mut cases = 0;
    for variant in VARIANTS {
        for lanes in [1, 2, 3, 4, 7] {
            for memory_kib in [
                8 * lanes,
                8 * lanes + 1,
                9 * lanes + 5,
                100 + lanes,
                1100 * lanes,
            ] {
                // Segments of several blocks of addresses: with one lane and with a few.
                if memory_kib == 1100 * lanes && ![1, 3].contains(&lanes) {
                    continue;
                }
                for passes in [1, 2, 3] {
                    let memory_kib = memory_kib.max(8 * lanes);
                    let argon2 = Argon2::new(variant, passes, memory_kib, lanes).expect("valid");
                    let tag = [4, 16, 32, 64, 65, 96, 128, 200][cases % 8];
                    let want = theirs(
                        variant,
                        [passes, memory_kib, lanes],
                        b"password",
                        &[2; 32],
                        tag,
                    );
                    for kernel in Argon2Kernel::available() {
                        let have = ours(argon2, kernel, b"password", &[2; 32], tag);
                        assert_eq!(have, want, "{argon2:?} {kernel:?} {tag}");
                    }
                    cases += 1;
                }
            }
        }
    }
}

#[test]
fn every_tag_password_and_salt_length_agrees_with_the_argon2_crate() {
    for tag in 4..=200 {
        let argon2 = Argon2::new(Argon2Variant::Id, 1, 16, 2).expect("valid");
        let password = vec![0xA5; tag * 3 % 150];
        let salt = vec![0x3C; 8 + tag % 70];
        let have = ours(argon2, Argon2Kernel::best(), &password, &salt, tag);
        assert_eq!(
            have,
            theirs(Argon2Variant::Id, [1, 16, 2], &password, &salt, tag),
            "{tag}"
        );
    }
}

#[test]
fn kernels_agree_on_blocks_of_all_kinds() {
    let mut seed = 1_u64;
    let mut random = || {
        let mut block = ZERO;
        for word in &mut block {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *word = seed ^ (seed >> 29);
        }
        block
    };
    for round in 0..200 {
        let (x, y, old) = (random(), random(), if round == 0 { ZERO } else { random() });
        for onto in [false, true] {
            let mut want = old;
            block::compress(&x, &y, &mut want, onto);
            for kernel in Argon2Kernel::available() {
                let mut have = old;
                kernel.compress(&x, &y, &mut have, onto);
                assert!(have == want, "{kernel:?} round {round} onto {onto}");
            }
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn any_number_of_threads_gives_the_same_tag() {
    for variant in VARIANTS {
        for lanes in [1, 2, 4, 5] {
            let argon2 = Argon2::new(variant, 2, 256, lanes).expect("valid");
            let want = ours(argon2, Argon2Kernel::Portable, b"p", b"salt", 32);
            for threads in 1..=6 {
                let threads = ScopedThreads::new(threads.try_into().expect("not 0"));
                let mut arena = vec![0; argon2.arena_words()];
                let mut out = [0; 32];
                argon2
                    .derive(b"p", b"salt", &mut arena, &mut out, &threads)
                    .expect("sizes fit");
                assert_eq!(out.to_vec(), want, "{lanes} lanes, {threads:?}");
            }
        }
    }
}

/// Notes how many jobs a call of `run` gets, and runs them.
#[cfg(feature = "std")]
#[derive(Default)]
struct Counting {
    threads: usize,
    jobs: std::sync::Mutex<Vec<usize>>,
}

#[cfg(feature = "std")]
impl Argon2Threads for Counting {
    fn count(&self) -> usize {
        self.threads
    }

    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        self.jobs.lock().expect("no panic").push(jobs.len());
        jobs.iter_mut().for_each(Argon2Job::run);
    }
}

#[cfg(feature = "std")]
#[test]
fn of_two_threads_a_vector_kernel_takes_the_second_only_for_a_third_lane() {
    for kernel in Argon2Kernel::available() {
        let per_thread = kernel.lanes_of_a_thread();
        for (lanes, threads) in [
            (1, 4),
            (2, 4),
            (3, 4),
            (4, 4),
            (4, 1),
            (4, 3),
            (7, 2),
            (7, 9),
        ] {
            let argon2 = Argon2::new(Argon2Variant::Id, 1, 8 * lanes, lanes).expect("valid");
            let counting = Counting {
                threads,
                ..Counting::default()
            };
            let mut arena = vec![0; argon2.arena_words()];
            let texts = Texts {
                password: b"p",
                salt: b"salt",
                secret: &[],
                data: &[],
            };
            let mut progress = |_, _| ControlFlow::Continue(());
            argon2
                .derive_by(
                    kernel,
                    &texts,
                    &mut arena,
                    &mut [0; 32],
                    &counting,
                    &mut progress,
                )
                .expect("sizes fit");
            let each = if threads > 2 { 1 } else { per_thread };
            let most = usize::try_from(lanes).expect("few").div_ceil(each);
            let want = threads.min(most);
            assert_eq!(argon2.jobs_by(kernel, threads), want);
            let jobs = counting.jobs.into_inner().expect("no panic");
            assert_eq!(
                jobs, [want; 4],
                "{kernel:?}, {lanes} lanes, {threads} threads"
            );
        }
    }
}

#[test]
fn a_backend_chosen_by_hand_gives_the_same_tag_or_is_refused() {
    let argon2 = Argon2::new(Argon2Variant::Id, 2, 64, 2).expect("valid");
    let want = ours(argon2, Argon2Kernel::Portable, b"p", b"salt", 32);
    for backend in HashBackend::ALL {
        let chosen = argon2.with_backend(backend);
        if !backend.is_available() {
            assert_eq!(chosen, Err(Error::HashBackendUnavailable { backend }));
            continue;
        }
        let chosen = chosen.expect("available");
        assert_eq!(chosen.kernel, Argon2Kernel::of(backend));
        let mut arena = vec![0; chosen.arena_words()];
        let mut out = [0; 32];
        chosen
            .derive(b"p", b"salt", &mut arena, &mut out, &OneThread)
            .expect("sizes fit");
        assert_eq!(out.to_vec(), want, "{backend}");
    }
    assert_eq!(
        Argon2Kernel::of(HashBackend::Portable),
        Argon2Kernel::Portable
    );
    assert_eq!(Argon2Kernel::of(HashBackend::Avx512), Argon2Kernel::best());
}

/// Notes which blocks it is told of.
#[cfg(feature = "std")]
struct Listening {
    threads: usize,
    told: std::sync::Mutex<Vec<usize>>,
}

#[cfg(feature = "std")]
impl Argon2Threads for Listening {
    fn count(&self) -> usize {
        self.threads
    }

    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        let threads = self.threads.try_into().expect("not 0");
        ScopedThreads::new(threads).run(jobs);
    }

    fn reach(&self, block: usize) {
        self.told.lock().expect("no panic").push(block);
    }
}

#[cfg(feature = "std")]
#[test]
fn every_block_of_the_arena_is_told_of_in_the_first_pass() {
    for (passes, memory_kib, lanes, threads) in [
        (1, 8, 1, 1),
        (1, 64, 1, 1),
        (2, 1024, 2, 1),
        (3, 1000, 3, 2),
        (2, 2048, 4, 4),
    ] {
        let argon2 = Argon2::new(Argon2Variant::Id, passes, memory_kib, lanes).expect("valid");
        let listening = Listening {
            threads,
            told: std::sync::Mutex::default(),
        };
        let mut arena = vec![0; argon2.arena_words()];
        argon2
            .derive(b"p", b"salt", &mut arena, &mut [0; 32], &listening)
            .expect("sizes fit");
        let mut told = listening.told.into_inner().expect("no panic");
        told.sort_unstable();
        let blocks = argon2.arena_words() / BLOCK_WORDS;
        for block in 0..blocks {
            let before = told.partition_point(|&one| one <= block);
            let last = told[before.checked_sub(1).expect("block 0 is told of")];
            assert!(
                last / 64 == block / 64,
                "{block} of {blocks}, {lanes} lanes"
            );
        }
        // A multiple of 64 each, the start of each segment, and that of each lane before it all.
        let most = blocks / 64 + 4 * lanes as usize + lanes as usize;
        assert!(told.len() <= most, "{} of {blocks} blocks", told.len());
    }
}

#[test]
fn impossible_costs_and_lengths_are_refused() {
    let refused = |passes, memory_kib, lanes| {
        assert_eq!(
            Argon2::new(Argon2Variant::Id, passes, memory_kib, lanes),
            Err(Error::Argon2Cost {
                passes,
                memory_kib,
                lanes
            })
        );
    };
    refused(0, 8, 1);
    refused(1, 7, 1);
    refused(1, 8, 0);
    refused(1, 15, 2);
    refused(1, u32::MAX, 1 << 24);
    refused(1, u32::MAX, u32::MAX);
    let argon2 = Argon2::new(Argon2Variant::I, 1, 19, 2).expect("valid");
    assert_eq!(argon2.arena_words(), 16 * 128);
    let mut arena = vec![0; argon2.arena_words()];
    let mut derive =
        |words, out: &mut [u8]| argon2.derive(b"", b"", &mut arena[..words], out, &OneThread);
    assert_eq!(
        derive(2047, &mut [0; 8]),
        Err(Error::LengthMismatch {
            what: "arena",
            bytes: 16_376,
            expected: 16_384
        })
    );
    assert_eq!(
        derive(2048, &mut [0; 3]),
        Err(Error::OutputBytes { bytes: 3 })
    );
    assert_eq!(derive(2048, &mut [0; 4]), Ok(()));
}

#[test]
fn a_derivation_can_be_cancelled_after_any_quarter() {
    let argon2 = Argon2::new(Argon2Variant::Id, 2, 32, 1).expect("valid");
    let mut arena = vec![0; argon2.arena_words()];
    for stop in 0..8 {
        let mut seen = Vec::new();
        let mut progress = |done, all| {
            seen.push(done);
            assert_eq!(all, 8);
            if done == stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let result =
            argon2.derive_with(b"", b"", &mut arena, &mut [0; 4], &OneThread, &mut progress);
        assert_eq!(result, Err(Error::Cancelled));
        assert_eq!(seen, (0..=stop).collect::<Vec<_>>());
    }
}
