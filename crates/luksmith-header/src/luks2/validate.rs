//! The rules that the metadata must obey, on reading and before every write.
//!
//! # Format
//! docs/formats/luks2.md, "Rules"; the letters of the groups are the ones used there.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use super::{
    HeaderSize, MAX_KEYSLOTS_AREA_BYTES,
    node::{Node, ObjectNode, atoi},
    requirement::Requirement,
};
use crate::{
    Error,
    error::{Fault, Quoted},
    json::{Object, Value},
};

/// Checks every rule, for a header copy of `hdr_size` bytes.
///
/// # Errors
/// [`Error::Field`] for the first broken rule.
pub(super) fn validate(tree: &Object, hdr_size: u64) -> Result<(), Error> {
    let top = ObjectNode::top(tree);
    requirements(&top)?;
    tokens(&top)?;
    digests(&top)?;
    segments(&top)?;
    keyslot_basics(&top)?;
    config(&top, hdr_size)?;
    areas(&top, hdr_size)?;
    sizes(&top, hdr_size)?;
    keyslot_types(&top)?;
    reencryption(&top)
}

/// Deletes the kdf members that do not belong to a keyslot's kdf, which an old version left behind.
/// Tells whether there were any.
pub(super) fn drop_foreign_kdf_members(tree: &mut Object) -> bool {
    let Some(Value::Object(keyslots)) = tree.get_mut("keyslots") else {
        return false;
    };
    let keys: Vec<String> = keyslots
        .iter()
        .map(|member| member.key().to_string())
        .collect();
    let mut changed = false;
    for key in keys {
        let Some(Value::Object(slot)) = keyslots.get_mut(&key) else {
            continue;
        };
        if slot.get("type").and_then(Value::as_c_str) != Some("luks2") {
            continue;
        }
        let Some(Value::Object(kdf)) = slot.get_mut("kdf") else {
            continue;
        };
        let Some(members) = kdf
            .get("type")
            .and_then(Value::as_c_str)
            .and_then(kdf_members)
        else {
            continue;
        };
        let before = kdf.len();
        kdf.retain(|name, _| members.contains(&name));
        changed |= kdf.len() != before;
    }
    changed
}

/// Gives the members of a kdf type that is known.
fn kdf_members(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "pbkdf2" => Some(&["type", "hash", "iterations", "salt"]),
        "argon2i" | "argon2id" => Some(&["type", "time", "memory", "cpus", "salt"]),
        _ => None,
    }
}

/// Gives a member that is an object.
fn section<'t, 's>(top: &'s ObjectNode<'t, '_>, key: &'s str) -> Result<ObjectNode<'t, 's>, Error> {
    top.member(key)?.object()
}

/// The words in `config.requirements.mandatory`.
fn mandatory<'t>(top: &ObjectNode<'t, '_>) -> Result<Vec<&'t str>, Error> {
    let config = section(top, "config")?;
    let Some(requirements) = config.optional("requirements") else {
        return Ok(Vec::new());
    };
    let requirements = requirements.object()?;
    match requirements.optional("mandatory") {
        Some(list) => list.strings(),
        None => Ok(Vec::new()),
    }
}

/// R: requirements.
fn requirements(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let words = mandatory(top)?;
    let reencryptions = words
        .iter()
        .filter(|word| Requirement::is_online_reencryption_word(word))
        .count();
    if reencryptions > 1 {
        return Err(Error::Field {
            path: top
                .path()
                .member("config")
                .member("requirements")
                .member("mandatory"),
            fault: Fault::RequirementTwice,
        });
    }
    Ok(())
}

fn numeric_key(key: &str, node: &Node<'_, '_>) -> Result<(), Error> {
    if key.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        node.fail(Fault::Key)
    }
}

/// Checks that each string of an array names a member of `to` that is an object.
fn references(
    list: &Node<'_, '_>,
    to: &ObjectNode<'_, '_>,
    container: &'static str,
) -> Result<(), Error> {
    for element in list.elements()? {
        let name = element.text()?;
        let found = to.object().get(name).and_then(Value::as_object);
        if found.is_none() {
            return element.fail(Fault::Reference {
                name: Quoted::new(name),
                container,
            });
        }
    }
    Ok(())
}

/// T: tokens.
fn tokens(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let keyslots = section(top, "keyslots")?;
    let tokens = section(top, "tokens")?;
    for (key, node) in tokens.members() {
        numeric_key(key, &node)?;
        let token = node.object()?;
        token.member("type")?.word()?;
        references(&token.member("keyslots")?, &keyslots, "keyslots")?;
    }
    Ok(())
}

