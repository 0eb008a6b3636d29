//! Whole programs: `luksmith export` of a LUKS1 image beside `qemu-img convert`.
//!
//! The image is on tmpfs and made by luksmith; both programs give the same bytes, which is checked
//! first. Wall time and the CPU time of the process are two cases. The program is the release build
//! of this repository, `cargo build --release -p luksmith-cli`, or what `LUKSMITH_PROGRAM` names.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::harness::{Samples, median, ratio};
use crate::programs::{children_cpu, ours};
use crate::scratch::Scratch;

/// Bytes of the image's plaintext.
const BYTES: usize = 1 << 30;
/// Bytes of a LUKS1 header with its keyslots.
const HEADER: usize = 2 << 20;
/// Each takes around a second.
const ROUNDS: usize = 11;
const PASSPHRASE: &str = "a passphrase";

/// One side: a program and its arguments. It writes the file `out`.
struct Side {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    out: PathBuf,
}

fn sides(folder: &Scratch) -> Vec<Side> {
    let (image, key) = (folder.file("image"), folder.file("key"));
    let secret = format!("secret,id=key,file={}", key.display());
    let from = format!(
        "driver=luks,key-secret=key,file.filename={}",
        image.display()
    );
    let qemu_out = folder.file("qemu.raw");
    let ours_out = folder.file("luksmith.raw");
    let (to, out, path) = (qemu_out.clone(), ours_out.clone(), ours());
    vec![
        Side {
            name: "qemu-img",
            command: Box::new(move || {
                let mut command = Command::new("qemu-img");
                command.args(["convert", "--object", &secret, "--image-opts", &from]);
                command.args(["-O", "raw"]).arg(&to);
                command
            }),
            out: qemu_out,
        },
        Side {
            name: "luksmith",
            command: Box::new(move || {
                let mut command = Command::new(&path);
                command
                    .arg("export")
                    .arg("--key-file")
                    .args([&key, &image, &out]);
                command
            }),
            out: ours_out,
        },
    ]
}

/// Makes the image and puts bytes into it that are no zeros.
fn make(folder: &Scratch) {
    fs::write(folder.file("key"), PASSPHRASE).expect("room");
    let image = File::create(folder.file("image")).expect("room");
    image.set_len((BYTES + HEADER) as u64).expect("room");
    let mut format = Command::new(ours());
    format.args(["luksFormat", "--batch-mode", "--type", "luks1"]);
    // Little, on both sides: this is about the data.
    format.args(["--pbkdf-force-iterations", "1000", "--key-file"]);
    run(format.args([folder.file("key"), folder.file("image")]));
    let plain = folder.file("plain");
    let mut file = File::create(&plain).expect("room");
    let pattern: Vec<u8> = (1..=251).cycle().take(1 << 20).collect();
    for _ in 0..BYTES >> 20 {
        file.write_all(&pattern).expect("room");
    }
    let mut import = Command::new(ours());
    import
        .arg("import")
        .arg("--key-file")
        .arg(folder.file("key"));
    import.args([folder.file("image"), plain.clone()]);
    run(&mut import);
    fs::remove_file(plain).expect("it was just made");
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    let status = status.expect("the program is there");
    assert!(status.success(), "{command:?}: {status}");
}

fn same(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (File::open(a).expect("made"), File::open(b).expect("made"));
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for _ in 0..BYTES >> 20 {
        a.read_exact(&mut one).expect("long enough");
        b.read_exact(&mut other).expect("long enough");
        if one != other {
            return false;
        }
    }
    true
}

/// Runs both, in turns, if `filter` asks for it.
pub fn run_both(filter: &str) -> Vec<Samples> {
    if !"program/export".contains(filter) {
        return Vec::new();
    }
    let has = |program: &Path| Command::new(program).arg("--version").output().is_ok();
    if !has(Path::new("qemu-img")) || !has(&ours()) {
        println!("export: qemu-img or {} is missing", ours().display());
        return Vec::new();
    }
    let Some(folder) = Scratch::on_tmpfs() else {
        println!("export: there is no tmpfs here");
        return Vec::new();
    };
    crate::harness::unpin();
    make(&folder);
    let sides = sides(&folder);
    for side in &sides {
        run(&mut (side.command)());
    }
    assert!(same(&sides[0].out, &sides[1].out), "two plaintexts");
    let series = |case: &str, name: &str| Samples {
        row: "program".to_owned(),
        case: format!("program/export/luks1/1GiB/{case}"),
        contender: name.to_owned(),
        bytes: BYTES,
        ns: Vec::new(),
        cycles: Vec::new(),
    };
    let of = |case| sides.iter().map(|side| series(case, side.name)).collect();
    let (mut wall, mut cpu): (Vec<Samples>, Vec<Samples>) = (of("wall"), of("cpu-time"));
    for _ in 0..ROUNDS {
        for (index, side) in sides.iter().enumerate() {
            fs::remove_file(&side.out).expect("it was made");
            let (start, before) = (Instant::now(), children_cpu());
            run(&mut (side.command)());
            let (spent, used) = (start.elapsed().as_secs_f64(), children_cpu() - before);
            wall[index].ns.push(spent * 1e9 / BYTES as f64);
            cpu[index].ns.push(used * 1e9 / BYTES as f64);
        }
    }
    crate::harness::pin(1);
    wall.extend(cpu);
    for case in wall.chunk_by(|a, b| a.case == b.case) {
        let [theirs, ours] = case else { continue };
        let seconds = |one: &Samples| median(&one.ns) * BYTES as f64 / 1e9;
        let (a, b) = (seconds(theirs), seconds(ours));
        println!(
            "{}: qemu-img {a:.3} s, luksmith {b:.3} s, x{:.2}",
            ours.case,
            ratio(ours, theirs)
        );
    }
    wall
}
