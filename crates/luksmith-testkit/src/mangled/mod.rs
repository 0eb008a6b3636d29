//! Headers that were changed in one place: recipes, made from a few bases that cryptsetup wrote.
//!
//! A recipe says what to change, not what the bytes are: checksums are made right again after the
//! change, so that the change itself is what a reader judges. What cryptsetup says to each is on
//! record in testvectors/headers/verdicts.txt.

mod draft1;
mod draft2;
mod luks1;
mod luks2_binary;
mod luks2_lists;
mod luks2_rules;
mod luks2_text;
mod verdict;

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

pub use draft1::Draft1;
pub use draft2::{Draft2, Which};
pub use verdict::{Repair, Verdict, record_path, recorded};

/// An image that cryptsetup wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// LUKS1, keyslots 0 (passphrase `one`) and 1 (`two`).
    Luks1,
    /// LUKS2 with two keyslots and two tokens.
    Luks2,
    /// LUKS2 with 64 KiB header copies and one keyslot.
    Luks2Large,
    /// LUKS2 where a re-encryption was set up; its keyslot areas are blank.
    Luks2Reencrypting,
}

impl Base {
    /// Every base.
    pub const ALL: [Self; 4] = [
        Self::Luks1,
        Self::Luks2,
        Self::Luks2Large,
        Self::Luks2Reencrypting,
    ];

    const fn file(self) -> &'static str {
        match self {
            Self::Luks1 => "luks1-two-slots",
            Self::Luks2 => "luks2-two-slots",
            Self::Luks2Large => "luks2-64k",
            Self::Luks2Reencrypting => "luks2-reencrypting",
        }
    }

    /// Gives the image.
    ///
    /// # Panics
    /// If testvectors/headers/valid lacks it.
    #[must_use]
    pub fn image(self) -> Vec<u8> {
        vector(&format!("valid/{}", self.file()))
    }
}

/// Gives an image below testvectors/headers by its name without endings.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn vector(name: &str) -> Vec<u8> {
    let path = headers_folder().join(format!("{name}.img.zst"));
    let packed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed.as_slice())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut image = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut image)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    image
}

fn headers_folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testvectors/headers"
    ))
}

type Edit1 = Box<dyn Fn(&mut Draft1)>;
type Edit2 = Box<dyn Fn(&mut Draft2)>;

enum Edit {
    Luks1(Edit1),
    Luks2(Edit2),
}

/// One changed header.
pub struct Recipe {
    /// A name that no other recipe has: base and change.
    pub name: String,
    /// What it starts from.
    pub base: Base,
    edit: Edit,
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({})", self.name)
    }
}

impl Recipe {
    fn luks1(name: impl Into<String>, edit: impl Fn(&mut Draft1) + 'static) -> Self {
        Self {
            name: format!("luks1/{}", name.into()),
            base: Base::Luks1,
            edit: Edit::Luks1(Box::new(edit)),
        }
    }

    fn luks2(base: Base, name: impl Into<String>, edit: impl Fn(&mut Draft2) + 'static) -> Self {
        let folder = match base {
            Base::Luks2Large => "luks2-64k",
            Base::Luks2Reencrypting => "luks2-re",
            _ => "luks2",
        };
        Self {
            name: format!("{folder}/{}", name.into()),
            base,
            edit: Edit::Luks2(Box::new(edit)),
        }
    }

    /// Makes the changed image from its base.
    ///
    /// # Panics
    /// If the edit did not change anything.
    #[must_use]
    pub fn cook(&self, base: &[u8]) -> Vec<u8> {
        let image = match &self.edit {
            Edit::Luks1(edit) => {
                let mut draft = Draft1::new(base);
                edit(&mut draft);
                draft.into_image()
            }
            Edit::Luks2(edit) => {
                let mut draft = Draft2::new(base);
                edit(&mut draft);
                draft.into_image()
            }
        };
        assert!(image != base, "{}: the edit did not take", self.name);
        image
    }
}

/// Gives every recipe, in an order that does not change between runs.
///
/// # Panics
/// If two have the same name.
#[must_use]
pub fn recipes() -> Vec<Recipe> {
    let mut all = luks1::recipes();
    all.extend(luks2_binary::recipes());
    all.extend(luks2_text::recipes());
    all.extend(luks2_rules::recipes());
    let mut names = BTreeMap::new();
    for recipe in &all {
        let before = names.insert(recipe.name.clone(), ());
        assert!(before.is_none(), "two recipes are called {}", recipe.name);
    }
    all
}
