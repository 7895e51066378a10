//! Tools of the machine that a report asks for facts: git. A tool that is missing, slow or
//! unhappy gives no fact, never an error.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long a tool may take.
const TOOL_DEADLINE: Duration = Duration::from_secs(10);

/// Where a working tree stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitState {
    /// The commit that is checked out, in hexadecimal.
    pub commit: String,
    /// Whether anything but `releases/` differs from it, files that git does not know included.
    pub dirty: bool,
}

/// The state of the working tree around `dir`, if there is one.
pub async fn git_state(dir: &Path) -> Option<GitState> {
    let commit = git(dir, &["rev-parse", "--verify", "HEAD"]).await?;
    // From the top, whatever the folder; reports are written there while the state is asked.
    let changes = git(
        dir,
        &[
            "status",
            "--porcelain",
            "--",
            ":(top)",
            ":(top,exclude)releases",
        ],
    )
    .await?;
    Some(GitState {
        commit,
        dirty: !changes.is_empty(),
    })
}

async fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .kill_on_drop(true);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = tokio::time::timeout(TOOL_DEADLINE, command.output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(dir: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"];
        assert!(
            git(dir, &[&identity, arguments].concat()).await.is_some(),
            "git {arguments:?}"
        );
    }

    #[tokio::test]
    async fn a_tree_is_dirty_when_anything_but_releases_differs() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(git_state(dir).await, None);
        run(dir, &["init", "-q"]).await;
        std::fs::write(dir.join("a"), "1").unwrap();
        run(dir, &["add", "a"]).await;
        run(dir, &["commit", "-q", "-m", "one"]).await;
        let clean = git_state(dir).await.unwrap();
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));
        std::fs::create_dir_all(dir.join("releases/v1")).unwrap();
        std::fs::write(dir.join("releases/v1/report.json"), "{}").unwrap();
        assert!(!git_state(dir).await.unwrap().dirty);
        std::fs::write(dir.join("b"), "new").unwrap();
        assert!(git_state(dir).await.unwrap().dirty);
        assert!(git_state(&dir.join("releases")).await.unwrap().dirty);
    }
}
