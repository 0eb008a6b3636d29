//! The text form of a LUKS2 header.

use std::fmt::{Result, Write};

use luksmith::header::{
    Blob, Digest, Kdf, Keyslot, KeyslotKind, Priority, Segment, Token,
    json::Value,
    luks2::{Header, Metadata},
};

use super::push_hex;

/// Only objects with ids below these are shown, as cryptsetup does it.
const OBJECTS: u32 = 32;
const DIGESTS: u32 = 8;

/// Indentation of the second and later lines of bytes.
const HEX_INDENT: &str = "\t            ";

/// Renders a header.
pub(super) fn text(header: &Header) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, header);
    text
}

fn write_all(text: &mut String, header: &Header) -> Result {
    let metadata = header.metadata();
    write_top(text, header)?;
    text.push_str("Data segments:\n");
    for segment in in_order(metadata.segments(), OBJECTS, |segment| Some(segment.id)) {
        write_segment(text, segment)?;
    }
    text.push_str("Keyslots:\n");
    for slot in in_order(metadata.keyslots(), OBJECTS, |slot| slot.id) {
        write_keyslot(text, slot, metadata)?;
    }
    text.push_str("Tokens:\n");
    for token in in_order(metadata.tokens(), OBJECTS, |token| token.id) {
        write_token(text, token, metadata)?;
    }
    text.push_str("Digests:\n");
    for digest in in_order(metadata.digests(), DIGESTS, |digest| digest.id) {
        write_digest(text, digest)?;
    }
    Ok(())
}

/// Gives the objects with ids below `bound`, in the order of their ids.
fn in_order<T>(objects: &[T], bound: u32, id: impl Fn(&T) -> Option<u32>) -> Vec<&T> {
    let mut listed: Vec<&T> = objects
        .iter()
        .filter(|object| id(object).is_some_and(|id| id < bound))
        .collect();
    listed.sort_by_key(|object| id(object));
    listed
}

fn write_top(text: &mut String, header: &Header) -> Result {
    let (binary, metadata) = (header.binary(), header.metadata());
    let or = |value: String, none: &str| match value.is_empty() {
        true => none.to_owned(),
        false => value,
    };
    writeln!(text, "LUKS header information")?;
    writeln!(text, "Version:       \t2")?;
    writeln!(text, "Epoch:         \t{}", binary.seqid())?;
    writeln!(text, "Metadata area: \t{} [bytes]", metadata.hdr_len())?;
    writeln!(text, "Keyslots area: \t{} [bytes]", metadata.keyslots_len())?;
    writeln!(text, "UUID:          \t{}", or(binary.uuid(), "(no UUID)"))?;
    writeln!(
        text,
        "Label:         \t{}",
        or(binary.label(), "(no label)")
    )?;
    let subsystem = or(binary.subsystem(), "(no subsystem)");
    writeln!(text, "Subsystem:     \t{subsystem}")?;
    text.push_str("Flags:       \t");
    if metadata.flags().is_empty() {
        text.push_str("(no flags)");
    }
    for flag in metadata.flags() {
        write!(text, "{flag} ")?;
    }
    text.push('\n');
    if !metadata.requirements().is_empty() {
        text.push_str("Requirements:\t");
        for requirement in metadata.requirements() {
            write!(text, "{} ", requirement.to_word())?;
        }
        text.push('\n');
    }
    text.push('\n');
    Ok(())
}

fn write_segment(text: &mut String, segment: &Segment) -> Result {
    writeln!(text, "  {}: {}", segment.id, segment.type_name)?;
    writeln!(text, "\toffset: {} [bytes]", segment.offset)?;
    match segment.len {
        None => text.push_str("\tlength: (whole device)\n"),
        Some(len) => writeln!(text, "\tlength: {len} [bytes]")?,
    }
    match &segment.crypt {
        None => text.push_str("\tcipher: (no SW encryption)\n"),
        Some(crypt) => {
            writeln!(text, "\tcipher: {}", crypt.encryption)?;
            writeln!(text, "\tsector: {} [bytes]", crypt.sector_size)?;
            if let Some(integrity) = &crypt.integrity {
                writeln!(text, "\tintegrity: {}", integrity.kind)?;
                if let Some(bytes) = integrity.key_bytes {
                    writeln!(text, "\tintegrity key size: {} [bits]", bits(bytes))?;
                }
            }
        }
    }
    if !segment.flags.is_empty() {
        writeln!(text, "\tflags : {}", segment.flags.join(", "))?;
    }
    if let Some(opal) = &segment.opal {
        text.push_str("\tHW OPAL encryption:\n");
        writeln!(text, "\t\tOPAL segment number: {}", opal.segment_number)?;
        writeln!(text, "\t\tOPAL key: {} bits", bits(opal.key_bytes))?;
        writeln!(text, "\t\tOPAL segment length: {} [bytes]", opal.len)?;
    }
    text.push('\n');
    Ok(())
}

