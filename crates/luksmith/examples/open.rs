//! Opens an image and says what is in it: `cargo run --example open -- IMAGE`, with the passphrase
//! on standard input. Nothing is written.

use std::{error::Error, io::stdin};

use luksmith::{
    OpenOptions, Passphrase, Unlock,
    block::{BlockDevice, ByteOffset, FileOptions},
};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: open IMAGE")?;
    let file = FileOptions::reader().open(&path)?;

    // Whole, as a key file is: `printf %s passphrase | cargo run --example open -- IMAGE`.
    let passphrase = Passphrase::read_from(&mut stdin().lock(), 4096)?;
    let options = OpenOptions::new().read_only();
    let volume = luksmith::open(file, Unlock::Passphrase(&passphrase), &options)?;

    println!(
        "LUKS{} {}",
        volume.header().version(),
        volume.header().uuid()
    );
    println!("cipher: {}", volume.cipher());
    match volume.integrity() {
        Some(integrity) => println!("integrity: {integrity}"),
        None => println!("integrity: none, a changed sector is not noticed"),
    }
    println!("sector size: {} bytes", volume.sector_size());
    println!("size: {} bytes", volume.size());

    let mut start = vec![0; volume.sector_size().bytes()];
    volume.read_at(ByteOffset::ZERO, &mut start)?;
    let shown: Vec<String> = start
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("first bytes: {}", shown.join(" "));
    volume.close()?;
    Ok(())
}
