//! What the bus can do with a login, and where it can send a client.

use std::net::TcpListener;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use pybots::bus::Login;
use pybots::model::{Command, Report, Verdict};
use pybots::trust::{Purpose, seal};
use pybots::wire::Envelope;

use crate::forgeries::claim;
use crate::harness::Farm;
use crate::hostile::{Client, Proxy, Rule, farm_behind_a_proxy, starts};
use crate::process::{eventually, now};

/// The text of a JSON string in which each byte stands as a character.
fn escaped(bytes: &[u8]) -> String {
    let characters: Vec<String> = bytes.iter().map(|byte| format!("\\u{byte:04x}")).collect();
    characters.concat()
}

#[tokio::test]
async fn a40_a_login_nonce_is_never_a_signature_of_anything_that_is_said() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    let build = farm.order(1, &["record"]);
    let report = claim(&farm, &build, Verdict::Passed);
    let envelopes = [
        farm.seal(&build).bytes,
        seal(&farm.report_key(), &farm.id, &report).bytes,
    ]
    .map(|bytes| Envelope::parse(&bytes, bytes.len()).unwrap());
    let reader = farm.reader().await;
    let seed = std::fs::read_to_string(farm.path("slave/state/bus.nk")).unwrap();
    let nkey = Login::nkey_of_seed(&seed).unwrap();

    for envelope in &envelopes {
        let wanted = envelope.signed_bytes(Some(&farm.id));
        // As they are, the bytes are no text, and so no nonce: the client does not log in at all.
        let (logins, connections) = (proxy.logins().len(), proxy.connections());
        proxy.set(vec![Rule::Nonce(wanted.clone())]);
        proxy.cut();
        eventually("the client comes and goes", || async {
            (proxy.connections() > connections + 2).then_some(())
        })
        .await;
        assert_eq!(proxy.logins().len(), logins);

        // What is text is signed; by the bus key, which nobody believes.
        let escaped = escaped(&wanted);
        for nonce in [
            escaped.as_str(),
            "DSSEv1 28 application/vnd.pybots+json 2 {}",
        ] {
            let logins = proxy.logins().len();
            proxy.set(vec![Rule::Nonce(nonce.into())]);
            proxy.cut();
            eventually("the client logs in", || async {
                (proxy.logins().len() > logins).then_some(())
            })
            .await;
            let login = proxy.logins().pop().unwrap();
            assert_eq!(login["nkey"], nkey.as_str());
            let signature = BASE64URL_NOPAD
                .decode(login["sig"].as_str().unwrap().as_bytes())
                .unwrap();
            let signed: String = serde_json::from_str(&format!("\"{nonce}\"")).unwrap();
            let bus_key = KeyPair::from_public_key(&nkey).unwrap();
            bus_key.verify(signed.as_bytes(), &signature).unwrap();
            assert_ne!(signed.as_bytes(), wanted);

            let forged = Envelope {
                signature: signature.try_into().unwrap(),
                ..envelope.clone()
            }
            .to_bytes();
            let command = reader.open::<Command>(&forged, Purpose::Admit { now: now() });
            assert!(command.is_err());
            let report = reader.open::<Report>(&forged, Purpose::History);
            assert!(report.is_err());
        }
    }
    proxy.be_honest();
    farm.settle(2).await;
    assert_eq!(starts(&farm), ["foo-linux/2"]);
}

#[tokio::test]
async fn a116_a_server_that_names_others_does_not_send_its_clients_there() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let address = trap.local_addr().unwrap().to_string();
    proxy.set(vec![Rule::ConnectUrls(vec![address])]);
    for _ in 0..3 {
        let connections = proxy.connections();
        proxy.cut();
        eventually("the client comes back", || async {
            (proxy.connections() > connections).then_some(())
        })
        .await;
    }
    farm.settle(1).await;
    assert!(trap.accept().is_err(), "nobody has come to the trap");
}

#[tokio::test]
async fn a116_a_client_of_a_tls_address_says_nothing_in_the_open() {
    let mut farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let proxy = Proxy::before(&farm, "slave/slave.toml");
    let config = farm.path("slave/slave.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("nats://", "tls://")).unwrap();
    let config = farm.text("slave/slave.toml");
    let arguments = ["slave", "run", "--config", &config];
    let log = farm.path("slave.log");
    farm.slave = Some(crate::process::Process::start(
        crate::process::PYBOTS,
        &arguments,
        log,
    ));
    eventually("the client comes three times", || async {
        (proxy.connections() > 2).then_some(())
    })
    .await;
    assert_eq!(proxy.logins().len(), 0);
}

/// Lines of a server that make no sense, or that only a broken one says.
const LINES: &[&str] = &[
    "-ERR",
    "junk",
    "MSG x 1 18446744073709551615",
    "HMSG x 1 9 5",
    "INFO {",
];

#[tokio::test]
async fn a115_whatever_a_server_says_a_slave_works_on_or_ends_with_a_sentence_and_never_stays_deaf()
{
    let (mut farm, proxy) = farm_behind_a_proxy().await;
    // What was on its way to a client that went comes again soon.
    let hostile = Client::with_key(&farm, "hostile", "hostile.nk").await;
    hostile
        .hurry_the_consumer("maple", Duration::from_millis(500))
        .await;
    let mut expected = Vec::new();
    for (number, line) in (1..).zip(LINES) {
        let id = farm.send(&farm.order(2 * number, &["record"])).await;
        assert_eq!(farm.verdict(id).await, Verdict::Passed, "{line}");
        proxy.say(line);
        let id = farm.send(&farm.order(2 * number + 1, &["record"])).await;
        let ended = eventually(line, || async {
            let reports = farm.reports().await;
            let worked_on = reports.iter().any(|report| {
                report.body().command == id && report.body().body.verdict().is_some()
            });
            let ended = farm.slave.as_ref().unwrap().has_ended();
            (worked_on || ended).then_some(ended)
        })
        .await;
        if ended {
            assert!(
                farm.slave_said()
                    .contains("the client of the bus has ended"),
                "{line}: {}",
                farm.slave_said()
            );
            farm.start_slave().await;
        }
        assert_eq!(farm.verdict(id).await, Verdict::Passed, "{line}");
        expected.extend([2 * number, 2 * number + 1].map(|number| format!("foo-linux/{number}")));
    }
    assert_eq!(starts(&farm), expected);
}