/// D: digests.
fn digests(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let keyslots = section(top, "keyslots")?;
    let segments = section(top, "segments")?;
    let digests = section(top, "digests")?;
    for (key, node) in digests.members() {
        numeric_key(key, &node)?;
        let digest = node.object()?;
        digest.member("type")?.word()?;
        references(&digest.member("keyslots")?, &keyslots, "keyslots")?;
        references(&digest.member("segments")?, &segments, "segments")?;
    }
    Ok(())
}

/// Counts in how many digests each name stands, in the list called `list`.
fn listed_in_digests<'t>(
    top: &ObjectNode<'t, '_>,
    list: &str,
) -> Result<BTreeMap<&'t str, usize>, Error> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, node) in section(top, "digests")?.members() {
        let names: BTreeSet<&str> = node
            .object()?
            .member(list)?
            .strings()?
            .into_iter()
            .collect();
        for name in names {
            let entry = count.entry(name).or_default();
            *entry = entry.saturating_add(1);
        }
    }
    Ok(count)
}

/// What the later rules need of one segment.
struct Extent<'t> {
    key: &'t str,
    id: i32,
    offset: u64,
    /// `None` is "dynamic".
    size: Option<u64>,
    backup: bool,
}

/// S: segments.
fn segments(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let segments = section(top, "segments")?;
    if segments.len() == 0 {
        return segments.fail(Fault::NoSegment);
    }
    let listed = listed_in_digests(top, "segments")?;
    let mut extents = Vec::new();
    let mut first_backup: Option<i32> = None;
    for (key, node) in segments.members() {
        numeric_key(key, &node)?;
        let extent = one_segment(key, &node, &listed)?;
        match (extent.backup, first_backup) {
            (true, first) => {
                first_backup = Some(first.map_or(extent.id, |id| id.min(extent.id)));
            }
            (false, Some(backup)) if extent.id >= backup => {
                return node.fail(Fault::RegularBehindBackup {
                    backup: i64::from(backup),
                });
            }
            (false, _) => {}
        }
        extents.push(extent);
    }
    let regular = segment_ids(&segments, first_backup)?;
    extents.retain(|extent| usize::try_from(extent.id).is_ok_and(|id| id < regular));
    segment_overlaps(&segments, &mut extents)?;
    reencryption_segments(top, &segments)
}

fn one_segment<'t>(
    key: &'t str,
    node: &Node<'t, '_>,
    listed: &BTreeMap<&str, usize>,
) -> Result<Extent<'t>, Error> {
    let segment = node.object()?;
    let kind = segment.member("type")?.word()?;
    let offset_field = segment.member("offset")?;
    let offset = offset_field.strict_decimal()?;
    offset_field.multiple(offset, 512)?;
    let size_field = segment.member("size")?;
    let size = size_field.size()?;
    if let Some(size) = size {
        if size == 0 {
            return size_field.fail(Fault::Zero);
        }
        size_field.multiple(size, 512)?;
    }
    let flags = match segment.optional("flags") {
        Some(flags) => flags.strings()?,
        None => Vec::new(),
    };
    if kind == "crypt" {
        crypt_segment(key, node, size, listed)?;
    } else if kind.starts_with("hw-opal") {
        opal_segment(&segment, size)?;
        if kind == "hw-opal-crypt" {
            crypt_segment(key, node, size, listed)?;
        }
    }
    Ok(Extent {
        key,
        id: atoi(key),
        offset,
        size,
        backup: flags.iter().any(|flag| flag.starts_with("backup-")),
    })
}

fn crypt_segment(
    key: &str,
    node: &Node<'_, '_>,
    size: Option<u64>,
    listed: &BTreeMap<&str, usize>,
) -> Result<(), Error> {
    let segment = node.object()?;
    segment.member("iv_tweak")?.strict_decimal()?;
    segment.member("encryption")?.word()?;
    let sector_field = segment.member("sector_size")?;
    let sector_size = u64::from(sector_field.unsigned32()?);
    if sector_size == 0 {
        return sector_field.fail(Fault::Zero);
    }
    sector_field.multiple(sector_size, 512)?;
    if let Some(size) = size {
        segment.member("size")?.multiple(size, sector_size)?;
    }
    if let Some(integrity) = segment.optional("integrity") {
        let integrity = integrity.object()?;
        for field in ["type", "journal_encryption", "journal_integrity"] {
            integrity.member(field)?.word()?;
        }
    }
    if !listed.contains_key(key) {
        return node.fail(Fault::NoDigest);
    }
    Ok(())
}

