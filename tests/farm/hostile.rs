//! A hostile bus: somebody in the middle who reads, holds back, repeats, rewrites and forges, and a client with any login.

mod client;
mod dice;
mod frame;
mod held;
mod proxy;
mod rule;

pub(crate) use client::Client;
pub(crate) use dice::Dice;
pub(crate) use proxy::Proxy;
pub(crate) use rule::{Edit, Pick, Recording, Rule, Way};

use crate::harness::Farm;

/// A farm whose slave reaches the bus only through somebody in the middle, who is honest at first.
pub(crate) async fn farm_behind_a_proxy() -> (Farm, Proxy) {
    let mut farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let proxy = Proxy::before(&farm, "slave/slave.toml");
    farm.start_slave().await;
    (farm, proxy)
}

/// The builds that scripts were started for, in the order of their names. Each start stands there once.
pub(crate) fn starts(farm: &Farm) -> Vec<String> {
    let mut builds: Vec<String> = farm
        .ran()
        .iter()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    builds.sort_by_key(|build| (build.len(), build.clone()));
    builds
}

/// The messages that the slave has counted as rejected for the reason `code`.
pub(crate) fn rejections(farm: &Farm, code: &str) -> usize {
    let code = format!("\"code\":\"{code}\"");
    farm.slave_said()
        .lines()
        .filter(|line| line.contains("message rejected") && line.contains(&code))
        .count()
}
