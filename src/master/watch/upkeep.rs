//! Making the mirror, and mending what a killed `git` left of it.

use std::io;
use std::path::Path;

use tokio::fs;

use super::{Mirror, WatchError};
use crate::model::Revision;

/// The mirror while it is being made.
const DRAFT: &str = "draft.git";

impl Mirror {
    /// Makes the mirror if there is none, for object names like `tip`.
    pub(super) async fn prepare(&self, tip: &Revision) -> Result<(), WatchError> {
        let folder = |source| self.folder(source);
        let [mirror, other, draft] = [self.depth.mirror(), self.depth.other().mirror(), DRAFT]
            .map(|name| self.folder.join(name));
        if fs::try_exists(mirror.join("HEAD")).await.map_err(folder)? {
            return Ok(());
        }
        for useless in [&mirror, &other, &draft] {
            remove_folder(useless).await.map_err(folder)?;
        }
        let format = if tip.as_str().len() == 64 {
            "sha256"
        } else {
            "sha1"
        };
        let made = self
            .git(
                DRAFT,
                &[
                    "init",
                    "--quiet",
                    "--bare",
                    "--template=",
                    "--initial-branch=_", // no branch's name: HEAD must not lead git to a stranger's .mailmap
                    &format!("--object-format={format}"),
                ],
            )
            .await?;
        if !made.status.success() {
            return Err(self.failed(&made));
        }
        fs::rename(draft, mirror).await.map_err(folder)
    }

    /// Removes what a killed `git` left: locks, which would stop every later one, and unfinished packs, which would fill
    /// the disk.
    pub(super) async fn sweep(&self) -> io::Result<()> {
        let mirror = self.folder.join(self.depth.mirror());
        let objects = mirror.join("objects");
        let mut folders = vec![mirror];
        while let Some(folder) = folders.pop() {
            let mut entries = fs::read_dir(folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.as_encoded_bytes();
                let unfinished = name.starts_with(b"tmp_") && path.starts_with(&objects);
                if entry.file_type().await?.is_dir() {
                    folders.push(path);
                } else if unfinished || name.ends_with(b".lock") {
                    fs::remove_file(path).await?;
                }
            }
        }
        Ok(())
    }
}

async fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
