//! LUKS2 recipes: the JSON text itself.

use super::{
    Base::Luks2,
    Recipe,
    Which::{Both, Primary},
};

pub(super) fn recipes() -> Vec<Recipe> {
    let mut all = Vec::new();
    framing(&mut all);
    values(&mut all);
    strings(&mut all);
    all
}

/// What the text is, made from the good one.
fn whole(all: &mut Vec<Recipe>, name: &str, make: impl Fn(Vec<u8>, usize) -> Vec<u8> + 'static) {
    all.push(Recipe::luks2(Luks2, format!("text/{name}"), move |draft| {
        let text = make(draft.json(), draft.area_len());
        draft.text(Both, &text);
    }));
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

// A table: one row per recipe.
fn framing(all: &mut Vec<Recipe>) {
    whole(all, "empty", |_, _| Vec::new());
    whole(all, "empty-object", |_, _| b"{}".to_vec());
    whole(all, "array", |json, _| join(&[b"[", &json, b"]"]));
    whole(all, "null", |_, _| b"null".to_vec());
    for (name, before) in [
        ("space", &b" "[..]),
        ("newline", b"\n"),
        ("bom", b"\xef\xbb\xbf"),
        ("comment", b"/**/"),
        ("zero", b"\0"),
    ] {
        whole(all, &format!("{name}-before"), move |json, _| {
            join(&[before, &json])
        });
    }
    for (name, behind) in [
        ("space", &b" "[..]),
        ("white-space", b" \t\r\n "),
        ("form-feed", b"\x0c"),
        ("comma", b","),
        ("brace", b"}"),
        ("object", b"{}"),
        ("word", b"x"),
        ("zero-then-word", b"\0x"),
        ("zeros-then-brace", b"\0\0\0\0}"),
        ("space-zero-space", b" \0 "),
        ("comment", b"/* bye */"),
        ("comment-open", b"/* bye"),
        ("line-comment", b"// bye"),
        ("comment-then-word", b"/* bye */ x"),
    ] {
        whole(all, &format!("{name}-behind"), move |json, _| {
            join(&[&json, behind])
        });
    }
    whole(all, "area-full-but-one", |json, area| {
        let mut text = json;
        text.resize(area - 1, b' ');
        text
    });
    whole(all, "area-full", |json, area| {
        let mut text = json;
        text.resize(area, b' ');
        text
    });
    whole(all, "last-byte-of-area", |json, area| {
        let mut text = json;
        text.resize(area - 1, 0);
        text.push(b'x');
        text
    });
    whole(all, "cut-in-half", |json, _| {
        json[..json.len() / 2].to_vec()
    });
    whole(all, "last-brace-missing", |json, _| {
        json[..json.len() - 1].to_vec()
    });
    whole(all, "zero-in-the-middle", |json, _| {
        let mut text = json;
        let at = text.len() / 2;
        text[at] = 0;
        text
    });
    for (name, from, to) in [
        (
            "space-after-colon",
            &b"\"config\":{"[..],
            &b"\"config\": {"[..],
        ),
        ("newline-after-colon", b"\"config\":{", b"\"config\":\n{"),
        (
            "form-feed-after-colon",
            b"\"config\":{",
            b"\"config\":\x0c{",
        ),
        (
            "vertical-tab-after-colon",
            b"\"config\":{",
            b"\"config\":\x0b{",
        ),
        ("comment-after-colon", b"\"config\":{", b"\"config\":/* */{"),
        (
            "line-comment-after-colon",
            b"\"config\":{",
            b"\"config\"://\n{",
        ),
        ("zero-after-colon", b"\"config\":{", b"\"config\":\0{"),
        ("colon-missing", b"\"config\":{", b"\"config\"{"),
        ("colon-twice", b"\"config\":{", b"\"config\"::{"),
        ("comma-missing", b",\"config\":", b"\"config\":"),
        ("comma-twice", b",\"config\":", b",,\"config\":"),
        ("trailing-comma-object", b"\"393216\"}", b"\"393216\",}"),
        ("trailing-comma-twice", b"\"393216\"}", b"\"393216\",,}"),
        ("trailing-comma-array", b"[\"0\",\"1\"]", b"[\"0\",\"1\",]"),
        ("leading-comma-array", b"[\"0\",\"1\"]", b"[,\"0\",\"1\"]"),
        ("key-unquoted", b"\"config\":", b"config:"),
        ("key-single-quoted", b"\"config\":", b"'config':"),
        ("key-escaped", b"\"config\":", b"\"c\\u006fnfig\":"),
        ("key-with-zero", b"\"config\":", b"\"config\\u0000x\":"),
        ("key-with-escaped-slash", b"\"note\":", b"\"no\\/te\":"),
        ("key-upper-case", b"\"config\":", b"\"Config\":"),
        (
            "section-twice-last-good",
            b"\"config\":",
            b"\"config\":{},\"config\":",
        ),
        (
            "section-twice-last-bad",
            b",\"config\":",
            b",\"segments\":{},\"config\":",
        ),
    ] {
        all.push(Recipe::luks2(Luks2, format!("text/{name}"), move |draft| {
            draft.replace(Both, from, to);
        }));
    }
    all.push(Recipe::luks2(Luks2, "text/primary-only-broken", |draft| {
        draft.replace(Primary, b"\"config\":", b"config:");
    }));
}

/// Values of a field that no rule looks at: only the text decides.
// A table: one row per recipe.
fn values(all: &mut Vec<Recipe>) {
    let values = [
        "null",
        "Null",
        "true",
        "TRUE",
        "tRuE",
        "false",
        "nan",
        "NaN",
        "Infinity",
        "-Infinity",
        "infinity",
        "0",
        "-0",
        "00",
        "007",
        "-007",
        "1",
        "-1",
        "+1",
        "1.5",
        "1.",
        ".5",
        "-.5",
        "12e",
        "12e+",
        "12e5",
        "12E-5",
        "1e400",
        "-1e400",
        "1e-400",
        "0x20",
        "12x",
        "-",
        "--1",
        "1.2.3",
        "1e5e5",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "-9223372036854775808",
        "-9223372036854775809",
        "[]",
        "{}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "[1;2]",
        "undefined",
        "tru",
        "truex",
        "\"",
        "'x'",
        "\"x\"",
        "/**/1",
        "1/**/",
        "0.1234567890123456789012345678901234567890",
    ];
    for (number, value) in values.into_iter().enumerate() {
        let name: String = value.chars().take(24).collect();
        let name = name.replace('/', ":");
        all.push(Recipe::luks2(
            Luks2,
            format!("value/{number}-{name}"),
            move |draft| {
                draft.set("tokens/1/note", value);
            },
        ));
    }
    for depth in [1, 10, 27, 28, 29, 30, 31, 40, 1000] {
        all.push(Recipe::luks2(
            Luks2,
            format!("value/arrays-{depth}"),
            move |draft| {
                let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
                draft.set("tokens/1/note", &text);
            },
        ));
        all.push(Recipe::luks2(
            Luks2,
            format!("value/arrays-{depth}-around-1"),
            move |draft| {
                let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
                draft.set("tokens/1/note", &text);
            },
        ));
        if depth < 1000 {
            all.push(Recipe::luks2(
                Luks2,
                format!("value/objects-{depth}"),
                move |draft| {
                    let text = format!("{}{{}}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
                    draft.set("tokens/1/note", &text);
                },
            ));
        }
    }
}

// A table: one row per recipe.
fn strings(all: &mut Vec<Recipe>) {
    let strings: [(&str, &[u8]); 26] = [
        ("escapes", br#"\"\\\/\b\f\n\r\t"#),
        ("unicode", br"\u00e9\u20ac"),
        ("pair", br"\ud83d\ude00"),
        ("high-half", br"\ud83d"),
        ("low-half", br"\ude00"),
        ("high-half-then-letter", br"\ud83dx"),
        ("high-half-twice", br"\ud83d\ud83d"),
        ("high-half-then-escape", br"\ud83d\n"),
        ("high-half-cut", br"\ud83d\u"),
        ("zero", br"a\u0000b"),
        ("hex-escape", br"\x41"),
        ("short-unicode", br"\u12"),
        ("bad-unicode", br"\u12g4"),
        ("capital-u", br"\U0041"),
        ("unknown-escape", br"\q"),
        ("single-quote-escape", br"\'"),
        ("raw-newline", b"a\nb"),
        ("raw-tab", b"a\tb"),
        ("raw-control", b"a\x01b"),
        ("raw-delete", b"a\x7fb"),
        ("raw-zero", b"a\0b"),
        ("raw-utf8", "\u{e9}\u{20ac}\u{1f600}".as_bytes()),
        ("bad-utf8", b"a\xffb"),
        ("overlong-utf8", b"a\xc0\x80b"),
        ("surrogate-utf8", b"a\xed\xa0\x80b"),
        ("cut-utf8", b"a\xe2\x82"),
    ];
    for (name, text) in strings {
        all.push(Recipe::luks2(
            Luks2,
            format!("string/{name}"),
            move |draft| {
                draft.set("tokens/1/note", "\"@\"");
                draft.replace(Both, b"\"@\"", &[b"\"", text, b"\""].concat());
            },
        ));
    }
    for (name, path, value) in [
        ("type-cut-by-zero", "keyslots/0/type", r#""luks2\u0000x""#),
        ("type-starts-with-zero", "tokens/1/type", r#""\u0000x""#),
        (
            "reference-cut-by-zero",
            "tokens/1/keyslots",
            r#"["0\u0000x"]"#,
        ),
        ("size-cut-by-zero", "segments/0/size", r#""dynamic\u0000x""#),
        (
            "offset-cut-by-zero",
            "segments/0/offset",
            r#""1048576\u0000x""#,
        ),
        (
            "encryption-cut-by-zero",
            "segments/0/encryption",
            r#""aes-xts-plain64\u0000x""#,
        ),
        (
            "json-size-cut-by-zero",
            "config/json_size",
            r#""12288\u0000x""#,
        ),
        (
            "salt-with-zero",
            "keyslots/1/kdf/salt",
            r#""qXQIpTEh0lVd\u0000eTWMzt7hHJPFfLBFzu4BF+O783gJb4E=""#,
        ),
    ] {
        all.push(Recipe::luks2(
            Luks2,
            format!("string/{name}"),
            move |draft| {
                draft.set(path, value);
            },
        ));
    }
}
