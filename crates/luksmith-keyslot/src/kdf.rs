//! From a passphrase to the key of a keyslot area.

use alloc::string::ToString;
use core::{num::NonZeroUsize, ops::ControlFlow};

use luksmith_block::Control;
use luksmith_hash::HashName;
pub use luksmith_header::Argon2Variant;
use luksmith_header::{Budget, KdfUser, Quoted, luks2::NewKdf};

use crate::{AreaKey, Error, Passphrase};

pub(crate) mod argon2;

/// Most Argon2 lanes there are (RFC 9106).
const MAX_LANES: u32 = (1 << 24) - 1;

/// Bytes of every salt in a LUKS header.
pub const SALT_BYTES: usize = 32;

/// What one run of Argon2 costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argon2Cost {
    /// How many times the memory is filled ("time cost"), at least 1.
    pub passes: u32,
    /// Memory in KiB, at least 8 for each lane.
    pub memory_kib: u32,
    /// Lanes that can be filled at the same time ("parallelism"), at least 1.
    pub lanes: u32,
}

/// A key derivation with its costs, not its salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kdf {
    /// PBKDF2-HMAC (RFC 8018).
    Pbkdf2 {
        /// The HMAC's hash.
        hash: HashName,
        /// How often it runs for each started digest length of output, at least 1.
        iterations: u32,
    },
    /// Argon2 version 0x13 (RFC 9106), no secret, no associated data.
    Argon2 {
        /// Which one.
        variant: Argon2Variant,
        /// What it costs.
        cost: Argon2Cost,
    },
}

/// How many threads a key derivation may use at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(NonZeroUsize);

impl Threads {
    /// The caller's thread alone.
    pub const ONE: Self = Self(NonZeroUsize::MIN);

    /// At most `count` threads, the caller's included.
    #[must_use]
    pub const fn new(count: NonZeroUsize) -> Self {
        Self(count)
    }

    /// Gives the number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0.get()
    }

    /// How many there may be in this build.
    #[cfg(feature = "std")]
    pub(crate) const fn count(self) -> NonZeroUsize {
        if cfg!(feature = "parallel") {
            self.0
        } else {
            NonZeroUsize::MIN
        }
    }
}

impl Default for Threads {
    /// As many as this machine runs at once; the caller's alone without the feature `parallel`.
    fn default() -> Self {
        #[cfg(feature = "parallel")]
        if let Ok(count) = std::thread::available_parallelism() {
            return Self(count);
        }
        Self::ONE
    }
}

/// What goes through one unlocking or one change: what it may cost, and who can stop it.
#[derive(Debug)]
pub struct Effort<'a> {
    /// What is left of the limits.
    pub budget: &'a mut Budget,
    /// Where the caller cancels.
    pub control: &'a Control,
    /// How many threads may run.
    pub threads: Threads,
}

impl Effort<'_> {
    fn progress(&self) -> impl FnMut(u32, u32) -> ControlFlow<()> + use<'_> {
        |_, _| {
            if self.control.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
}

impl Kdf {
    /// Gives what a LUKS2 header keeps of it.
    #[must_use]
    pub fn with_salt(self, salt: [u8; SALT_BYTES]) -> NewKdf {
        match self {
            Self::Pbkdf2 { hash, iterations } => NewKdf::Pbkdf2 {
                hash: hash.to_string(),
                iterations,
                salt,
            },
            Self::Argon2 { variant, cost } => NewKdf::Argon2 {
                variant,
                passes: cost.passes,
                memory_kib: cost.memory_kib,
                lanes: cost.lanes,
                salt,
            },
        }
    }

    /// Takes the key derivation of a keyslot as a header has it, with its salt.
    ///
    /// # Errors
    /// [`Error::UnknownKdf`], [`Error::Hash`], [`Error::Header`] for a salt that is not 32 bytes.
    pub fn of_header(
        kdf: &luksmith_header::Kdf,
        user: KdfUser,
    ) -> Result<(Self, &[u8; SALT_BYTES]), Error> {
        match kdf {
            luksmith_header::Kdf::Pbkdf2 {
                hash,
                iterations,
                salt,
            } => {
                let kdf = Self::Pbkdf2 {
                    hash: parse_hash(hash, user)?,
                    iterations: *iterations,
                };
                Ok((kdf, salt.salt()?))
            }
            luksmith_header::Kdf::Argon2 {
                variant,
                passes,
                memory_kib,
                lanes,
                salt,
            } => {
                let kdf = Self::Argon2 {
                    variant: *variant,
                    cost: Argon2Cost {
                        passes: *passes,
                        memory_kib: *memory_kib,
                        lanes: *lanes,
                    },
                };
                Ok((kdf, salt.salt()?))
            }
            other => Err(Error::UnknownKdf {
                user,
                name: Quoted::new(other.name()),
            }),
        }
    }

