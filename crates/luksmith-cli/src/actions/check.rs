//! `check`: everything that can be said about a header without a key. Nothing is written.

use clap::Args;
use luksmith::{
    block::{BlockDevice, ByteLen, ByteOffset},
    header::{
        Error, Format, Header, Kdf, Keyslot, KeyslotKind, Limits, Segment, SegmentKind, detect,
        luks2::{Copy, Pair, Requirement},
    },
};
use serde_json::json;

use crate::{
    context::{Context, print, print_json},
    devices,
    failure::{Failure, Kind, with_options},
    options::{DeviceArgs, LimitArgs},
    size::human,
};

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What was found, in the order in which it was looked for.
#[derive(Default)]
struct Findings {
    facts: Vec<String>,
    notes: Vec<String>,
    problems: Vec<String>,
    /// How many of the problems are what a policy asks for.
    violations: usize,
}

impl Check {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let data_len = match &self.device.header {
            Some(_) => devices::reader(&self.device.device)?.size(),
            None => device.size(),
        };
        let limits = self.limits.limits()?;
        let judge = self.limits.judge(self.device.is_detached())?;
        let mut findings = Findings::default();
        let header = findings.read(&device, &limits);
        let header = header.map_err(|failure| failure.at(path))?;
        if let Some(header) = &header {
            findings.header(header, &limits, data_len);
            if judge.is_asked() {
                findings.judged(judge.violations(header));
            }
        }
        findings.problems = findings.problems.drain(..).map(with_options).collect();
        findings.show(context)?;
        match findings.problems.len() {
            0 => Ok(()),
            1 => Err(findings.failure("1 problem")),
            count => Err(findings.failure(&format!("{count} problems"))),
        }
        .map_err(|failure| failure.at(path))
    }
}

impl Findings {
    /// Reads the header, both copies of it where there are two. `None` if neither can be used,
    /// which is a finding; a device without any trace of a header is a failure.
    fn read(
        &mut self,
        device: &dyn BlockDevice,
        limits: &Limits,
    ) -> Result<Option<Header>, Failure> {
        let mut start = [0; 512];
        // A place that cannot be read is found again, and told, where the copies are read.
        if device.size().get() >= 512 && device.read_at(ByteOffset::ZERO, &mut start).is_err() {
            start.fill(0);
        }
        if detect(&start) == Format::Luks1 {
            self.facts.push("LUKS1, one header".to_owned());
            return Ok(match Header::read(device, limits) {
                Ok(header) => Some(header),
                Err(error) => {
                    self.problems.push(error.to_string());
                    None
                }
            });
        }
        if matches!(
            detect(&start),
            Format::UnknownVersion(_) | Format::Luks1OldReencryption
        ) {
            return Ok(Some(Header::read(device, limits)?));
        }
        let pair = Pair::read(device, limits)?;
        let chosen = match pair.choose() {
            // Both copies missing is no damage, it is another device.
            Err(error @ (Error::NotLuks | Error::TooShort { .. }))
                if pair.primary().is_err() && pair.secondary().is_err() =>
            {
                return Err(error.into());
            }
            chosen => chosen,
        };
        self.facts
            .push("LUKS2, two copies of the header".to_owned());
        self.copies(&pair);
        match chosen {
            Ok(header) => Ok(Some(Header::Luks2(header))),
            Err(error) => {
                self.problems
                    .push(format!("the volume cannot be opened: {error}"));
                Ok(None)
            }
        }
    }

    fn copies(&mut self, pair: &Pair) {
        let (primary, secondary) = (pair.primary(), pair.secondary());
        for (name, copy) in [("primary", primary), ("secondary", secondary)] {
            match copy {
                Err(error @ Error::Device { .. }) => {
                    self.problems.push(format!("{name} header: {error}"));
                }
                Err(error) => self.problems.push(error.to_string()),
                Ok(copy) => match copy.metadata() {
                    Err(error) => self.problems.push(format!("{name} header: {error}")),
                    Ok(_) => self.facts.push(format!(
                        "{name} header: {} bytes, seqid {}, checksum ({}) matches",
                        copy.binary().hdr_size(),
                        copy.binary().seqid(),
                        copy.binary().checksum_name(),
                    )),
                },
            }
        }
        if let (Ok(primary), Ok(secondary)) = (primary, secondary) {
            self.compare(primary, secondary);
        }
    }

    fn compare(&mut self, primary: &Copy, secondary: &Copy) {
        let (first, second) = (primary.binary().seqid(), secondary.binary().seqid());
        if first != second {
            self.problems.push(format!(
                "the copies are of different age (seqid {first} and {second}): a change was cut off; \
                 `repair` writes the newer one over the older"
            ));
        } else if primary.json_text() != secondary.json_text() {
            self.problems.push(format!(
                "the copies differ although both have seqid {first}; the primary is used"
            ));
        }
    }

