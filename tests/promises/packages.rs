//! What people install: the wheel, beside the tools that it is for, and the notices that go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use snapbox::{assert_data_eq, file as golden};

use crate::clients::*;
use crate::world::*;

const WHEEL: &str = "the wheel";

/// Fails where a program is of another version, which would say nothing of this one.
pub fn assert_installed(program: &str) {
    let outcome = client(program).arg("--version").run();
    let version = concat!("connect-credential ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(outcome.text(), version, "{outcome:?}");
}

#[test]
fn the_installed_program_exchanges() {
    let Some(installed) = python_client("connect-credential", WHEEL) else {
        return;
    };
    assert_installed(&installed);

    let server = connect().start();
    let outcome = client(&installed)
        .args(options(&server).split(' '))
        .args(["-f", "key"])
        .run();
    assert_success(&outcome);
    assert_eq!(outcome.text(), format!("{KEY}\n"));
}

/// As in an environment that is activated: both programs are found on the `PATH`.
#[test]
fn the_installed_program_runs_rsconnect_from_the_same_environment() {
    let what = "the wheel beside rsconnect";
    let (Some(installed), Some(_)) = (
        python_client("connect-credential", what),
        python_client("rsconnect", what),
    ) else {
        return;
    };
    let environment = Path::new(&installed).parent().unwrap().to_str().unwrap();
    let server = connect_for_rsconnect(open_connect());
    let outcome = client(&installed)
        .args(options(&server).split(' '))
        .args(["--", "rsconnect", "content", "search"])
        .env("PATH", environment)
        .run();
    assert_success(&outcome);
    let requests = server.requests();
    assert!(
        !authorized(&requests, &format!("Key {KEY}")).is_empty(),
        "{requests:#?}"
    );
}

#[test]
fn the_installed_program_has_its_licence_and_the_notices_with_it() {
    let what = "the wheel's licence";
    let (Some(python), Some(_)) = (
        python_client("python", what),
        python_client("connect-credential", what),
    ) else {
        return;
    };
    for (name, expected) in [
        ("LICENSE", include_str!("../../LICENSE")),
        (
            "THIRD-PARTY-NOTICES",
            include_str!("../../THIRD-PARTY-NOTICES"),
        ),
    ] {
        let script = "import importlib.metadata, sys\n\
                      found = importlib.metadata.distribution('connect-credential')\n\
                      sys.stdout.buffer.write(found.read_text(sys.argv[1]).encode())";
        let outcome = client(&python)
            .args(["-c", script, &format!("licenses/{name}")])
            .run();
        assert_success(&outcome);
        assert!(outcome.text() == expected, "{name} is not the wheel's");
    }
}

// The notices. `SNAPSHOTS=overwrite cargo test notices` writes them anew.

/// The systems that the program is built for.
const TARGETS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

const PREFACE: &str = "\
Third-party notices of connect-credential

The program contains code of these packages, or code that they wrote when it was built; which of
them, depends on the system. It also contains the Rust standard library, Copyright (c) The Rust
Project Contributors, MIT OR Apache-2.0; where it is built for musl also that C library, MIT, and
LLVM's libunwind, Apache-2.0 WITH LLVM-exception. The texts of the licences follow.

";

/// musl comes with the compiler, so no package of cargo's has this text.
const MUSL: &str = "
--------------------------------------------------------------------------------
musl: COPYRIGHT

Copyright (c) 2005-2020 Rich Felker, et al.

Permission is hereby granted, free of charge, to any person obtaining
a copy of this software and associated documentation files (the
\"Software\"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be
included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

#[test]
fn the_notices_name_each_package_in_the_program() {
    let Some(notices) = notices() else {
        return;
    };
    assert_data_eq!(notices, golden!["../../THIRD-PARTY-NOTICES"].raw());
}

fn notices() -> Option<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["metadata", "--locked", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for target in TARGETS {
        cargo.args(["--filter-platform", target]);
    }
    let output = cargo.output().unwrap();
    if !output.status.success() {
        // Without a network cargo has the packages of this system only.
        not_run("a package of another system", "the list of notices");
        return None;
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();

    let mut notices = PREFACE.to_owned();
    // Most texts are those of many packages, but for their white space.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for package in packages(&metadata) {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        writeln!(notices, "{name}: {}", text(&package["license"])).unwrap();
        let folder = Path::new(text(&package["manifest_path"])).parent().unwrap();
        let files = licence_files(folder);
        assert!(!files.is_empty(), "{name} has no licence file");
        for path in files {
            let whole = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
            let words = whole.split_whitespace().collect::<Vec<_>>().join(" ");
            let path = path.strip_prefix(folder).unwrap().display();
            let (_, places) = texts.entry(words).or_insert((whole, Vec::new()));
            places.push(format!("{name}: {path}"));
        }
    }
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort_by(|one, other| one.1.cmp(&other.1));
    for (whole, places) in texts {
        let lines: Vec<&str> = whole.lines().map(str::trim_end).collect();
        let rule = "-".repeat(80);
        let (places, whole) = (places.join("\n"), lines.join("\n"));
        let whole = whole.trim_matches('\n');
        write!(notices, "\n{rule}\n{places}\n\n{whole}\n").unwrap();
    }
    notices += MUSL;
    Some(notices)
}

/// The packages that the program depends on, however far; not those of its tests and build scripts.
fn packages(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let root = text(&metadata["resolve"]["root"]);
    let mut found = BTreeSet::new();
    let mut left = vec![root];
    while let Some(id) = left.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            // A dependency of the program itself has no kind.
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                left.push(text(&dependency["pkg"]));
            }
        }
    }
    found.remove(root);
    let mut found: Vec<&Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| found.contains(text(&package["id"])))
        .collect();
    found.sort_by_key(|package| (text(&package["name"]), text(&package["version"])));
    found
}

/// In all its folders: a package can hold the code of others, with their licences beside it.
fn licence_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_lowercase();
        let is_licence = ["licen", "unlicen", "copying", "copyright", "notice"]
            .iter()
            .any(|start| name.starts_with(start));
        if path.is_dir() {
            found.extend(licence_files(&path));
        } else if is_licence && !name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
