//! What can go wrong, as callers see it: the one table of codes and exit statuses.
//!
//! Pure. Rules for messages, obeyed wherever one is written: a message says what was wrong and
//! where, in one line, without a full stop and without a secret; what to do about it is a hint.
//! Words of others (a server, a program) pass through [`crate::words`] first.

/// A failure of a run: a code of the table, a message, and hints that say what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// The status of the HTTP reply that told of the failure, where one did.
    pub(crate) http_status: Option<u16>,
    /// The `error` of RFC 6749 section 5.2, where the server sent one.
    pub(crate) oauth_error: Option<String>,
    pub(crate) exit_status: u8,
    /// Whether the same call may succeed later.
    pub(crate) retryable: bool,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
            http_status: None,
            oauth_error: None,
            exit_status: code.row().exit_status,
            retryable: code.row().retryable,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    pub(crate) fn status(mut self, http_status: u16) -> Self {
        self.http_status = Some(http_status);
        self
    }

    /// Ends the program with a status that is not the code's own.
    pub(crate) fn exits_with(mut self, status: u8) -> Self {
        self.exit_status = status;
        self
    }

    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}

/// A row of the table: the code's name, its exit status, and whether it is retryable unless the
/// error itself says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) exit_status: u8,
    pub(crate) retryable: bool,
}

macro_rules! table {
    ($($code:ident $name:literal $exit_status:literal $retryable:literal: $doc:literal;)*) => {
        /// The codes; `protocol.md` says what a caller does about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $doc] $code,)*
        }

        impl Code {
            /// Whether the server understood the token and said no.
            pub(crate) const fn is_refusal(self) -> bool {
                self.row().exit_status == 4
            }

            /// Every code, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$code,)*];

            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Code::$code => Row {
                        name: $name,
                        exit_status: $exit_status,
                        retryable: $retryable,
                    },)*
                }
            }
        }
    };
}

table! {
    Output "output" 1 false: "stdout or `GITHUB_ENV` could not be written";
    Usage "usage" 2 false: "an option, a variable, or a file they name";
    ServerNotAllowed "server_not_allowed" 2 false: "not in `CONNECT_ALLOWED_SERVERS`";
    BadRequest "bad_request" 2 false: "the request on stdin or in `KUBERNETES_EXEC_INFO`";
    UnsupportedVersion "unsupported_version" 2 false: "a request of another version";
    NoIdentityToken "no_identity_token" 3 false: "no source of an identity token";
    IdentityTokenUnreadable "identity_token_unreadable" 3 false: "its file or stdin";
    IdentityProviderFailed "identity_provider_failed" 3 false: "its request or program";
    NoMatch "no_match" 4 false: "`invalid_grant`: no trusted publisher matches";
    AmbiguousMatch "ambiguous_match" 4 false: "`invalid_grant`: more than one matches";
    VerificationFailed "verification_failed" 4 false: "`invalid_grant`: the token does not verify";
    Refused "refused" 4 false: "any other OAuth error; a bare 401 or 403";
    KeyRejected "key_rejected" 4 false: "the new key did not pass `--check`";
    Unreachable "unreachable" 5 true: "unknown host, refused, reset, cut reply, proxy";
    Tls "tls" 5 false: "certificate, alert, no TLS there, no trust to use";
    Timeout "timeout" 5 true: "the deadline, at any stage";
    Unavailable "unavailable" 5 true: "429, 5xx";
    UnsupportedServer "unsupported_server" 6 false: "no token exchange there";
    UnsafeEndpoint "unsafe_endpoint" 6 false: "an endpoint or redirect the token may not follow";
    BadResponse "bad_response" 6 false: "a reply that cannot be what it should be";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_designs_row_by_row() {
        let table = [
            ("output", 1, false),
            ("usage", 2, false),
            ("server_not_allowed", 2, false),
            ("bad_request", 2, false),
            ("unsupported_version", 2, false),
            ("no_identity_token", 3, false),
            ("identity_token_unreadable", 3, false),
            ("identity_provider_failed", 3, false),
            ("no_match", 4, false),
            ("ambiguous_match", 4, false),
            ("verification_failed", 4, false),
            ("refused", 4, false),
            ("key_rejected", 4, false),
            ("unreachable", 5, true),
            ("tls", 5, false),
            ("timeout", 5, true),
            ("unavailable", 5, true),
            ("unsupported_server", 6, false),
            ("unsafe_endpoint", 6, false),
            ("bad_response", 6, false),
        ]
        .map(|(name, exit_status, retryable)| Row {
            name,
            exit_status,
            retryable,
        });
        let rows: Vec<Row> = Code::ALL.iter().map(|code| code.row()).collect();
        assert_eq!(rows, table);
    }
}
