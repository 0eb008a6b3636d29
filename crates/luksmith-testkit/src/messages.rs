//! The error messages of a crate against the list that it keeps.

use std::fmt::{Debug, Display};

/// Checks that every variant of an `Error` has an example and that its message is the listed one,
/// so that a change of a text shows in review and a new variant cannot be forgotten.
///
/// `source` is the file that declares the enum; `errors` are examples in its order, one or more of
/// each variant; `listed` has a line `Variant: message` for each. `about` says more of an example,
/// in brackets behind the variant.
///
/// # Panics
/// If they differ.
pub fn check_messages<E: Debug + Display>(
    source: &str,
    errors: &[E],
    about: impl Fn(&E) -> Option<String>,
    listed: &str,
) {
    let mut names: Vec<String> = errors.iter().map(name).collect();
    let mut rendered = String::new();
    for (error, name) in errors.iter().zip(&names) {
        let about = about(error).map_or_else(String::new, |about| format!(" ({about})"));
        rendered += &format!("{name}{about}: {error}\n");
    }
    names.dedup();
    assert_eq!(names, declared(source), "examples, and what is declared");
    assert_eq!(rendered, listed);
}

/// The names of variants as the source declares them.
fn declared(source: &str) -> Vec<String> {
    let (_, body) = source
        .split_once("pub enum Error {")
        .expect("it declares Error");
    let (body, _) = body.split_once("\n}\n").expect("the end of the enum");
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter_map(|line| line.split([' ', '(', ',']).next())
        .map(str::to_owned)
        .collect()
}

/// The name of a variant, as `Debug` starts with it.
fn name(error: &impl Debug) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|c: char| !c.is_alphanumeric());
    shown.split_at(end.unwrap_or(shown.len())).0.to_owned()
}
