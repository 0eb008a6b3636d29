//! What a new keyslot's key derivation should cost.
//!
//! Costs are found by measuring processor time, never wall time, and the least of several times: on
//! a busy machine they come out as on an idle one, not weaker. The scale is cryptsetup's, so that a
//! target of 2000 ms means about the same work here and there: PBKDF2 is measured with one plain
//! stream, as crypto libraries run it, although unlocking runs several side by side and is faster;
//! Argon2 is measured lane by lane, its time is divided by the lanes that run at once, and by how
//! much faster this machine's kernel is than the library of other programs.

#[cfg(feature = "std")]
mod measure;

#[cfg(feature = "std")]
pub use measure::{
    DEFAULT_ARGON2_MEMORY_KIB, DEFAULT_TARGET, DIGEST_TARGET, Method, measure, measure_digest,
};

use crate::{Error, Kdf, kdf::Argon2Cost};

/// Fewest PBKDF2 iterations of a new keyslot or digest.
pub const MIN_PBKDF2_ITERATIONS: u32 = 1000;
/// Fewest Argon2 passes of a new keyslot.
pub const MIN_ARGON2_PASSES: u32 = 4;
/// Least Argon2 memory of a new keyslot, in KiB.
pub const MIN_ARGON2_MEMORY_KIB: u32 = 32;
/// Most Argon2 memory of a new keyslot, in KiB.
pub const MAX_ARGON2_MEMORY_KIB: u32 = 4 * 1024 * 1024;
/// Most Argon2 lanes of a new keyslot.
pub const MAX_ARGON2_LANES: u32 = 4;

/// Checks costs that a caller has chosen for a new keyslot.
///
/// Limits for creation are narrower than for reading: what is too weak or too costly to be meant is
/// refused.
///
/// # Errors
/// [`Error::CostRange`] names the value and its range.
pub fn check_forced(kdf: Kdf) -> Result<Kdf, Error> {
    match kdf {
        Kdf::Pbkdf2 { iterations, .. } => in_range(
            "PBKDF2 iterations",
            iterations,
            MIN_PBKDF2_ITERATIONS,
            u32::MAX,
        )?,
        Kdf::Argon2 { cost, .. } => {
            let Argon2Cost {
                passes,
                memory_kib,
                lanes,
            } = cost;
            in_range("Argon2 passes", passes, MIN_ARGON2_PASSES, u32::MAX)?;
            in_range("Argon2 lanes", lanes, 1, MAX_ARGON2_LANES)?;
            in_range(
                "Argon2 memory in KiB",
                memory_kib,
                MIN_ARGON2_MEMORY_KIB.max(lanes.saturating_mul(8)),
                MAX_ARGON2_MEMORY_KIB,
            )?;
        }
    }
    Ok(kdf)
}

/// Checks the iterations that a caller has chosen for a new digest.
///
/// # Errors
/// [`Error::CostRange`].
pub fn check_digest(iterations: u32) -> Result<(), Error> {
    in_range(
        "PBKDF2 iterations of a digest",
        iterations,
        MIN_PBKDF2_ITERATIONS,
        u32::MAX,
    )
}

fn in_range(what: &'static str, found: u32, min: u32, max: u32) -> Result<(), Error> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::CostRange {
        what,
        found,
        min,
        max,
    })
}

#[cfg(test)]
mod tests {
    use luksmith_hash::HashName;
    use luksmith_header::Argon2Variant;

    use super::*;

    fn cost(passes: u32, memory_kib: u32, lanes: u32) -> Kdf {
        Kdf::Argon2 {
            variant: Argon2Variant::Id,
            cost: Argon2Cost {
                passes,
                memory_kib,
                lanes,
            },
        }
    }

    #[test]
    fn forced_costs_outside_the_limits_of_creation_are_refused_by_name() {
        let weak = Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: 999,
        };
        assert_eq!(
            check_forced(weak),
            Err(Error::CostRange {
                what: "PBKDF2 iterations",
                found: 999,
                min: 1000,
                max: u32::MAX
            })
        );
        let least = Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: 1000,
        };
        assert_eq!(check_forced(least), Ok(least));
        for (kdf, what) in [
            (cost(3, 65536, 4), "Argon2 passes"),
            (cost(4, 31, 1), "Argon2 memory in KiB"),
            (cost(4, 4 * 1024 * 1024 + 1, 1), "Argon2 memory in KiB"),
            (cost(4, 65536, 0), "Argon2 lanes"),
            (cost(4, 65536, 5), "Argon2 lanes"),
        ] {
            match check_forced(kdf) {
                Err(Error::CostRange { what: found, .. }) => assert_eq!(found, what),
                other => panic!("{kdf:?}: {other:?}"),
            }
        }
        assert!(check_forced(cost(4, 32, 4)).is_ok());
    }
}
