//! LUKS2 recipes: metadata that are good JSON and break, or just keep, a rule.

use luksmith_header::json::{Object, ParseLimits, Value, parse_object};

use super::{
    Base::{self, Luks2, Luks2Reencrypting},
    Draft2, Recipe,
    Which::Both,
    luks2_lists::{LISTS, REENCRYPTION_LISTS},
};

pub(super) fn recipes() -> Vec<Recipe> {
    let mut all = Vec::new();
    every_member(&mut all, Luks2);
    every_member(&mut all, Luks2Reencrypting);
    for (name, path, values) in LISTS {
        for (number, value) in values.iter().enumerate() {
            all.push(Recipe::luks2(
                Luks2,
                format!("rule/{name}-{number}"),
                move |draft| {
                    draft.set(path, value);
                },
            ));
        }
    }
    for (name, path, values) in REENCRYPTION_LISTS {
        for (number, value) in values.iter().enumerate() {
            all.push(Recipe::luks2(
                Luks2Reencrypting,
                format!("rule/{name}-{number}"),
                move |draft| draft.set(path, value),
            ));
        }
    }
    keyslots(&mut all);
    segments(&mut all);
    digests(&mut all);
    reencryption(&mut all);
    all
}

/// Removes each member in turn, and gives it values of every type.
fn every_member(all: &mut Vec<Recipe>, base: Base) {
    let draft = Draft2::new(&base.image());
    let (tree, _) = parse_object(&draft.json(), &ParseLimits::default()).expect("a base is JSON");
    let mut paths = Vec::new();
    collect("", &tree, &mut paths);
    for path in paths {
        // What stands twice, or in both bases, is changed once.
        let is_repeated = match base {
            Luks2Reencrypting => !["keyslots/2", "segments/", "config/"]
                .iter()
                .any(|start| path.starts_with(start)),
            _ => path.starts_with("keyslots/1/"),
        };
        if is_repeated {
            continue;
        }
        let name = path.replace('/', ".");
        let removed = path.clone();
        all.push(Recipe::luks2(
            base,
            format!("member/{name}-missing"),
            move |draft| {
                draft.remove(&removed);
            },
        ));
        for value in [
            "null", "true", "0", "-1", "1.5", "\"\"", "\"x\"", "[]", "{}",
        ] {
            let path = path.clone();
            if is_there(&tree, &path, value) {
                continue;
            }
            let kind = value.replace('"', "'");
            all.push(Recipe::luks2(
                base,
                format!("member/{name}={kind}"),
                move |draft| {
                    draft.set(&path, value);
                },
            ));
        }
    }
}

fn collect(prefix: &str, object: &Object, paths: &mut Vec<String>) {
    for member in object {
        let path = format!("{prefix}{}", member.key());
        if let Some(inner) = member.value().as_object() {
            collect(&format!("{path}/"), inner, paths);
        }
        paths.push(path);
    }
}

fn is_there(tree: &Object, path: &str, text: &str) -> bool {
    let mut value = None;
    let mut object = Some(tree);
    for key in path.split('/') {
        value = object.and_then(|object| object.get(key));
        object = value.and_then(Value::as_object);
    }
    value.is_some_and(|value| value.to_compact() == text)
}

