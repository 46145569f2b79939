//! The command line: what was typed, not yet what it means.
//!
//! Pure. Parsing goes on after an error, so that `--format` is known to whoever tells of it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use lexopt::prelude::*;

use crate::error::Error;
use crate::format::{Format, Verb};
use crate::settings::{Field, Layer, LayerKind, TIMEOUT_RULE, seconds};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Exchange an OIDC identity token for a short-lived Posit Connect API key.

Usage:
  connect-credential [OPTIONS]
  connect-credential [OPTIONS] get|store|erase      the request is on stdin
  connect-credential [OPTIONS] -- COMMAND [ARG...]  run it with CONNECT_SERVER
                                                    and CONNECT_API_KEY set

Options:
  -s, --server URL                 the Connect server
      --identity-token TOKEN       the identity token; - reads it from stdin
      --identity-token-file FILE   a file that holds it
      --identity-provider NAME     where to get one: auto (default), none,
                                   github, azure-devops, gitlab, circleci,
                                   bitbucket, buildkite, google, workbench
      --audience AUD               the audience to ask for (default connect)
  -c, --cacert FILE                PEM certificates to trust for the server,
                                   in place of the system's
  -i, --insecure                   no certificate checks, http:// allowed
  -f, --format NAME                json (default), kubernetes, aws, git, bazel,
                                   key, header, env, github
      --check                      use the new key once before it is printed
      --timeout SECONDS            the deadline for everything (default 30)
  -v, --verbose                    tell the steps on stderr
  -h, --help                       print this help
  -V, --version                    print the version

For any RFC 8693 server:
      --token-endpoint URL         where to exchange, without discovery
      --client-id ID               the OAuth client
      --subject-token-type TYPE    what the identity token is
      --requested-token-type TYPE  what to issue
      --param NAME=VALUE           another parameter; may be repeated
      --scheme WORD                the word before the key in an Authorization
                                   header (default Key)

Environment, where an option is not given:
  CONNECT_SERVER, CONNECT_IDENTITY_TOKEN, CONNECT_IDENTITY_TOKEN_FILE,
  CONNECT_IDENTITY_PROVIDER, CONNECT_AUDIENCE, CONNECT_CA_CERTIFICATE,
  CONNECT_INSECURE
  CONNECT_ALLOWED_SERVERS          the servers that a token may go to, if set

Exit status: 0 success, 1 output, 2 usage, 3 identity token, 4 refused,
5 network, 6 the server's answer. protocol.md tells the rest.
";

/// What `--version` prints.
pub(crate) const VERSION: &str = concat!("connect-credential ", env!("CARGO_PKG_VERSION"), "\n");

/// What the caller asks for on the command line.
pub(crate) struct Typed {
    pub(crate) options: Layer,
    pub(crate) format: Option<Format>,
    pub(crate) verb: Option<Verb>,
    /// The words behind `--`.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) verbose: bool,
    /// The first thing that is wrong with it.
    pub(crate) error: Option<Error>,
    /// A format was named that does not exist, so that nobody can know what the caller parses.
    pub(crate) unknown_format: bool,
}

/// The text to print where help or the version is asked for anywhere before `--`, whatever else
/// is wrong.
pub(crate) fn information(args: &[OsString]) -> Option<&'static str> {
    args.iter()
        .take_while(|arg| *arg != "--")
        .find_map(|arg| match arg.to_str()? {
            "-h" | "--help" => Some(HELP),
            "-V" | "--version" => Some(VERSION),
            _ => None,
        })
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(args: &[OsString]) -> Typed {
    let mut typed = Typed {
        options: Layer::new(LayerKind::Options),
        format: None,
        verb: None,
        command: None,
        verbose: false,
        error: None,
        unknown_format: false,
    };
    let mut parser = lexopt::Parser::from_args(args.iter().cloned());
    loop {
        match typed.take(&mut parser) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => typed.error = typed.error.or(Some(error)),
        }
    }
    typed.error = typed.error.take().or_else(|| typed.contradiction());
    typed
}

impl Typed {
    /// What cannot stand together.
    fn contradiction(&self) -> Option<Error> {
        let both =
            |what| Error::usage(format!("{what} and a command behind -- do not go together"));
        match (&self.command, self.verb, self.format) {
            (Some(_), Some(_), _) => Some(both("a verb")),
            (Some(_), _, Some(_)) => Some(both("--format")),
            _ => None,
        }
    }

