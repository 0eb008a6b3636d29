//! Copies a file out of the ext4 file system in a volume, without mounting anything:
//! `cargo run --example copy_out -- IMAGE /path/in/volume TARGET`, with the passphrase on standard
//! input.

use std::{
    error::Error,
    fs,
    io::{self, Read, Seek, SeekFrom},
};

use ext4_view::{Ext4, Ext4Read};
use luksmith::{
    OpenOptions, Passphrase, Unlock, Volume,
    block::{ByteDevice, FileOptions},
};

/// A volume, as the file system reader wants it: bytes at any place.
struct Bytes(ByteDevice<Volume>);

impl Ext4Read for Bytes {
    fn read(
        &mut self,
        start_byte: u64,
        target: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut stream = self.0.stream();
        stream.seek(SeekFrom::Start(start_byte))?;
        Ok(stream.read_exact(target)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, source, target] = arguments.as_slice() else {
        return Err("usage: copy_out IMAGE SOURCE TARGET".into());
    };
    let file = FileOptions::reader().open(image)?;
    let passphrase = Passphrase::read_from(&mut io::stdin().lock(), 4096)?;
    let options = OpenOptions::new().read_only();
    let volume = luksmith::open(file, Unlock::Passphrase(&passphrase), &options)?;

    let files = Ext4::load(Box::new(Bytes(volume.into_bytes())))?;
    let contents = files.read(source.as_str())?;
    fs::write(target, &contents)?;
    println!("{} bytes", contents.len());
    Ok(())
}
