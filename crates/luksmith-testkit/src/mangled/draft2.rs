//! A LUKS2 image under change.

use luksmith_hash::{Hash, HashName};
use luksmith_header::json::{Object, ParseLimits, Value, parse_object};

/// Which header copies a change is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The copy at byte 0.
    Primary,
    /// The copy behind it.
    Secondary,
    /// Both.
    Both,
}

/// One header copy under change.
#[derive(Clone, Debug)]
struct CopyDraft {
    binary: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    /// Whether the checksum is made right after the change.
    checksum: bool,
}

/// A change after the checksums.
#[derive(Clone, Debug)]
enum Last {
    Bytes(usize, Vec<u8>),
    Truncate(usize),
}

/// A LUKS2 image under change.
#[derive(Clone, Debug)]
pub struct Draft2 {
    image: Vec<u8>,
    copies: [CopyDraft; 2],
    area: usize,
    last: Vec<Last>,
}

const RAW: &str = "@@raw@@";

impl Draft2 {
    /// Starts from an image that a base gives.
    ///
    /// # Panics
    /// If it is not a LUKS2 image with two good copies.
    #[must_use]
    pub fn new(image: &[u8]) -> Self {
        let size = u64::from_be_bytes(image[8..16].try_into().expect("eight bytes"));
        let size = usize::try_from(size).expect("a base has small headers");
        let copy = |at: usize| {
            let area = &image[at + 4096..at + size];
            let end = area.iter().position(|&byte| byte == 0).unwrap_or(0);
            CopyDraft {
                binary: image[at..at + 4096].to_vec(),
                text: area[..end].to_vec(),
                at,
                checksum: true,
            }
        };
        Self {
            image: image.to_vec(),
            copies: [copy(0), copy(size)],
            area: size - 4096,
            last: Vec::new(),
        }
    }

    fn chosen(&mut self, which: Which) -> impl Iterator<Item = &mut CopyDraft> {
        self.copies
            .iter_mut()
            .enumerate()
            .filter(move |(position, _)| match which {
                Which::Primary => *position == 0,
                Which::Secondary => *position == 1,
                Which::Both => true,
            })
            .map(|(_, copy)| copy)
    }

