//! What the kernel is told to do, as a shell script.

use luksmith::integrity::{DiscardMarker, Mode};
use luksmith_testkit::Prng;

use super::machine::DONE;
use super::model::Model;
use super::ours::PASSPHRASE;
use super::set::{End, Hashed, Kind, Set, Volume};

/// Bytes that the kernel writes from.
pub(crate) const PATTERN: usize = 4 << 20;

/// Functions of every script. Disk 0 has the pattern, disk 1 the devices, disk 2 takes what is
/// read.
///
/// busybox's dd goes through the page cache for small blocks, which mixes neighbours up. The other
/// one says how many blocks it has behind each error. What it writes for such a block is noise: the
/// kernel decrypts into the reader's buffer before it knows.
///
/// A mark is on the disk when the shell closes the device, which nobody else has open.
pub(crate) const PREPARE: &str = "
echo 3 > /proc/sys/kernel/printk
for m in sha1 sha256 sha512 crc32 crc32c xxhash_generic blake2b_generic ctr cbc chacha20 hmac aes \
  chacha_generic xts gcm authenc chacha20poly1305 aegis128 essiv; do modprobe $m 2>/dev/null; done
mark() { echo \"@mark $N $1\" > /dev/mapper/marks; }
part() { dmsetup create $1 --table \"0 $4 linear /disk/$2 $3\" || echo \"@bad $N part $1\"; }
run() { echo \"@at $N $1 $2 $(cut -d' ' -f1 /proc/uptime)\"
  \"$@\" > /tmp/said 2>&1 && return; echo \"@bad $N $*\"; cat /tmp/said; false; }
copy() { /usr/bin/dd if=/dev/mapper/$1 of=/dev/mapper/$2 bs=$3 skip=$4 seek=$4 count=$5 \
    iflag=direct conv=notrunc$6 2>/tmp/said; }
dump() { [ -b /dev/mapper/$1 ] || return
  l=$(($4 / 65536)); r=$(($4 / 4096 - l * 16))
  copy $1 $2 65536 0 $l && copy $1 $2 4096 $((l * 16)) $r && return
  echo \"@partial $N\"; copy $1 $2 $3 0 $(($4 / $3)) ,noerror,sync
  grep 'records in' /tmp/said | sed \"\\$d; s/^/@failed $N /\"; }
put() { [ -b /dev/mapper/$1 ] || return
  /usr/bin/dd if=/disk/0 of=/dev/mapper/$1 bs=$2 seek=$3 count=$4 skip=$5 oflag=direct \
    conv=notrunc$6 2>/tmp/said || { echo \"@bad $N put $*\"; cat /tmp/said; }; }
drop() { [ -b /dev/mapper/$1 ] || return
  blkdiscard -o $2 -l $3 /dev/mapper/$1 2>/tmp/said ||
    { echo \"@bad $N drop $*\"; cat /tmp/said; }; }
settled() { [ -b /dev/mapper/$1 ] || return
  i=0; while [ $i -lt 600 ]; do s=$(dmsetup status $1 | cut -d' ' -f6)
    [ \"$s\" = - ] || [ \"$s\" = \"$(dmsetup status $1 | cut -d' ' -f5)\" ] && return
    i=$((i+1)); sleep 0.1; done; echo \"@bad $N still recalculating at $s\"; }
part marks 1 0 8
";

/// Where a device lies in the guest: the names of its parts and of what is made of it.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// A name that no other device of the boot has.
    pub(crate) name: String,
    pub(crate) has_data: bool,
}

impl Names {
    pub(crate) fn main(&self) -> String {
        format!("{}m", self.name)
    }

    pub(crate) fn data(&self) -> String {
        format!("{}d", self.name)
    }

    pub(crate) fn out(&self) -> String {
        format!("{}o", self.name)
    }

    fn disks(&self) -> String {
        let data = match self.has_data {
            true => format!("--data-device /dev/mapper/{} ", self.data()),
            false => String::new(),
        };
        format!("{data}/dev/mapper/{}", self.main())
    }
}

/// Writes bytes down for `printf`.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// Makes the key files of a set.
pub(crate) fn keys(set: &Set) -> String {
    let mut script = format!("N={}\n", set.number);
    let mut file = |name: &str, bytes: &[u8]| {
        script += &format!("printf '{}' > /tmp/{name}-{}\n", octal(bytes), set.number);
    };
    match &set.kind {
        Kind::Hashed(hashed) => {
            if let Some(key) = &hashed.key {
                file("ik", key);
            }
            if let Some((_, key)) = &hashed.journal_mac {
                file("jm", key);
            }
            if let Some((_, key)) = &hashed.journal_cipher {
                file("jc", key);
            }
        }
        Kind::Volume(volume) => {
            file("vk", &volume.key);
            file("pw", PASSPHRASE.as_bytes());
        }
    }
    script
}

/// Options of integritysetup that every call needs.
fn hashed_words(set: &Set, hashed: &Hashed) -> String {
    let number = set.number;
    let mut words = format!("--integrity {}", hashed.digest);
    let mut key = |option: &str, file: &str, bytes: &[u8]| {
        words += &format!(
            " --{option}-key-file /tmp/{file}-{number} --{option}-key-size {}",
            bytes.len()
        );
    };
    if let Some(bytes) = &hashed.key {
        key("integrity", "ik", bytes);
    }
    if let Some((_, bytes)) = &hashed.journal_mac {
        key("journal-integrity", "jm", bytes);
    }
    if let Some((_, bytes)) = &hashed.journal_cipher {
        key("journal-crypt", "jc", bytes);
    }
    if let Some((name, _)) = &hashed.journal_mac {
        words += &format!(" --journal-integrity {name}");
    }
    if let Some((name, _)) = &hashed.journal_cipher {
        words += &format!(" --journal-crypt {name}");
    }
    if let Some(sectors) = hashed.buffer_sectors {
        words += &format!(" --buffer-sectors {sectors}");
    }
    if hashed.legacy_hmac {
        words += " --integrity-legacy-hmac";
    }
    words
}

/// Formats the kernel's device.
pub(crate) fn format(set: &Set, names: &Names) -> String {
    let call = match &set.kind {
        Kind::Hashed(hashed) => format_hashed(set, hashed),
        Kind::Volume(volume) => format_volume(set, volume),
    };
    let mut script = format!("run {call} {}\n", names.disks());
    if !set.wipe {
        let main = names.main();
        script += &format!("echo \"@sum $N $(sha256sum < /dev/mapper/{main} | cut -d' ' -f1)\"\n");
    }
    script += &format!(
        "echo \"@superblock $N $(dd if=/dev/mapper/{} bs=512 skip={} count=1 2>/dev/null \
         | od -An -v -tx1 | tr -d ' \\n')\"\n",
        names.main(),
        set.start()
    );
    if matches!(&set.kind, Kind::Volume(volume) if volume.no_journal) {
        let open = open(set, names, Mode::Direct).replace(
            "cryptsetup open",
            "cryptsetup open --integrity-no-journal --persistent",
        );
        script += &format!("{open}{}", close(set, names));
    }
    script
}

fn format_hashed(set: &Set, hashed: &Hashed) -> String {
    let mut words = format!(
        "integritysetup format -q {} --sector-size {}",
        hashed_words(set, hashed),
        set.block.bytes()
    );
    if !set.wipe {
        words += " --no-wipe";
    }
    if let Some(bytes) = hashed.tag_bytes {
        words += &format!(" --tag-size {bytes}");
    }
    if let Some(bytes) = set.journal_bytes {
        words += &format!(" --journal-size {bytes}");
    }
    if let (Some(sectors), None) = (hashed.interleave, hashed.data_sectors) {
        words += &format!(" --interleave-sectors {sectors}");
    }
    if set.legacy_padding {
        words += " --integrity-legacy-padding";
    }
    words
}

fn format_volume(set: &Set, volume: &Volume) -> String {
    let number = set.number;
    let auth = &volume.auth;
    let mut words = format!(
        "cryptsetup luksFormat -q --type luks2 -c {} -s {} --integrity {} --sector-size {} \
         --offset {} --luks2-metadata-size 16k --luks2-keyslots-size 512k --pbkdf pbkdf2 \
         --pbkdf-force-iterations 1000 --volume-key-file /tmp/vk-{number} \
         --key-file /tmp/pw-{number}",
        auth.cipher,
        8 * auth.cipher_key,
        auth.option,
        set.block.bytes(),
        set.start(),
    );
    if let Some(bytes) = auth.mac_key {
        words += &format!(" --integrity-key-size {}", 8 * bytes);
    }
    if !set.wipe {
        words += " --integrity-no-wipe";
    }
    if set.legacy_padding {
        words += " --integrity-legacy-padding";
    }
    words
}

/// Opens a device in a mode.
pub(crate) fn open(set: &Set, names: &Names, mode: Mode) -> String {
    let name = &names.name;
    match &set.kind {
        Kind::Hashed(hashed) => {
            let words = hashed_words(set, hashed);
            let patience = set.patience;
            let mut mode = match mode {
                Mode::Direct => " --integrity-no-journal".to_owned(),
                Mode::Bitmap => format!(
                    " --integrity-bitmap-mode --bitmap-sectors-per-bit {} \
                     --bitmap-flush-time {patience}",
                    hashed.sectors_per_bit
                ),
                _ => format!(
                    " --journal-commit-time {patience} --journal-watermark {}",
                    set.watermark
                ),
            };
            mode += match hashed.discards {
                DiscardMarker::None => "",
                DiscardMarker::Filler => " --allow-discards",
                DiscardMarker::Keyed => " --allow-discards-keyed",
            };
            let disks = names.disks();
            format!("run integritysetup open {words}{mode} {disks} {name}\n")
        }
        Kind::Volume(volume) => {
            let bypass = match mode {
                Mode::Direct if !volume.no_journal => " --integrity-no-journal",
                _ => "",
            };
            let disks = names.disks();
            let number = set.number;
            format!("run cryptsetup open -q --key-file /tmp/pw-{number}{bypass} {disks} {name}\n")
        }
    }
}

/// Opens a device that was just formatted, and starts a recalculation of all of it.
pub(crate) fn open_recalculating(set: &Set, names: &Names) -> String {
    let open = open(set, names, Mode::Journal);
    open.replace(
        "integritysetup open",
        "integritysetup open --integrity-recalculate",
    )
}

/// Closes a device.
pub(crate) fn close(set: &Set, names: &Names) -> String {
    let program = match set.kind {
        Kind::Hashed(_) => "integritysetup",
        Kind::Volume(_) => "cryptsetup",
    };
    format!("run {program} close {}\n", names.name)
}

/// One thing that the kernel does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Open(Mode),
    /// `count` blocks at `first`, from block `skip` of the pattern.
    Put {
        first: usize,
        count: usize,
        skip: usize,
        sync: bool,
    },
    Drop {
        first: usize,
        count: usize,
    },
    Close,
}

impl Act {
    /// Chooses some writes, and discards where the device takes them.
    pub(crate) fn some(set: &Set, prng: &mut Prng, count: usize) -> Vec<Self> {
        let any = |prng: &mut Prng| {
            let first = prng.index(set.blocks());
            let most = if prng.chance(1, 6) { 200 } else { 10 };
            let count = (prng.index(most) + 1).min(set.blocks() - first);
            if set.discards() && prng.chance(1, 4) {
                return Self::Drop { first, count };
            }
            let skip = prng.index(PATTERN / set.block.bytes() - count);
            let sync = prng.chance(1, 2);
            Self::Put {
                first,
                count,
                skip,
                sync,
            }
        };
        (0..count).map(|_| any(prng)).collect()
    }

    /// Chooses what the kernel does with its own device, once that is full.
    pub(crate) fn life(set: &Set, prng: &mut Prng) -> Vec<Self> {
        if set.end == End::CutWhileRecalculating {
            return Vec::new();
        }
        let count = prng.index(9) + 2;
        let mut acts = Self::some(set, prng, count);
        if prng.chance(1, 2) {
            acts.extend([Self::Close, Self::Open(set.any_mode(prng))]);
            acts.extend(Self::some(set, prng, 2));
        }
        if set.end != End::Stopped {
            acts.push(Self::Close);
        }
        acts
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "opening",
            Self::Put { .. } => "writing",
            Self::Drop { .. } => "discarding",
            Self::Close => "closing",
        }
    }

    pub(crate) fn command(&self, set: &Set, names: &Names) -> String {
        let (name, block) = (&names.name, set.block.bytes());
        match *self {
            Self::Open(mode) => open(set, names, mode),
            Self::Put {
                first,
                count,
                skip,
                sync,
            } => {
                let sync = if sync { ",fsync" } else { "" };
                format!("put {name} {block} {first} {count} {skip} {sync}\n")
            }
            Self::Drop { first, count } => {
                format!("drop {name} {} {}\n", first * block, count * block)
            }
            Self::Close => close(set, names),
        }
    }

    /// Notes in the model that it began, or that it was done.
    pub(crate) fn apply(&self, set: &Set, pattern: &[u8], model: &mut Model, is_done: bool) {
        let block = set.block.bytes();
        match *self {
            Self::Open(_) => {}
            Self::Put {
                first,
                count,
                skip,
                sync,
            } => {
                model.write(first, &pattern[skip * block..(skip + count) * block]);
                if sync && is_done {
                    model.flush();
                }
            }
            Self::Drop { first, count } => model.discard(first, count),
            Self::Close if is_done => model.flush(),
            Self::Close => {}
        }
    }
}

/// Writes the whole span from the pattern.
pub(crate) fn fill(set: &Set, names: &Names) -> String {
    let (name, bytes) = (&names.name, set.span() * 512);
    let (large, rest) = (bytes / 65536, bytes % 65536 / 4096);
    let mut script = format!("put {name} 65536 0 {large} 0 ,fsync\n");
    if rest > 0 {
        let done = large * 16;
        script += &format!("put {name} 4096 {done} {rest} {done} ,fsync\n");
    }
    script
}

/// Everything that the kernel does with its own device before the power goes. A mark follows on
/// what was done before the acts, and on each act.
pub(crate) fn first_life(set: &Set, names: &Names, acts: &[Act]) -> String {
    let mut script = keys(set) + &format(set, names);
    if set.end == End::CutWhileRecalculating {
        let (open, name) = (open_recalculating(set, names), &names.name);
        return script + &format!("mark 0\n{open}settled {name}\nmark 1\n");
    }
    script += &open(set, names, set.mode);
    script += &format!(
        "echo \"@size $N $(blockdev --getsz /dev/mapper/{})\"\n",
        names.name
    );
    script += &fill(set, names);
    script += "mark 0\n";
    for (number, act) in acts.iter().enumerate() {
        script += &act.command(set, names);
        script += &format!("mark {}\n", number + 1);
    }
    script
}

/// The end of a life. The line needs a while to leave the machine, and what was written before a
/// flush is in the log for sure.
pub(crate) fn end() -> String {
    format!(
        "echo {DONE}\nsleep 0.5\n\
         echo | /usr/bin/dd of=/dev/mapper/marks bs=512 conv=sync,fsync,notrunc 2>/dev/null\n\
         echo b > /proc/sysrq-trigger\nsleep 60\n"
    )
}
