//! A header held against a profile, field by field.

use alloc::{format, string::ToString, vec::Vec};
use core::fmt;

use super::{Expectations, KdfRule, Profile};
use crate::{Digest, Header, JsonPath, Kdf, Keyslot, KeyslotKind, Quoted, Segment, SegmentKind};

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: JsonPath,
    /// What it is.
    pub found: Quoted,
    /// What it should be.
    pub expected: Quoted,
}

/// Collects violations.
struct Judge<'a> {
    profile: &'a Profile,
    expected: &'a Expectations,
    found: Vec<Violation>,
}

fn path(keys: &[&str]) -> JsonPath {
    keys.iter()
        .fold(JsonPath::top(), |path, key| path.member(key))
}

fn violation(field: &JsonPath, found: &dyn fmt::Display, expected: &dyn fmt::Display) -> Violation {
    Violation {
        field: field.clone(),
        found: Quoted::new(&found.to_string()),
        expected: Quoted::new(&expected.to_string()),
    }
}

pub(super) fn violations(
    profile: Option<&Profile>,
    null_cipher: bool,
    header: &Header,
    expected: &Expectations,
) -> Vec<Violation> {
    let mut all = always(null_cipher, header, expected);
    if let Some(profile) = profile {
        let mut judge = Judge {
            profile,
            expected,
            found: Vec::new(),
        };
        judge.header(header);
        all.extend(judge.found);
    }
    all
}

/// What is asked at every level.
fn always(null_cipher: bool, header: &Header, expected: &Expectations) -> Vec<Violation> {
    let mut all = Vec::new();
    if let Some(uuid) = &expected.uuid
        && !header.uuid().eq_ignore_ascii_case(uuid)
    {
        all.push(violation(&path(&["uuid"]), &header.uuid(), uuid));
    }
    if !null_cipher {
        let not_null = "a cipher that encrypts";
        for slot in header.keyslots() {
            if let Some(spec) = slot.area.encryption.as_deref()
                && is_null_cipher(spec)
            {
                let field = path(&["keyslots", &slot.key, "area", "encryption"]);
                all.push(violation(&field, &spec, &not_null));
            }
        }
        for segment in header.segments() {
            if let Some(crypt) = &segment.crypt
                && is_null_cipher(&crypt.encryption)
            {
                let field = path(&["segments", &segment.id.to_string(), "encryption"]);
                all.push(violation(&field, &crypt.encryption, &not_null));
            }
        }
    }
    if expected.require_integrity {
        for segment in header.segments() {
            let crypt = segment.crypt.as_ref();
            if crypt.is_none_or(|crypt| crypt.integrity.is_none()) {
                let field = path(&["segments", &segment.id.to_string(), "integrity"]);
                all.push(violation(&field, &"none", &"authenticated data"));
            }
        }
    }
    all
}

/// Tells whether a cipher specification names the cipher that does not encrypt.
fn is_null_cipher(spec: &str) -> bool {
    let spec = spec.to_ascii_lowercase();
    spec.contains("cipher_null") || spec.split(['-', ':', '(']).any(|part| part == "null")
}

