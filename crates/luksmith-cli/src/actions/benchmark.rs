//! `benchmark`: what this machine does, and with which instructions.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use clap::Args;
use luksmith::{
    block::{Control, SectorNumber, SectorSize},
    crypt::{AeadCipher, AuthSpec, CipherSpec, Integrity, SectorCipher, SystemRandom},
    hash::HashName,
    header::{Budget, KdfUser, Limits},
    keyslot::{
        Effort, Kdf, Passphrase, Threads,
        cost::{self, Method},
    },
    simd::{Aegis128, Backend, GcmKey, HashBackend},
};

mod volumes;

use crate::{
    context::{Context, print},
    failure::{Failure, Kind},
};

/// Bytes that go through a cipher in one call: a request of a program that reads ahead.
const REQUEST: usize = 1 << 20;

/// How long a cipher is measured in each direction.
const CIPHER_TIME: Duration = Duration::from_millis(150);

/// The shortest time from which a rate is taken.
const SLICE: Duration = Duration::from_millis(3);

/// The same of PBKDF2, and how many there are.
const PBKDF2_SLICE: Duration = Duration::from_millis(10);
const PBKDF2_SLICES: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct Benchmark {
    /// Measures only this cipher, as `aes-xts-plain64`
    #[arg(short, long, value_name = "CIPHER", group = "what")]
    cipher: Option<String>,

    /// Key size of the cipher in bits
    #[arg(
        short = 's',
        long,
        value_name = "BITS",
        default_value_t = 256,
        requires = "cipher"
    )]
    key_size: usize,

    /// Measures only PBKDF2 with this hash
    #[arg(short = 'h', long, value_name = "HASH", group = "what")]
    hash: Option<String>,

    /// Time that a new keyslot's Argon2 may take
    #[arg(short, long, value_name = "MILLISECONDS", default_value_t = 2000)]
    iter_time: u64,
}

impl Benchmark {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        if let Some(name) = &self.hash {
            let hash = HashName::parse(name)
                .map_err(|error| Failure::caller(format!("--hash {name}: {error}")))?;
            return pbkdf2(hash);
        }
        if let Some(cipher) = &self.cipher {
            return plain(cipher, self.key_size).map(drop);
        }
        print("# In memory, without any device.\n")?;
        for name in ["sha1", "sha256", "sha512", "ripemd160", "whirlpool"] {
            if let Ok(hash) = HashName::parse(name) {
                pbkdf2(hash)?;
            }
        }
        self.argon2()?;
        print(&format!(
            "# Ciphers on one core, requests of 1 MiB, sectors of 4096 bytes; AES-XTS with {}, \
             AES-GCM with {}, AEGIS with {}, SHA-2 with {}.\n",
            Backend::best(),
            gcm_backend(),
            Aegis128::new([0; 16]).backend(),
            HashBackend::best()
        ))?;
        context.debug(|| {
            let names: Vec<_> = Backend::available().map(Backend::name).collect();
            format!("AES on this machine: {}", names.join(", "))
        });
        let mut measured = Vec::new();
        print(&format!(
            "#{:>31} | {:>8} | {:>16} | {:>16} | {}\n",
            "Cipher", "Key", "Encryption", "Decryption", "Of what its AES rounds allow"
        ))?;
        for (cipher, key_bits) in [
            ("aes-xts-plain64", 256),
            ("aes-xts-plain64", 512),
            ("aes-cbc-essiv:sha256", 256),
            ("serpent-xts-plain64", 512),
            ("twofish-xts-plain64", 512),
            ("camellia-xts-plain64", 512),
            ("xchacha12,aes-adiantum-plain64", 256),
        ] {
            measured.push((cipher, plain(cipher, key_bits)?));
        }
        for (cipher, integrity, key_bits) in [
            ("aes-xts-plain64", "hmac(sha256)", 768),
            ("aes-xts-plain64", "hmac(sha512)", 1024),
            ("aes-gcm-random", "aead", 256),
            ("chacha20-random", "poly1305", 256),
            ("aegis128-random", "aead", 128),
        ] {
            measured.push((integrity, authenticated(cipher, integrity, key_bits)?));
        }
        let of = |name| {
            let found = measured.iter().find(|(cipher, _)| *cipher == name);
            found.map(|(_, rates)| *rates)
        };
        volumes::run(of("aes-xts-plain64"), of("hmac(sha256)"))
    }

    fn argon2(&self) -> Result<(), Failure> {
        let target = Duration::from_millis(self.iter_time);
        let kdf = cost::measure(Method::default(), 32, target, &Control::new())?;
        let Kdf::Argon2 { cost, .. } = kdf else {
            return Ok(());
        };
        let started = Instant::now();
        derive(kdf)?;
        print(&format!(
            "argon2id         {} passes, {} KiB, {} lanes for a new keyslot ({} ms asked for); \
             deriving took {} ms here\n",
            cost.passes,
            cost.memory_kib,
            cost.lanes,
            self.iter_time,
            started.elapsed().as_millis()
        ))
    }
}

