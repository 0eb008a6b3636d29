//! AES-GCM kernels on vectors of 128 and 256 bits: one text for both, since a function cannot be
//! generic over the features that it enables.

/// Makes the function that runs a kernel, `sectors` of the file that uses this.
///
/// The file says which features `sectors` enables; the detection of `$cpu` has to ask for them all.
macro_rules! gcm_entry {
    ($cpu:ty) => {
        /// Encrypts or decrypts as many sectors as there are `tags`, the first of which is number
        /// `first` of `run`, and writes the tag of each.
        ///
        /// The shape is one that [`super::gcm::VectorGcm::takes`].
        pub(crate) fn crypt<const N: usize, const DECRYPT: bool>(
            _cpu: $cpu,
            keys: &GcmSchedule<N>,
            run: GcmRun<'_>,
            first: usize,
            buffers: Buffers<'_>,
            tags: &mut [[u8; TAG_BYTES]],
        ) {
            // Made before the vectors are loaded: a copy of unknown length is a call, and a call
            // empties every vector register.
            let mut batch = Batch::zeroed();
            batch.fill(keys, run, first, tags.len());
            #[expect(unsafe_code, reason = "call of a function with target features")]
            // SAFETY: the proof of the CPU exists only if its `detect` saw on this machine every
            // feature that `sectors` enables: aes, pclmulqdq and ssse3 with `AesNi`; avx2, vaes,
            // vpclmulqdq and pclmulqdq with `Vaes256`; avx512f, avx512bw and those of carry-less
            // products and vaes with `Vaes512`.
            unsafe {
                sectors::<N, DECRYPT>(keys, run, &mut batch, buffers, tags);
            }
        }
    };
}
pub(super) use gcm_entry;

