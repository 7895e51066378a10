//! Whether what a tool says it did is so. A tool is believed as far as one can look: the file that it
//! wrote is there and not empty, the exit code is 0, the process lives, the clipboard has the text.
//!
//! `tools.verify` names the kind of look for each tool; a tool without one is believed.

use std::path::Path;

use serde_json::Value;

use super::config::Config;

/// What can be looked at.
pub const KINDS: [&str; 4] = ["file", "exit_code", "process", "clipboard"];

/// What a tool says it did.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The tool.
    pub tool_name: &'a str,
    /// Its arguments.
    pub args: &'a Value,
    /// What it answered.
    pub result: &'a Value,
}

/// Looks at what a tool claims.
pub trait Verify: Send + Sync {
    /// Why it is not so, if it is not.
    ///
    /// # Errors
    /// A sentence for a person.
    fn look(&self, config: &Config, claim: Claim<'_>) -> Result<(), String>;
}

/// Looks at the world.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks;

impl Verify for Looks {
    fn look(&self, config: &Config, claim: Claim<'_>) -> Result<(), String> {
        let seen = match config.tools.verify.get(claim.tool_name).map(String::as_str) {
            None => Ok(()),
            Some("file") => file(text(claim.args, "path")?),
            Some("exit_code") => exit_code(&claim.result["exit_code"]),
            Some("process") => process(&claim.result["pid"]),
            Some("clipboard") => {
                let clipboard = config.tools.clipboard_file.as_deref();
                clipboard_has(clipboard.map(Path::new), text(claim.args, "text")?)
            }
            Some(other) => Err(format!("nobody knows how to look at {other}")),
        };
        seen.map_err(|why| format!("{}: {why}", claim.tool_name))
    }
}

fn text<'a>(args: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = args[name].as_str();
    text.ok_or_else(|| format!("args name no {name}, so nobody can look"))
}

fn file(path: &str) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(error) => Err(format!("there is no file {path}: {error}")),
        Ok(meta) if !meta.is_file() => Err(format!("{path} is no file")),
        Ok(meta) if meta.len() == 0 => Err(format!("{path} is empty")),
        Ok(_) => Ok(()),
    }
}

fn exit_code(code: &Value) -> Result<(), String> {
    match code.as_i64() {
        Some(0) => Ok(()),
        Some(code) => Err(format!("exit code {code}")),
        None => Err("it tells no exit code".to_owned()),
    }
}

fn process(pid: &Value) -> Result<(), String> {
    let pid = pid.as_u64().ok_or("it tells no process id")?;
    let dead = || format!("no process {pid} lives");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| dead())?;
    // `pid (name) state …`, and a name may have parentheses of its own.
    let state = stat.rsplit(')').next().map(str::trim_start);
    match state.and_then(|rest| rest.chars().next()) {
        Some('Z' | 'X') | None => Err(dead()),
        Some(_) => Ok(()),
    }
}

fn clipboard_has(file: Option<&Path>, text: &str) -> Result<(), String> {
    let file = file.ok_or("no clipboard is configured")?;
    let content = std::fs::read_to_string(file);
    let content = content.map_err(|error| format!("the clipboard cannot be read: {error}"))?;
    if content == text {
        return Ok(());
    }
    Err("the clipboard has something else".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(config: &Config, tool_name: &str, args: &Value, result: &Value) -> Result<(), String> {
        let claim = Claim {
            tool_name,
            args,
            result,
        };
        Looks.look(config, claim)
    }

    #[test]
    fn a_file_is_there_and_not_empty_or_the_tool_lies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let args = json!({"path": path});
        let write = || look(&Config::default(), "file.write", &args, &Value::Null);
        assert!(write().unwrap_err().contains("there is no file"));
        std::fs::write(&path, "").unwrap();
        assert!(write().unwrap_err().contains("is empty"));
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(write(), Ok(()));
        let folder = json!({"path": dir.path()});
        assert!(look(&Config::default(), "file.write", &folder, &Value::Null).is_err());
        assert!(look(&Config::default(), "file.write", &json!({}), &Value::Null).is_err());
    }

    #[test]
    fn an_exit_code_is_0_and_a_process_lives() {
        let config = Config::default();
        let shell = |result| look(&config, "shell.run", &json!({}), &result);
        assert_eq!(shell(json!({"exit_code": 0})), Ok(()));
        assert!(shell(json!({"exit_code": 1})).is_err());
        assert!(shell(json!({})).is_err());
        let start = |pid: u32| look(&config, "process.start", &json!({}), &json!({"pid": pid}));
        assert_eq!(start(std::process::id()), Ok(()));
        assert!(start(4_194_305).is_err());
    }

    #[test]
    fn the_clipboard_has_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clipboard");
        std::fs::write(&file, "hello").unwrap();
        let mut config = Config::default();
        let write = |config: &Config, text: &str| {
            look(
                config,
                "clipboard.write",
                &json!({"text": text}),
                &Value::Null,
            )
        };
        assert!(write(&config, "hello").is_err());
        config.tools.clipboard_file = Some(file.display().to_string());
        assert_eq!(write(&config, "hello"), Ok(()));
        assert!(write(&config, "hell").is_err());
    }

    #[test]
    fn a_tool_that_nobody_looks_after_is_believed() {
        assert_eq!(
            look(&Config::default(), "file.read", &json!({}), &Value::Null),
            Ok(())
        );
    }
}