fn opal_segment(segment: &ObjectNode<'_, '_>, size: Option<u64>) -> Result<(), Error> {
    let Some(size) = size else {
        return segment.member("size")?.fail(Fault::Dynamic);
    };
    segment.member("opal_segment_number")?.unchecked32()?;
    segment.member("opal_key_size")?.unchecked32()?;
    let length_field = segment.member("opal_segment_size")?;
    let length = length_field.strict_decimal()?;
    if length == 0 {
        return length_field.fail(Fault::Zero);
    }
    if length < size {
        return length_field.fail(Fault::TooSmall {
            found: length,
            min: size,
        });
    }
    Ok(())
}

/// Checks that ids count up from 0 and gives the number of regular segments.
fn segment_ids(segments: &ObjectNode<'_, '_>, first_backup: Option<i32>) -> Result<usize, Error> {
    let count = segments.len();
    let regular = match first_backup {
        None => count,
        Some(id) => match usize::try_from(id) {
            Ok(id) if id < count => id,
            _ => return segments.fail(Fault::SegmentCount),
        },
    };
    if regular == 0 {
        return segments.fail(Fault::SegmentCount);
    }
    for id in 0..count {
        if segments.object().get(&id.to_string()).is_none() {
            return segments.fail(Fault::SegmentIds { missing: id });
        }
    }
    Ok(regular)
}

fn segment_overlaps(
    segments: &ObjectNode<'_, '_>,
    extents: &mut [Extent<'_>],
) -> Result<(), Error> {
    let fail = |key: &str, fault: Fault| {
        Err(Error::Field {
            path: segments.path().member(key),
            fault,
        })
    };
    let last = extents.len().saturating_sub(1);
    for extent in extents.iter() {
        let is_last = usize::try_from(extent.id) == Ok(last);
        if extent.size.is_none() && !is_last {
            return fail(extent.key, Fault::DynamicNotLast);
        }
    }
    // A segment alone is not checked for its end: cryptsetup compares pairs.
    if extents.len() > 1 {
        for extent in extents.iter() {
            if let Some(size) = extent.size
                && extent.offset.checked_add(size).is_none()
            {
                return fail(
                    extent.key,
                    Fault::Wraps {
                        offset: extent.offset,
                        size,
                    },
                );
            }
        }
    }
    extents.sort_by_key(|extent| extent.offset);
    for pair in extents.windows(2) {
        let [low, high] = pair else { continue };
        let end = low
            .size
            .and_then(|size| low.offset.checked_add(size))
            .unwrap_or(u64::MAX);
        if high.offset < end || low.size.is_none() {
            return fail(
                high.key,
                Fault::Overlap {
                    other: Quoted::new(low.key),
                },
            );
        }
    }
    Ok(())
}

/// The fields by which a segment counts as being in an old or a new state.
#[derive(PartialEq)]
struct State<'t> {
    kind: &'t str,
    encryption: Option<&'t str>,
    sector_size: Option<u32>,
}

fn state<'t>(segment: &ObjectNode<'t, '_>) -> Result<State<'t>, Error> {
    let kind = segment.member("type")?.word()?;
    let is_crypt = kind == "crypt";
    Ok(State {
        kind,
        encryption: match is_crypt {
            true => Some(segment.member("encryption")?.word()?),
            false => None,
        },
        sector_size: match is_crypt {
            true => Some(segment.member("sector_size")?.unsigned32()?),
            false => None,
        },
    })
}

/// The rule for segments under a known online re-encryption requirement.
fn reencryption_segments(
    top: &ObjectNode<'_, '_>,
    segments: &ObjectNode<'_, '_>,
) -> Result<(), Error> {
    if !has_known_reencryption(&mandatory(top)?) {
        return Ok(());
    }
    let mut last = None;
    let mut previous = None;
    let mut regular = Vec::new();
    for (key, node) in segments.members() {
        let segment = node.object()?;
        let flags = match segment.optional("flags") {
            Some(flags) => flags.strings()?,
            None => Vec::new(),
        };
        if !flags.iter().any(|flag| flag.starts_with("backup-")) {
            regular.push((key, state(&segment)?, flags.contains(&"in-reencryption")));
        } else if flags.contains(&"backup-final") {
            last.get_or_insert(state(&segment)?);
        } else if flags.contains(&"backup-previous") {
            previous.get_or_insert(state(&segment)?);
        }
    }
    let lacks = |what| segments.fail(Fault::ReencryptionLacks { what });
    let Some(last) = last else {
        return lacks("a segment flagged \"backup-final\"");
    };
    let Some(previous) = previous else {
        return lacks("a segment flagged \"backup-previous\"");
    };
    for (key, state, hot) in regular {
        let fits = state == last || (!hot && state == previous);
        if !fits {
            return Err(Error::Field {
                path: segments.path().member(key),
                fault: Fault::ReencryptionMismatch,
            });
        }
    }
    Ok(())
}

