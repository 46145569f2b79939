//! Knows nothing itself: it names the parts that play the outside world in a test.
//!
//! A test scripts a [`server`], may put a [`proxy`] before it, and runs the program as a
//! [`process`]. [`certs`] and [`jwt`] make what they exchange. Every thread ends with the value
//! that started it, so a test may fail but does not hang.

// Each target includes this module whole and uses only some of it.
#![allow(dead_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![allow(clippy::string_slice, unreachable_pub, missing_docs)]

pub mod certs;
pub mod jwt;
pub mod process;
pub mod proxy;
pub mod server;

mod life;
mod link;
mod reply;
mod request;