impl Judge<'_> {
    fn ask(
        &mut self,
        fits: bool,
        field: &JsonPath,
        found: &dyn fmt::Display,
        expected: &dyn fmt::Display,
    ) {
        if !fits {
            self.found.push(violation(field, found, expected));
        }
    }

    fn header(&mut self, header: &Header) {
        let profile = self.profile;
        let version = u64::from(header.version());
        self.ask(
            version == profile.luks,
            &path(&["version"]),
            &version,
            &profile.luks,
        );
        if let Header::Luks2(luks2) = header {
            let name = luks2.binary().checksum_name();
            let fits = profile.checksum.contains(&name);
            self.ask(fits, &path(&["checksum_alg"]), &name, &profile.checksum);
            self.requirements(header);
            for token in luks2.metadata().tokens() {
                let fits = profile.tokens.contains(&token.type_name);
                let field = path(&["tokens", &token.key, "type"]);
                self.ask(fits, &field, &token.type_name, &profile.tokens);
            }
        }
        self.segments(header);
        self.keyslots(header);
        self.digests(header);
    }

    fn requirements(&mut self, header: &Header) {
        let profile = self.profile;
        for flag in header.flags() {
            let fits = profile.flags.contains(flag);
            self.ask(fits, &path(&["config", "flags"]), flag, &profile.flags);
        }
        for requirement in header.requirements() {
            let word = requirement.to_word();
            let fits = profile.requirements.contains(&word);
            let field = path(&["config", "requirements", "mandatory"]);
            self.ask(fits, &field, &word, &profile.requirements);
        }
    }

    fn segments(&mut self, header: &Header) {
        let segments = header.segments();
        self.ask(
            segments.len() == 1,
            &path(&["segments"]),
            &format!("{} segments", segments.len()),
            &"1 segment",
        );
        for segment in &segments {
            self.segment(segment);
        }
    }

    fn segment(&mut self, segment: &Segment) {
        let profile = self.profile;
        let id = segment.id.to_string();
        let field = |name: &str| path(&["segments", &id, name]);
        self.ask(
            segment.kind == SegmentKind::Crypt,
            &field("type"),
            &segment.type_name,
            &"crypt",
        );
        let offsets = match self.expected.detached {
            true => &profile.offset_detached,
            false => &profile.offset_attached,
        };
        let offset = segment.offset.get();
        self.ask(
            offsets.contains(&offset),
            &field("offset"),
            &offset,
            offsets,
        );
        if let Some(len) = segment.len {
            self.ask(false, &field("size"), &len, &"dynamic");
        }
        if let Some(flag) = segment.flags.first() {
            self.ask(false, &field("flags"), flag, &"nothing");
        }
        let Some(crypt) = &segment.crypt else {
            return;
        };
        self.ask(crypt.iv_tweak == 0, &field("iv_tweak"), &crypt.iv_tweak, &0);
        self.ask(
            profile.encryption.contains(&crypt.encryption),
            &field("encryption"),
            &crypt.encryption,
            &profile.encryption,
        );
        let sector_size = u64::from(crypt.sector_size);
        self.ask(
            profile.sector_size.contains(&sector_size),
            &field("sector_size"),
            &sector_size,
            &profile.sector_size,
        );
        let integrity = crypt.integrity.as_ref();
        let kind = integrity.map_or("none", |integrity| integrity.kind.as_str());
        self.ask(
            profile.integrity.contains(&kind.to_string()),
            &field("integrity"),
            &kind,
            &profile.integrity,
        );
        if let Some(integrity) = integrity {
            let inner = |name: &str| path(&["segments", &id, "integrity", name]);
            let encryption = &integrity.journal_encryption;
            self.ask(
                encryption == "none",
                &inner("journal_encryption"),
                encryption,
                &"none",
            );
            let mac = &integrity.journal_integrity;
            self.ask(mac == "none", &inner("journal_integrity"), mac, &"none");
            if let Some(bytes) = integrity.key_bytes {
                self.ask(false, &inner("key_size"), &bytes, &"nothing");
            }
        }
    }

    fn keyslots(&mut self, header: &Header) {
        let profile = self.profile;
        let slots = header.keyslots();
        let count = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        self.ask(
            profile.keyslots.contains(count),
            &path(&["keyslots"]),
            &format!("{count} keyslots"),
            &format!("{} keyslots", profile.keyslots),
        );
        let is_authenticated = header.segments().iter().any(|segment| {
            segment
                .crypt
                .as_ref()
                .is_some_and(|crypt| crypt.integrity.is_some())
        });
        let key_bytes = match is_authenticated {
            true => profile.key_bytes_authenticated,
            false => profile.key_bytes_plain,
        };
        for slot in &slots {
            self.keyslot(slot, key_bytes);
        }
    }

    fn keyslot(&mut self, slot: &Keyslot, key_bytes: u64) {
        let profile = self.profile;
        let field = |name: &str| path(&["keyslots", &slot.key, name]);
        let inner = |first: &str, name: &str| path(&["keyslots", &slot.key, first, name]);
        let found = u64::from(slot.key_bytes);
        self.ask(found == key_bytes, &field("key_size"), &found, &key_bytes);
        let KeyslotKind::Luks2 { kdf, af } = &slot.kind else {
            self.ask(false, &field("type"), &slot.type_name, &"luks2");
            return;
        };
        let kind = &slot.area.kind;
        self.ask(kind == "raw", &inner("area", "type"), kind, &"raw");
        let cipher = slot.area.encryption.clone().unwrap_or_default();
        self.ask(
            profile.area_encryption.contains(&cipher),
            &inner("area", "encryption"),
            &cipher,
            &profile.area_encryption,
        );
        let area_key = u64::from(slot.area.key_bytes.unwrap_or(0));
        self.ask(
            profile.area_key_bytes.contains(area_key),
            &inner("area", "key_size"),
            &area_key,
            &profile.area_key_bytes,
        );
        self.ask(
            profile.af_hash.contains(&af.hash),
            &inner("af", "hash"),
            &af.hash,
            &profile.af_hash,
        );
        self.ask(
            af.stripes == 4000,
            &inner("af", "stripes"),
            &af.stripes,
            &4000,
        );
        self.kdf(slot, kdf);
    }

    /// A kdf fits if one of the rules fits in every field. If none does, the violation names the
    /// first field that differs from the rule of its own type.
    fn kdf(&mut self, slot: &Keyslot, kdf: &Kdf) {
        let mut best: Option<Violation> = None;
        for rule in &self.profile.kdf {
            match differs(slot, kdf, rule) {
                None => return,
                Some(difference) => {
                    let is_type = difference.field.as_str().ends_with(".type");
                    if best.is_none() || !is_type {
                        best = Some(difference);
                    }
                }
            }
        }
        let field = path(&["keyslots", &slot.key, "kdf", "type"]);
        self.found
            .push(best.unwrap_or_else(|| violation(&field, &kdf.name(), &"nothing")));
    }

    fn digests(&mut self, header: &Header) {
        let digests = header.digests();
        self.ask(
            digests.len() == 1,
            &path(&["digests"]),
            &format!("{} digests", digests.len()),
            &"1 digest",
        );
        for digest in &digests {
            self.digest(digest);
        }
    }

    fn digest(&mut self, digest: &Digest) {
        let profile = self.profile;
        let field = |name: &str| path(&["digests", &digest.key, name]);
        let kind = &digest.type_name;
        self.ask(kind == "pbkdf2", &field("type"), kind, &"pbkdf2");
        let hash = digest.hash.clone().unwrap_or_default();
        self.ask(
            profile.digest_hash.contains(&hash),
            &field("hash"),
            &hash,
            &profile.digest_hash,
        );
        let iterations = u64::from(digest.iterations.unwrap_or(0));
        self.ask(
            profile.digest_iterations.contains(iterations),
            &field("iterations"),
            &iterations,
            &profile.digest_iterations,
        );
        if let Err(error) = digest.usable() {
            self.ask(
                false,
                &field("digest"),
                &error,
                &"a digest that can be verified",
            );
        }
        let is_bound = digest.segments == [0];
        self.ask(
            is_bound,
            &field("segments"),
            &format!("{:?}", digest.segments),
            &"[0]",
        );
    }
}

