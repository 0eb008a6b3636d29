//! The `luksmith` command.

fn main() {}
