//! Many-lane SHA-2, written once: lane `i` of every vector belongs to message `i`.
//!
//! A file per instruction set names its vector type and defines, with the same target features, the
//! functions `splat`, `load`, `store`, `add`, `sum0`, `sum1` (the big sigmas), `mix0`, `mix1` (the
//! small ones), `choose`, `majority`, `transposed`, `pinned` and `ordered`; then this macro makes
//! the kernel from them. A generic cannot do it: trait methods may not carry target features.

/// Calls a step with const argument 0 to 15 in turn, and after it those in brackets.
macro_rules! sixteen {
    ($step:ident($($arg:expr),*)) => {
        sixteen!($step[]($($arg),*));
    };
    ($step:ident[$($more:ident),*]($($arg:expr),*)) => {
        $step::<0 $(, $more)*>($($arg),*);
        $step::<1 $(, $more)*>($($arg),*);
        $step::<2 $(, $more)*>($($arg),*);
        $step::<3 $(, $more)*>($($arg),*);
        $step::<4 $(, $more)*>($($arg),*);
        $step::<5 $(, $more)*>($($arg),*);
        $step::<6 $(, $more)*>($($arg),*);
        $step::<7 $(, $more)*>($($arg),*);
        $step::<8 $(, $more)*>($($arg),*);
        $step::<9 $(, $more)*>($($arg),*);
        $step::<10 $(, $more)*>($($arg),*);
        $step::<11 $(, $more)*>($($arg),*);
        $step::<12 $(, $more)*>($($arg),*);
        $step::<13 $(, $more)*>($($arg),*);
        $step::<14 $(, $more)*>($($arg),*);
        $step::<15 $(, $more)*>($($arg),*);
    };
}
pub(crate) use sixteen;

