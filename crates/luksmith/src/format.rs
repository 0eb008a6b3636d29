//! Making new volumes.
//!
//! The header is the last thing that is written: until then the device counts as unformatted, and a
//! format that was cut off is simply done again. The order, with a flush after each step:
//!
//! 1. Everything that can fail without touching the device: options, key derivation, the whole
//!    header in memory.
//! 2. Zeros where headers of any kind may stand, up to the data.
//! 3. Keyslot areas, random where no key is.
//! 4. With integrity: journal, superblock, and the initialisation that was asked for.
//! 5. The primary header copy, then the secondary.

mod init;
mod luks1;
mod luks2;
mod options;
mod staging;

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, SectorCount, SectorNumber};
use luksmith_header::Budget;
use luksmith_integrity::{Devices, FormatRequest};
use luksmith_keyslot::{CandidateKey, Effort, Passphrase, SystemRandom, TryCryptoRng, VolumeKey};

use crate::found::what_is_there;
use crate::options::{Journal, OpenOptions};
use crate::plan::{Construction, Plan};
use crate::stack::Stack;
use crate::volume::Opened;
use crate::{Error, Volume, Workers};
pub use init::wipe_device;
pub use options::{FormatOptions, HeaderPlace, Init, KdfChoice, Overwrite, Version};
use options::{Resolved, option};
use staging::Staged;

/// The keys of a new volume.
#[derive(Debug, Default)]
pub struct NewKeys<'a> {
    pub(crate) passphrase: Option<&'a Passphrase>,
    pub(crate) volume_key: Option<CandidateKey>,
}

impl<'a> NewKeys<'a> {
    /// A generated volume key and no keyslot: keep [`Volume::volume_key`], or the data are lost
    /// when the volume is closed.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A generated volume key behind a passphrase.
    #[must_use]
    pub fn passphrase(passphrase: &'a Passphrase) -> Self {
        Self {
            passphrase: Some(passphrase),
            volume_key: None,
        }
    }

    /// Takes this volume key instead of generating one. It must be as long as cipher and integrity
    /// need, exactly, and nobody else may know it.
    #[must_use]
    pub fn with_volume_key(mut self, key: CandidateKey) -> Self {
        self.volume_key = Some(key);
        self
    }
}

/// Makes a volume on `device` and opens it.
///
/// Unless [`Overwrite::Allow`] says otherwise, nothing is overwritten that has a mark: neither on
/// `device` nor on that of the header. With tags and the header elsewhere that holds for what an
/// earlier volume, or a format that was cut off, left there.
///
/// ```
/// use luksmith::block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
/// use luksmith::{FormatOptions, KdfChoice, NewKeys, Passphrase};
///
/// let device = MemDevice::new(ByteLen::new(20 << 20), SectorSize::S512)?;
/// let passphrase = Passphrase::new(b"32 bytes from a generator, say..")?;
/// let options = FormatOptions::luks2().kdf(KdfChoice::HighEntropy);
/// let volume = luksmith::format(device, NewKeys::passphrase(&passphrase), &options)?;
/// volume.write_at(ByteOffset::ZERO, &[1; 4096])?;
/// volume.close()?;
/// # Ok::<(), luksmith::Error>(())
/// ```
///
/// # Errors
/// Before anything is written: [`Error::FormatOption`], [`Error::Cipher`],
/// [`Error::AlreadyFormatted`], [`Error::Keyslot`], [`Error::Header`], [`Error::HeaderRoom`],
/// [`Error::VolumeRoom`], [`Error::Policy`].
/// [`Error::Device`] and [`Error::Integrity`] may come later; the device then holds no volume.
pub fn format(
    device: impl BlockDevice + 'static,
    keys: NewKeys<'_>,
    options: &FormatOptions,
) -> Result<Volume, Error> {
    format_with(device, keys, options, &mut SystemRandom)
}

/// As [`format()`], with a random source of the caller's: the same source gives the same bytes on
/// the device, which tests want and nobody else may use.
///
/// Nonces of ciphers with random IVs still come from the system.
///
/// # Errors
/// As [`format()`].
pub fn format_with<R: TryCryptoRng + ?Sized>(
    device: impl BlockDevice + 'static,
    keys: NewKeys<'_>,
    options: &FormatOptions,
    random: &mut R,
) -> Result<Volume, Error> {
    let device: Arc<dyn BlockDevice> = Arc::new(device);
    let header_device = match &options.place {
        HeaderPlace::Attached => Some(Arc::clone(&device)),
        HeaderPlace::Detached(header) => Some(Arc::clone(header)),
        HeaderPlace::Memory => None,
    };
    if options.overwrite == Overwrite::Refuse {
        // The device of the data too where the header is elsewhere: tags and wiping go there at
        // once, and whatever is written into the volume later.
        refuse_what_is_there(&device)?;
        if let HeaderPlace::Detached(header_device) = &options.place {
            refuse_what_is_there(header_device)?;
        }
    }
    let header_len = header_device.as_ref().map(|device| device.size());
    let resolved = options.resolve(device.size())?;
    let staged = stage(header_len, keys, options, &resolved, random)?;
    let opening = options.opening();
    let plan = Plan::of(&staged.header, &opening)?;
    check_room(&device, &plan, options)?;
    if let Some(header_device) = &header_device {
        staged.write_areas(header_device.as_ref())?;
    }
    prepare_data(&device, &plan, &staged.key, options, &opening)?;
    if let Some(header_device) = &header_device {
        staged.write_headers(header_device.as_ref())?;
    }
    let device_size = device.size();
    let mut stack = Stack::build(device, &plan, &staged.key, &opening)?;
    if options.init == Init::Lazy {
        stack = stack.lazy()?;
    }
    let opened = Opened {
        key: staged.key,
        keyslot: staged.keyslot,
        digest: 0,
    };
    let memory = header_device.is_none().then_some(staged.image);
    let volume = Volume::new(staged.header, plan, stack, device_size, opened, &opening);
    Ok(volume.with_header_image(memory))
}