    fn header(&mut self, header: &Header, limits: &Limits, data_len: ByteLen) {
        for requirement in header.requirements() {
            match requirement {
                Requirement::Unknown(word) => self.problems.push(format!(
                    "requirement {word:?} is not known here; the volume cannot be opened"
                )),
                known => self.notes.push(format!("requirement {}", known.to_word())),
            }
        }
        let slots = header.keyslots();
        self.facts.push(format!(
            "{} keyslots, {} digests, {} segments",
            slots.len(),
            header.digests().len(),
            header.segments().len()
        ));
        for slot in &slots {
            self.keyslot(slot, limits);
        }
        let opens = |slot: &&Keyslot| matches!(slot.kind, KeyslotKind::Luks2 { .. });
        if !slots.iter().any(|slot| opens(&slot)) {
            self.notes
                .push("no keyslot: only the volume key itself opens this volume".to_owned());
        }
        for digest in header.digests() {
            if let Err(error) = digest.usable() {
                self.problems.push(format!(
                    "no key can be checked against this digest: {error}"
                ));
            }
        }
        for segment in &header.segments() {
            self.segment(segment, data_len);
        }
    }

    fn keyslot(&mut self, slot: &Keyslot, limits: &Limits) {
        let name = &slot.key;
        if slot.id.is_none() {
            self.problems
                .push(format!("keyslot {name:?} has no number and is never used"));
        }
        let KeyslotKind::Luks2 { kdf, af } = &slot.kind else {
            self.notes.push(format!(
                "keyslot {name}: type {:?} holds no key",
                slot.type_name
            ));
            return;
        };
        match kdf {
            Kdf::Unknown { kind } => self.problems.push(format!(
                "keyslot {name}: the key derivation {kind:?} is not known here"
            )),
            Kdf::Argon2 { memory_kib, .. } if *memory_kib > limits.argon2_memory_kib => {
                self.notes.push(format!(
                    "keyslot {name} needs {memory_kib} KiB of Argon2 memory; give \
                     --limit-argon2-memory {memory_kib}K to open it"
                ));
            }
            Kdf::Pbkdf2 { iterations, .. } if u64::from(*iterations) > limits.pbkdf2_iterations => {
                self.notes.push(format!(
                    "keyslot {name} needs {iterations} PBKDF2 iterations; raise \
                     --limit-pbkdf2-iterations to open it"
                ));
            }
            _ => {}
        }
        let cipher = slot.area.encryption.as_deref().unwrap_or_default();
        if cipher.starts_with("cipher_null") || cipher.starts_with("null") {
            self.problems.push(format!(
                "keyslot {name} keeps its key unencrypted ({cipher})"
            ));
        }
        if af.stripes != 4000 {
            self.notes.push(format!(
                "keyslot {name} names {} stripes; 4000 are used all the same",
                af.stripes
            ));
        }
    }

    fn segment(&mut self, segment: &Segment, data_len: ByteLen) {
        let id = segment.id;
        let len = segment.len.unwrap_or(ByteLen::ZERO);
        let end = segment.offset.checked_add(len);
        if end.is_none_or(|end| end.get() > data_len.get()) {
            self.problems.push(format!(
                "segment {id} needs the device up to byte {}, which has {data_len} bytes",
                end.map_or_else(|| "2^64".to_owned(), |end| end.to_string())
            ));
        }
        if segment.is_backup() {
            return;
        }
        if !matches!(segment.kind, SegmentKind::Crypt) {
            self.notes
                .push(format!("segment {id} is of type {:?}", segment.type_name));
        }
        let Some(crypt) = &segment.crypt else { return };
        let null = crypt.encryption.starts_with("cipher_null");
        if null || crypt.encryption.starts_with("null") {
            self.problems.push(format!(
                "segment {id} is not encrypted ({})",
                crypt.encryption
            ));
        }
        if crypt.iv_tweak != 0 {
            self.notes
                .push(format!("segment {id} has iv_tweak {}", crypt.iv_tweak));
        }
        let len = segment.len.map_or_else(
            || format!("to the end of the device, {}", human(data_len.get())),
            |len| human(len.get()),
        );
        let integrity = crypt
            .integrity
            .as_ref()
            .map_or_else(String::new, |integrity| {
                format!(", authenticated by {}", integrity.kind)
            });
        self.facts.push(format!(
            "segment {id}: {} in sectors of {} bytes{integrity}, from byte {} {len}",
            crypt.encryption, crypt.sector_size, segment.offset
        ));
    }

    fn judged(&mut self, violations: Vec<String>) {
        if violations.is_empty() {
            self.facts
                .push("the header is what the policy asks for".to_owned());
        }
        self.violations = violations.len();
        self.problems.extend(violations);
    }

    fn show(&self, context: &Context) -> Result<(), Failure> {
        if context.json {
            let result = json!({
                "facts": self.facts,
                "notes": self.notes,
                "problems": self.problems,
            });
            return print_json(&format!("{result:#}\n"));
        }
        let mut text = String::new();
        for (mark, lines) in [
            ("ok     ", &self.facts),
            ("note   ", &self.notes),
            ("PROBLEM", &self.problems),
        ] {
            for line in lines {
                text.push_str(mark);
                text.push(' ');
                text.push_str(&line.escape_debug().to_string().replace("\\\"", "\""));
                text.push('\n');
            }
        }
        print(&text)
    }

    fn failure(&self, count: &str) -> Failure {
        // A header in order that the policy does not want is not damaged.
        let kind = match self.problems.len() == self.violations {
            true => Kind::POLICY,
            false => Kind::DAMAGED,
        };
        Failure::new(kind, format!("{count} found"))
    }
}