/// Makes `compress` and `compress_words` for one vector width and word size.
///
/// `group` is the number of words that `transposed` gives, those of 16 or 32 bytes; `passes` the
/// number of times that 16 rounds with a message schedule run before the last 16 without; `behind`
/// says whether the second half of a round comes after the first half of the next, which needs
/// more than 16 registers.
macro_rules! lane_kernel {
    (
        features: $features:literal, vector: $vector:ty, word: $word:ty, lanes: $lanes:literal,
        block: $block:literal, group: $group:literal, passes: $passes:literal,
        behind: $behind:literal, constants: $k:path
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

        /// Places that call rounds; others have other numbers.
        const COMPRESS: usize = 100;
        const WORDS: usize = 101;

        /// Where the state has the variables `a` to `h` of a round: values stay in place, and names
        /// rotate instead.
        #[inline]
        fn names(round: usize) -> [usize; 8] {
            core::array::from_fn(|i| (16 - round % 8 + i) % 8)
        }

        /// The half of a round that makes the new `e`, for which the next round waits first; gives
        /// the choice and the big sigma for [`late`], and the majority for that of the round
        /// before, whose `c` it overwrites.
        #[inline]
        #[target_feature(enable = $features)]
        fn early(
            round: usize,
            s: &mut [$vector; 8],
            word: $vector,
            k: &$word,
        ) -> ([$vector; 2], $vector) {
            let [_, _, _, d, e, f, g, h] = names(round);
            s[h] = ordered(add(ordered(add(s[h], word)), splat(*k)));
            let big = ordered(sum1(s[e]));
            let [a, b, c, ..] = names(round + 7);
            let major = ordered(majority(s[a], s[b], s[c]));
            let select = ordered(choose(s[e], s[f], s[g]));
            // Not by way of the sum that `late` makes first: one addition more, two less in the
            // chain from round to round.
            s[d] = ordered(add(s[d], s[h]));
            s[d] = ordered(add(s[d], select));
            s[d] = ordered(add(s[d], big));
            ([select, big], major)
        }

        /// The half of a round that makes the new `a`, from what `early` gave for it.
        #[inline]
        #[target_feature(enable = $features)]
        fn late(round: usize, s: &mut [$vector; 8], [select, big]: [$vector; 2], major: $vector) {
            let [a, .., h] = names(round);
            s[h] = ordered(add(s[h], select));
            s[h] = ordered(add(s[h], big));
            let sum = ordered(sum0(s[a]));
            s[h] = ordered(add(s[h], major));
            s[h] = ordered(add(s[h], sum));
        }

        /// Round `J` of 16. Its second half may come after the first half of the next one, which
        /// does not need it: of what is ready, the CPU takes first what came first. The last of 16
        /// leaves nothing over, so that they make a loop: 64 rounds written out would not fit
        /// into the CPU's cache of decoded instructions.
        ///
        /// `SITE` and `LAST` name the one place that calls it: a function with one caller is
        /// inlined, one with several at the compiler's pleasure, and as a call a round passes all
        /// vectors through memory.
        #[inline]
        #[target_feature(enable = $features)]
        fn round<const J: usize, const SITE: usize, const LAST: bool>(
            s: &mut [$vector; 8],
            pending: &mut [$vector; 2],
            word: $vector,
            k: &$word,
        ) {
            let (now, major) = early(J, s, word, k);
            if $behind && J > 0 {
                late(J + 7, s, *pending, major);
            }
            *pending = now;
            if !$behind || J == 15 {
                let [a, b, c, ..] = names(J);
                late(J, s, now, majority(s[a], s[b], s[c]));
            }
        }

        /// Replaces a message word by the one of 16 rounds later.
        #[inline]
        #[target_feature(enable = $features)]
        fn renew<const J: usize>(w: &mut [$vector; 16]) {
            let far = ordered(mix0(w[(J + 1) % 16]));
            w[J] = ordered(add(w[J], w[(J + 9) % 16]));
            let near = ordered(mix1(w[(J + 14) % 16]));
            w[J] = ordered(add(w[J], far));
            w[J] = ordered(add(w[J], near));
        }

        /// A round, and its message word replaced by the one of 16 rounds later.
        #[inline]
        #[target_feature(enable = $features)]
        fn scheduled<const J: usize, const SITE: usize>(
            s: &mut [$vector; 8],
            pending: &mut [$vector; 2],
            w: &mut [$vector; 16],
            k: &[$word; 16],
        ) {
            round::<J, SITE, false>(s, pending, w[J], &k[J]);
            renew::<J>(w);
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
            pending: &mut [$vector; 2],
            w: &[$vector; 16],
            k: &[$word; 16],
            next: &mut Scratch,
            lanes: &[&[u8]; $lanes],
            at: usize,
        ) {
            if J % $group == 0 {
                prepare(next, lanes, at, J / $group * $group);
            }
            round::<J, COMPRESS, true>(s, pending, w[J], &k[J]);
        }

        /// The last 16 rounds without a next block.
        #[inline]
        #[target_feature(enable = $features)]
        fn last<const J: usize, const SITE: usize>(
            s: &mut [$vector; 8],
            pending: &mut [$vector; 2],
            w: &[$vector; 16],
            k: &[$word; 16],
        ) {
            round::<J, SITE, true>(s, pending, w[J], &k[J]);
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
                let mut pending = [splat(0); 2];
                for k in &k[..$passes] {
                    sixteen!(scheduled[COMPRESS](&mut s, &mut pending, &mut w, k));
                }
                sixteen!(closing(
                    &mut s,
                    &mut pending,
                    &w,
                    &k[$passes],
                    &mut next,
                    lanes,
                    at
                ));
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
            let mut pending = [splat(0); 2];
            for k in &k[..$passes] {
                sixteen!(scheduled[WORDS](&mut s, &mut pending, &mut w, k));
            }
            sixteen!(last[WORDS](&mut s, &mut pending, &w, &k[$passes]));
            for ((row, now), before) in state.iter_mut().zip(s).zip(before) {
                store(row, add(now, before));
            }
        }
    };
}
pub(crate) use lane_kernel;
