//! What a header may cost the reader, set by the caller and held for the sum of one open.

use crate::Error;

/// Upper bounds on what reading and unlocking one header may cost.
///
/// Each is checked before anything is allocated or derived. The defaults let through what
/// cryptsetup creates by default on a large machine.
///
/// ```
/// use luksmith_header::Limits;
///
/// let mut limits = Limits::default();
/// limits.argon2_memory_kib = 4 * 1024 * 1024; // cryptsetup's own upper bound
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest LUKS2 header copy that is read, in bytes: binary header and JSON area.
    pub header_bytes: u64,
    /// Most JSON values in one header copy.
    pub json_elements: usize,
    /// Largest Argon2 memory of one keyslot, in KiB.
    pub argon2_memory_kib: u32,
    /// Most Argon2 work in one open, in KiB filled: the sum of time cost times memory.
    pub argon2_work_kib: u64,
    /// Most Argon2 lanes of one keyslot.
    pub argon2_lanes: u32,
    /// Most PBKDF2 iterations in one open, digests included. A keyslot or digest counts its
    /// iterations once for each started 64 bytes of output.
    pub pbkdf2_iterations: u64,
    /// Longest volume key, area key or digest, in bytes. A keyslot area takes 4000 times as much.
    pub key_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 4 * 1024 * 1024,
            json_elements: 65536,
            argon2_memory_kib: 1024 * 1024,
            argon2_work_kib: 64 * 1024 * 1024,
            argon2_lanes: 16,
            pbkdf2_iterations: 50_000_000,
            key_bytes: 4096,
        }
    }
}

/// Who asks for a key derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KdfUser {
    /// The keyslot of this id.
    Keyslot(u32),
    /// The digest of this id.
    Digest(u32),
}

impl core::fmt::Display for KdfUser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Keyslot(id) => write!(f, "keyslot {id}"),
            Self::Digest(id) => write!(f, "digest {id}"),
        }
    }
}

/// What one open has spent of its [`Limits`].
///
/// One of these goes through all keyslots and digests that one open tries: what it sums up never
/// comes down.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    argon2_work_kib: u64,
    pbkdf2_iterations: u64,
}

impl Budget {
    /// Starts with nothing spent.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            argon2_work_kib: 0,
            pbkdf2_iterations: 0,
        }
    }

    /// Forgets what was spent: what follows is another open, or is not for a header to choose.
    pub const fn restart(&mut self) {
        self.argon2_work_kib = 0;
        self.pbkdf2_iterations = 0;
    }

    /// Gives the limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Gives the Argon2 work spent, in KiB filled.
    #[must_use]
    pub const fn argon2_work_kib(&self) -> u64 {
        self.argon2_work_kib
    }

    /// Gives the PBKDF2 iterations spent.
    #[must_use]
    pub const fn pbkdf2_iterations(&self) -> u64 {
        self.pbkdf2_iterations
    }

    /// Charges one Argon2 run; on an error nothing is charged and nothing may be derived.
    ///
    /// `memory_kib` is in KiB, `passes` and `lanes` are plain counts.
    ///
    /// # Errors
    /// [`Error::Argon2Memory`], [`Error::Argon2Lanes`], [`Error::Argon2Work`].
    pub fn charge_argon2(
        &mut self,
        user: KdfUser,
        passes: u32,
        memory_kib: u32,
        lanes: u32,
    ) -> Result<(), Error> {
        if memory_kib > self.limits.argon2_memory_kib {
            return Err(Error::Argon2Memory {
                user,
                requested: memory_kib,
                limit: self.limits.argon2_memory_kib,
            });
        }
        if lanes > self.limits.argon2_lanes {
            return Err(Error::Argon2Lanes {
                user,
                requested: lanes,
                limit: self.limits.argon2_lanes,
            });
        }
        let work = u64::from(passes).saturating_mul(u64::from(memory_kib));
        match self.argon2_work_kib.checked_add(work) {
            Some(sum) if sum <= self.limits.argon2_work_kib => {
                self.argon2_work_kib = sum;
                Ok(())
            }
            _ => Err(Error::Argon2Work {
                user,
                requested: work,
                spent: self.argon2_work_kib,
                limit: self.limits.argon2_work_kib,
            }),
        }
    }

    /// Charges one PBKDF2 run that gives `output_bytes` bytes; on an error nothing is charged and
    /// nothing may be derived.
    ///
    /// # Errors
    /// [`Error::Pbkdf2Iterations`], and [`Error::KeyBytes`] for an output beyond the key limit.
    pub fn charge_pbkdf2(
        &mut self,
        user: KdfUser,
        iterations: u32,
        output_bytes: u32,
    ) -> Result<(), Error> {
        self.check_key_bytes(user, output_bytes)?;
        let blocks = u64::from(output_bytes.div_ceil(64).max(1));
        let work = u64::from(iterations).saturating_mul(blocks);
        match self.pbkdf2_iterations.checked_add(work) {
            Some(sum) if sum <= self.limits.pbkdf2_iterations => {
                self.pbkdf2_iterations = sum;
                Ok(())
            }
            _ => Err(Error::Pbkdf2Iterations {
                user,
                requested: work,
                spent: self.pbkdf2_iterations,
                limit: self.limits.pbkdf2_iterations,
            }),
        }
    }

    /// Checks a key length in bytes before a buffer of that size is made.
    ///
    /// # Errors
    /// [`Error::KeyBytes`].
    pub fn check_key_bytes(&self, user: KdfUser, bytes: u32) -> Result<(), Error> {
        if bytes > self.limits.key_bytes {
            return Err(Error::KeyBytes {
                user,
                requested: bytes,
                limit: self.limits.key_bytes,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_over_all_slots_is_what_counts() {
        let mut budget = Budget::new(Limits {
            pbkdf2_iterations: 1000,
            ..Limits::default()
        });
        assert_eq!(budget.charge_pbkdf2(KdfUser::Keyslot(0), 600, 64), Ok(()));
        assert_eq!(
            budget.charge_pbkdf2(KdfUser::Keyslot(1), 401, 64),
            Err(Error::Pbkdf2Iterations {
                user: KdfUser::Keyslot(1),
                requested: 401,
                spent: 600,
                limit: 1000
            })
        );
        assert_eq!(budget.charge_pbkdf2(KdfUser::Digest(0), 200, 65), Ok(()));
        assert_eq!(budget.pbkdf2_iterations(), 1000);
    }

    #[test]
    fn argon2_is_bounded_in_memory_lanes_and_work() {
        let mut budget = Budget::new(Limits::default());
        let user = KdfUser::Keyslot(3);
        assert_eq!(
            budget.charge_argon2(user, 1, 1024 * 1024 + 1, 1),
            Err(Error::Argon2Memory {
                user,
                requested: 1024 * 1024 + 1,
                limit: 1024 * 1024
            })
        );
        assert_eq!(
            budget.charge_argon2(user, 1, 32, 17),
            Err(Error::Argon2Lanes {
                user,
                requested: 17,
                limit: 16
            })
        );
        assert_eq!(budget.charge_argon2(user, 64, 1024 * 1024, 4), Ok(()));
        assert_eq!(
            budget.charge_argon2(user, u32::MAX, 1, 4),
            Err(Error::Argon2Work {
                user,
                requested: u64::from(u32::MAX),
                spent: 64 * 1024 * 1024,
                limit: 64 * 1024 * 1024
            })
        );
    }
}
