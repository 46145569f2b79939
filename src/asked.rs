//! What the caller asks: options, and the request that the format reads from where its tool puts
//! it.

use crate::error::Error;
use crate::format::{Format, Question, Verb, bazel, git, json, kubernetes};
use crate::run::Run;
use crate::secret::Secret;
use crate::settings::{self, Field, Layer};

/// What the caller asks beside the environment.
pub(crate) struct Asked {
    pub(crate) layers: Vec<Layer>,
    pub(crate) question: Question,
    /// With `erase`, the key that the server no longer takes.
    pub(crate) refused_key: Option<Secret>,
}

impl Run {
    /// What the caller asks: the layers of settings above the environment, and the question of
    /// the format.
    ///
    /// # Errors
    /// `usage`, `bad_request`, `unsupported_version` or `timeout`.
    pub(crate) fn asked(
        &mut self,
        options: Layer,
        verb: Option<Verb>,
        format: Format,
        for_command: bool,
    ) -> Result<Asked, Error> {
        let mut asked = Asked {
            layers: vec![options],
            question: Question::Plain,
            refused_key: None,
        };
        let Some(verb) = verb else {
            if format == Format::Kubernetes
                && !for_command
                && let Some(info) = self.env.get(kubernetes::EXEC_INFO)
            {
                // What is not UTF-8 is no JSON either, and is told as such.
                let (version, layer) = kubernetes::read_request(&info.to_string_lossy())?;
                asked.question = Question::Kubernetes(version);
                asked.layers.push(layer);
            }
            return Ok(asked);
        };
        format.admits(verb)?;
        let uses_stdin = |layer: &Layer| layer.get(Field::IdentityToken).is_some_and(|t| t == "-");
        if asked.layers.iter().any(uses_stdin) {
            return Err(Error::usage(
                "stdin cannot carry both the request and, for --identity-token -, the token",
            ));
        }
        if verb == Verb::Other {
            return Ok(asked);
        }
        if format == Format::Json && self.stdin_is_terminal {
            return Err(
                Error::usage("a verb reads a request from stdin, which is a terminal")
                    .hint(r#"call it like this: echo '{"version":1}' | connect-credential get"#)
                    .hint("without a verb, options and environment variables are enough"),
            );
        }
        let mut stdin = self.stdin(self.deadline(settings::timeout(&asked.layers)))?;
        match format {
            Format::Git => {
                let question = git::read_request(&mut stdin)?;
                asked.refused_key = question.refused_key();
                asked.question = Question::Git(question);
            }
            Format::Bazel => asked.question = Question::Bazel(bazel::read_request(&mut stdin)?),
            _ => {
                let request = json::read_request(&mut stdin)?;
                asked.layers.push(json::layer(&request)?);
                asked.refused_key = json::refused_key(&request)?;
            }
        }
        Ok(asked)
    }
}
