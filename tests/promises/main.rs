//! What the program promises, each promise a test: the real binary, as a process with an empty
//! environment, against a real TLS server on a real socket.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "what the modules share is public among them"
)]

#[path = "../support/mod.rs"]
mod support;
mod world;

mod bad_input;
mod clients;
mod command_line;
mod documents;
mod exchange;
mod faults;
mod formats;
mod hints;
mod network;
mod packages;
mod pipes;
mod providers;
mod proxies;
mod readme;
mod recipes;
mod refusals;
mod request;
mod revocation;
mod secrets;
mod token_safety;
mod tools;
mod tries;
mod trust;
