//! The shell script that makes the images of one boot.

use super::cases::{Case, INTEGRITY_KEY, JOURNAL_KEYS, Kind, PBKDF2};

pub(super) const PASSPHRASE: &str = "correct horse battery staple";

/// Modules of ciphers and hashes that dm-integrity's own checks ask for before modprobe can.
const MODULES: &str = "chacha20poly1305 gcm aegis128 adiantum essiv cbc ctr crc32 crc32_generic \
    blake2b_generic sha1 rmd160";

/// Options that formatting and opening have to give alike.
const KEYS: [&str; 2] = [INTEGRITY_KEY, JOURNAL_KEYS];

/// Key files: the passphrase, and 32 bytes each for the integrity key and the journal's keys.
fn prologue() -> String {
    let mut text = String::from("echo 3 > /proc/sys/kernel/printk\n");
    text += &format!("for m in {MODULES}; do modprobe $m 2>/dev/null; done\n");
    text += &format!("printf %s '{PASSPHRASE}' > /tmp/pw\n");
    for (file, octal) in [("jc", "021"), ("jm", "042"), ("ik", "063")] {
        text += &format!("head -c 32 /dev/zero | tr '\\000' '\\{octal}' > /tmp/{file}\n");
    }
    text
}

/// Gives the script; `numbers` are those of each case's first disk, disk 0 has the pattern.
pub(super) fn batch(cases: &[&Case], numbers: &[usize]) -> String {
    let mut text = prologue();
    for (case, number) in cases.iter().zip(numbers) {
        text += &format!("echo '@@case {}'\n", case.name);
        let device = format!("/disk/{number}");
        let second = format!("/disk/{}", number + 1);
        for command in commands(case) {
            let command = command.replace("DEV2", &second).replace("DEV", &device);
            let command = command.replace("/disk/pattern", "/disk/0");
            text += &format!(
                "( {command} ) > /tmp/out 2>&1 || {{ echo '@fail {}'; ",
                case.name
            );
            text += "cat /tmp/out; }\n";
            if command.contains(" open ") {
                text += &facts(case, &device, &second);
            }
            // What the plaintext is, once everything is written.
            if command.contains("dd if=") {
                text += &format!(
                    "sync; echo \"@sha $(sha256sum /dev/mapper/{0} | cut -d' ' -f1)\"\n",
                    case.name
                );
            }
        }
    }
    text += "echo @@end\n";
    if cases.iter().any(|case| case.dirty) {
        text += "sync; echo o > /proc/sysrq-trigger; sleep 60\n";
    }
    text
}

/// Prints what is known of an open volume: its key, size and device-mapper table.
fn facts(case: &Case, device: &str, second: &str) -> String {
    let name = case.name;
    let mut text = String::new();
    if case.kind != Kind::Integrity {
        let header = case
            .second
            .map_or_else(String::new, |_| format!("--header {second} "));
        text += &format!(
            "rm -f /tmp/vk; cryptsetup luksDump --dump-volume-key -q --key-file /tmp/pw {header}\
             --volume-key-file /tmp/vk {device} >/dev/null 2>&1\n\
             echo \"@key $(xxd -p /tmp/vk | tr -d '\\n')\"\n"
        );
    }
    text += &format!("echo \"@size $(blockdev --getsize64 /dev/mapper/{name})\"\n");
    text += &format!(
        "echo \"@table $(dmsetup table | grep '^{name}[:_]' | \
         sed 's/ :[0-9]*:logon[^ ]*/ KEY/' | tr '\\n' ';')\"\n"
    );
    text
}

/// Gives the commands that make an image, as they stand in its record.
pub(super) fn recorded(case: &Case) -> Vec<String> {
    let mut commands = commands(case);
    if case.dirty {
        commands.push("sync; echo o > /proc/sysrq-trigger".to_owned());
    }
    if case.kind == Kind::Luks1 {
        commands.push("(the areas of unused keyslots zeroed, so that the file packs)".to_owned());
    }
    commands
}

fn commands(case: &Case) -> Vec<String> {
    let name = case.name;
    let mut list = match case.kind {
        Kind::Integrity => integritysetup(case),
        Kind::Luks1 | Kind::Luks2 => cryptsetup(case),
    };
    let writes = case.writes.iter().map(|(first, count)| {
        let sync = if case.dirty { ",fsync" } else { "" };
        format!(
            "dd if=/disk/pattern of=/dev/mapper/{name} bs=4096 seek={first} skip={first} \
             count={count} conv=notrunc{sync}"
        )
    });
    let writes: Vec<String> = writes.collect();
    list.push(writes.join(" && "));
    if !case.dirty {
        let program = match case.kind {
            Kind::Integrity => "integritysetup",
            Kind::Luks1 | Kind::Luks2 => "cryptsetup",
        };
        list.push(format!("{program} close {name}"));
    }
    list.extend(with_kdf(case.at_last));
    list
}

/// Formats and opens with integritysetup.
fn integritysetup(case: &Case) -> Vec<String> {
    let name = case.name;
    let open = case.open;
    let format = case.format.join(" ");
    let data = case.second.map_or("", |_| " --data-device DEV2");
    let mut words = format.split_whitespace();
    let hash = words
        .find(|word| *word == "--integrity")
        .and_then(|_| words.next())
        .unwrap_or("crc32c");
    // Keys are needed again on opening.
    let keys: Vec<&str> = KEYS
        .into_iter()
        .filter(|keys| format.contains(keys))
        .collect();
    let keys = keys.join(" ");
    let line = format!("integritysetup open --integrity {hash} {open} {keys}{data} DEV {name}");
    vec![
        format!("integritysetup format -q {format}{data} DEV"),
        single_spaces(&line),
    ]
}

/// Formats and opens with cryptsetup.
fn cryptsetup(case: &Case) -> Vec<String> {
    let (name, open) = (case.name, case.open);
    // A cipher in the kernel's notation has parentheses, which the shell takes for its own.
    let capi = "capi:xts(aes)-plain64";
    let format = case.format.join(" ").replace(capi, &format!("'{capi}'"));
    let header = case.second.map_or("", |_| " --header DEV2");
    let kdf = match case.kind {
        Kind::Luks1 => " --pbkdf-force-iterations 1000",
        Kind::Luks2 | Kind::Integrity => "",
    };
    let kind = case.kind.name();
    let mut list = vec![format!(
        "cryptsetup luksFormat -q --type {kind}{kdf} {format}{header} DEV /tmp/pw"
    )];
    list.extend(with_kdf(case.then));
    let line = format!("cryptsetup open -q --key-file /tmp/pw {open}{header} DEV {name}");
    list.push(single_spaces(&line));
    list
}

fn with_kdf<'a>(commands: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    commands
        .iter()
        .map(|command| command.replace("KDF", PBKDF2))
}

fn single_spaces(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
