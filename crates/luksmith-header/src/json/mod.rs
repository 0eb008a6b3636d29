//! JSON text as an ordered tree that survives being rewritten.
//!
//! The reader is strict RFC 8259; of the extensions that cryptsetup's parser takes, none is taken
//! here (docs/formats/luks2.md, "Deliberate differences"). The writer gives the bytes that
//! cryptsetup gives for the same tree.
//!
//! ```
//! use luksmith_header::json::{self, ParseLimits};
//!
//! let (top, used) = json::parse_object(br#"{"b":1,"a":[2.50],"b":3}  "#,
//! &ParseLimits::default())?;
//! assert_eq!(used, 24); // the object; white space after it is the caller's business
//! assert_eq!(top.to_compact(), r#"{"b":3,"a":[2.50]}"#);
//! # Ok::<(), luksmith_header::json::SyntaxError>(())
//! ```

mod parse;
mod print;
mod tree;

pub use parse::{MAX_DEPTH, ParseLimits, SyntaxError, SyntaxFault, parse_object};
pub use tree::{Member, Number, Object, Value, ValueKind};
