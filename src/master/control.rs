//! The socket on which a running master is asked how things stand, or to read its configuration again.
//!
//! One line of JSON is asked and one document of JSON is the answer. Only the master's own user reaches the socket, and
//! nothing can be ordered there: who wants a build signs a request.

mod document;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::run::places;
pub use document::{
    BuilderRow, BuilderState, BuildersDocument, LastBuild, QueueDocument, QueueRow, ReloadDocument,
    StatusDocument,
};

/// Longest question, in bytes.
const MAX_QUESTION: u64 = 1024;
/// Longest answer, in bytes: thousands of builders, each with a sentence.
const MAX_ANSWER: u64 = 16 << 20;
/// Longest that one conversation may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most conversations at once.
const MAX_CONVERSATIONS: usize = 8;
const SOCKET: &str = "control.sock";

/// What a running master can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "ask")]
pub enum Question {
    /// To read its configuration again.
    Reload {},
    /// What waits, and why.
    Queue {},
    /// How its builders stand.
    Builders {},
    /// What it does itself.
    Status {},
}

/// Why a running master did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no master runs with the state folder {}", .0.display())]
    Nobody(PathBuf),
    /// It takes too long.
    #[error("the master that runs with the state folder {} does not answer", .0.display())]
    Silent(PathBuf),
    /// It is there, and what it says was not understood.
    #[error("the answer of the master that runs with the state folder {} makes no sense", folder.display())]
    Garbled {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A question that waits for its answer.
pub(super) struct Asked {
    pub(super) question: Question,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Asked {
    /// Answers, if somebody still listens.
    pub(super) fn answer(self, document: &impl serde::Serialize) {
        if let Ok(mut answer) = serde_json::to_vec(document) {
            answer.push(b'\n');
            let _ = self.answer.send(answer);
        }
    }
}

/// Listens in `folder`, which nobody else may enter.
pub(super) fn listen(folder: &Path) -> io::Result<UnixListener> {
    let path = folder.join(SOCKET);
    // One that a process left which was killed: the folder is ours alone.
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Hands on questions, for ever.
pub(super) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let room = Arc::new(Semaphore::new(MAX_CONVERSATIONS));
    loop {
        // Nobody closes it.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // No file handles left, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(PATIENCE, converse(stream, &asked)).await {
                tracing::debug!(%error, "question not understood");
            }
            drop(permit);
        });
    }
}

async fn converse(mut stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_QUESTION))
        .read_line(&mut line)
        .await?;
    let question = serde_json::from_str(&line)?;
    let (answer, answered) = oneshot::channel();
    let sent = asked.send(Asked { question, answer }).await;
    if sent.is_ok()
        && let Ok(answer) = answered.await
    {
        writer.write_all(&answer).await?;
    }
    writer.shutdown().await
}

/// What running masters answer.
#[derive(Debug)]
pub struct Answers<T> {
    /// Answers; at least one.
    pub given: Vec<T>,
    /// Why others did not answer. One that is frozen must not hide those that are well.
    pub faults: Vec<AskError>,
}

/// Asks every master that runs with the state folder `state`: the one that leads, and those that stand by on this machine.
///
/// # Errors
///
/// [`AskError`] if there is none, or none of them answers.
pub async fn ask<T: DeserializeOwned>(
    state: &Path,
    question: Question,
) -> Result<Answers<T>, AskError> {
    let (mut given, mut faults) = (Vec::new(), Vec::new());
    for folder in places(state) {
        let Ok(stream) = UnixStream::connect(folder.join(SOCKET)).await else {
            continue;
        };
        match timeout(PATIENCE, ask_one(stream, question)).await {
            Ok(Ok(answer)) => given.push(answer),
            Ok(Err(source)) => faults.push(AskError::Garbled { folder, source }),
            Err(_) => faults.push(AskError::Silent(folder)),
        }
    }
    if given.is_empty() {
        let fault = faults.into_iter().next();
        return Err(fault.unwrap_or_else(|| AskError::Nobody(state.to_owned())));
    }
    Ok(Answers { given, faults })
}

async fn ask_one<T: DeserializeOwned>(mut stream: UnixStream, question: Question) -> io::Result<T> {
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_and_nonsense_is_not() {
        let state = tempfile::tempdir().unwrap();
        assert!(matches!(
            ask::<StatusDocument>(state.path(), Question::Status {}).await,
            Err(AskError::Nobody(_))
        ));
        // What a killed process left is in nobody's way.
        drop(listen(state.path()).unwrap());
        let listener = listen(state.path()).unwrap();
        let mode = fs::metadata(state.path().join(SOCKET))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let (sender, mut questions) = mpsc::channel(1);
        tokio::spawn(serve(listener, sender));
        tokio::spawn(async move {
            while let Some(asked) = questions.recv().await {
                assert_eq!(asked.question, Question::Reload {});
                asked.answer(&ReloadDocument {
                    applied: true,
                    differences: "nothing".to_owned(),
                    mistakes: Vec::new(),
                });
            }
        });
        for nonsense in [
            "",
            "\n",
            "{}\n",
            "{\"ask\":\"sign\"}\n",
            &"x".repeat(100_000),
        ] {
            let mut stream = UnixStream::connect(state.path().join(SOCKET))
                .await
                .unwrap();
            // It may have been hung up on before all of it was sent.
            let _ = stream.write_all(nonsense.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "{nonsense:?}");
        }
        let answers = ask::<ReloadDocument>(state.path(), Question::Reload {}).await;
        let given = answers.unwrap().given;
        assert!(given.iter().all(|answer| answer.applied) && given.len() == 1);
    }

    #[tokio::test]
    async fn a_master_that_makes_no_sense_does_not_hide_one_that_does() {
        let state = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = places(state.path()).take(2).collect();
        fs::create_dir_all(&folders[1]).unwrap();
        // It takes the question, and ends.
        let broken = listen(&folders[0]).unwrap();
        tokio::spawn(async move { while broken.accept().await.is_ok() {} });
        let asked = || ask::<ReloadDocument>(state.path(), Question::Reload {});
        assert!(matches!(asked().await, Err(AskError::Garbled { .. })));
        let (sender, mut questions) = mpsc::channel(1);
        tokio::spawn(serve(listen(&folders[1]).unwrap(), sender));
        tokio::spawn(async move {
            while let Some(asked) = questions.recv().await {
                asked.answer(&ReloadDocument {
                    applied: true,
                    differences: String::new(),
                    mistakes: Vec::new(),
                });
            }
        });
        let answers = asked().await.unwrap();
        assert_eq!((answers.given.len(), answers.faults.len()), (1, 1));
    }
}
