//! The least that a program costs.

fn main() {}