    /// Derives the `key_bytes` bytes of an area key. `user` is who asks, for messages.
    ///
    /// The cost is held against the budget before anything is allocated or run.
    ///
    /// # Errors
    /// [`Error::Header`] for a limit, [`Error::NoIterations`], [`Error::Argon2Cost`],
    /// [`Error::AreaKeyBytes`], [`Error::OutOfMemory`], [`Error::Cancelled`].
    ///
    /// # Format
    /// docs/formats/keyslots.md, "Derived key"; LUKS1 uses the PBKDF2 form.
    pub fn derive(
        self,
        passphrase: &Passphrase,
        salt: &[u8; SALT_BYTES],
        key_bytes: u32,
        user: KdfUser,
        effort: &mut Effort<'_>,
    ) -> Result<AreaKey, Error> {
        effort.control.check().map_err(|_| Error::Cancelled)?;
        self.charge(key_bytes, user, effort.budget)?;
        let mut key = AreaKey::zeroed(to_usize(key_bytes))?;
        match self {
            Self::Pbkdf2 { hash, iterations } => pbkdf2(
                hash,
                passphrase.bytes(),
                salt,
                iterations,
                key.bytes_mut(),
                user,
                effort,
            )?,
            Self::Argon2 { variant, cost } => argon2::derive(
                variant,
                cost,
                passphrase.bytes(),
                salt,
                key.bytes_mut(),
                effort,
            )?,
        }
        Ok(key)
    }

    /// Checks the costs and takes them from the budget.
    fn charge(self, key_bytes: u32, user: KdfUser, budget: &mut Budget) -> Result<(), Error> {
        match self {
            Self::Pbkdf2 { iterations, .. } => {
                if iterations == 0 {
                    return Err(Error::NoIterations { user });
                }
                budget.charge_pbkdf2(user, iterations, key_bytes)?;
            }
            Self::Argon2 { cost, .. } => {
                let Argon2Cost {
                    passes,
                    memory_kib,
                    lanes,
                } = cost;
                let least = lanes.checked_mul(8);
                let is_short = least.is_none_or(|least| memory_kib < least);
                if passes == 0 || lanes == 0 || lanes > MAX_LANES || is_short {
                    return Err(Error::Argon2Cost {
                        user,
                        passes,
                        memory_kib,
                        lanes,
                    });
                }
                budget.check_key_bytes(user, key_bytes)?;
                budget.charge_argon2(user, passes, memory_kib, lanes)?;
            }
        }
        // Argon2 gives at least 4 bytes, and no cipher has so short a key.
        if key_bytes < 4 {
            return Err(Error::AreaKeyBytes {
                user,
                found: key_bytes,
            });
        }
        Ok(())
    }
}

/// Runs PBKDF2; the iterations were charged by the caller.
pub(crate) fn pbkdf2(
    hash: HashName,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
    user: KdfUser,
    effort: &Effort<'_>,
) -> Result<(), Error> {
    let Some(nonzero) = core::num::NonZeroU32::new(iterations) else {
        return Err(Error::NoIterations { user });
    };
    let mut progress = effort.progress();
    match hash {
        HashName::Sha256 => {
            luksmith_simd::pbkdf2_sha256_with(password, salt, iterations, out, &mut progress)
                .map_err(|_| Error::Cancelled)
        }
        HashName::Sha512 => {
            luksmith_simd::pbkdf2_sha512_with(password, salt, iterations, out, &mut progress)
                .map_err(|_| Error::Cancelled)
        }
        _ => luksmith_hash::pbkdf2(hash, password, salt, nonzero, out)
            .map_err(|source| Error::Hash { user, source }),
    }
}

/// Finds the hash that `user` names.
pub(crate) fn parse_hash(name: &str, user: KdfUser) -> Result<HashName, Error> {
    HashName::parse(name).map_err(|source| Error::Hash { user, source })
}

