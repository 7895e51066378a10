//! Steps that are not ours: a request to a URL and a program, as Chaos Toolkit has them. What runs
//! code inside the tool (`python`) is refused.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Http;
use super::read::{At, Malformed};
use super::variables::{Environment, Variables};
use crate::target::program::{Arguments, NoOutcome, Program, which};

/// What a step of somebody else's does.
#[derive(Clone, Debug, PartialEq)]
pub enum Foreign {
    /// Asks a URL.
    Http(Http),
    /// Runs a program.
    Process(Program),
}

/// Why a step has no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It failed, and the others go on.
    Step(String),
    /// It went wrong in a way that ends the experiment.
    Aborts(String),
}

impl Failed {
    /// Why.
    #[must_use]
    pub fn why(&self) -> &str {
        let (Self::Step(why) | Self::Aborts(why)) = self;
        why
    }
}

impl Foreign {
    /// Reads a provider of type `http` or `process`; none for another one.
    pub(super) fn read(
        at: &At<'_>,
        variables: &Variables,
        environment: &Environment,
    ) -> Result<Option<Self>, Malformed> {
        match at.value["type"].as_str() {
            Some("http") => Ok(Some(Self::Http(Http::read(at, variables)?))),
            Some("process") => {
                let program = process(at, variables, environment)?;
                Ok(Some(Self::Process(program)))
            }
            Some("python") => Err(at.wrong(
                "a provider of type `python` is not run here: it is code that runs inside another \
                 tool; use type `process`, `http`, or `sonia`, which drives the target itself",
            )),
            _ => Ok(None),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn run(&self, environment: &Environment) -> Result<Value, Failed> {
        match self {
            Self::Http(http) => http.send().await,
            Self::Process(program) => match program.run(environment).await {
                Ok(outcome) => Ok(json!({
                    "status": outcome.status,
                    "stdout": outcome.stdout,
                    "stderr": outcome.stderr,
                })),
                Err(error @ NoOutcome::TimedOut(_)) => Err(Failed::Step(error.to_string())),
                Err(error @ NoOutcome::NotRun { .. }) => Err(Failed::Aborts(error.to_string())),
            },
        }
    }

    /// Why an action with this output did not bring about what it was to, as far as that shows: the
    /// tool whose format this is calls it a success all the same.
    #[must_use]
    pub fn unhappy(&self, output: &Value) -> Option<String> {
        let status = output["status"].as_i64()?;
        match self {
            Self::Process(_) => (status != 0).then(|| format!("ended with {status}, expected 0")),
            Self::Http(Http {
                expected_status: Some(expected),
                ..
            }) => (status != i64::from(*expected))
                .then(|| format!("was answered {status}, expected {expected}")),
            Self::Http(_) => {
                (status >= 400).then(|| format!("was answered {status}, expected less than 400"))
            }
        }
    }
}

/// A length of time in seconds.
pub(super) fn seconds(at: &At<'_>) -> Result<Duration, Malformed> {
    let seconds = at.value.as_f64().filter(|seconds| *seconds >= 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| at.expected("seconds, 0 or more"))
}

fn process(
    at: &At<'_>,
    variables: &Variables,
    environment: &Environment,
) -> Result<Program, Malformed> {
    let fields = at.fields(&["type", "path", "arguments", "timeout", "secrets"])?;
    let path = fields.need("path")?;
    let found = which(path.text()?, environment);
    let found: PathBuf =
        found.ok_or_else(|| path.expected("a program that can be run, or a name on PATH"))?;
    let arguments = match fields.get("arguments") {
        None => Arguments::Words(Vec::new()),
        Some(at) => arguments(&at, &variables.fill(at.value))?,
    };
    Ok(Program {
        path: found,
        arguments,
        timeout: fields.get("timeout").map(|at| seconds(&at)).transpose()?,
    })
}

/// A list of words, an object whose names and values follow one another, or a text for the shell.
fn arguments(at: &At<'_>, filled: &Value) -> Result<Arguments, Malformed> {
    let all: Vec<Value> = match filled {
        Value::String(text) => return Ok(Arguments::Shell(text.clone())),
        Value::Array(items) => items.clone(),
        Value::Object(map) => {
            let pairs = map.iter();
            let pairs = pairs.flat_map(|(name, value)| [json!(name), value.clone()]);
            pairs.collect()
        }
        Value::Null => Vec::new(),
        _ => return Err(at.expected("a list, an object or a text")),
    };
    let words = all.iter().filter(|word| !word.is_null() && **word != "");
    Ok(Arguments::Words(words.map(super::http::word).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into()
    }

    fn read(provider: &Value) -> Result<Foreign, Malformed> {
        let at = At::root(provider);
        let read = Foreign::read(&at, &Variables::default(), &environment());
        Ok(read?.expect("a provider that is not ours"))
    }

    fn program(arguments: &Value) -> Arguments {
        let provider = json!({"type": "process", "path": "sh", "arguments": arguments});
        match read(&provider).unwrap() {
            Foreign::Process(program) => program.arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_words_pairs_or_a_text_for_the_shell() {
        let words = |all: &[&str]| Arguments::Words(all.iter().map(ToString::to_string).collect());
        assert_eq!(
            program(&json!(["-c", 3, "", null, true])),
            words(&["-c", "3", "True"])
        );
        assert_eq!(
            program(&json!({"-a": 1, "-b": ""})),
            words(&["-a", "1", "-b"])
        );
        assert_eq!(
            program(&json!("-c 'exit 3'")),
            Arguments::Shell("-c 'exit 3'".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_place() {
        for (provider, place) in [
            (json!({"type": "process"}), "$"),
            (
                json!({"type": "process", "path": "no-such-program"}),
                "$.path",
            ),
            (
                json!({"type": "process", "path": "sh", "arguments": 3}),
                "$.arguments",
            ),
            (
                json!({"type": "process", "path": "sh", "timeout": "1"}),
                "$.timeout",
            ),
            (json!({"type": "process", "path": "sh", "shell": true}), "$"),
            (
                json!({"type": "python", "module": "os", "func": "abort"}),
                "$",
            ),
            (json!({"type": "http"}), "$"),
            (json!({"type": "http", "url": "ftp://a"}), "$.url"),
        ] {
            assert_eq!(read(&provider).unwrap_err().place, place, "{provider}");
        }
    }

    #[tokio::test]
    async fn an_exit_code_is_an_output_and_too_long_a_time_is_a_failure() {
        let provider =
            json!({"type": "process", "path": "sh", "arguments": ["-c", "echo a; exit 3"]});
        let step = read(&provider).unwrap();
        let output = step.run(&environment()).await.unwrap();
        assert_eq!(output, json!({"status": 3, "stdout": "a\n", "stderr": ""}));
        assert_eq!(step.unhappy(&output).unwrap(), "ended with 3, expected 0");
        let provider =
            json!({"type": "process", "path": "sleep", "arguments": ["60"], "timeout": 0.05});
        let failed = read(&provider).unwrap().run(&environment()).await;
        assert_eq!(
            failed,
            Err(Failed::Step("not done within 50 ms".to_owned()))
        );
    }
}
