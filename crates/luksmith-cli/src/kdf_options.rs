//! Options that say what a new keyslot costs to open.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, ValueEnum};
use luksmith::{
    KdfChoice,
    block::Control,
    hash::HashName,
    header::Header,
    keyslot::{
        Argon2Cost, Argon2Variant, Kdf,
        change::KeyslotPlan,
        cost::{self, Method},
    },
};

use crate::{context::Context, failure::Failure};

/// Bytes of a keyslot area's key unless something else is said.
const AREA_KEY_BYTES: u32 = 64;

/// How a new keyslot is made.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "New keyslot")]
pub(crate) struct KdfArgs {
    /// Key derivation [default: argon2id for LUKS2, pbkdf2 for LUKS1]
    #[arg(long, value_enum)]
    pub(crate) pbkdf: Option<Pbkdf>,

    /// Iterations (PBKDF2) or passes (Argon2), without measuring
    #[arg(long, value_name = "N", conflicts_with = "iter_time")]
    pub(crate) pbkdf_force_iterations: Option<u32>,

    /// Most memory of Argon2 in KiB [default: 1048576]
    #[arg(long, value_name = "KIB")]
    pub(crate) pbkdf_memory: Option<u32>,

    /// Lanes of Argon2 [default: as many as processors, 4 at most]
    #[arg(long, value_name = "N")]
    pub(crate) pbkdf_parallel: Option<NonZeroU32>,

    /// Milliseconds that opening the keyslot may take [default: 2000]
    #[arg(short, long, value_name = "MS")]
    pub(crate) iter_time: Option<u64>,

    /// Hash of PBKDF2 and of the key's stripes [default: sha256; LUKS1: the header's]
    #[arg(short = 'h', long, value_name = "HASH")]
    pub(crate) hash: Option<String>,

    /// Cipher of the keyslot area [default: the volume's, or aes-xts-plain64]
    #[arg(long, value_name = "CIPHER")]
    pub(crate) keyslot_cipher: Option<String>,

    /// Key size of that cipher in bits [default: 512]
    #[arg(long, value_name = "BITS", requires = "keyslot_cipher")]
    pub(crate) keyslot_key_size: Option<u32>,
}

/// A key derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pbkdf {
    /// PBKDF2
    Pbkdf2,
    /// Argon2i
    Argon2i,
    /// Argon2id
    Argon2id,
}

impl KdfArgs {
    /// Plans a keyslot in `header`, measuring this machine unless costs are forced.
    pub(crate) fn plan(&self, header: &Header, context: &Context) -> Result<KeyslotPlan, Failure> {
        let (default_pbkdf, default_hash) = match header {
            Header::Luks1(header) => (Pbkdf::Pbkdf2, header.hash()),
            _ => (Pbkdf::Argon2id, HashName::Sha256),
        };
        if matches!(header, Header::Luks1(_)) && self.hash.is_some() {
            return Err(Failure::caller(
                "--hash: all keyslots of a LUKS1 volume use the hash of its header",
            ));
        }
        let hash = self.hash_or(default_hash)?;
        let pbkdf = self.pbkdf.unwrap_or(default_pbkdf);
        let choice = self.choice(pbkdf, hash, context)?;
        // Before costs are measured, which takes time.
        let area = self.area_cipher()?;
        let kdf = match choice {
            KdfChoice::Measured(method, target) => {
                cost::measure(method, AREA_KEY_BYTES, target, &Control::new())?
            }
            KdfChoice::Stated(kdf) | KdfChoice::Exactly(kdf) => kdf,
            KdfChoice::HighEntropy => Kdf::Pbkdf2 {
                hash,
                iterations: cost::MIN_PBKDF2_ITERATIONS,
            },
        };
        context.debug(|| format!("new keyslot: {kdf:?}"));
        let mut plan = KeyslotPlan::new(kdf).af_hash(hash);
        if let Some((cipher, key_bytes)) = area {
            plan = plan.cipher(cipher, key_bytes);
        }
        Ok(plan)
    }