/// Every supported target addresses at least 32 bits.
pub(crate) fn to_usize(value: u32) -> usize {
    usize::try_from(value).expect("targets with fewer than 32 bits are not supported")
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use luksmith_header::Limits;

    use super::*;

    const SALT: &[u8; 32] = b"0123456789abcdef0123456789ABCDEF";

    fn derive(kdf: Kdf, key_bytes: u32, limits: Limits) -> Result<Vec<u8>, Error> {
        let mut budget = Budget::new(limits);
        let control = Control::new();
        let mut effort = Effort {
            budget: &mut budget,
            control: &control,
            threads: Threads::default(),
        };
        let passphrase = Passphrase::new(b"correct horse")?;
        let key = kdf.derive(
            &passphrase,
            SALT,
            key_bytes,
            KdfUser::Keyslot(3),
            &mut effort,
        )?;
        Ok(key.bytes().to_vec())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .map(|byte| std::format!("{byte:02x}"))
            .collect()
    }

    fn argon2(variant: Argon2Variant, passes: u32, memory_kib: u32, lanes: u32) -> Kdf {
        Kdf::Argon2 {
            variant,
            cost: Argon2Cost {
                passes,
                memory_kib,
                lanes,
            },
        }
    }

    #[test]
    fn argon2_gives_the_keys_of_the_reference_program() {
        let mut seen = 0;
        for line in include_str!("../../../testvectors/kdf/argon2.txt").lines() {
            if line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split(' ').collect();
            let variant = match fields[0] {
                "i" => Argon2Variant::I,
                "id" => Argon2Variant::Id,
                other => panic!("{other} is no variant"),
            };
            let number = |at: usize| fields[at].parse().unwrap();
            let kdf = argon2(variant, number(1), number(2), number(3));
            let key = derive(kdf, 64, Limits::default()).unwrap();
            assert_eq!(hex(&key), fields[4], "{line}");
            seen += 1;
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn pbkdf2_goes_the_same_way_through_either_core() {
        for hash in [HashName::Sha1, HashName::Sha256, HashName::Sha512] {
            for key_bytes in [16, 32, 64, 96] {
                let kdf = Kdf::Pbkdf2 {
                    hash,
                    iterations: 1000,
                };
                let mut expected = std::vec![0; to_usize(key_bytes)];
                luksmith_hash::pbkdf2(
                    hash,
                    b"correct horse",
                    SALT,
                    1000.try_into().unwrap(),
                    &mut expected,
                )
                .unwrap();
                assert_eq!(derive(kdf, key_bytes, Limits::default()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn costs_are_refused_before_anything_runs() {
        let user = KdfUser::Keyslot(3);
        let none = Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: 0,
        };
        assert_eq!(
            derive(none, 32, Limits::default()),
            Err(Error::NoIterations { user })
        );
        // Minus four, as a header may hold it: hours of work if it were run.
        let many = Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: u32::MAX - 3,
        };
        assert_eq!(
            derive(many, 32, Limits::default()),
            Err(Error::Header {
                source: luksmith_header::Error::Pbkdf2Iterations {
                    user,
                    requested: u64::from(u32::MAX - 3),
                    spent: 0,
                    limit: 50_000_000
                }
            })
        );
        let huge = argon2(Argon2Variant::Id, 1, u32::MAX, 1);
        assert!(matches!(
            derive(huge, 32, Limits::default()),
            Err(Error::Header {
                source: luksmith_header::Error::Argon2Memory { .. }
            })
        ));
        for (passes, memory_kib, lanes) in [(0, 32, 1), (1, 7, 1), (1, 32, 0), (1, 31, 4)] {
            assert_eq!(
                derive(
                    argon2(Argon2Variant::I, passes, memory_kib, lanes),
                    32,
                    Limits::default()
                ),
                Err(Error::Argon2Cost {
                    user,
                    passes,
                    memory_kib,
                    lanes
                })
            );
        }
        for found in [0, 3] {
            assert_eq!(
                derive(argon2(Argon2Variant::Id, 1, 8, 1), found, Limits::default()),
                Err(Error::AreaKeyBytes { user, found })
            );
        }
        assert!(derive(argon2(Argon2Variant::Id, 1, 8, 1), 4097, Limits::default()).is_err());
    }

    #[test]
    fn a_cancelled_derivation_gives_no_key() {
        let mut budget = Budget::new(Limits::default());
        let control = Control::new();
        control.cancel();
        let mut effort = Effort {
            budget: &mut budget,
            control: &control,
            threads: Threads::ONE,
        };
        let kdf = Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: 1,
        };
        let passphrase = Passphrase::new(b"p").unwrap();
        let key = kdf.derive(&passphrase, SALT, 32, KdfUser::Keyslot(0), &mut effort);
        assert_eq!(key.unwrap_err(), Error::Cancelled);
    }
}
