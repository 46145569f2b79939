//! What the program promises in great numbers: many runs at once, and every place at which a
//! conversation can break. Apart from the other promises, whose deadlines it would starve.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "what the promises share is public among them, and more than is used here"
)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../promises/world.rs"]
mod world;

mod crowd;
mod sweep;
