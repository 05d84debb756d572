//! `pybots status serve`: the status page.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::view_failure;
use crate::bus::Patience;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Which;
use crate::cli::{clock, files, stop_signal};
use crate::status::{Feed, FeedError, Store, StoreError, web};
use crate::trust::words;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Where to listen. The pages are for everybody and change nothing; to the world, serve them behind a web server that
    /// speaks TLS.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The history on disk; it may be deleted at any time [default: one a farm, in the user's state folder].
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let file = arguments.which.read()?;
    let path = arguments
        .store
        .or_else(|| {
            let name = format!("status/{}.sqlite", file.farm.token());
            files::state_folder().map(|folder| folder.join(name))
        })
        .ok_or_else(|| {
            let message = "where shall the history be kept? Give --store FILE";
            Failure::message(Exit::Configuration, message)
        })?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))
        .map_err(|error| {
            Failure::error(error)
                .advice("Nothing was started. Choose another address or port with --listen.")
        })?;
    let address = listener.local_addr()?;
    let store = Store::open(&path, &file.farm).map_err(store_failure)?;
    // With a history there is something to show while the bus is away.
    let patience = if store.is_empty().map_err(store_failure)? {
        Patience::Brief
    } else {
        Patience::Endless
    };
    let bus = file.connect(patience).await?;
    let feed = Feed::new(bus, file.farm, store, clock::now)
        .await
        .map_err(|error| match error {
            FeedError::Store(error) => store_failure(error),
            FeedError::View(error) => view_failure(error),
        })?;
    let live = feed.live();
    say!("farm {}  {}", live.farm().name, file.farm);
    say!("     {}", words(&file.farm));
    say!("http://{address}/  shows it. Ctrl-C ends this.");
    tokio::select! {
        ended = web::serve(listener, live, clock::now) => match ended? {},
        ended = feed.run() => match ended.map_err(store_failure)? {},
        () = stop_signal() => Ok(Exit::Ok),
    }
}

fn store_failure(error: StoreError) -> Failure {
    let advice = match &error {
        StoreError::OtherFarm { .. } | StoreError::Foreign { .. } => {
            "Nothing was started. Choose another file with --store, or another farm with --farm."
        }
        StoreError::Folder { .. } => {
            "Nothing was started. Name a file that you may write with --store."
        }
        StoreError::Database { .. } => {
            "Nothing was started. Name a file that you may write with --store. If it is a history that is damaged, delete \
             it: what the streams still hold is read again."
        }
    };
    Failure::error(error).advice(advice)
}
