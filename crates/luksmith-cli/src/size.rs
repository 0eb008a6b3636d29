//! Sizes with suffixes.

/// Reads a number of bytes: digits, then nothing or one of K, M, G, T (powers of 1024), in either
/// case, alone or followed by `iB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, suffix) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no size; give a number with K, M, G or T behind it"))?;
    let unit = suffix.strip_suffix("iB").unwrap_or(suffix);
    let shift = match unit {
        "" if suffix.is_empty() => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return Err(format!("`{suffix}` is no unit; K, M, G and T are")),
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` does not fit 64 bits"))
}

/// Says a size the way people read it.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1024 && unit + 1 < UNITS.len() && whole.is_multiple_of(1024) {
        whole /= 1024;
        unit += 1;
    }
    if whole < 10240 {
        return format!("{whole} {}", UNITS.get(unit).copied().unwrap_or_default());
    }
    let mut value = bytes;
    let mut unit = 0;
    while value >= 10240 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    let name = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("16k"), Ok(16384));
        assert_eq!(parse_size("3MiB"), Ok(3 << 20));
        assert_eq!(parse_size("1T"), Ok(1 << 40));
        for bad in [
            "",
            "K",
            "1KB",
            "1iB",
            "-1",
            "1.5G",
            "16777216T",
            "1 K",
            "1X",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_said_briefly() {
        assert_eq!(human(0), "0 bytes");
        assert_eq!(human(16 << 20), "16 MiB");
        assert_eq!(human((1 << 20) + 512), "1024.5 KiB");
        assert_eq!(human(u64::MAX), "16777215.9 TiB");
    }
}
