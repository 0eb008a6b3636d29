//! The text form of a LUKS1 header.

use std::{fmt::Write, path::Path};

use luksmith::header::luks1::{Header, SlotState};

use super::push_hex;

/// Renders the header of the device that the user called `name`.
pub(super) fn text(header: &Header, name: &Path) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_header(&mut text, header, name);
    for (number, slot) in header.keyslots().iter().enumerate() {
        if slot.state != SlotState::Enabled {
            let _ = writeln!(text, "Key Slot {number}: DISABLED");
            continue;
        }
        let _ = writeln!(text, "Key Slot {number}: ENABLED");
        let _ = writeln!(text, "\tIterations:         \t{}", slot.iterations);
        text.push_str("\tSalt:               \t");
        push_hex(&mut text, &slot.salt, "\t                      \t");
        let _ = writeln!(text, "\tKey material offset:\t{}", slot.key_material_offset);
        let _ = writeln!(text, "\tAF stripes:            \t{}", slot.stripes);
    }
    text
}

fn write_header(text: &mut String, header: &Header, name: &Path) -> std::fmt::Result {
    writeln!(text, "LUKS header information for {}\n", name.display())?;
    writeln!(text, "Version:       \t1")?;
    writeln!(text, "Cipher name:   \t{}", header.cipher_name())?;
    writeln!(text, "Cipher mode:   \t{}", header.cipher_mode())?;
    writeln!(text, "Hash spec:     \t{}", header.hash_name())?;
    writeln!(text, "Payload offset:\t{}", header.payload_sector())?;
    writeln!(
        text,
        "MK bits:       \t{}",
        header.key_bytes().wrapping_mul(8)
    )?;
    text.push_str("MK digest:     \t");
    for byte in header.digest() {
        write!(text, "{byte:02x} ")?;
    }
    text.push_str("\nMK salt:       \t");
    push_hex(text, &header.digest_salt(), "               \t");
    writeln!(text, "MK iterations: \t{}", header.digest_iterations())?;
    writeln!(text, "UUID:          \t{}\n", header.uuid())
}
