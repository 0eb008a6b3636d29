//! Prints what a header says: `cargo run -p luksmith-header --example show_header -- FILE`.

use std::{env, error::Error, fs};

use luksmith_block::{MemDevice, SectorSize};
use luksmith_header::{Header, Limits};

fn main() -> Result<(), Box<dyn Error>> {
    for path in env::args().skip(1) {
        // A whole file in memory is enough for a header and needs nothing of the system.
        let device = MemDevice::from_bytes(&fs::read(&path)?, SectorSize::S512);
        match Header::read(&device, &Limits::default()) {
            Ok(header) => println!(
                "{path}: LUKS{} {} keyslots {:?} segments {:?}",
                header.version(),
                header.uuid(),
                header
                    .keyslots()
                    .iter()
                    .map(|slot| slot.id)
                    .collect::<Vec<_>>(),
                header
                    .segments()
                    .iter()
                    .map(|segment| segment.kind)
                    .collect::<Vec<_>>(),
            ),
            Err(error) => println!("{path}: {error}"),
        }
    }
    Ok(())
}
