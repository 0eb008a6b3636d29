//! Random operations on a device, against the same operations on plain bytes.

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};

use crate::Prng;

/// What a device should hold, and a source of operations to find out whether it does.
///
/// ```
/// use luksmith_block::{MemDevice, SectorSize};
/// use luksmith_testkit::{Model, Prng};
///
/// let device = MemDevice::from_bytes(&[0; 65536], SectorSize::S512);
/// let mut model = Model::of(&device);
/// let mut prng = Prng::new(1);
/// for _ in 0..100 {
///     model.step(&device, &mut prng);
/// }
/// model.check(&device);
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    bytes: Vec<u8>,
    /// Requests are at most this long.
    max_request: usize,
}

impl Model {
    /// Starts from what the device holds now.
    ///
    /// # Panics
    /// If the device cannot be read or does not fit memory.
    #[must_use]
    pub fn of(device: &dyn BlockDevice) -> Self {
        let size = device.size().to_usize().expect("a device that fits memory");
        let mut bytes = vec![0; size];
        device
            .read_at(ByteOffset::ZERO, &mut bytes)
            .expect("a readable device");
        Self {
            bytes,
            max_request: 256 * 1024,
        }
    }

    /// Keeps requests to `bytes` at most.
    #[must_use]
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.max_request = bytes;
        self
    }

    /// Gives what the device should hold.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Does one random operation on the device and here, and compares.
    ///
    /// # Panics
    /// If the device fails or answers other bytes than were written.
    pub fn step(&mut self, device: &dyn BlockDevice, prng: &mut Prng) {
        let (at, len) = self.choose(device, prng);
        let offset = ByteOffset::new(at as u64);
        let range = at..at + len;
        match prng.below(16) {
            0..6 => {
                let mut buf = prng.bytes(len);
                device.read_at(offset, &mut buf).expect("a read");
                self.compare(at, &buf);
            }
            6..13 => {
                let data = prng.bytes(len);
                device.write_at(offset, &data).expect("a write");
                self.bytes[range].copy_from_slice(&data);
            }
            13 => {
                let len = ByteLen::new(len as u64);
                device.write_zeroes(offset, len).expect("zeroing");
                self.bytes[range].fill(0);
            }
            14 if device.capabilities().discard => {
                let bytes = ByteLen::new(len as u64);
                device.discard(offset, bytes).expect("a discard");
                if device.capabilities().zeroes_after_discard {
                    self.bytes[range].fill(0);
                } else {
                    let now = &mut self.bytes[range];
                    device.read_at(offset, now).expect("a read after a discard");
                }
            }
            _ => device.flush().expect("a flush"),
        }
    }

    /// Compares everything.
    ///
    /// # Panics
    /// If the device fails or holds other bytes.
    pub fn check(&self, device: &dyn BlockDevice) {
        assert_eq!(device.size(), ByteLen::of(&self.bytes), "size");
        let mut buf = vec![0; self.max_request.max(4096)];
        let step = buf.len();
        for at in (0..self.bytes.len()).step_by(step) {
            let len = step.min(self.bytes.len() - at);
            let part = &mut buf[..len];
            device
                .read_at(ByteOffset::new(at as u64), part)
                .expect("a read");
            self.compare(at, part);
        }
    }

    fn compare(&self, at: usize, found: &[u8]) {
        let expected = &self.bytes[at..at + found.len()];
        if let Some(first) = expected.iter().zip(found).position(|(a, b)| a != b) {
            panic!(
                "byte {} (request of {} at {at}): expected {:#04x}, found {:#04x}",
                at + first,
                found.len(),
                expected[first],
                found[first]
            );
        }
    }

    /// Chooses whole sectors: mostly few, sometimes many, often at the ends of the device.
    fn choose(&self, device: &dyn BlockDevice, prng: &mut Prng) -> (usize, usize) {
        let unit = device.sector_size().bytes();
        let sectors = self.bytes.len() / unit;
        let longest = (self.max_request / unit).clamp(1, sectors.max(1));
        let wanted = match prng.below(4) {
            0 => 1,
            1 | 2 => 1 + prng.index(longest.min(8)),
            _ => 1 + prng.index(longest),
        };
        let first = match prng.below(8) {
            0 => 0,
            1 => sectors.saturating_sub(wanted),
            _ => prng.index(sectors),
        };
        let count = wanted.min(sectors - first);
        (first * unit, count * unit)
    }
}

/// Lets `threads` threads write and read one device at once, each in stripes of its own, and checks
/// that none sees anything but its own data.
///
/// A stripe is `stripe_sectors` sectors of the device; stripe `i` belongs to thread `i % threads`.
///
/// # Panics
/// If the device fails, or answers other bytes than were written.
pub fn hammer(
    device: &dyn BlockDevice,
    seed: u64,
    threads: usize,
    rounds: usize,
    stripe_sectors: usize,
) {
    let stripe = stripe_sectors * device.sector_size().bytes();
    let size = device.size().to_usize().expect("a device that fits memory");
    let stripes = size / stripe;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let own: Vec<usize> = (thread..stripes).step_by(threads).collect();
                let mut contents: Vec<Option<u64>> = vec![None; own.len()];
                let mut prng = Prng::new(seed ^ (thread as u64) << 48);
                for _ in 0..rounds {
                    let index = prng.index(own.len());
                    let at = ByteOffset::new((own[index] * stripe) as u64);
                    match contents[index] {
                        Some(salt) if prng.chance(1, 2) => {
                            let mut found = vec![0; stripe];
                            device.read_at(at, &mut found).expect("a read");
                            let expected = Prng::new(salt).bytes(stripe);
                            assert!(found == expected, "thread {thread}, byte {at}");
                        }
                        _ => {
                            let salt = prng.next_u64();
                            let data = Prng::new(salt).bytes(stripe);
                            device.write_at(at, &data).expect("a write");
                            contents[index] = Some(salt);
                        }
                    }
                    if prng.chance(1, 64) {
                        device.flush().expect("a flush");
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use luksmith_block::{MemDevice, SectorSize, SparseMemDevice};

    use super::*;
    use crate::{Fault, FaultDevice, FaultPlan};

    #[test]
    fn memory_devices_pass_the_model() {
        for sector_size in SectorSize::ALL {
            let size = ByteLen::new(3 << 20);
            let plain = MemDevice::new(size, sector_size).unwrap();
            let sparse = SparseMemDevice::new(size, sector_size);
            let devices: [&dyn BlockDevice; 2] = [&plain, &sparse];
            for device in devices {
                let mut model = Model::of(device);
                let mut prng = Prng::new(7);
                for _ in 0..60 {
                    model.step(device, &mut prng);
                }
                model.check(device);
                hammer(device, 1, 4, 200, 3);
            }
        }
    }

    #[test]
    #[should_panic(expected = "expected")]
    fn a_lost_write_is_found() {
        let device = FaultDevice::new(MemDevice::from_bytes(&[0; 65536], SectorSize::S512));
        let mut model = Model::of(&device);
        let mut prng = Prng::new(1);
        device.set_plan(Some(FaultPlan {
            fault: Fault::Lies,
            among: crate::Among::Only(luksmith_block::Operation::Write),
            ..FaultPlan::nth(3)
        }));
        for _ in 0..30 {
            model.step(&device, &mut prng);
        }
        model.check(&device);
    }
}