fn write_keyslot(text: &mut String, slot: &Keyslot, metadata: &Metadata) -> Result {
    let Some(id) = slot.id else { return Ok(()) };
    let unbound = if is_unbound(id, metadata) {
        " (unbound)"
    } else {
        ""
    };
    writeln!(text, "  {id}: {}{unbound}", slot.type_name)?;
    writeln!(text, "\tKey:        {} bits", bits(slot.key_bytes))?;
    let priority = match slot.priority {
        Priority::Ignore => "ignored",
        Priority::Normal => "normal",
        Priority::Prefer => "preferred",
        Priority::Other(_) => "invalid",
    };
    writeln!(text, "\tPriority:   {priority}")?;
    match &slot.kind {
        KeyslotKind::Luks2 { kdf, af } => {
            let encryption = slot.area.encryption.as_deref().unwrap_or_default();
            writeln!(text, "\tCipher:     {encryption}")?;
            let key_bits = bits(slot.area.key_bytes.unwrap_or_default());
            writeln!(text, "\tCipher key: {key_bits} bits")?;
            write_kdf(text, kdf)?;
            writeln!(text, "\tAF stripes: {}", af.stripes)?;
            writeln!(text, "\tAF hash:    {}", af.hash)?;
            write_area(text, slot)?;
        }
        KeyslotKind::Reencrypt { mode, direction } => {
            writeln!(text, "\tMode:       {mode}")?;
            writeln!(text, "\tDirection:  {direction}")?;
            write_resilience(text, slot, metadata)?;
            write_area(text, slot)?;
        }
        _ => {}
    }
    for digest in in_order(metadata.digests(), OBJECTS, |digest| digest.id) {
        if let Some(digest_id) = digest.id.filter(|_| digest.keyslots.contains(&id)) {
            writeln!(text, "\tDigest ID:  {digest_id}")?;
        }
    }
    Ok(())
}

/// Tells whether a keyslot's key opens none of the volume's segments.
fn is_unbound(id: u32, metadata: &Metadata) -> bool {
    let Some(digest) = metadata.digest_of_keyslot(id) else {
        return true;
    };
    !metadata
        .regular_segments()
        .any(|segment| digest.segments.contains(&segment.id))
}

fn write_kdf(text: &mut String, kdf: &Kdf) -> Result {
    writeln!(text, "\tPBKDF:      {}", kdf.name())?;
    match kdf {
        Kdf::Pbkdf2 {
            hash,
            iterations,
            salt,
        } => {
            writeln!(text, "\tHash:       {hash}")?;
            writeln!(text, "\tIterations: {iterations}")?;
            write_blob(text, "Salt:       ", Some(salt));
        }
        Kdf::Argon2 {
            passes,
            memory_kib,
            lanes,
            salt,
            ..
        } => {
            writeln!(text, "\tTime cost:  {passes}")?;
            writeln!(text, "\tMemory:     {memory_kib}")?;
            writeln!(text, "\tThreads:    {lanes}")?;
            write_blob(text, "Salt:       ", Some(salt));
        }
        _ => {}
    }
    Ok(())
}

fn write_area(text: &mut String, slot: &Keyslot) -> Result {
    writeln!(text, "\tArea offset:{} [bytes]", slot.area.offset)?;
    writeln!(text, "\tArea length:{} [bytes]", slot.area.len)
}

/// The working area of a re-encryption has fields of its own.
fn write_resilience(text: &mut String, slot: &Keyslot, metadata: &Metadata) -> Result {
    let slots = metadata.tree().get("keyslots").and_then(Value::as_object);
    let object = slots.and_then(|slots| slots.get(&slot.key));
    let area = object.and_then(Value::as_object);
    let area = area
        .and_then(|object| object.get("area"))
        .and_then(Value::as_object);
    let field = |name: &str| area.and_then(|area| area.get(name));
    writeln!(text, "\tResilience: {}", slot.area.kind)?;
    if slot.area.kind.starts_with("checksum") || slot.area.kind.ends_with("checksum") {
        let hash = field("hash").and_then(Value::as_str).unwrap_or_default();
        writeln!(text, "\tHash:       {hash}")?;
        let size = field("sector_size").and_then(Value::as_integer);
        let size = size.map(|number| number.text()).unwrap_or_default();
        writeln!(text, "\tHash data:  {size} [bytes]")?;
    }
    if slot.area.kind.starts_with("datashift") {
        let shift = field("shift_size").and_then(Value::as_str);
        writeln!(text, "\tShift size: {}[bytes]", shift.unwrap_or_default())?;
    }
    Ok(())
}

fn write_token(text: &mut String, token: &Token, metadata: &Metadata) -> Result {
    let Some(id) = token.id else { return Ok(()) };
    writeln!(text, "  {id}: {}", token.type_name)?;
    if token.type_name == "luks2-keyring" {
        let object = metadata.token_object(id);
        let description = object.and_then(|object| object.get("key_description"));
        let description = description.and_then(Value::as_str).unwrap_or_default();
        writeln!(text, "\tKey description: {description}")?;
    }
    for keyslot in &token.keyslots {
        writeln!(text, "\tKeyslot:    {keyslot}")?;
    }
    Ok(())
}

fn write_digest(text: &mut String, digest: &Digest) -> Result {
    let Some(id) = digest.id else { return Ok(()) };
    writeln!(text, "  {id}: {}", digest.type_name)?;
    if digest.type_name != "pbkdf2" {
        return Ok(());
    }
    writeln!(
        text,
        "\tHash:       {}",
        digest.hash.as_deref().unwrap_or_default()
    )?;
    writeln!(
        text,
        "\tIterations: {}",
        digest.iterations.unwrap_or_default()
    )?;
    write_blob(text, "Salt:       ", digest.salt.as_ref());
    write_blob(text, "Digest:     ", digest.digest.as_ref());
    Ok(())
}

fn write_blob(text: &mut String, name: &str, blob: Option<&Blob>) {
    text.push('\t');
    text.push_str(name);
    let bytes = blob.and_then(|blob| blob.bytes().ok());
    push_hex(text, bytes.unwrap_or_default(), HEX_INDENT);
}

/// A length in bytes as bits, in the 32 bits that cryptsetup counts in.
fn bits(bytes: u32) -> u32 {
    bytes.wrapping_mul(8)
}
