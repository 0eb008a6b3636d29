//! Many-lane SHA-2, written once: lane `i` of every vector belongs to message `i`.
//!
//! A file per instruction set names its vector type and defines, with the same target features, the
//! functions `splat`, `load`, `store`, `add`, `sum0`, `sum1` (the big sigmas), `mix0`, `mix1` (the
//! small ones), `choose`, `majority`, `transposed` and `pinned`; then this macro makes the kernel
//! from them. A generic cannot do it: trait methods may not carry target features.

/// Calls a step with const argument 0 to 15 in turn.
macro_rules! sixteen {
    ($step:ident($($arg:expr),*)) => {
        $step::<0>($($arg),*);
        $step::<1>($($arg),*);
        $step::<2>($($arg),*);
        $step::<3>($($arg),*);
        $step::<4>($($arg),*);
        $step::<5>($($arg),*);
        $step::<6>($($arg),*);
        $step::<7>($($arg),*);
        $step::<8>($($arg),*);
        $step::<9>($($arg),*);
        $step::<10>($($arg),*);
        $step::<11>($($arg),*);
        $step::<12>($($arg),*);
        $step::<13>($($arg),*);
        $step::<14>($($arg),*);
        $step::<15>($($arg),*);
    };
}
pub(crate) use sixteen;

/// Makes `compress` and `compress_words` for one vector width and word size.
///
/// `group` is the number of words that `transposed` gives, those of 16 or 32 bytes; `passes` the
/// number of times that 16 rounds with a message schedule run before the last 16 without.
macro_rules! lane_kernel {
    (
        features: $features:literal, vector: $vector:ty, word: $word:ty, lanes: $lanes:literal,
        block: $block:literal, group: $group:literal, passes: $passes:literal, constants: $k:path
    ) => {
        /// Sixteen message words of every lane, in the order that the rounds take them.
        #[repr(align(64))]
        struct Scratch([[$word; $lanes]; 16]);

        /// Every row in a register. A loop, because `map` is not inlined here, and a call would
        /// pass all vectors through memory.
        #[inline]
        #[target_feature(enable = $features)]
        fn loaded<const N: usize>(rows: &[[$word; $lanes]; N]) -> [$vector; N] {
            let mut vectors = [splat(0); N];
            for (vector, row) in vectors.iter_mut().zip(rows) {
                *vector = load(row);
            }
            vectors
        }

        /// One round. The state stays in place and its names rotate instead: in round `J`,
        /// variable `a` of the standard is `s[(16 - J) % 8]`.
        #[inline]
        #[target_feature(enable = $features)]
        fn round<const J: usize>(s: &mut [$vector; 8], word: $vector, k: &$word) {
            let [a, b, c, d, e, f, g, h] =
                core::array::from_fn::<usize, 8, _>(|i| (16 - J % 8 + i) % 8);
            let early = pinned(add(s[h], add(word, splat(*k))));
            let (big, select) = (sum1(s[e]), choose(s[e], s[f], s[g]));
            // The next round waits for this sum first, so it does not wait for `t`: one addition
            // more, two less in the chain from round to round.
            s[d] = add(pinned(add(pinned(add(s[d], early)), select)), big);
            let t = add(pinned(add(early, select)), big);
            s[h] = add(pinned(add(t, majority(s[a], s[b], s[c]))), sum0(s[a]));
        }

        /// A round, and its message word replaced by the one of 16 rounds later.
        #[inline]
        #[target_feature(enable = $features)]
        fn scheduled<const J: usize>(s: &mut [$vector; 8], w: &mut [$vector; 16], k: &[$word; 16]) {
            round::<J>(s, w[J], &k[J]);
            let near = add(w[J], w[(J + 9) % 16]);
            let far = add(mix0(w[(J + 1) % 16]), mix1(w[(J + 14) % 16]));
            w[J] = add(near, far);
        }

        /// Words `first` and following of the block at `at`, of every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn prepare(next: &mut Scratch, lanes: &[&[u8]; $lanes], at: usize, first: usize) {
            let words = transposed(lanes, at + first * size_of::<$word>());
            // By index: an iterator here becomes a vector of addresses.
            for i in 0..$group {
                store(&mut next.0[first + i], words[i]);
            }
        }

        /// All words of the block at `at`, of every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn prepare_all(next: &mut Scratch, lanes: &[&[u8]; $lanes], at: usize) {
            for (rows, group) in next.0.chunks_exact_mut($group).zip(0..) {
                let words = transposed(lanes, at + group * $group * size_of::<$word>());
                for (row, word) in rows.iter_mut().zip(words) {
                    store(row, word);
                }
            }
        }

        /// One of the last 16 rounds, which leave room to transpose the next block.
        #[inline]
        #[target_feature(enable = $features)]
        fn closing<const J: usize>(
            s: &mut [$vector; 8],
            w: &[$vector; 16],
            k: &[$word; 16],
            next: &mut Scratch,
            lanes: &[&[u8]; $lanes],
            at: usize,
        ) {
            if J % $group == 0 {
                prepare(next, lanes, at, J / $group * $group);
            }
            round::<J>(s, w[J], &k[J]);
        }

        /// The last 16 rounds without a next block.
        #[inline]
        #[target_feature(enable = $features)]
        fn last<const J: usize>(s: &mut [$vector; 8], w: &[$vector; 16], k: &[$word; 16]) {
            round::<J>(s, w[J], &k[J]);
        }

        /// Compresses the blocks of every lane into its state, part after part.
        #[target_feature(enable = $features)]
        fn compress_featured(state: &mut [[$word; $lanes]; 8], parts: &[[&[u8]; $lanes]]) {
            let walk = Walk::<$lanes, $block>::new(parts);
            let Some(mut here) = walk.first() else {
                return;
            };
            let mut s = loaded(state);
            let mut next = Scratch([[0; $lanes]; 16]);
            prepare_all(&mut next, walk.lanes(here), here.at());
            loop {
                let after = walk.after(here);
                // After the last block the same one is transposed again, for nothing: cheaper
                // than a branch in the rounds.
                let following = after.unwrap_or(here);
                let (lanes, at) = (walk.lanes(following), following.at());
                let before = s;
                let mut w = loaded(&next.0);
                let (k, _) = $k.as_chunks::<16>();
                for k in &k[..$passes] {
                    sixteen!(scheduled(&mut s, &mut w, k));
                }
                sixteen!(closing(&mut s, &w, &k[$passes], &mut next, lanes, at));
                for (now, before) in s.iter_mut().zip(before) {
                    *now = add(*now, before);
                }
                match after {
                    Some(after) => here = after,
                    None => break,
                }
            }
            for (row, now) in state.iter_mut().zip(s) {
                store(row, now);
            }
        }

        /// Compresses one block whose words lie in lanes already.
        #[target_feature(enable = $features)]
        fn compress_words_featured(
            state: &mut [[$word; $lanes]; 8],
            words: &[[$word; $lanes]; 16],
        ) {
            let mut s = loaded(state);
            let before = s;
            let mut w = loaded(words);
            let (k, _) = $k.as_chunks::<16>();
            for k in &k[..$passes] {
                sixteen!(scheduled(&mut s, &mut w, k));
            }
            sixteen!(last(&mut s, &w, &k[$passes]));
            for ((row, now), before) in state.iter_mut().zip(s).zip(before) {
                store(row, add(now, before));
            }
        }
    };
}
pub(crate) use lane_kernel;
