//! Profiles against headers that somebody else has changed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use luksmith_block::{ByteLen, ByteOffset};
use luksmith_hash::HashName;
use luksmith_header::{
    Argon2Variant, Error, Fault, Header, JsonPath,
    json::{Object, Value},
    luks1,
    luks2::{
        self, LayoutOptions, NewDigest, NewIntegrity, NewKdf, NewKeyslot, NewLayout, NewSegment,
        initial_metadata,
    },
    policy::{Expectations, Policy, Profile},
};

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn argon2(passes: u32, memory_kib: u32, lanes: u32) -> NewKdf {
    NewKdf::Argon2 {
        variant: Argon2Variant::Id,
        passes,
        memory_kib,
        lanes,
        salt: [3; 32],
    }
}

fn pbkdf2() -> NewKdf {
    NewKdf::Pbkdf2 {
        hash: "sha256".into(),
        iterations: 1000,
        salt: [3; 32],
    }
}

/// What differs between the volumes of the profiles.
struct Shape {
    integrity: bool,
    sector_size: u32,
    kdf: NewKdf,
    layout: LayoutOptions,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            integrity: true,
            sector_size: 4096,
            kdf: pbkdf2(),
            layout: LayoutOptions::attached(1 << 30),
        }
    }
}

fn volume(shape: &Shape) -> luks2::Header {
    let layout = NewLayout::plan(&shape.layout).unwrap();
    let segment = NewSegment {
        encryption: "aes-xts-plain64".into(),
        sector_size: shape.sector_size,
        integrity: shape.integrity.then(|| NewIntegrity {
            kind: "hmac(sha256)".into(),
            key_bytes: None,
        }),
    };
    let digest = NewDigest {
        hash: "sha256".into(),
        iterations: 1000,
        salt: [1; 32],
        digest: vec![2; 32],
        segments: Vec::new(),
    };
    let mut metadata = initial_metadata(&layout, &segment, &digest).unwrap();
    let slot = NewKeyslot {
        key_bytes: if shape.integrity { 96 } else { 64 },
        af_hash: "sha256".into(),
        area_offset: ByteOffset::new(32768),
        area_len: ByteLen::new(luks2::area_bytes(if shape.integrity { 96 } else { 64 })),
        encryption: "aes-xts-plain64".into(),
        area_key_bytes: 64,
        kdf: shape.kdf.clone(),
    };
    metadata
        .edit(|draft| draft.add_keyslot(0, &slot, 0))
        .unwrap();
    luks2::Header::new(metadata, UUID).unwrap()
}

fn secure_mount() -> luks2::Header {
    volume(&Shape::default())
}

fn judge(profile: &str, header: luks2::Header) -> Result<(), Error> {
    let policy = Policy::pinned(Profile::built_in(profile).unwrap());
    policy.judge(&Header::Luks2(header), &Expectations::default())
}