    /// Writes bytes into the binary header; the checksum follows.
    pub fn field(&mut self, which: Which, at: usize, bytes: &[u8]) {
        for copy in self.chosen(which) {
            copy.binary[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Writes text into a field of the binary header, with zeros behind it.
    pub fn field_text(&mut self, which: Which, at: usize, size: usize, text: &[u8]) {
        let mut field = vec![0; size];
        field[..text.len()].copy_from_slice(text);
        self.field(which, at, &field);
    }

    /// Leaves the checksum of a copy as it was.
    pub fn keep_checksum(&mut self, which: Which) {
        for copy in self.chosen(which) {
            copy.checksum = false;
        }
    }

    /// Takes a whole text for the JSON area.
    pub fn text(&mut self, which: Which, text: &[u8]) {
        for copy in self.chosen(which) {
            copy.text = text.to_vec();
        }
    }

    /// Gives the JSON text of the primary.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        self.copies[0].text.clone()
    }

    /// Gives the length of the JSON area.
    #[must_use]
    pub const fn area_len(&self) -> usize {
        self.area
    }

    /// Replaces a piece of the JSON text, which must stand there exactly once.
    pub fn replace(&mut self, which: Which, from: &[u8], to: &[u8]) {
        for copy in self.chosen(which) {
            let places: Vec<usize> = (0..copy.text.len())
                .filter(|&at| copy.text[at..].starts_with(from))
                .collect();
            assert_eq!(
                places.len(),
                1,
                "{:?} must stand once in the text",
                String::from_utf8_lossy(from)
            );
            copy.text
                .splice(places[0]..places[0] + from.len(), to.iter().copied());
        }
    }

    /// Changes the metadata as a tree, both copies.
    pub fn tree(&mut self, edit: impl Fn(&mut Object)) {
        self.tree_of(Which::Both, edit);
    }

    /// Changes the metadata as a tree.
    pub fn tree_of(&mut self, which: Which, edit: impl Fn(&mut Object)) {
        for copy in self.chosen(which) {
            let (mut tree, _) =
                parse_object(&copy.text, &ParseLimits::default()).expect("a base holds JSON");
            let before = tree.to_compact();
            edit(&mut tree);
            let after = tree.to_compact();
            assert_ne!(before, after, "the edit of the tree must take");
            copy.text = after.into_bytes();
        }
    }

    /// Sets the member at `path` (keys joined by `/`) to raw JSON text, in both copies. Missing
    /// objects on the way are made.
    pub fn set(&mut self, path: &str, json: &str) {
        self.set_of(Which::Both, path, json);
    }

    /// As [`set`](Self::set), in one copy.
    pub fn set_of(&mut self, which: Which, path: &str, json: &str) {
        self.tree_of(which, |tree| {
            let keys: Vec<&str> = path.split('/').collect();
            let (last, parents) = keys.split_last().expect("a path has a key");
            let mut object = tree;
            for key in parents {
                if object.get(key).is_none() {
                    object.set(*key, Value::Object(Object::new()));
                }
                object = object
                    .get_mut(key)
                    .and_then(Value::as_object_mut)
                    .expect("a path leads through objects");
            }
            object.set(*last, Value::string(RAW));
        });
        self.replace(which, format!("\"{RAW}\"").as_bytes(), json.as_bytes());
    }

    /// Removes the member at `path` from both copies.
    pub fn remove(&mut self, path: &str) {
        self.tree(|tree| {
            let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
            let mut object = tree;
            for key in parents.split('/').filter(|key| !key.is_empty()) {
                object = object
                    .get_mut(key)
                    .and_then(Value::as_object_mut)
                    .expect("a path leads through objects");
            }
            object.remove(last).expect("what is removed is there");
        });
    }

    /// Puts both copies at other sizes: binary headers, `json_size` and the secondary's place.
    pub fn resize(&mut self, size: usize) {
        let bytes = u64::try_from(size).expect("a size fits").to_be_bytes();
        self.field(Which::Both, 8, &bytes);
        self.field(Which::Secondary, 0x100, &bytes);
        self.copies[1].at = size;
        self.area = size - 4096;
        self.set("config/json_size", &format!("\"{}\"", self.area));
    }

    /// Puts the secondary copy elsewhere without telling anyone.
    pub fn place_secondary(&mut self, at: usize) {
        self.copies[1].at = at;
    }

    /// Writes bytes on the device after the checksums are made.
    pub fn afterwards(&mut self, at: usize, bytes: &[u8]) {
        self.last.push(Last::Bytes(at, bytes.to_vec()));
    }

    /// Cuts the device, or makes it longer with zeros, after all else.
    pub fn set_len(&mut self, len: usize) {
        self.last.push(Last::Truncate(len));
    }

    /// Gives the bytes of a copy as it stands, with its checksum, to be put elsewhere.
    #[must_use]
    pub fn render(&self, which: Which) -> Vec<u8> {
        let copy = match which {
            Which::Secondary => &self.copies[1],
            _ => &self.copies[0],
        };
        let mut bytes = copy.binary.clone();
        bytes.extend_from_slice(&copy.text);
        assert!(bytes.len() <= 4096 + self.area, "the text fits its area");
        bytes.resize(4096 + self.area, 0);
        if copy.checksum {
            fix_checksum(&mut bytes);
        }
        bytes
    }

    /// Gives the changed image, its checksums made right.
    #[must_use]
    pub fn into_image(self) -> Vec<u8> {
        let mut image = self.image.clone();
        for (which, copy) in [
            (Which::Primary, &self.copies[0]),
            (Which::Secondary, &self.copies[1]),
        ] {
            let bytes = self.render(which);
            let end = copy.at + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[copy.at..end].copy_from_slice(&bytes);
        }
        for last in &self.last {
            match last {
                Last::Bytes(at, bytes) => {
                    let end = at + bytes.len();
                    if image.len() < end {
                        image.resize(end, 0);
                    }
                    image[*at..end].copy_from_slice(bytes);
                }
                Last::Truncate(len) => image.resize(*len, 0),
            }
        }
        image
    }
}

/// Makes the checksum of a whole copy right, if its hash is one that is known.
fn fix_checksum(copy: &mut [u8]) {
    let name: Vec<u8> = copy[0x48..0x67]
        .iter()
        .copied()
        .take_while(|&byte| byte != 0)
        .collect();
    let Ok(hash) = HashName::parse_bytes(&name) else {
        return;
    };
    copy[0x1c0..0x200].fill(0);
    let mut digest = vec![0; hash.digest_bytes()];
    Hash::digest(hash, &[copy], &mut digest).expect("the buffer has the digest's length");
    copy[0x1c0..0x1c0 + digest.len()].copy_from_slice(&digest);
}