    /// Names an option that only says what a key derivation costs, if one is given.
    pub(crate) fn costs_given(&self) -> Option<&'static str> {
        let given = [
            (
                "--pbkdf-force-iterations",
                self.pbkdf_force_iterations.is_some(),
            ),
            ("--pbkdf-memory", self.pbkdf_memory.is_some()),
            ("--pbkdf-parallel", self.pbkdf_parallel.is_some()),
            ("--iter-time", self.iter_time.is_some()),
        ];
        given
            .into_iter()
            .find_map(|(name, given)| given.then_some(name))
    }

    /// Gives the hash asked for.
    pub(crate) fn hash_or(&self, default: HashName) -> Result<HashName, Failure> {
        match &self.hash {
            None => Ok(default),
            Some(name) => HashName::parse(name)
                .map_err(|error| Failure::caller(format!("--hash {name}: {error}"))),
        }
    }

    /// Gives the cipher of the keyslot area and its key length in bytes, if they are chosen.
    pub(crate) fn area_cipher(&self) -> Result<Option<(&str, u32)>, Failure> {
        let Some(cipher) = &self.keyslot_cipher else {
            return Ok(None);
        };
        let bits = self.keyslot_key_size.unwrap_or(AREA_KEY_BYTES * 8);
        if bits == 0 || !bits.is_multiple_of(8) {
            return Err(Failure::caller(format!(
                "--keyslot-key-size {bits} is no whole number of bytes"
            )));
        }
        Ok(Some((cipher, bits / 8)))
    }

    /// Gives how the key derivation is chosen: measured or forced.
    pub(crate) fn choice(
        &self,
        pbkdf: Pbkdf,
        hash: HashName,
        context: &Context,
    ) -> Result<KdfChoice, Failure> {
        let memory_kib = self.pbkdf_memory.unwrap_or(cost::DEFAULT_ARGON2_MEMORY_KIB);
        let argon2 = |variant| Method::Argon2 {
            variant,
            max_memory_kib: memory_kib,
            lanes: self.pbkdf_parallel,
        };
        let method = match pbkdf {
            Pbkdf::Pbkdf2 => Method::Pbkdf2 { hash },
            Pbkdf::Argon2i => argon2(Argon2Variant::I),
            Pbkdf::Argon2id => argon2(Argon2Variant::Id),
        };
        if pbkdf == Pbkdf::Pbkdf2 && (self.pbkdf_memory.is_some() || self.pbkdf_parallel.is_some())
        {
            return Err(Failure::caller(
                "--pbkdf-memory and --pbkdf-parallel are for Argon2, not for PBKDF2",
            ));
        }
        let target = self
            .iter_time
            .map_or(cost::DEFAULT_TARGET, Duration::from_millis);
        let choice = match self.pbkdf_force_iterations {
            Some(forced) => KdfChoice::Stated(cost::check_forced(forced_kdf(method, forced))?),
            None => KdfChoice::Measured(method, target),
        };
        context.debug(|| format!("key derivation: {choice:?}"));
        Ok(choice)
    }
}

fn forced_kdf(method: Method, forced: u32) -> Kdf {
    match method {
        Method::Argon2 {
            variant,
            max_memory_kib,
            lanes,
        } => {
            let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
            let processors = u32::try_from(processors).unwrap_or(1);
            let lanes = lanes.map_or(processors.min(cost::MAX_ARGON2_LANES), NonZeroU32::get);
            Kdf::Argon2 {
                variant,
                cost: Argon2Cost {
                    passes: forced,
                    memory_kib: max_memory_kib,
                    lanes,
                },
            }
        }
        Method::Pbkdf2 { hash } => Kdf::Pbkdf2 {
            hash,
            iterations: forced,
        },
        _ => Kdf::Pbkdf2 {
            hash: HashName::Sha256,
            iterations: forced,
        },
    }
}
