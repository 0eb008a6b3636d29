//! What a device must hold after the power went: what was flushed, or something newer.

use std::collections::{BTreeMap, BTreeSet};

use luksmith::integrity::Mode;

use super::set::Set;

/// The plaintext of a device as someone read it. Blocks whose tag does not match are zeros here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bad: BTreeSet<usize>,
    /// What lies below the marks of discarded blocks, where that is no zeros: we read zeros, the
    /// kernel what is there.
    pub(crate) below: BTreeMap<usize, Vec<u8>>,
}

impl View {
    /// Gives the plaintext as the kernel reads it.
    pub(crate) fn kernels(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (index, below) in &self.below {
            bytes[index * below.len()..][..below.len()].copy_from_slice(below);
        }
        bytes
    }
}

/// What happened to a block.
#[derive(Clone, Debug)]
enum Version {
    Data(Vec<u8>),
    /// It may hold anything, and matches.
    Discarded,
}

/// Versions of each block since the last flush.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    block: usize,
    durable: View,
    discarded: BTreeSet<usize>,
    newer: BTreeMap<usize, Vec<Version>>,
    /// Some tags lie in two sectors, of which one may be new: the marks of discards are written in
    /// place.
    tears_marks: bool,
}

impl Model {
    /// Starts from what is there and durable.
    pub(crate) fn new(set: &Set, durable: View) -> Self {
        Self {
            block: set.block.bytes(),
            tears_marks: 512 % set.tag_bytes() != 0,
            // Until they are written. A recalculation gives them tags of what lies there.
            discarded: durable.below.keys().copied().collect(),
            durable,
            newer: BTreeMap::new(),
        }
    }

    /// Blocks from `first` on are written.
    pub(crate) fn write(&mut self, first: usize, data: &[u8]) {
        for (index, block) in (first..).zip(data.chunks_exact(self.block)) {
            let version = Version::Data(block.to_vec());
            self.newer.entry(index).or_default().push(version);
        }
    }

    /// Blocks from `first` on are discarded.
    pub(crate) fn discard(&mut self, first: usize, count: usize) {
        for index in first..first + count {
            self.newer
                .entry(index)
                .or_default()
                .push(Version::Discarded);
        }
    }

    /// All that was written is durable.
    pub(crate) fn flush(&mut self) {
        for (index, mut versions) in std::mem::take(&mut self.newer) {
            let range = index * self.block..(index + 1) * self.block;
            self.durable.bad.remove(&index);
            match versions.pop().expect("none is empty") {
                Version::Data(newest) => {
                    self.durable.bytes[range].copy_from_slice(&newest);
                    self.discarded.remove(&index);
                }
                Version::Discarded => {
                    self.discarded.insert(index);
                }
            }
        }
    }

    /// Holds what was read after the power went against what was written in `mode`.
    pub(crate) fn check(&self, view: &View, mode: Mode) -> Result<(), String> {
        for (index, found) in view.bytes.chunks_exact(self.block).enumerate() {
            let newer = self.newer.get(&index);
            let was_bad = self.durable.bad.contains(&index);
            let is_bad = view.bad.contains(&index);
            let allowed = match (is_bad, newer) {
                (true, Some(newer)) => {
                    let is_marked = newer.iter().any(|new| matches!(new, Version::Discarded));
                    was_bad || mode == Mode::Direct || self.tears_marks && is_marked
                }
                (true, None) => was_bad,
                // A marked region was not checked: a write that was cut off may show in parts.
                (false, Some(_)) if mode == Mode::Bitmap => true,
                (false, _) if self.discarded.contains(&index) => true,
                (false, newer) => {
                    let old = &self.durable.bytes[index * self.block..][..self.block];
                    (!was_bad && found == old)
                        || newer.is_some_and(|newer| newer.iter().any(|new| new.may_be(found)))
                }
            };
            if !allowed {
                let what = if is_bad {
                    "mismatches"
                } else {
                    "holds what was never written"
                };
                let count = newer.map_or(0, Vec::len);
                return Err(format!(
                    "block {index} {what}; {count} writes since it was durable, mode {mode:?}; \
                     mismatches in {:?}, not durable are {:?}",
                    ranges(view.bad.iter()),
                    ranges(self.newer.keys())
                ));
            }
        }
        Ok(())
    }
}

impl Version {
    fn may_be(&self, found: &[u8]) -> bool {
        match self {
            Self::Data(data) => data == found,
            Self::Discarded => true,
        }
    }
}

/// Writes sorted numbers down as runs.
fn ranges<'a>(numbers: impl Iterator<Item = &'a usize>) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Tells where two devices differ first.
pub(crate) fn same(what: &str, ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!(
            "{what}: {} bytes, {} bytes",
            ours.len(),
            theirs.len()
        ));
    }
    let pairs = ours.chunks(512).zip(theirs.chunks(512));
    let different: Vec<usize> = pairs
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(sector, _)| sector)
        .collect();
    match different.first() {
        None => Ok(()),
        Some(first) => {
            let at = first * 512;
            let end = (at + 512).min(ours.len());
            let byte = (at..end)
                .find(|&byte| ours[byte] != theirs[byte])
                .unwrap_or(at);
            Err(format!(
                "{what}: {} sectors differ, the first is {first}, at its byte {}: \
                 {:02x?} ours, {:02x?} theirs",
                different.len(),
                byte - at,
                &ours[byte..(byte + 16).min(end)],
                &theirs[byte..(byte + 16).min(end)],
            ))
        }
    }
}
