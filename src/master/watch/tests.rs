mod history;
mod polling;
mod remotes;
mod upkeep;

use std::fs as files;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A folder with a repository that is watched (`origin`) and its mirror (`mirror`).
struct Farm {
    folder: TempDir,
}

impl Farm {
    fn new() -> Self {
        Self::with_format("sha1")
    }

    fn with_format(format: &str) -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files::create_dir(farm.path("origin")).unwrap();
        farm.origin(&["init", "-q", "-b", "main", "--object-format", format]);
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs git in the watched repository.
    fn origin(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(self.path("origin"))
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs git in the mirror.
    fn mirrored(&self, args: &[&str]) -> String {
        let mirror = self.path("mirror/mirror.git");
        self.origin(&[&["--git-dir", text(&mirror)], args].concat())
    }

    fn commit(&self, message: &str) -> Revision {
        files::write(self.path("message"), message).unwrap();
        let file = self.path("message");
        self.origin(&["commit", "-q", "--allow-empty", "-F", text(&file)]);
        self.tip("HEAD")
    }

    fn commit_file(&self, name: &str, body: &str) -> Revision {
        let path = self.path("origin").join(name);
        files::create_dir_all(path.parent().unwrap()).unwrap();
        files::write(path, body).unwrap();
        self.origin(&["add", "--all"]);
        self.commit(name)
    }

    fn tip(&self, name: &str) -> Revision {
        self.origin(&["rev-parse", name]).parse().unwrap()
    }

    /// Writes a program. Through a child, as a file that this process had open for writing might not be executable yet.
    fn script(&self, path: &Path, body: &str) {
        let status = Command::new("sh")
            .args([
                "-c",
                "mkdir -p \"${1%/*}\" && printf '%s\\n' '#!/bin/sh' \"$2\" >\"$1\" && chmod +x \"$1\"",
            ])
            .args(["sh", text(path), body])
            .current_dir(self.folder.path())
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn mirror(&self, branches: &[&str]) -> Mirror {
        self.mirror_with(git(), branches)
    }

    fn mirror_with(&self, git: Git, branches: &[&str]) -> Mirror {
        Mirror::new(
            git,
            "cpython".parse().unwrap(),
            text(&self.path("origin")).parse().unwrap(),
            self.path("mirror"),
            branches.iter().map(|b| branch(b)).collect(),
            Duration::from_secs(60),
        )
    }
}

fn git() -> Git {
    Git {
        program: "git".into(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
    }
}

fn branch(name: &str) -> Branch {
    name.parse().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn found(tips: &Tips) -> Vec<(&str, &str)> {
    tips.found
        .iter()
        .map(|(branch, tip)| (branch.as_str(), tip.as_str()))
        .collect()
}

fn subjects(history: &History) -> Vec<&str> {
    history
        .commits
        .iter()
        .map(|commit| commit.subject.as_str())
        .collect()
}
