//! What is seen of a farm: its reports, its board and its logs, as whoever verifies them sees them.

use std::fs;

use pybots::bus::{Bus, Login, Patience, Stream};
use pybots::model::{BuildId, PayloadId, Report, ReportBody, Verdict};
use pybots::status::{Board, LogPiece, Viewer};
use pybots::trust::{Purpose, Reader, Verified};
use pybots::wire::Subjects;

use crate::harness::Farm;
use crate::process::eventually;

impl Farm {
    /// A reader that knows every roster on the bus.
    pub(crate) async fn reader(&self) -> Reader {
        let mut reader = Reader::new(
            self.id,
            &fs::read(self.path("keys/test-farm.keyring")).unwrap(),
        )
        .unwrap();
        let held =
            |stream| async move { self.bus.read_all(stream, ">", 1).await.unwrap_or_default() };
        // Whoever holds the broker may have put anything beside what is genuine.
        for keyring in held(Stream::Keyring).await {
            let _ = reader.learn_keyring(&keyring.bytes);
        }
        for roster in held(Stream::Roster).await {
            let _ = reader.learn_roster(&roster.bytes);
        }
        reader
    }

    /// Every verified report that the results stream holds, in its order.
    pub(crate) async fn reports(&self) -> Vec<Verified<Report>> {
        let reader = self.reader().await;
        let held = self.bus.read_all(Stream::Results, ">", 1).await;
        held.unwrap_or_default()
            .iter()
            .filter_map(|held| reader.open(&held.bytes, Purpose::History).ok())
            .collect()
    }

    /// Waits for the report that ends a build.
    pub(crate) async fn ending(&self, command: PayloadId) -> ReportBody {
        eventually("the build ends", || async {
            let reports = self.reports().await;
            let ending = reports.into_iter().find(|report| {
                report.body().command == command && report.body().body.verdict().is_some()
            });
            ending.map(|report| report.into_body().body)
        })
        .await
    }

    pub(crate) async fn verdict(&self, command: PayloadId) -> Verdict {
        self.ending(command).await.verdict().unwrap()
    }

    async fn viewer(&self) -> Option<Viewer> {
        let login = Login::Public {
            user: "viewer".to_owned(),
            password: "public".to_owned(),
        };
        let address = format!("nats://127.0.0.1:{}", self.port).parse().unwrap();
        let bus = Bus::connect(&address, login, Subjects::new(&self.id), Patience::Brief)
            .await
            .ok()?;
        Viewer::new(bus, self.id).await.ok()
    }

    /// The board as a viewer sees it, as soon as the bus answers.
    pub(crate) async fn board(&self) -> Board {
        eventually("a board", || async {
            self.viewer().await?.snapshot().await.ok()
        })
        .await
    }

    /// The whole log of a build, as a viewer verifies and assembles it.
    pub(crate) async fn log(&self, build: &BuildId) -> String {
        let pieces = eventually("a log", || async {
            let mut viewer = self.viewer().await?;
            let board = viewer.snapshot().await.ok()?;
            match board.build(build) {
                Some(build) => viewer.log(build).await.ok(),
                None => Some(Vec::new()),
            }
        })
        .await;
        let bytes = pieces.into_iter().filter_map(printed);
        String::from_utf8(bytes.flatten().collect()).unwrap()
    }
}

fn printed(piece: LogPiece) -> Option<Vec<u8>> {
    if let LogPiece::Bytes { bytes, .. } = piece {
        Some(bytes.to_vec())
    } else {
        None
    }
}
