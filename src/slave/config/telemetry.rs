//! The table `telemetry`.

use std::net::SocketAddr;

use serde::Deserialize;

use super::SlaveConfigError;

/// The table, word for word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct TelemetryFile {
    listen: Option<SocketAddr>,
    reach: Reach,
}

/// Who is to reach it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    /// Whoever is on this machine.
    #[default]
    Machine,
    /// Whoever the network lets through.
    Network,
}

impl TelemetryFile {
    pub(super) fn parse(self) -> Result<Option<SocketAddr>, SlaveConfigError> {
        match self.listen {
            Some(listen) if self.reach == Reach::Machine && !listen.ip().is_loopback() => {
                Err(SlaveConfigError::Reach(listen))
            }
            listen => Ok(listen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_is_taken_only_if_that_is_written_too() {
        let parse = |text: &str| toml::from_str::<TelemetryFile>(text).unwrap().parse();
        assert_eq!(parse("").unwrap(), None);
        for good in [
            "listen = \"127.0.0.1:9464\"",
            "listen = \"[::1]:9464\"",
            "listen = \"10.0.0.1:9464\"\nreach = \"network\"",
        ] {
            assert!(parse(good).unwrap().is_some(), "{good}");
        }
        for bad in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464"] {
            let error = parse(&format!("listen = \"{bad}\"")).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
