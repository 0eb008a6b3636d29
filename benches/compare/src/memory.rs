//! What memory a contender finds that asks for much of it.

use std::fmt;

use luksmith_sys::Arena;

/// Where the memory is when a contender asks for it. In a virtual machine it makes more difference
/// than most else: a huge page that the host has yet to give takes 3 to 6 ms, one that it has given
/// 0.1 ms, and the host takes back what is free for long.
#[derive(Clone, Copy, PartialEq)]
pub enum Memory {
    /// In whatever state the contender before left it.
    AsFound,
    /// The system has it at hand, in huge pages for those who ask for such.
    AtHand,
}

impl Memory {
    pub const BOTH: [Self; 2] = [Self::AsFound, Self::AtHand];

    /// Makes it so for the contender that comes next, which uses `bytes`.
    pub fn prepare(self, bytes: usize) {
        if self == Self::AtHand {
            // Half as much again for what other programs take meanwhile.
            let mut arena = Arena::new(bytes / 2 * 3).expect("memory");
            arena.words_mut().fill(1);
        }
    }
}

/// What the name of a case says of it.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsFound => "",
            Self::AtHand => "/memory-at-hand",
        })
    }
}