fn has_known_reencryption(words: &[&str]) -> bool {
    words.iter().any(|word| {
        matches!(
            Requirement::parse(word),
            Requirement::OnlineReencrypt { .. }
        )
    })
}

/// K: what every keyslot has.
fn keyslot_basics(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    for (key, node) in section(top, "keyslots")?.members() {
        numeric_key(key, &node)?;
        let slot = node.object()?;
        slot.member("type")?.word()?;
        slot.member("key_size")?.unsigned32()?;
    }
    Ok(())
}

/// C: config.
fn config(top: &ObjectNode<'_, '_>, hdr_size: u64) -> Result<(), Error> {
    let config = section(top, "config")?;
    let json_field = config.member("json_size")?;
    let json_size = json_field.loose_decimal()?;
    if HeaderSize::from_json_bytes(json_size).is_none() {
        return json_field.fail(Fault::JsonSize {
            found: json_size,
            expected: hdr_size.saturating_sub(4096),
        });
    }
    let area_field = config.member("keyslots_size")?;
    let area = area_field.loose_decimal()?;
    area_field.multiple(area, 4096)?;
    if area > MAX_KEYSLOTS_AREA_BYTES {
        return area_field.fail(Fault::TooLarge {
            found: area,
            max: MAX_KEYSLOTS_AREA_BYTES,
        });
    }
    let data = data_offset(top)?;
    // Neither sum can overflow: 128 MiB and 8 MiB at most.
    let needed = area.saturating_add(hdr_size.saturating_mul(2));
    if data != 0 && data < needed {
        return area_field.fail(Fault::DataOffset { data, needed });
    }
    if let Some(flags) = config.optional("flags") {
        flags.strings()?;
    }
    Ok(())
}

/// Gives the smallest offset of the regular segments.
fn data_offset(top: &ObjectNode<'_, '_>) -> Result<u64, Error> {
    let mut smallest: Option<u64> = None;
    for (_, node) in section(top, "segments")?.members() {
        let segment = node.object()?;
        let backup = match segment.optional("flags") {
            Some(flags) => flags
                .strings()?
                .iter()
                .any(|flag| flag.starts_with("backup-")),
            None => false,
        };
        if !backup {
            let offset = segment.member("offset")?.strict_decimal()?;
            smallest = Some(smallest.map_or(offset, |least| least.min(offset)));
        }
    }
    Ok(smallest.unwrap_or(0))
}

/// A: keyslot areas.
fn areas(top: &ObjectNode<'_, '_>, hdr_size: u64) -> Result<(), Error> {
    let keyslots = section(top, "keyslots")?;
    let area_bytes = section(top, "config")?
        .member("keyslots_size")?
        .loose_decimal()?;
    let start = hdr_size.saturating_mul(2);
    let end = start.saturating_add(area_bytes);
    let mut areas = Vec::new();
    for (key, node) in keyslots.members() {
        let slot = node.object()?;
        let area = slot.member("area")?;
        let area = area.object()?;
        area.member("type")?.word()?;
        let offset_field = area.member("offset")?;
        let offset = offset_field.strict_decimal()?;
        let size_field = area.member("size")?;
        let size = size_field.strict_decimal()?;
        if offset < start {
            return offset_field.fail(Fault::TooSmall {
                found: offset,
                min: start,
            });
        }
        if size == 0 {
            return size_field.fail(Fault::Zero);
        }
        match offset.checked_add(size) {
            Some(last) if last <= end => areas.push((offset, last, key)),
            _ => {
                return area.fail(Fault::AreaEnd { offset, size, end });
            }
        }
    }
    areas.sort_unstable();
    for pair in areas.windows(2) {
        if let [(_, end, low), (offset, _, high)] = pair
            && offset < end
        {
            return Err(Error::Field {
                path: keyslots.path().member(high).member("area"),
                fault: Fault::Overlap {
                    other: Quoted::new(low),
                },
            });
        }
    }
    Ok(())
}

/// J: the sizes of text and area.
fn sizes(top: &ObjectNode<'_, '_>, hdr_size: u64) -> Result<(), Error> {
    let config = section(top, "config")?;
    let field = config.member("json_size")?;
    let json_size = field.loose_decimal()?;
    if hdr_size.checked_sub(4096) != Some(json_size) {
        return field.fail(Fault::JsonSize {
            found: json_size,
            expected: hdr_size.saturating_sub(4096),
        });
    }
    let found = top.object().to_compact().len();
    if u64::try_from(found).map_or(true, |found| found > json_size) {
        return top.fail(Fault::TextTooLong {
            found,
            max: json_size,
        });
    }
    Ok(())
}

