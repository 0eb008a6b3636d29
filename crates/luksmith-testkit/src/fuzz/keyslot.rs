//! Keyslots: hostile numbers in a header, noise in its areas.

use luksmith_block::{BlockDevice, ByteOffset, Control, MemDevice, SectorSize};
use luksmith_header::{Budget, Header, Limits, luks1};
use luksmith_keyslot::{
    Effort, Error, Passphrase, Threads,
    unlock::{Scope, Unlock, UnlockOptions, unlock},
};

use super::overlay;
use crate::paint;

/// Most iterations that an input may cost.
const ITERATIONS: u64 = 2000;

/// A LUKS1 header with areas of noise: the whole way from a passphrase to a refused key.
///
/// # Panics
/// If a key comes out, or more was spent than the limits allow.
pub fn keyslot_area(data: &[u8]) -> bool {
    DEVICE.with(|device| unlock_noise(device, data))
}

thread_local! {
    /// Noise, large enough for the areas of eight keyslots with 64-byte keys. Made once: it would
    /// be most of the work of an input.
    static DEVICE: MemDevice = MemDevice::from_bytes(&paint(0, 2560 << 10), SectorSize::S512);
}

fn unlock_noise(device: &MemDevice, data: &[u8]) -> bool {
    let mut start = [0; 1024];
    overlay(&mut start[..luks1::HEADER_BYTES], data);
    overlay(&mut start, b"LUKS\xba\xbe\0\x01");
    device
        .write_at(ByteOffset::ZERO, &start)
        .expect("the device");
    let mut limits = Limits::default();
    limits.pbkdf2_iterations = ITERATIONS;
    limits.key_bytes = 64;
    let Ok(header) = Header::read(device, &limits) else {
        return false;
    };
    let mut budget = Budget::new(limits);
    let passphrase = Passphrase::new(b"correct horse").expect("a passphrase");
    let unlocked = unlock(
        device,
        &header,
        Unlock::Passphrase(&passphrase),
        &UnlockOptions::new().scope(Scope::AnyKey),
        &mut Effort {
            budget: &mut budget,
            control: &Control::new(),
            threads: Threads::ONE,
        },
    );
    assert!(budget.pbkdf2_iterations() <= ITERATIONS, "over the limit");
    match unlocked {
        Ok(unlocked) => panic!("noise gave a key of {} bytes", unlocked.key.len()),
        Err(Error::NoKeyslotOpened { .. }) => {}
        Err(other) => panic!("an error that does not tell of keyslots: {other}"),
    }
    true
}