/// Makes the header, with keyslot areas and all, in memory.
pub(crate) fn stage<R: TryCryptoRng + ?Sized>(
    header_len: Option<ByteLen>,
    keys: NewKeys<'_>,
    options: &FormatOptions,
    resolved: &Resolved,
    random: &mut R,
) -> Result<Staged, Error> {
    check_entropy(keys.passphrase, options)?;
    let key = volume_key(keys.volume_key, resolved, random)?;
    let mut effort = Effort {
        budget: &mut Budget::new(options.limits),
        control: &options.control,
        threads: options.threads,
    };
    let request = Request {
        header_len,
        passphrase: keys.passphrase,
        options,
        resolved,
    };
    let staged = match options.version {
        Version::Luks2 => luks2::stage(&request, key, random, &mut effort),
        Version::Luks1 => luks1::stage(&request, key, random, &mut effort),
    }?;
    options.policy.check(&staged.header)?;
    Ok(staged)
}

/// Refuses the cheap key derivation for a passphrase that can only be a person's.
fn check_entropy(passphrase: Option<&Passphrase>, options: &FormatOptions) -> Result<(), Error> {
    let len = passphrase.map_or(usize::MAX, |passphrase| passphrase.len());
    if options.kdf == KdfChoice::HighEntropy && len < KdfChoice::MIN_HIGH_ENTROPY_BYTES {
        return Err(option(
            "high-entropy key",
            &format!("{len} bytes"),
            "32 bytes or more from a generator are meant; for a passphrase choose Argon2id",
        ));
    }
    Ok(())
}

/// What the header of either version is made from.
struct Request<'a> {
    /// Length of the device that holds the header, `None` in memory.
    header_len: Option<ByteLen>,
    passphrase: Option<&'a Passphrase>,
    options: &'a FormatOptions,
    resolved: &'a Resolved,
}

fn volume_key<R: TryCryptoRng + ?Sized>(
    given: Option<CandidateKey>,
    resolved: &Resolved,
    random: &mut R,
) -> Result<VolumeKey, Error> {
    let Some(key) = given else {
        return Ok(VolumeKey::generate(resolved.key_bytes, random)?);
    };
    match &resolved.construction {
        Construction::Null => Ok(()),
        Construction::Plain(spec) => spec.check_key_len(key.len()),
        Construction::Authenticated(spec) => spec.check_key_len(key.len()),
    }
    .map_err(|source| Error::Cipher { segment: 0, source })?;
    Ok(VolumeKey::for_new_volume(key))
}

/// Refuses a device that holds a LUKS header or something else that has a mark.
fn refuse_what_is_there(device: &Arc<dyn BlockDevice>) -> Result<(), Error> {
    match what_is_there(device)? {
        Some(found) => Err(Error::AlreadyFormatted { found }),
        None => Ok(()),
    }
}

/// Fails if there is no room for a sector of data, and for a journal and tags where there are any.
fn check_room(
    device: &Arc<dyn BlockDevice>,
    plan: &Plan,
    options: &FormatOptions,
) -> Result<(), Error> {
    let needed = plan.sector_size.byte_len();
    match plan.offset.checked_add(needed.get()) {
        Some(end) if end <= device.size().get() => {}
        end => {
            return Err(Error::VolumeRoom {
                needed: ByteLen::new(end.unwrap_or(u64::MAX)),
                size: device.size(),
            });
        }
    }
    if let Some(request) = integrity_request(plan, options)? {
        request.plan_on(&Devices::interleaved(Arc::clone(device)))?;
    }
    Ok(())
}

/// Gives how the integrity layer of a volume is made, if it has one.
fn integrity_request(plan: &Plan, options: &FormatOptions) -> Result<Option<FormatRequest>, Error> {
    let Construction::Authenticated(spec) = &plan.construction else {
        return Ok(None);
    };
    let start = SectorNumber::new(plan.offset / luksmith_block::SECTOR_BYTES);
    let mut request = FormatRequest::new(spec.tuple_bytes(), plan.sector_size)?
        .start(start)
        .legacy_padding(options.legacy_padding);
    // The smallest there is: a volume that ends with its process has nothing to recover.
    let smallest = (options.init == Init::Lazy).then_some(SectorCount::new(1));
    if let Some(sectors) = options.journal_sectors.or(smallest) {
        request = request.journal_sectors(sectors);
    }
    Ok(Some(request))
}

/// Makes the integrity layer of a volume that has one, and initialises its tags.
fn prepare_data(
    device: &Arc<dyn BlockDevice>,
    plan: &Plan,
    key: &VolumeKey,
    options: &FormatOptions,
    opening: &OpenOptions,
) -> Result<(), Error> {
    let Some(request) = integrity_request(plan, options)? else {
        return Ok(());
    };
    let devices = Devices::interleaved(Arc::clone(device));
    luksmith_integrity::format(&devices, &request, None, None)?;
    if matches!(options.init, Init::None | Init::Lazy) {
        return Ok(());
    }
    // The journal is bypassed: nobody has the volume yet, and a crash leaves no header behind.
    let opening = opening.clone().journal(Journal::Bypass);
    let stack = Stack::build(Arc::clone(device), plan, key, &opening)?;
    if let Some(volume) = stack.authenticated_device() {
        let workers = Workers::as_many_as(options.threads);
        let done = init::run(volume, options.init, 0, &workers, &options.control);
        done.map_err(|stopped| stopped.cause)?;
    }
    Ok(stack.close()?)
}
