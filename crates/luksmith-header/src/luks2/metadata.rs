//! The metadata of one header copy: the tree as it stands, and what it says.

use alloc::{string::String, vec::Vec};

use luksmith_block::{ByteLen, ByteOffset};

use super::{requirement::Requirement, validate, views};
use crate::{
    Error, Limits,
    json::{self, Object, ParseLimits},
    objects::{Digest, Keyslot, KeyslotKind, Segment, Token},
};

/// Metadata that obey every rule.
///
/// The tree is the truth: it holds what is not known too, in its order, and is what gets written.
/// The typed objects are made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    tree: Object,
    hdr_size: u64,
    keyslots: Vec<Keyslot>,
    digests: Vec<Digest>,
    segments: Vec<Segment>,
    tokens: Vec<Token>,
    keyslots_bytes: u64,
    flags: Vec<String>,
    requirements: Vec<Requirement>,
}

impl Metadata {
    /// Reads the JSON area of a header copy of `hdr_size` bytes (binary header and area).
    ///
    /// # Errors
    /// [`Error::Json`] and [`Error::JsonTail`] for the text, [`Error::Field`] for the first rule
    /// that is broken.
    pub fn parse(area: &[u8], hdr_size: u64, limits: &Limits) -> Result<Self, Error> {
        let parse_limits = ParseLimits {
            elements: limits.json_elements,
        };
        let (tree, used) = json::parse_object(area, &parse_limits)?;
        let rest = area.get(used..).unwrap_or_default();
        let space = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
        let tail = rest.get(space..).unwrap_or_default();
        let stray = tail.iter().position(|&byte| byte != 0);
        // Without any byte left over, the text has no terminating zero.
        if let Some(stray) = stray.or_else(|| tail.is_empty().then_some(0)) {
            return Err(Error::JsonTail {
                at: used.saturating_add(space).saturating_add(stray),
            });
        }
        Self::from_tree(tree, hdr_size)
    }

    /// Checks a tree for a header copy of `hdr_size` bytes and reads what it says.
    ///
    /// If a rule is broken, kdf members that do not belong to their kdf are dropped, and the rules
    /// are asked once more: an old version left such members behind.
    ///
    /// # Errors
    /// [`Error::Field`] for the first rule that is broken.
    pub fn from_tree(mut tree: Object, hdr_size: u64) -> Result<Self, Error> {
        if let Err(error) = validate::validate(&tree, hdr_size) {
            if !validate::drop_foreign_kdf_members(&mut tree) {
                return Err(error);
            }
            validate::validate(&tree, hdr_size)?;
        }
        let config = views::config(&tree)?;
        Ok(Self {
            hdr_size,
            keyslots: views::keyslots(&tree)?,
            digests: views::digests(&tree)?,
            segments: views::segments(&tree)?,
            tokens: views::tokens(&tree)?,
            keyslots_bytes: config.keyslots_bytes,
            flags: config.flags,
            requirements: config
                .requirements
                .iter()
                .map(|word| Requirement::parse(word))
                .collect(),
            tree,
        })
    }

    /// Gives the tree.
    #[must_use]
    pub fn tree(&self) -> &Object {
        &self.tree
    }

    /// Gives the length of one header copy, JSON area included.
    #[must_use]
    pub const fn hdr_len(&self) -> ByteLen {
        ByteLen::new(self.hdr_size)
    }

    /// Gives the keyslots in the order of the text, which is the order in which they are tried.
    #[must_use]
    pub fn keyslots(&self) -> &[Keyslot] {
        &self.keyslots
    }

    /// Gives the keyslot of this id.
    #[must_use]
    pub fn keyslot(&self, id: u32) -> Option<&Keyslot> {
        self.keyslots.iter().find(|slot| slot.id == Some(id))
    }

    /// Gives the digests in the order of the text.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Gives the digest that lists a keyslot.
    #[must_use]
    pub fn digest_of_keyslot(&self, id: u32) -> Option<&Digest> {
        self.digests
            .iter()
            .find(|digest| digest.keyslots.contains(&id))
    }

    /// Gives the first digest that lists a segment.
    #[must_use]
    pub fn digest_of_segment(&self, id: u32) -> Option<&Digest> {
        self.digests
            .iter()
            .find(|digest| digest.segments.contains(&id))
    }

    /// Gives the segments by id, backups included.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Gives the segments that hold data, by id.
    pub fn regular_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| !segment.is_backup())
    }

    /// Gives the segment that describes the volume: the one flagged `backup-final` if there is one,
    /// else segment 0.
    #[must_use]
    pub fn default_segment(&self) -> Option<&Segment> {
        let flagged = self
            .segments
            .iter()
            .find(|segment| segment.flags.iter().any(|flag| flag == "backup-final"));
        flagged.or_else(|| self.segments.first())
    }

    /// Gives the keyslots that hold the volume's key, in the order of the text: those of every
    /// digest that lists the [default segment](Self::default_segment), of any type that holds a
    /// key.
    ///
    /// Unlocking goes by the first of these digests; so that nothing is left of the key, removing
    /// goes by all of them, as cryptsetup 2.8.8 does.
    pub fn volume_keyslots(&self) -> impl Iterator<Item = &Keyslot> {
        let segment = self.default_segment().map(|segment| segment.id);
        self.keyslots.iter().filter(move |slot| {
            let is_bound = |digest: &Digest| {
                slot.id.is_some_and(|id| digest.keyslots.contains(&id))
                    && segment.is_some_and(|id| digest.segments.contains(&id))
            };
            !matches!(slot.kind, KeyslotKind::Reencrypt { .. }) && self.digests.iter().any(is_bound)
        })
    }

    /// Gives the tokens in the order of the text.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Gives the token of this id.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&Token> {
        self.tokens.iter().find(|token| token.id == Some(id))
    }

    /// Gives the token of this id as it stands, with all its fields.
    #[must_use]
    pub fn token_object(&self, id: u32) -> Option<&Object> {
        let token = self.token(id)?;
        self.tree
            .get("tokens")?
            .as_object()?
            .get(&token.key)?
            .as_object()
    }

    /// Gives the flags of the volume as they stand (`allow-discards`, `no-journal` ...).
    #[must_use]
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// Gives what a reader must understand.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Gives the start of the keyslot area.
    #[must_use]
    pub const fn keyslots_offset(&self) -> ByteOffset {
        // The rules hold `hdr_size` at 4 MiB at most.
        ByteOffset::new(self.hdr_size.saturating_mul(2))
    }

    /// Gives the length of the keyslot area.
    #[must_use]
    pub const fn keyslots_len(&self) -> ByteLen {
        ByteLen::new(self.keyslots_bytes)
    }

    /// Gives the length of both copies and the keyslot area: what a backup file holds.
    #[must_use]
    pub const fn total_len(&self) -> ByteLen {
        // 8 MiB and 128 MiB at most.
        ByteLen::new(
            self.hdr_size
                .saturating_mul(2)
                .saturating_add(self.keyslots_bytes),
        )
    }
}