/// H: what the known keyslot types have.
fn keyslot_types(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let listed = listed_in_digests(top, "keyslots")?;
    for (key, node) in section(top, "keyslots")?.members() {
        let slot = node.object()?;
        match slot.member("type")?.word()? {
            "luks2" => {
                luks2_keyslot(&slot)?;
                let id = atoi(key).to_string();
                let found = listed.get(id.as_str()).copied().unwrap_or(0);
                if found != 1 {
                    return node.fail(Fault::DigestCount { found });
                }
            }
            "reencrypt" => reencrypt_keyslot(&slot)?,
            _ => {}
        }
    }
    Ok(())
}

fn luks2_keyslot(slot: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let kdf = slot.member("kdf")?;
    let kdf = kdf.object()?;
    let kind = kdf.member("type")?.word()?;
    if let Some(members) = kdf_members(kind) {
        for field in members {
            match *field {
                "hash" | "salt" | "type" => {
                    kdf.member(field)?.word()?;
                }
                _ => {
                    kdf.member(field)?.unchecked32()?;
                }
            }
        }
        if kdf.len() != members.len() {
            return kdf.fail(Fault::Members {
                found: kdf.len(),
                expected: members.len(),
            });
        }
    }
    let af = slot.member("af")?;
    let af = af.object()?;
    one_of(&af.member("type")?, &["luks1"], "\"luks1\"")?;
    af.member("hash")?.word()?;
    af.member("stripes")?.unchecked32()?;
    let area = slot.member("area")?;
    let area = area.object()?;
    one_of(&area.member("type")?, &["raw"], "\"raw\"")?;
    area.member("encryption")?.word()?;
    area.member("key_size")?.unchecked32()?;
    Ok(())
}

fn reencrypt_keyslot(slot: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let key_size = slot.member("key_size")?;
    if key_size.unsigned32()? != 1 {
        return key_size.fail(Fault::Word {
            found: Quoted::new(&key_size.value().to_compact()),
            expected: "1",
        });
    }
    one_of(
        &slot.member("mode")?,
        &["reencrypt", "encrypt", "decrypt"],
        "\"reencrypt\", \"encrypt\" or \"decrypt\"",
    )?;
    one_of(
        &slot.member("direction")?,
        &["forward", "backward"],
        "\"forward\" or \"backward\"",
    )?;
    let area = slot.member("area")?;
    let area = area.object()?;
    match area.member("type")?.word()? {
        "checksum" | "datashift-checksum" => {
            area.member("hash")?.word()?;
            let field = area.member("sector_size")?;
            let found = field.unsigned32()?;
            if found < 512 {
                return field.fail(Fault::TooSmall {
                    found: u64::from(found),
                    min: 512,
                });
            }
            if !found.is_power_of_two() {
                return field.fail(Fault::PowerOfTwo {
                    found: u64::from(found),
                });
            }
        }
        "datashift" | "datashift-journal" => {
            let field = area.member("shift_size")?;
            let shift = field.loose_decimal()?;
            if shift == 0 {
                return field.fail(Fault::Zero);
            }
            field.multiple(shift, 512)?;
        }
        _ => {}
    }
    Ok(())
}

fn one_of(node: &Node<'_, '_>, words: &[&str], expected: &'static str) -> Result<(), Error> {
    let found = node.word()?;
    if words.contains(&found) {
        return Ok(());
    }
    node.fail(Fault::Word {
        found: Quoted::new(found),
        expected,
    })
}

/// The rule that ties requirement and reencrypt keyslot together.
fn reencryption(top: &ObjectNode<'_, '_>) -> Result<(), Error> {
    let words = mandatory(top)?;
    let keyslots = section(top, "keyslots")?;
    let mut found = 0_usize;
    for (_, node) in keyslots.members() {
        if node.object()?.member("type")?.word()? == "reencrypt" {
            found = found.saturating_add(1);
        }
    }
    let wanted = words
        .iter()
        .any(|word| Requirement::is_online_reencryption_word(word));
    let lacks = |what| keyslots.fail(Fault::ReencryptionLacks { what });
    match found {
        0 if has_known_reencryption(&words) => lacks("a keyslot of type reencrypt"),
        0 => Ok(()),
        1 if wanted => Ok(()),
        1 => lacks("a re-encryption requirement beside its keyslot"),
        _ => lacks("exactly one keyslot of type reencrypt"),
    }
}