// A table: one row per recipe.
fn keyslots(all: &mut Vec<Recipe>) {
    for key in [
        "00",
        "",
        "01",
        "2",
        "7",
        "31",
        "32",
        "99",
        "4294967296",
        "4294967297",
        "9223372036854775808",
        "99999999999999999999",
        "x",
        "-1",
        "+1",
        "1x",
        " 1",
    ] {
        // A third keyslot under this key, listed under the id that C makes of it.
        for (name, listed) in [("listed-as-it-stands", true), ("not-listed", false)] {
            all.push(Recipe::luks2(
                Luks2,
                format!("rule/slot-key-'{key}'-{name}"),
                move |draft| {
                    let area = "{\"type\":\"raw\",\"offset\":\"294912\",\"size\":\"131072\",\"encr\
                yption\":\"aes-xts-plain64\",\"key_size\":32}";
                    draft.set(
                        &format!("keyslots/{key}"),
                        &format!(
                            "{{\"type\":\"luks2\",\"key_size\":32,\"af\":{{\"type\":\"luks1\"\
                    ,\"stripes\":4000,\"hash\":\"sha256\"}},\"area\":{area},\
                    \"kdf\":{{\"type\":\"pbkdf2\",\"hash\":\"sha256\",\"iterations\":1000,\
                    \"salt\":\"uhicp9cfTpR9KgfE6EKEsZN6/3I5QqSgfVMpKRD/GsM=\"}}}}"
                        ),
                    );
                    if listed {
                        draft.set("digests/0/keyslots", &format!("[\"0\",\"1\",\"{key}\"]"));
                    }
                },
            ));
        }
    }
    all.push(Recipe::luks2(Luks2, "rule/slot-unknown-type", |draft| {
        draft.set(
            "keyslots/2",
            "{\"type\":\"x\",\"key_size\":7,\"area\":{\"type\":\"y\",\"offset\":\"294912\",\"s\
             ize\":\"1\"}}",
        );
    }));
    all.push(Recipe::luks2(
        Luks2,
        "rule/slot-unknown-type-without-area",
        |draft| {
            draft.set("keyslots/2", "{\"type\":\"x\",\"key_size\":7}");
        },
    ));
    all.push(Recipe::luks2(
        Luks2,
        "rule/slot-unknown-type-overlapping",
        |draft| {
            draft.set(
                "keyslots/2",
                "{\"type\":\"x\",\"key_size\":7,\"area\":{\"type\":\"y\",\"offset\":\"294911\",\"s\
             ize\":\"1\"}}",
            );
        },
    ));
    for count in [31, 32, 33, 60] {
        all.push(Recipe::luks2(
            Luks2,
            format!("rule/slots-{count}"),
            move |draft| {
                for id in 2..count {
                    draft.set(
                        &format!("keyslots/{id}"),
                        &format!(
                            "{{\"type\":\"x\",\"key_size\":7,\"area\":{{\"type\":\"y\",\"offset\"\
                         :\"{}\",\"size\":\"1\"}}}}",
                            294_912 + id
                        ),
                    );
                }
            },
        ));
    }
    all.push(Recipe::luks2(Luks2, "rule/slots-none", |draft| {
        draft.set("keyslots", "{}");
        draft.set("tokens", "{}");
        draft.set("digests/0/keyslots", "[]");
    }));
    all.push(Recipe::luks2(
        Luks2,
        "rule/slots-swapped-in-the-text",
        |draft| {
            draft.tree(|tree| {
                let slots = tree
                    .get_mut("keyslots")
                    .and_then(Value::as_object_mut)
                    .expect("there");
                let first = slots.remove("0").expect("there");
                slots.set("0", first);
            });
        },
    ));
    all.push(Recipe::luks2(Luks2, "rule/areas-touching-end", |draft| {
        draft.set("config/keyslots_size", "\"262144\"");
    }));
    all.push(Recipe::luks2(Luks2, "rule/text-too-long", |draft| {
        let room = draft.area_len() - draft.json().len();
        draft.set("tokens/1/note", &format!("\"{}\"", "x".repeat(room)));
    }));
}

fn segment(offset: u64, size: &str) -> String {
    format!(
        "{{\"type\":\"crypt\",\"offset\":\"{offset}\",\"size\":\"{size}\",\"iv_tweak\":\"0\"\
         ,\"encryption\":\"aes-xts-plain64\",\"sector_size\":512}}"
    )
}

/// Id, offset and size of a segment.
type Place = (&'static str, u64, &'static str);