/// Makes the kernel of a file that has `WIDE`, the vectors of a step, `STEP`, its bytes, and, with
/// at most these features, on vectors of `$bytes` bytes: `load`, `store`, `spread` (a block into
/// every lane), `xor`, `zero`, `round` and `last_round` of AES, `product`, `turned` (the blocks
/// with their bytes reversed) and `lanes` (the xor of all lanes).
macro_rules! gcm_kernel {
    ($vector:ty, $bytes:literal, $features:literal) => {
        #[target_feature(enable = $features)]
        fn sectors<const N: usize, const DECRYPT: bool>(
            keys: &GcmSchedule<N>,
            run: GcmRun<'_>,
            batch: &mut Batch,
            mut buffers: Buffers<'_>,
            tags: &mut [[u8; TAG_BYTES]],
        ) {
            let powers = keys.powers(run.sector_bytes).as_flattened();
            let (powers, _) = powers.as_chunks::<$bytes>().0.as_chunks::<WIDE>();
            let counters = keys.counters.as_flattened();
            let (counters, _) = counters.as_chunks::<$bytes>().0.as_chunks::<WIDE>();
            encrypt_masks(&keys.keys, &mut batch.masks);
            let sectors = tags
                .iter_mut()
                .zip(&batch.edges)
                .zip(&batch.nonces)
                .zip(&batch.masks);
            for (((tag, edge), nonce), mask) in sectors {
                let mut sum = Sum::start(edge, &batch.edge_powers);
                let nonce = spread(nonce);
                let mut steps = counters.iter().zip(powers);
                let Some((counters, first_powers)) = steps.next() else {
                    return;
                };
                let Some(mut chunk) = buffers.next::<STEP>() else {
                    return;
                };
                if DECRYPT {
                    // What is hashed is read before it is overwritten.
                    let state = start(nonce, counters);
                    let state =
                        rounds::<N, true>(&keys.keys, state, &mut sum, chunk.src(), first_powers);
                    finish(&keys.keys, state, &mut chunk);
                    for (counters, powers) in steps {
                        let Some(mut chunk) = buffers.next::<STEP>() else {
                            return;
                        };
                        let state = start(nonce, counters);
                        let state =
                            rounds::<N, true>(&keys.keys, state, &mut sum, chunk.src(), powers);
                        finish(&keys.keys, state, &mut chunk);
                    }
                } else {
                    let state = start(nonce, counters);
                    let state =
                        rounds::<N, false>(&keys.keys, state, &mut sum, chunk.src(), first_powers);
                    finish(&keys.keys, state, &mut chunk);
                    let (mut before, mut before_powers) = (chunk, first_powers);
                    for (counters, powers) in steps {
                        let Some(mut chunk) = buffers.next::<STEP>() else {
                            return;
                        };
                        let state = start(nonce, counters);
                        let hashed = before.dst();
                        let state =
                            rounds::<N, true>(&keys.keys, state, &mut sum, hashed, before_powers);
                        finish(&keys.keys, state, &mut chunk);
                        (before, before_powers) = (chunk, powers);
                    }
                    let (blocks, _) = before.dst().as_chunks();
                    for (blocks, powers) in blocks.iter().zip(before_powers) {
                        sum.add(blocks, powers);
                    }
                }
                store128(tag, _mm_xor_si128(load128(mask), sum.finish()));
            }
        }

        /// The counter blocks of a step, with the first round key.
        #[inline]
        #[target_feature(enable = $features)]
        fn start(nonce: $vector, counters: &[[u8; $bytes]; WIDE]) -> [$vector; WIDE] {
            let mut state = [nonce; WIDE];
            for (one, counter) in state.iter_mut().zip(counters) {
                *one = xor(*one, load(counter));
            }
            state
        }

        /// All rounds but the last, `WIDE` independent chains, and beside them the products of the
        /// blocks in `hashed`, if `HASH` says so.
        #[inline]
        #[target_feature(enable = $features)]
        fn rounds<const N: usize, const HASH: bool>(
            keys: &RoundKeys<N>,
            mut state: [$vector; WIDE],
            sum: &mut Sum,
            hashed: &[u8; STEP],
            powers: &[[u8; $bytes]; WIDE],
        ) -> [$vector; WIDE] {
            const { assert!(WIDE < N - 1, "a round for each vector") };
            let (hashed, _) = hashed.as_chunks();
            // Read again at each use: kept across the steps, they would take every register.
            let keys = black_box(keys);
            for (at, key) in keys.0[1..N - 1].iter().enumerate() {
                let key = spread(key);
                for one in &mut state {
                    *one = round(*one, key);
                }
                if let (true, Some(blocks), Some(powers)) = (HASH, hashed.get(at), powers.get(at)) {
                    sum.add(blocks, powers);
                }
            }
            state
        }

        /// The last round, and the text.
        #[inline]
        #[target_feature(enable = $features)]
        fn finish<const N: usize>(
            keys: &RoundKeys<N>,
            state: [$vector; WIDE],
            chunk: &mut Chunk<'_, STEP>,
        ) {
            let last = spread(&keys.0[N - 1]);
            let mut made = state;
            for (one, blocks) in made.iter_mut().zip(chunk.src().as_chunks().0) {
                *one = last_round(*one, xor(load(blocks), last));
            }
            for (to, one) in chunk.dst().as_chunks_mut().0.iter_mut().zip(made) {
                store(to, one);
            }
        }

        /// Encrypts the first counter block of each sector, which masks its tag.
        #[inline]
        #[target_feature(enable = $features)]
        fn encrypt_masks<const N: usize>(keys: &RoundKeys<N>, masks: &mut [[u8; 16]; BATCH]) {
            let (vectors, _) = masks.as_flattened_mut().as_chunks_mut();
            let (groups, _) = vectors.as_chunks_mut::<WIDE>();
            for group in groups {
                let mut state = start(spread(&keys.0[0]), group);
                for key in &keys.0[1..N - 1] {
                    let key = spread(key);
                    for one in &mut state {
                        *one = round(*one, key);
                    }
                }
                for (to, one) in group.iter_mut().zip(state) {
                    store(to, last_round(one, spread(&keys.0[N - 1])));
                }
            }
        }

        /// The sum of blocks times powers, unreduced, lane by lane.
        struct Sum {
            low: $vector,
            middle: $vector,
            high: $vector,
        }

        impl Sum {
            /// Starts with the blocks before and after the data.
            #[inline]
            #[target_feature(enable = $features)]
            fn start(edge: &[[u8; 16]; 4], powers: &[[u8; 16]; 4]) -> Self {
                let mut sum = Self {
                    low: zero(),
                    middle: zero(),
                    high: zero(),
                };
                let (blocks, _) = edge.as_flattened().as_chunks();
                let (powers, _) = powers.as_flattened().as_chunks();
                for (blocks, powers) in blocks.iter().zip(powers) {
                    sum.add(blocks, powers);
                }
                sum
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add(&mut self, blocks: &[u8; $bytes], powers: &[u8; $bytes]) {
                let (blocks, powers) = (turned(load(blocks)), load(powers));
                self.low = xor(self.low, product::<0x00>(blocks, powers));
                self.high = xor(self.high, product::<0x11>(blocks, powers));
                let middle = xor(
                    product::<0x01>(blocks, powers),
                    product::<0x10>(blocks, powers),
                );
                self.middle = xor(self.middle, middle);
            }

            /// Adds the lanes up and reduces: the hash of the sector, in the byte order of a tag.
            #[inline]
            #[target_feature(enable = $features)]
            fn finish(self) -> __m128i {
                let hash = reduce(lanes(self.low), lanes(self.middle), lanes(self.high));
                let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
                _mm_shuffle_epi8(hash, order)
            }
        }
    };
}
pub(super) use gcm_kernel;
