//! Looks for bytes that break a property of the program, by coverage:
//!
//!     cd tests/fuzz
//!     mkdir -p ../../target/found
//!     PROPERTY=git_request cargo run --release -- ../../target/found corpus/git_request \
//!         -max_total_time=600
//!
//! Without PROPERTY the properties are listed. Bytes that break one are written to a file; in the
//! property's folder under `corpus`, with the mend, `cargo test` holds it against them for good.

#![no_main]

use std::sync::OnceLock;

use connect_credential::fuzz::PROPERTIES;
use libfuzzer_sys::fuzz_target;

static PROPERTY: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("PROPERTY").unwrap_or_default();
        let known = PROPERTIES.iter().find(|(known, _)| *known == name);
        let Some((_, property)) = known else {
            let names: Vec<&str> = PROPERTIES.iter().map(|(name, _)| *name).collect();
            eprintln!("PROPERTY is one of: {}", names.join(" "));
            std::process::exit(2);
        };
        PROPERTY.get_or_init(|| *property);
    },
    |bytes: &[u8]| {
        if let Some(property) = PROPERTY.get() {
            property(bytes);
        }
    }
);