/// Gives the first field in which a kdf differs from a rule.
fn differs(slot: &Keyslot, kdf: &Kdf, rule: &KdfRule) -> Option<Violation> {
    let field = |name: &str| path(&["keyslots", &slot.key, "kdf", name]);
    let number = |name: &str, found: u32, range: &super::Range| {
        (!range.contains(u64::from(found))).then(|| violation(&field(name), &found, range))
    };
    match (kdf, rule) {
        (
            Kdf::Pbkdf2 {
                hash, iterations, ..
            },
            KdfRule::Pbkdf2 {
                hash: hashes,
                iterations: range,
            },
        ) => (!hashes.contains(hash))
            .then(|| violation(&field("hash"), hash, hashes))
            .or_else(|| number("iterations", *iterations, range)),
        (
            Kdf::Argon2 {
                passes,
                memory_kib,
                lanes,
                ..
            },
            KdfRule::Argon2 {
                kind,
                passes: time,
                memory_kib: memory,
                lanes: cpus,
            },
        ) if kdf.name() == kind => number("memory", *memory_kib, memory)
            .or_else(|| number("time", *passes, time))
            .or_else(|| number("cpus", *lanes, cpus)),
        (_, KdfRule::Pbkdf2 { .. }) => Some(violation(&field("type"), &kdf.name(), &"pbkdf2")),
        (_, KdfRule::Argon2 { kind, .. }) => Some(violation(&field("type"), &kdf.name(), kind)),
    }
}
