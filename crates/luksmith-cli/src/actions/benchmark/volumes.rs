//! Whole volumes in memory, beside what their parts allow.

use std::{sync::Arc, time::Instant};

use luksmith::{
    FormatOptions, HeaderPlace, KdfChoice, NewKeys, Volume, WorkerPool,
    block::{BlockDevice, ByteLen, ByteOffset, Error, MemDevice, SectorSize, Splitter},
};

use super::{REQUEST, Rates, mib, rate};
use crate::{
    context::print,
    failure::{Failure, Kind},
};

/// Bytes of a device: more than the caches of most machines.
const DEVICE: u64 = 96 << 20;

/// Measures volumes with the kinds of encryption whose rates are given.
pub(super) fn run(plain: Option<Rates>, tagged: Option<Rates>) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    print(&format!(
        "# Volumes in memory, requests of 1 MiB, one thread and {threads}; the limit is cipher and \
         one copy, one after the other, on one core.\n"
    ))?;
    print(&format!(
        "#{:>31} | {:>7} | {:>12} | {:>12} | {:>12} | {:>7}\n",
        "Volume", "Request", "One thread", "All threads", "Limit", "Reached"
    ))?;
    let raw = device()?;
    let copy = Rates {
        encryption: measured(|at, data| raw.write_at(at, data))?,
        decryption: measured(|at, data| raw.read_at(at, data))?,
    };
    drop(raw);
    let pool = Arc::new(WorkerPool::new(threads));
    let splitter = Splitter::new(pool, 0);
    let kinds = [
        ("aes-xts-plain64", None, true, plain),
        (
            "hmac(sha256), no journal",
            Some("hmac(sha256)"),
            true,
            tagged,
        ),
        ("hmac(sha256), journal", Some("hmac(sha256)"), false, tagged),
    ];
    for (name, integrity, direct, cipher) in kinds {
        let Some(cipher) = cipher else {
            continue;
        };
        let volume = volume(integrity, direct)?;
        let limit = in_turn(cipher.encryption, copy.encryption);
        if direct {
            let one = measured(|at, data| volume.write_at(at, data))?;
            let all = measured(|at, data| splitter.write_at(&volume, at, data))?;
            row(name, "write", one, all, Some(limit))?;
        } else {
            // Everything is written twice, at times that a short measurement would miss.
            let one = laps(&volume, |at, data| volume.write_at(at, data))?;
            let all = laps(&volume, |at, data| splitter.write_at(&volume, at, data))?;
            row(name, "write", one, all, None)?;
        }
        let one = measured(|at, data| volume.read_at(at, data))?;
        let all = measured(|at, data| splitter.read_at(&volume, at, data))?;
        let limit = in_turn(cipher.decryption, copy.decryption);
        row(name, "read", one, all, Some(limit))?;
        volume.close()?;
    }
    Ok(())
}

/// The rate of two things one after the other.
fn in_turn(cipher: f64, copy: f64) -> f64 {
    1.0 / (1.0 / cipher + 1.0 / copy)
}

fn row(name: &str, request: &str, one: f64, all: f64, limit: Option<f64>) -> Result<(), Failure> {
    let (limit, share) = limit.map_or((String::new(), String::new()), |limit| {
        let share = format!("{:.0} %", one / limit * 100.0);
        (format!("{:.1} MiB/s", mib(limit)), share)
    });
    print(&format!(
        "{name:>32} | {request:>7} | {:>6.0} MiB/s | {:>6.0} MiB/s | {limit:>12} | {share:>7}\n",
        mib(one),
        mib(all)
    ))
}

fn device() -> Result<MemDevice, Failure> {
    let device = MemDevice::new(ByteLen::new(DEVICE), SectorSize::S512);
    Ok(device.map_err(luksmith::Error::from)?)
}

fn volume(integrity: Option<&str>, direct: bool) -> Result<Volume, Failure> {
    let mut options = FormatOptions::luks2()
        .kdf(KdfChoice::HighEntropy)
        .header(HeaderPlace::Memory)
        .sector_size(SectorSize::S4096);
    if let Some(integrity) = integrity {
        options = options.integrity(integrity);
        if direct {
            options = options.without_journal();
        }
    }
    Ok(luksmith::format(device()?, NewKeys::none(), &options)?)
}

/// Gives the bytes per second of writes of 64 MiB with a flush every 8, the best of a few.
fn laps(
    volume: &Volume,
    mut request: impl FnMut(ByteOffset, &mut [u8]) -> Result<(), Error>,
) -> Result<f64, Failure> {
    let mut data = vec![1; REQUEST];
    let mut lap = || {
        for at in 0..64_u64 {
            request(ByteOffset::new(at << 20), &mut data)?;
            if at % 8 == 7 {
                volume.flush()?;
            }
        }
        Ok(())
    };
    let failed = |error: Error| Failure::new(Kind::DEVICE, format!("in memory: {error}"));
    lap().map_err(failed)?;
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let started = Instant::now();
        lap().map_err(failed)?;
        best = best.max(64.0 * 1_048_576.0 / started.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Gives the bytes per second of requests that go round the first 64 MiB.
fn measured(
    mut request: impl FnMut(ByteOffset, &mut [u8]) -> Result<(), Error>,
) -> Result<f64, Failure> {
    let mut data = vec![1; REQUEST];
    let mut failed = None;
    let mut at = (0..64_u64).map(|mib| ByteOffset::new(mib << 20)).cycle();
    let rate = rate(|| {
        let at = at.next().unwrap_or(ByteOffset::ZERO);
        failed = failed.take().or(request(at, &mut data).err());
    });
    match failed {
        None => Ok(rate),
        Some(error) => Err(Failure::new(Kind::DEVICE, format!("in memory: {error}"))),
    }
}
