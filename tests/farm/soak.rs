//! A bus that does whatever chance says, for a while, to a slave at work.

use std::collections::BTreeSet;
use std::time::Duration;

use pybots::model::{Build, FarmId};
use pybots::trust::{SecretKey, seal};

use crate::harness::Farm;
use crate::hostile::{Client, Dice, Rule, Way, farm_behind_a_proxy, starts};
use crate::process::{eventually, eventually_or, now};

/// Genuine commands.
const GENUINE: u64 = 8;
/// Messages that the bus disturbs, and for how long at most.
const MESSAGES: usize = 400;
const AT_MOST: Duration = Duration::from_secs(8);

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "whoever sees it fail wants to see it again with the same seed; cargo shows it only then"
)]
async fn a_slave_on_a_bus_that_does_whatever_chance_says_runs_what_was_ordered_and_each_once() {
    let seed = std::env::var("PYBOTS_SOAK_SEED").ok();
    let seed = seed.map_or_else(|| now().0, |seed| seed.parse().unwrap());
    println!("PYBOTS_SOAK_SEED={seed}");
    let (farm, proxy) = farm_behind_a_proxy().await;
    let hostile = Client::with_key(&farm, "hostile", "hostile.nk").await;
    hostile
        .hurry_the_consumer("maple", Duration::from_millis(500))
        .await;
    let until = now().after(AT_MOST);
    proxy.set(vec![Rule::Chance(Dice::new(seed, MESSAGES))]);
    let mut dice = Dice::new(!seed, 0);
    for number in 1..=GENUINE {
        let build = farm.order(number, &["record"]);
        farm.send(&build).await;
        forge(&farm, &build, &mut dice).await;
    }
    let carried = || proxy.seen(Way::ToServer, "").len() + proxy.seen(Way::ToClient, "").len();
    eventually("enough is disturbed", || async {
        (carried() > MESSAGES || now() > until).then_some(())
    })
    .await;
    proxy.be_honest();
    proxy.cut();
    farm.settle(GENUINE + 1).await;

    let started = starts(&farm);
    let distinct: BTreeSet<String> = started.iter().cloned().collect();
    assert_eq!(distinct.len(), started.len(), "one ran twice: {started:?}");
    let ordered: BTreeSet<String> = (1..=GENUINE + 1)
        .map(|number| format!("foo-linux/{number}"))
        .collect();
    assert!(distinct.is_subset(&ordered), "a forgery ran: {started:?}");
    let unreported = || async {
        let reports = farm.reports().await;
        let ended: BTreeSet<String> = reports
            .iter()
            .filter(|report| report.body().body.verdict().is_some())
            .map(|report| format!("{}/{}", report.body().builder, report.body().number))
            .collect();
        let sequences: BTreeSet<u64> = reports
            .iter()
            .map(|report| report.body().sequence)
            .collect();
        let whole = sequences.last() == Some(&(sequences.len() as u64));
        (distinct.is_subset(&ended) && whole).then_some(())
    };
    eventually_or("every start is reported", unreported, || {
        format!("{started:?}, {}", farm.slave_said())
    })
    .await;
}

/// Publishes something like `build` that nobody ordered, or that was ordered once only.
async fn forge(farm: &Farm, build: &Build, dice: &mut Dice) {
    let command = pybots::model::Command::Build(build.clone());
    let never = Build {
        number: build.number + 1000,
        ..build.clone()
    };
    let unordered = pybots::model::Command::Build(never.clone());
    let bytes = match dice.below(6) {
        0 => farm.seal(build).bytes,
        1 => seal(&SecretKey::generate().unwrap(), &farm.id, &unordered).bytes,
        2 => seal(&farm.report_key(), &farm.id, &unordered).bytes,
        3 => seal(&farm.signing, &FarmId([9; 32]), &unordered).bytes,
        4 => {
            let mut bytes = farm.seal(build).bytes;
            let bit = dice.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }
        _ => [farm.seal(build).bytes, pybots::wire::encode(&command)].concat(),
    };
    let subject = farm.bus.subjects().command(&build.slave, &build.builder);
    farm.publish(subject, bytes).await;
}