/// What serves AES-GCM: without a kernel of our own, `portable`, which takes the instructions that
/// the `aes-gcm` crate knows.
fn gcm_backend() -> Backend {
    GcmKey::new(&[0; 32]).map_or(Backend::Portable, |key| key.backend())
}

fn pbkdf2(hash: HashName) -> Result<(), Failure> {
    let mut iterations = 1000;
    let once = |iterations| -> Result<Duration, Failure> {
        let started = Instant::now();
        derive(Kdf::Pbkdf2 { hash, iterations })?;
        Ok(started.elapsed())
    };
    let mut best = once(iterations)?;
    while best < PBKDF2_SLICE {
        iterations = iterations.saturating_mul(2);
        best = once(iterations)?;
    }
    // A slice that nothing else on the machine falls into tells most.
    for _ in 0..PBKDF2_SLICES {
        best = best.min(once(iterations)?);
    }
    let rate = u128::from(iterations) * 1_000_000 / best.as_micros().max(1);
    let name = format!("PBKDF2-{hash}");
    print(&format!(
        "{name:<16} {rate} iterations per second for a 256-bit key\n"
    ))
}

fn derive(kdf: Kdf) -> Result<(), Failure> {
    let mut limits = Limits::default();
    limits.argon2_memory_kib = u32::MAX;
    limits.argon2_work_kib = u64::MAX;
    limits.pbkdf2_iterations = u64::MAX;
    let mut effort = Effort {
        budget: &mut Budget::new(limits),
        control: &Control::new(),
        threads: Threads::default(),
    };
    let passphrase = Passphrase::new(b"benchmark")?;
    let key = kdf.derive(&passphrase, &[0; 32], 32, KdfUser::Keyslot(0), &mut effort)?;
    black_box(key);
    Ok(())
}

/// Bytes per second of each direction.
#[derive(Clone, Copy)]
struct Rates {
    encryption: f64,
    decryption: f64,
}

fn plain(text: &str, key_bits: usize) -> Result<Rates, Failure> {
    let make = || {
        let spec = CipherSpec::parse(text)?;
        SectorCipher::new(&spec, &key(key_bits), SectorSize::S4096)
    };
    let cipher = make().map_err(|error| cipher_failure(text, &error))?;
    let mut data = vec![0; REQUEST];
    let mut failed = None;
    let mut note =
        |result: Result<(), luksmith::crypt::Error>| failed = failed.take().or(result.err());
    let encryption = rate(|| note(cipher.encrypt_in_place(SectorNumber::ZERO, &mut data)));
    let decryption = rate(|| note(cipher.decrypt_in_place(SectorNumber::ZERO, &mut data)));
    match failed {
        Some(error) => Err(cipher_failure(text, &error)),
        None => line(
            text,
            key_bits,
            Rates {
                encryption,
                decryption,
            },
            aes_limit(text, key_bits),
        ),
    }
}

/// What the machine's rate of AES rounds allows, measured on the spot: bytes per second and the
/// backend that serves the cipher. `None` for ciphers that have other limits, and where the backend
/// is the portable one.
fn aes_limit(cipher: &str, key_bits: usize) -> Option<(f64, Backend)> {
    let (backend, aes_bits) = match cipher.split('-').take(2).collect::<Vec<_>>()[..] {
        ["aes", "xts"] => (Backend::best(), key_bits / 2),
        ["aes", "gcm"] => (gcm_backend(), key_bits),
        _ => return None,
    };
    let rounds = match aes_bits {
        128 => 10.0,
        192 => 12.0,
        _ => 14.0,
    };
    let blocks = REQUEST / 16;
    if !backend.aes_rounds(blocks) {
        return None;
    }
    let one_round = rate(|| {
        black_box(backend.aes_rounds(blocks));
    });
    // Each sector has a block more: its tweak, or what masks its tag.
    Some((one_round / (rounds * (1.0 + 1.0 / 256.0)), backend))
}