// A table: one row per recipe.
fn segments(all: &mut Vec<Recipe>) {
    let cases: [(&str, &[Place]); 19] = [
        (
            "two",
            &[("0", 1 << 20, "1048576"), ("1", 2 << 20, "dynamic")],
        ),
        (
            "two-with-gap",
            &[("0", 1 << 20, "512"), ("1", 3 << 20, "dynamic")],
        ),
        (
            "two-by-falling-offset",
            &[("0", 2 << 20, "512"), ("1", 1 << 20, "1048576")],
        ),
        (
            "two-overlapping",
            &[("0", 1 << 20, "1049088"), ("1", 2 << 20, "dynamic")],
        ),
        (
            "two-at-one-place",
            &[("0", 1 << 20, "512"), ("1", 1 << 20, "dynamic")],
        ),
        (
            "two-first-dynamic",
            &[("0", 1 << 20, "dynamic"), ("1", 2 << 20, "512")],
        ),
        (
            "two-both-dynamic",
            &[("0", 1 << 20, "dynamic"), ("1", 2 << 20, "dynamic")],
        ),
        (
            "two-last-dynamic-below",
            &[("0", 2 << 20, "512"), ("1", 1 << 20, "dynamic")],
        ),
        (
            "two-wrapping",
            &[
                ("0", 1 << 20, "512"),
                ("1", 2 << 20, "18446744073709551104"),
            ],
        ),
        (
            "two-wrapping-alone",
            &[("0", 0xffff_ffff_ffff_fe00, "512"), ("1", 2 << 20, "512")],
        ),
        ("one-wrapping", &[("0", 1 << 20, "18446744073709551104")]),
        (
            "ids-0-2",
            &[("0", 1 << 20, "512"), ("2", 2 << 20, "dynamic")],
        ),
        (
            "ids-1-2",
            &[("1", 1 << 20, "512"), ("2", 2 << 20, "dynamic")],
        ),
        ("id-1", &[("1", 1 << 20, "dynamic")]),
        ("id-00", &[("00", 1 << 20, "dynamic")]),
        (
            "ids-0-01",
            &[("0", 1 << 20, "512"), ("01", 2 << 20, "dynamic")],
        ),
        (
            "ids-1-0",
            &[("1", 2 << 20, "dynamic"), ("0", 1 << 20, "512")],
        ),
        ("id-empty", &[("", 1 << 20, "dynamic")]),
        (
            "second-below-areas",
            &[("0", 1 << 20, "512"), ("1", 32768, "512")],
        ),
    ];
    for (name, list) in cases {
        all.push(Recipe::luks2(
            Luks2,
            format!("rule/segments-{name}"),
            move |draft| {
                let members: Vec<String> = list
                    .iter()
                    .map(|(id, offset, size)| format!("\"{id}\":{}", segment(*offset, size)))
                    .collect();
                let ids: Vec<String> = list.iter().map(|(id, _, _)| format!("\"{id}\"")).collect();
                draft.set("segments", &format!("{{{}}}", members.join(",")));
                draft.set("digests/0/segments", &format!("[{}]", ids.join(",")));
            },
        ));
    }
    for count in [10_u64, 40] {
        all.push(Recipe::luks2(
            Luks2,
            format!("rule/segments-{count}"),
            move |draft| {
                let members: Vec<String> = (0..count)
                    .map(|id| {
                        format!(
                            "\"{id}\":{{\"type\":\"linear\",\"offset\":\"{}\",\"size\":\"512\"}}",
                            (1 << 20) + 512 * id
                        )
                    })
                    .collect();
                draft.set("segments", &format!("{{{}}}", members.join(",")));
            },
        ));
    }
    for (name, extra) in [
        (
            "good",
            "\"opal_segment_number\":1,\"opal_key_size\":32,\"opal_segment_size\":\"1048576\"",
        ),
        (
            "small",
            "\"opal_segment_number\":1,\"opal_key_size\":32,\"opal_segment_size\":\"512\"",
        ),
        (
            "zero",
            "\"opal_segment_number\":1,\"opal_key_size\":32,\"opal_segment_size\":\"0\"",
        ),
        (
            "no-number",
            "\"opal_key_size\":32,\"opal_segment_size\":\"1048576\"",
        ),
        (
            "text-number",
            "\"opal_segment_number\":\"1\",\"opal_key_size\":32,\"opal_segment_size\":\"1048576\"",
        ),
        (
            "no-key-size",
            "\"opal_segment_number\":1,\"opal_segment_size\":\"1048576\"",
        ),
        ("no-size", "\"opal_segment_number\":1,\"opal_key_size\":32"),
        (
            "number-size",
            "\"opal_segment_number\":1,\"opal_key_size\":32,\"opal_segment_size\":1048576",
        ),
    ] {
        for kind in ["hw-opal", "hw-opal-crypt", "hw-opal-other"] {
            all.push(Recipe::luks2(
                Luks2,
                format!("rule/{kind}-{name}"),
                move |draft| {
                    draft.set(
                        "segments/0",
                        &format!(
                            "{{\"type\":\"{kind}\",\"offset\":\"1048576\",\"size\":\"104857\
                    6\",{extra},\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\",\
                    \"sector_size\":512}}"
                        ),
                    );
                },
            ));
        }
    }
    all.push(Recipe::luks2(
        Luks2,
        "rule/hw-opal-crypt-without-crypt",
        |draft| {
            draft.set(
                "segments/0",
                "{\"type\":\"hw-opal-crypt\",\"offset\":\"1048576\",\"size\":\"1048576\",\"opal_se\
             gment_number\":1,\"opal_key_size\":32,\"opal_segment_size\":\"1048576\"}",
            );
        },
    ));
    backups(all);
}