    /// Takes one argument, with its value; false at the end.
    fn take(&mut self, parser: &mut lexopt::Parser) -> Result<bool, Error> {
        // A word behind `--` is the command's; `next` would not tell it from a verb.
        if let Some(mut rest) = parser.try_raw_args()
            && rest.next_if(|arg| arg == "--").is_some()
        {
            self.command = Some(rest.collect());
            return Ok(false);
        }
        let Some(arg) = parser.next().map_err(complaint)? else {
            return Ok(false);
        };
        let field = match arg {
            Short('s') | Long("server") => Field::Server,
            Long("identity-token") => Field::IdentityToken,
            Long("identity-token-file") => Field::IdentityTokenFile,
            Long("identity-provider") => Field::IdentityProvider,
            Long("audience") => Field::Audience,
            Short('c') | Long("cacert") => Field::Cacert,
            Long("token-endpoint") => Field::TokenEndpoint,
            Long("client-id") => Field::ClientId,
            Long("subject-token-type") => Field::SubjectTokenType,
            Long("requested-token-type") => Field::RequestedTokenType,
            Long("scheme") => Field::Scheme,
            Short('i') | Long("insecure") => {
                return once(&mut self.options.insecure, true, "--insecure");
            }
            Long("check") => return once(&mut self.options.check, true, "--check"),
            Long("timeout") => {
                let value = parser.value().map_err(complaint)?;
                return once(&mut self.options.timeout, timeout(&value)?, "--timeout");
            }
            Long("param") => {
                let value = parser.value().map_err(complaint)?;
                self.options
                    .params
                    .get_or_insert_default()
                    .push(param(&value)?);
                return Ok(true);
            }
            Short('f') | Long("format") => {
                let value = parser.value().map_err(complaint)?;
                let Some(format) = value.to_str().and_then(Format::from_name) else {
                    self.unknown_format = true;
                    return Err(Error::usage("--format names no format that there is")
                        .hint(format!("the formats are {}", Format::names())));
                };
                return once(&mut self.format, format, "--format");
            }
            Short('v') | Long("verbose") => {
                self.verbose = true;
                return Ok(true);
            }
            Value(word) => return self.verb(&word),
            Short(_) | Long(_) => return Err(complaint(arg.unexpected())),
        };
        let value = parser.value().map_err(complaint)?;
        self.options.set(field, value)?;
        Ok(true)
    }

    fn verb(&mut self, word: &OsStr) -> Result<bool, Error> {
        if self.verb.is_some() {
            return Err(
                Error::usage("there is more than one word beside the options")
                    .hint("the words are get, store and erase, one at a time"),
            );
        }
        self.verb = Some(match word.to_str() {
            Some("get") => Verb::Get,
            Some("store") => Verb::Store,
            Some("erase") => Verb::Erase,
            _ => Verb::Other,
        });
        Ok(true)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<bool, Error> {
    match slot.replace(value) {
        None => Ok(true),
        Some(_) => Err(Error::usage(format!("{name} is given twice"))),
    }
}

/// Why an option could not be read. `lexopt`'s own words quote values, which may be secrets.
fn complaint(error: lexopt::Error) -> Error {
    match error {
        lexopt::Error::MissingValue {
            option: Some(option),
        } => Error::usage(format!("{option} needs a value")),
        lexopt::Error::UnexpectedOption(option) => {
            Error::usage(format!("there is no option {}", shown(&option)))
                .hint("connect-credential --help lists the options")
        }
        lexopt::Error::UnexpectedValue { option, .. } => {
            Error::usage(format!("{} takes no value", shown(&option)))
        }
        _ => Error::usage("the arguments cannot be read")
            .hint("connect-credential --help lists the options"),
    }
}

/// An option's name as it was typed, unless it is no name at all.
fn shown(option: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match option.len() <= 32 && option.chars().all(is_name) {
        true => option,
        false => "of that name",
    }
}

fn timeout(value: &OsStr) -> Result<Duration, Error> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .and_then(seconds)
        .ok_or_else(|| Error::usage(format!("--timeout {TIMEOUT_RULE}")))
}

fn param(value: &OsStr) -> Result<(String, String), Error> {
    let pair = value.to_str().and_then(|text| text.split_once('='));
    let (name, value) = pair.ok_or_else(|| Error::usage("--param is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn help_and_version_are_found_whatever_else_is_wrong() {
        assert_eq!(information(&words("--nonsense --help")), Some(HELP));
        assert_eq!(information(&words("-s -V -f nonsense")), Some(VERSION));
        assert_eq!(information(&words("--version --help")), Some(VERSION));
        assert_eq!(information(&words("-s x -- curl --help")), None);
    }

    #[test]
    fn the_format_is_known_even_behind_an_error() {
        for line in [
            "--nope -f env",
            "-f env --nope",
            "--timeout=x -vfenv",
            "--check=1 --format=env",
        ] {
            let typed = parse(&words(line));
            assert_eq!(typed.format, Some(Format::Env), "{line}");
            assert!(typed.error.is_some(), "{line}");
        }
    }

    #[test]
    fn a_bad_command_line_is_told_without_its_values() {
        let cases = [
            ("--server", "--server needs a value"),
            ("--server=", "--server is empty"),
            ("-s a -s b", "--server is given twice"),
            ("--insecure -i", "--insecure is given twice"),
            ("--insecure=secret", "--insecure takes no value"),
            ("--nope=secret", "there is no option --nope"),
            ("-x", "there is no option -x"),
            ("--se\u{1b}cret", "there is no option of that name"),
            (
                "get secret",
                "there is more than one word beside the options",
            ),
            ("-f secret", "--format names no format that there is"),
            ("--param secret", "--param is not NAME=VALUE"),
            (
                "--timeout 0",
                "--timeout is not a number of seconds above 0 and at most 86400",
            ),
        ];
        for (line, message) in cases {
            let error = parse(&words(line)).error.unwrap();
            assert_eq!(error.message, message, "{line}");
            assert!(!format!("{error:?}").contains("secret"), "{line}");
        }
    }

    #[test]
    fn a_time_limit_is_finite_above_zero_and_at_most_a_day() {
        for bad in ["0", "-1", "nan", "inf", "1e400", "86400.1", "", "1s"] {
            assert!(timeout(OsStr::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(
            timeout(OsStr::new("2.5")).unwrap(),
            Duration::from_millis(2500)
        );
        assert_eq!(
            timeout(OsStr::new("86400")).unwrap(),
            Duration::from_secs(86_400)
        );
    }
}