fn authenticated(text: &str, integrity: &str, key_bits: usize) -> Result<Rates, Failure> {
    let name = format!("{text} + {integrity}");
    let fail = |error: luksmith::crypt::Error| cipher_failure(&name, &error);
    let spec = CipherSpec::parse(text).map_err(fail)?;
    let integrity_is_of_the_cipher = integrity == "aead";
    let integrity = Integrity::parse(integrity).map_err(fail)?;
    let spec = AuthSpec::new(spec, integrity, None).map_err(fail)?;
    let cipher = AeadCipher::new(&spec, &key(key_bits), SectorSize::S4096).map_err(fail)?;
    let sectors = REQUEST / SectorSize::S4096.bytes();
    let (data, mut sealed) = (vec![0; REQUEST], vec![0; REQUEST]);
    let mut tuples = vec![0; sectors * cipher.tuple_bytes()];
    let mut failed = None;
    let first = SectorNumber::ZERO;
    let encryption = rate(|| {
        let ivs = cipher.draw_ivs(sectors, &SystemRandom);
        let result = ivs.and_then(|ivs| cipher.seal(first, &data, &ivs, &mut sealed, &mut tuples));
        failed = failed.take().or(result.err());
    });
    if let Some(error) = failed {
        return Err(fail(error));
    }
    // Opening replaces the ciphertext, so each round opens a fresh copy; the copy's time is taken
    // off.
    let mut opened = vec![0; REQUEST];
    let mut wrong = None;
    let copy = rate(|| black_box(&mut opened).copy_from_slice(&sealed));
    let both = rate(|| {
        opened.copy_from_slice(&sealed);
        wrong = wrong
            .take()
            .or(cipher.open_in_place(first, &mut opened, &tuples).err());
    });
    if let Some(error) = wrong {
        return Err(error.into());
    }
    let decryption = 1.0 / (1.0 / both - 1.0 / copy).max(f64::MIN_POSITIVE);
    let rates = Rates {
        encryption,
        decryption,
    };
    // What is tagged by a hash waits for that, not for AES.
    let limit = aes_limit(text, key_bits).filter(|_| integrity_is_of_the_cipher);
    line(&name, key_bits, rates, limit)
}

/// Gives the bytes per second of a call that handles `REQUEST` bytes.
///
/// The best of short slices: what another process takes of the CPU hits some of them, not all.
fn rate(mut call: impl FnMut()) -> f64 {
    call();
    let started = Instant::now();
    let mut best = 0.0_f64;
    while started.elapsed() < CIPHER_TIME {
        let slice = Instant::now();
        let mut bytes = 0.0;
        while slice.elapsed() < SLICE {
            call();
            bytes += 1_048_576.0;
        }
        best = best.max(bytes / slice.elapsed().as_secs_f64());
    }
    best
}

/// A key for measurements; its halves differ, as XTS demands.
fn key(bits: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(bits / 8).collect()
}

/// Shows one cipher, with the shares of its limit.
fn line(
    name: &str,
    key_bits: usize,
    rates: Rates,
    limit: Option<(f64, Backend)>,
) -> Result<Rates, Failure> {
    let shares = limit.map_or(String::new(), |(limit, backend)| {
        let share = |rate| rate / limit * 100.0;
        let [encryption, decryption] = [rates.encryption, rates.decryption].map(share);
        format!(" | {encryption:.0} % and {decryption:.0} % with {backend}")
    });
    print(&format!(
        "{name:>32} | {key_bits:>7}b | {:>10.1} MiB/s | {:>10.1} MiB/s{shares}\n",
        mib(rates.encryption),
        mib(rates.decryption)
    ))?;
    Ok(rates)
}

fn mib(rate: f64) -> f64 {
    rate / 1_048_576.0
}

fn cipher_failure(text: &str, error: &luksmith::crypt::Error) -> Failure {
    Failure::new(Kind::UNSUPPORTED, format!("{text}: {error}"))
}