fn backups(all: &mut Vec<Recipe>) {
    let backup = |offset: u64| {
        format!(
            "{{\"type\":\"linear\",\"offset\":\"{offset}\",\"size\":\"512\",\"flags\":[\"backu\
             p-x\"]}}"
        )
    };
    let plain =
        |offset: u64| format!("{{\"type\":\"linear\",\"offset\":\"{offset}\",\"size\":\"512\"}}");
    let at = 1_u64 << 20;
    let cases: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("behind", vec![("0", plain(at)), ("1", backup(at))]),
        ("only", vec![("0", backup(at))]),
        ("before", vec![("0", backup(at)), ("1", plain(at))]),
        (
            "between",
            vec![("0", plain(at)), ("1", backup(at)), ("2", plain(2 * at))],
        ),
        ("text-order", vec![("1", backup(at)), ("0", plain(at))]),
        (
            "text-order-mixed",
            vec![("2", backup(at)), ("1", plain(at)), ("0", plain(2 * at))],
        ),
        ("ids-missing", vec![("0", plain(at)), ("2", backup(at))]),
        ("below-areas", vec![("0", plain(at)), ("1", backup(0))]),
        ("far-id", vec![("0", plain(at)), ("9", backup(at))]),
        (
            "second-id-missing",
            vec![("0", plain(at)), ("1", backup(at)), ("3", backup(at))],
        ),
    ];
    for (name, list) in cases {
        all.push(Recipe::luks2(
            Luks2,
            format!("rule/backup-{name}"),
            move |draft| {
                let members: Vec<String> = list
                    .iter()
                    .map(|(id, text)| format!("\"{id}\":{text}"))
                    .collect();
                draft.set("segments", &format!("{{{}}}", members.join(",")));
                draft.set("digests/0/segments", "[]");
            },
        ));
    }
}

fn digests(all: &mut Vec<Recipe>) {
    let digest = |keyslots: &str, segments: &str| {
        format!(
            "{{\"type\":\"pbkdf2\",\"keyslots\":{keyslots},\"segments\":{segments}\
             ,\"hash\":\"sha256\",\"iterations\":1000,\
             \"salt\":\"G6Lihj17QVRQkyTaIZW4KWBysryO/pql4zUHciTbDrg=\",\
             \"digest\":\"0XikK8oFXK4ZlM17XFcBxie47xbx4m4tzXEyCiIg/yg=\"}}"
        )
    };
    for (name, first, second) in [
        (
            "split",
            digest("[\"0\"]", "[\"0\"]"),
            digest("[\"1\"]", "[\"0\"]"),
        ),
        (
            "split-unbound",
            digest("[\"0\"]", "[\"0\"]"),
            digest("[\"1\"]", "[]"),
        ),
        (
            "slot-in-both",
            digest("[\"0\",\"1\"]", "[\"0\"]"),
            digest("[\"1\"]", "[]"),
        ),
        (
            "segment-only-in-second",
            digest("[\"0\",\"1\"]", "[]"),
            digest("[]", "[\"0\"]"),
        ),
        (
            "slot-in-none",
            digest("[\"0\"]", "[\"0\"]"),
            digest("[]", "[]"),
        ),
    ] {
        all.push(Recipe::luks2(
            Luks2,
            format!("rule/digests-{name}"),
            move |draft| {
                draft.set("digests/0", &first);
                draft.set("digests/1", &second);
            },
        ));
    }
    all.push(Recipe::luks2(Luks2, "rule/digests-none", |draft| {
        draft.set("digests", "{}");
    }));
    all.push(Recipe::luks2(Luks2, "rule/digests-none-linear", |draft| {
        draft.set("digests", "{}");
        draft.set("keyslots", "{}");
        draft.set("tokens", "{}");
        draft.set("segments/0/type", "\"linear\"");
    }));
    all.push(Recipe::luks2(Luks2, "rule/order-of-sections", |draft| {
        draft.tree(|tree| {
            let keyslots = tree.remove("keyslots").expect("there");
            tree.set("keyslots", keyslots);
        });
    }));
    all.push(Recipe::luks2(Luks2, "rule/same-but-spaced", |draft| {
        let (tree, _) =
            parse_object(&draft.json(), &ParseLimits::default()).expect("a base is JSON");
        draft.text(Both, tree.to_pretty().as_bytes());
    }));
}

fn reencryption(all: &mut Vec<Recipe>) {
    let re = |all: &mut Vec<Recipe>, name: &str, edit: fn(&mut Draft2)| {
        all.push(Recipe::luks2(
            Luks2Reencrypting,
            format!("rule/{name}"),
            edit,
        ));
    };
    re(all, "re-slot-removed", |draft| {
        draft.remove("keyslots/2");
        draft.remove("digests/2");
    });
    re(all, "re-slot-twice", |draft| {
        draft.set("keyslots/2/area/size", "\"131072\"");
        draft.set(
            "keyslots/3",
            "{\"area\":{\"offset\":\"425984\",\"size\":\"4096\",\"type\":\"none\"}\
             ,\"type\":\"reencrypt\",\"key_size\":1,\"mode\":\"reencrypt\",\
             \"direction\":\"forward\",\"priority\":0}",
        );
    });
    re(all, "re-requirement-removed", |draft| {
        draft.remove("config/requirements")
    });
    re(all, "re-backups-removed", |draft| {
        draft.remove("segments/1");
        draft.remove("segments/2");
        draft.replace(Both, b"\"segments\":[\"0\",\"1\"]", b"\"segments\":[\"0\"]");
        draft.replace(Both, b"\"segments\":[\"2\"]", b"\"segments\":[]");
    });
}
