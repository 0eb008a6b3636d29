//! Several random changes at once, judged by both programs: `LUKSMITH_SEED` and `LUKSMITH_CASES`
//! choose which and how many.

mod common;

use std::env;

use common::{Cryptsetup, device};
use luksmith_header::{Error, Header, Limits};
use luksmith_testkit::{
    Prng,
    mangled::{Base, Draft2, Which},
};

/// Values that mean something somewhere in the metadata.
const WORDS: [&str; 46] = [
    "0",
    "1",
    "2",
    "-1",
    "512",
    "4096",
    "4294967295",
    "4294967296",
    "1e9",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"0\"",
    "\"1\"",
    "\"-1\"",
    "\"99\"",
    "\"512\"",
    "\"16384\"",
    "\"32768\"",
    "\"32769\"",
    "\"131072\"",
    "\"262144\"",
    "\"294912\"",
    "\"1048576\"",
    "\"18446744073709551615\"",
    "\"dynamic\"",
    "\"crypt\"",
    "\"linear\"",
    "\"luks2\"",
    "\"raw\"",
    "\"none\"",
    "\"journal\"",
    "\"checksum\"",
    "\"datashift\"",
    "\"reencrypt\"",
    "[\"0\"]",
    "[\"1\"]",
    "[\"2\"]",
    "[\"0\",\"0\"]",
    "[\"backup-final\"]",
    "[\"backup-previous\"]",
    "[\"in-reencryption\"]",
    "[\"online-reencrypt-v2\"]",
    "{\"type\":\"x\"}",
];

/// Gives the end of the value that starts at `start`.
fn value_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0_u32;
    let mut in_string = false;
    for (at, byte) in text.iter().enumerate().skip(start) {
        match byte {
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b'}' | b']' => return at,
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Changes one value, one digit or one letter.
fn change(text: &mut Vec<u8>, prng: &mut Prng) {
    let from = prng.index(text.len());
    let find = |is: &dyn Fn(u8) -> bool| {
        let tail = text.iter().skip(from);
        tail.clone().position(|&byte| is(byte)).map(|at| from + at)
    };
    match prng.index(4) {
        0 | 1 => {
            if let Some(colon) = find(&|byte| byte == b':') {
                let end = value_end(text, colon + 1);
                let word = WORDS
                    .get(prng.index(WORDS.len()))
                    .expect("an index below the length");
                text.splice(colon + 1..end, word.bytes());
            }
        }
        2 => {
            let digit = b'0' + u8::try_from(prng.below(10)).expect("one digit");
            if let Some(place) = find(&|byte| byte.is_ascii_digit()).and_then(|at| text.get_mut(at))
            {
                *place = digit;
            }
        }
        _ => {
            let letter = b'a' + u8::try_from(prng.below(26)).expect("one letter");
            if let Some(place) =
                find(&|byte| byte.is_ascii_lowercase()).and_then(|at| text.get_mut(at))
            {
                *place = letter;
            }
        }
    }
}

#[test]
fn randomly_changed_metadata_get_the_verdict_of_cryptsetup() {
    let Some(program) = Cryptsetup::newest() else {
        return;
    };
    let mut prng = Prng::from_env(20_26);
    let cases = env::var("LUKSMITH_CASES").map_or(100, |text| text.parse().expect("a number"));
    let bases = [Base::Luks2, Base::Luks2Reencrypting].map(|base| base.image());
    let mut accepted = 0;
    for case in 0..cases {
        let base = bases.get(prng.index(2)).expect("an index below the length");
        let mut draft = Draft2::new(base);
        let mut text = draft.json();
        for _ in 0..=prng.index(3) {
            change(&mut text, &mut prng);
        }
        text.truncate(12287);
        draft.text(Which::Both, &text);
        let image = draft.into_image();
        let ours = Header::read(&device(&image), &Limits::default());
        program.put("image", &image);
        let theirs = program.run("isLuks image").status.success();
        accepted += u32::from(theirs);
        let shown = String::from_utf8_lossy(&text);
        match (ours, theirs) {
            (Ok(_), true) | (Err(_), false) => {}
            (Ok(_), false) => panic!("case {case}: accepted, cryptsetup refuses: {shown}"),
            (Err(error), true) => {
                // Text that is not JSON is where we are stricter.
                let is_syntax = matches!(
                    &error,
                    Error::NoUsableCopy { primary, .. } if matches!(**primary, Error::Json { .. })
                );
                assert!(
                    is_syntax,
                    "case {case}: refused, cryptsetup accepts: {error}: {shown}"
                );
            }
        }
    }
    println!("{cases} headers, cryptsetup accepts {accepted}");
}
