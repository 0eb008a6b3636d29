//! The shell script that makes the images of one boot.

use super::cases::{Case, Kind, PBKDF2};

pub(super) const PASSPHRASE: &str = "correct horse battery staple";

/// Modules of ciphers and hashes that dm-integrity's own checks ask for before modprobe can.
const MODULES: &str = "chacha20poly1305 gcm aegis128 adiantum essiv cbc ctr crc32 crc32_generic \
    blake2b_generic sha1 rmd160";

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
    // A cipher in the kernel's notation has parentheses, which the shell takes for its own.
    let format = case
        .format
        .join(" ")
        .replace("capi:xts(aes)-plain64", "'capi:xts(aes)-plain64'");
    let open = case.open;
    let mut list = Vec::new();
    match case.kind {
        Kind::Integrity => {
            let data = case.second.map_or("", |_| " --data-device DEV2");
            let mut words = format.split_whitespace();
            let hash = words
                .find(|word| *word == "--integrity")
                .and_then(|_| words.next());
            let hash = hash.unwrap_or("crc32c");
            // Keys are needed again on opening, and so is how long a tag is and how old the HMAC.
            let keys: Vec<&str> = [
                "--integrity-key-file /tmp/ik --integrity-key-size 32",
                "--journal-crypt ctr-aes --journal-crypt-key-file /tmp/jc \
                 --journal-crypt-key-size 32 --journal-integrity hmac-sha256 \
                 --journal-integrity-key-file /tmp/jm --journal-integrity-key-size 32",
            ]
            .into_iter()
            .filter(|keys| format.contains(keys))
            .collect();
            let keys = keys.join(" ");
            list.push(format!("integritysetup format -q {format}{data} DEV"));
            let line =
                format!("integritysetup open --integrity {hash} {open} {keys}{data} DEV {name}");
            list.push(single_spaces(&line));
        }
        Kind::Luks1 | Kind::Luks2 => {
            let header = case.second.map_or("", |_| " --header DEV2");
            let kdf = if case.kind == Kind::Luks1 {
                " --pbkdf-force-iterations 1000"
            } else {
                ""
            };
            let kind = case.kind.name();
            list.push(format!(
                "cryptsetup luksFormat -q --type {kind}{kdf} {format}{header} DEV /tmp/pw"
            ));
            list.extend(
                case.then
                    .iter()
                    .map(|command| command.replace("KDF", PBKDF2)),
            );
            let line = format!("cryptsetup open -q --key-file /tmp/pw {open}{header} DEV {name}");
            list.push(single_spaces(&line));
        }
    }
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
        let program = if case.kind == Kind::Integrity {
            "integritysetup"
        } else {
            "cryptsetup"
        };
        list.push(format!("{program} close {name}"));
    }
    list.extend(
        case.at_last
            .iter()
            .map(|command| command.replace("KDF", PBKDF2)),
    );
    list
}

fn single_spaces(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