#[test]
fn every_built_in_profile_parses_and_bears_its_name() {
    let names: Vec<&str> = Profile::built_in_names().collect();
    for wanted in [
        "emptydir",
        "secure-mount",
        "constellation",
        "contrast",
        "mkcw",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    for name in names {
        assert_eq!(Profile::built_in(name).unwrap().name(), name);
    }
    assert_eq!(Profile::built_in("nonsense"), None);
}

#[test]
fn each_scenario_accepts_its_own_volume() {
    let plain = |kdf| {
        volume(&Shape {
            integrity: false,
            kdf,
            ..Shape::default()
        })
    };
    assert_eq!(judge("secure-mount", secure_mount()), Ok(()));
    assert_eq!(
        judge("secure-mount-plain", plain(argon2(4, 1_048_576, 4))),
        Ok(())
    );
    assert_eq!(judge("constellation", plain(argon2(3, 65536, 4))), Ok(()));
    assert_eq!(judge("constellation", plain(argon2(28, 65536, 2))), Ok(()));
    let authenticated = |kdf| {
        volume(&Shape {
            kdf,
            ..Shape::default()
        })
    };
    assert_eq!(
        judge("constellation", authenticated(argon2(3, 65536, 4))),
        Ok(())
    );
    assert_eq!(
        judge("contrast", authenticated(argon2(4, 10240, 4))),
        Ok(())
    );
    assert_eq!(
        judge("mkcw-protected", authenticated(argon2(4, 65536, 4))),
        Ok(())
    );
    assert_eq!(judge("mkcw-luks2", plain(pbkdf2())), Ok(()));
}

#[test]
fn an_ephemeral_volume_has_a_detached_header_of_one_keyslot_or_none() {
    let mut layout = LayoutOptions::detached(0);
    layout.keyslots_len = Some(409_600);
    let mut header = volume(&Shape {
        layout,
        ..Shape::default()
    });
    assert_eq!(header.metadata().total_len(), ByteLen::new(442_368));
    let policy = Policy::pinned(Profile::built_in("emptydir").unwrap());
    let mut expected = Expectations::default();
    expected.detached = true;
    let flags = ["no-journal".to_string()];
    header
        .metadata_mut()
        .edit(|draft| {
            draft.set_flags(&flags);
            Ok(())
        })
        .unwrap();
    assert_eq!(
        policy.judge(&Header::Luks2(header.clone()), &expected),
        Ok(())
    );
    header
        .metadata_mut()
        .edit(|draft| draft.remove_keyslot(0))
        .unwrap();
    assert_eq!(policy.judge(&Header::Luks2(header), &expected), Ok(()));
}

fn set(header: &mut luks2::Header, path: &[&str], value: Value) {
    let (last, parents) = path.split_last().unwrap();
    header
        .metadata_mut()
        .edit(|draft| {
            let mut object = draft.tree();
            for key in parents {
                object = object.get_mut(key).and_then(Value::as_object_mut).unwrap();
            }
            object.set(*last, value);
            Ok(())
        })
        .unwrap();
}

fn changed(change: impl FnOnce(&mut luks2::Header)) -> String {
    let mut header = secure_mount();
    change(&mut header);
    judge("secure-mount", header).unwrap_err().to_string()
}

#[test]
fn each_change_that_a_host_could_make_is_refused_by_its_field() {
    let text = |value: &str| Value::string(value);
    let cases = [
        (
            vec!["keyslots", "0", "area", "encryption"],
            text("cipher_null-ecb"),
            "policy: keyslots.0.area.encryption is cipher_null-ecb, the policy asks for a cipher \
             that encrypts",
        ),
        (
            vec!["segments", "0", "encryption"],
            text("cipher_null-ecb"),
            "policy: segments.0.encryption is cipher_null-ecb, the policy asks for a cipher that \
             encrypts",
        ),
        (
            vec!["segments", "0", "encryption"],
            text("aes-cbc-plain64"),
            "policy: segments.0.encryption is aes-cbc-plain64, the policy asks for aes-xts-plain64",
        ),
        (
            vec!["segments", "0", "iv_tweak"],
            text("1"),
            "policy: segments.0.iv_tweak is 1, the policy asks for 0",
        ),
        (
            vec!["segments", "0", "sector_size"],
            Value::integer(512),
            "policy: segments.0.sector_size is 512, the policy asks for 4096",
        ),
        (
            vec!["segments", "0", "offset"],
            text("17825792"),
            "policy: segments.0.offset is 17825792, the policy asks for 16777216",
        ),
        (
            vec!["segments", "0", "size"],
            text("1048576"),
            "policy: segments.0.size is 1048576, the policy asks for dynamic",
        ),
        (
            vec!["segments", "0", "type"],
            text("linear"),
            "policy: segments.0.type is linear, the policy asks for crypt",
        ),
        (
            vec!["segments", "0", "flags"],
            Value::Array(vec![text("x")]),
            "policy: segments.0.flags is x, the policy asks for nothing",
        ),
        (
            vec!["segments", "0", "integrity", "type"],
            text("crc32c"),
            "policy: segments.0.integrity is crc32c, the policy asks for hmac(sha256)",
        ),
        (
            vec!["segments", "0", "integrity", "journal_integrity"],
            text("x"),
            "policy: segments.0.integrity.journal_integrity is x, the policy asks for none",
        ),
        (
            vec!["keyslots", "0", "key_size"],
            Value::integer(64),
            "policy: keyslots.0.key_size is 64, the policy asks for 96",
        ),
        (
            vec!["keyslots", "0", "kdf", "iterations"],
            Value::integer(999),
            "policy: keyslots.0.kdf.iterations is 999, the policy asks for 1000 to 50000000",
        ),
        (
            vec!["keyslots", "0", "kdf", "hash"],
            text("sha1"),
            "policy: keyslots.0.kdf.hash is sha1, the policy asks for sha256",
        ),
        (
            vec!["keyslots", "0", "af", "hash"],
            text("sha1"),
            "policy: keyslots.0.af.hash is sha1, the policy asks for sha256",
        ),
        (
            vec!["keyslots", "0", "af", "stripes"],
            Value::integer(1),
            "policy: keyslots.0.af.stripes is 1, the policy asks for 4000",
        ),
        (
            vec!["digests", "0", "digest"],
            text("AA=="),
            "policy: digests.0.digest is digests.0.digest: 1 bytes, 20, or as many as the hash \
             gives, are expected, the policy asks for a digest that can be verified",
        ),
        (
            vec!["config", "flags"],
            Value::Array(vec![text("allow-discards")]),
            "policy: config.flags is allow-discards, the policy asks for nothing",
        ),
    ];
    for (path, value, expected) in cases {
        assert_eq!(changed(|header| set(header, &path, value)), expected);
    }
}

#[test]
fn integrity_that_was_taken_away_is_refused() {
    let message = changed(|header| {
        header
            .metadata_mut()
            .edit(|draft| {
                let segments = draft
                    .tree()
                    .get_mut("segments")
                    .and_then(Value::as_object_mut);
                let segment = segments
                    .unwrap()
                    .get_mut("0")
                    .and_then(Value::as_object_mut);
                segment.unwrap().remove("integrity");
                Ok(())
            })
            .unwrap();
    });
    assert_eq!(
        message,
        "policy: segments.0.integrity is none, the policy asks for hmac(sha256)"
    );
}

#[test]
fn a_second_keyslot_a_token_and_a_memory_cost_above_the_cap_are_refused() {
    let message = changed(|header| {
        let slot = NewKeyslot {
            key_bytes: 96,
            af_hash: "sha256".into(),
            area_offset: ByteOffset::new(1 << 20),
            area_len: ByteLen::new(luks2::area_bytes(96)),
            encryption: "aes-xts-plain64".into(),
            area_key_bytes: 64,
            kdf: pbkdf2(),
        };
        header
            .metadata_mut()
            .edit(|draft| draft.add_keyslot(1, &slot, 0))
            .unwrap();
    });
    assert_eq!(
        message,
        "policy: keyslots is 2 keyslots, the policy asks for 1 keyslots"
    );
    let message = changed(|header| {
        let token: Object = [
            ("type", Value::string("x")),
            ("keyslots", Value::Array(Vec::new())),
        ]
        .into_iter()
        .collect();
        header
            .metadata_mut()
            .edit(|draft| draft.add_token(0, token))
            .unwrap();
    });
    assert_eq!(
        message,
        "policy: tokens.0.type is x, the policy asks for nothing"
    );
    let heavy = volume(&Shape {
        kdf: argon2(3, 10241, 4),
        ..Shape::default()
    });
    assert_eq!(
        judge("contrast", heavy).unwrap_err().to_string(),
        "policy: keyslots.0.kdf.memory is 10241, the policy asks for 32 to 10240"
    );
    assert_eq!(
        judge("contrast", secure_mount()).unwrap_err().to_string(),
        "policy: keyslots.0.kdf.type is pbkdf2, the policy asks for argon2id"
    );
}

#[test]
fn another_volume_is_told_by_its_uuid() {
    let policy = Policy::permissive();
    let mut expected = Expectations::default();
    expected.uuid = Some(UUID.to_uppercase());
    let header = Header::Luks2(secure_mount());
    assert_eq!(policy.judge(&header, &expected), Ok(()));
    expected.uuid = Some("11111111-89ab-cdef-0123-456789abcdef".into());
    assert!(matches!(
        policy.judge(&header, &expected),
        Err(Error::Policy { field, .. }) if field.as_str() == "uuid"
    ));
}

#[test]
fn a_null_cipher_is_refused_at_every_level_unless_asked_for_by_name() {
    let mut header = secure_mount();
    set(
        &mut header,
        &["segments", "0", "encryption"],
        Value::string("capi:ecb(cipher_null)-plain"),
    );
    let header = Header::Luks2(header);
    let expected = Expectations::default();
    assert!(Policy::permissive().judge(&header, &expected).is_err());
    let policy = Policy::permissive().with_null_cipher();
    assert_eq!(policy.judge(&header, &expected), Ok(()));
}

#[test]
fn required_integrity_is_asked_for_where_the_profile_leaves_it_open() {
    let policy = Policy::pinned(Profile::built_in("constellation").unwrap());
    let header = Header::Luks2(volume(&Shape {
        integrity: false,
        kdf: argon2(3, 65536, 4),
        ..Shape::default()
    }));
    let mut expected = Expectations::default();
    assert_eq!(policy.judge(&header, &expected), Ok(()));
    expected.require_integrity = true;
    assert_eq!(
        policy.judge(&header, &expected).unwrap_err().to_string(),
        "policy: segments.0.integrity is none, the policy asks for authenticated data"
    );
}

#[test]
fn the_compatible_workload_image_is_luks1_at_sector_4040() {
    let new = |payload_sector| {
        let new = luks1::NewHeader {
            cipher_name: "aes".into(),
            cipher_mode: "xts-plain64".into(),
            hash: HashName::Sha256,
            key_bytes: 64,
            payload_sector,
            digest: [1; 20],
            digest_salt: [2; 32],
            digest_iterations: 4000,
            uuid: UUID.into(),
        };
        let mut header = luks1::Header::new(&new, ByteLen::new(16 << 20)).unwrap();
        header.enable_keyslot(0, 1_000_000, [4; 32]).unwrap();
        Header::Luks1(header)
    };
    let policy = Policy::pinned(Profile::built_in("mkcw").unwrap());
    let expected = Expectations::default();
    assert_eq!(policy.judge(&new(4040), &expected), Ok(()));
    let error = policy.judge(&new(4096), &expected).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy: segments.0.offset is 2097152, the policy asks for 2068480"
    );
    let error = policy
        .judge(&Header::Luks2(secure_mount()), &expected)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy: version is 2, the policy asks for 1"
    );
}

#[test]
fn a_profile_that_checks_less_than_it_says_does_not_parse() {
    let good = Profile::built_in_text("secure-mount").unwrap();
    let path = |keys: &[&str]| {
        keys.iter()
            .fold(JsonPath::top(), |path, key| path.member(key))
    };
    let fails = |text: &str| Profile::parse(text).unwrap_err();
    assert_eq!(
        fails(&good.replace("\"sector_size\"", "\"sectorsize\"")),
        Error::Profile {
            path: path(&["segment", "sectorsize"]),
            fault: Fault::UnknownMember
        }
    );
    assert_eq!(
        fails(&good.replace("  \"flags\": [],\n", "")),
        Error::Profile {
            path: path(&["flags"]),
            fault: Fault::Missing
        }
    );
    assert_eq!(
        fails(&good.replace("[1000, 50000000]", "[50000000, 1000]")),
        Error::Profile {
            path: path(&["keyslots", "kdf"]).index(0).member("iterations"),
            fault: Fault::Range
        }
    );
    assert!(matches!(fails("{"), Error::ProfileText { .. }));
    assert!(matches!(fails(&format!("{good} x")), Error::Profile { .. }));
}
