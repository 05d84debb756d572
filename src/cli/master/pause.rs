//! `pybots master pause` and `resume`: whether a builder is given anything new.

use std::time::Duration;

use crate::cli::build::ask::{Asking, NOT_ASKED};
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure};
use crate::cli::status::parse_age;
use crate::model::{BuilderName, Request, Wish};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pause {
    /// Such as foo-linux.
    builder: BuilderName,
    /// How long, such as 90m, 2h or 3d; at most 7d.
    #[arg(long = "for", value_name = "AGE", value_parser = parse_age)]
    span: Duration,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    /// Such as foo-linux.
    builder: BuilderName,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn pause(arguments: Pause) -> Result<Exit, Failure> {
    let Pause {
        builder,
        span,
        asking,
    } = arguments;
    check(span)?;
    let mut asker = asking.open().await?;
    asker.check_builder(&builder)?;
    let until = clock::now().after(span);
    let wish = Wish::Pause {
        builder: builder.clone(),
        until,
    };
    asker.ask(wish).await?;
    asker.say_granted(&format!(
        "{builder} is given nothing new until {until}; what runs there goes on"
    ));
    Ok(Exit::Ok)
}

fn check(span: Duration) -> Result<(), Failure> {
    let usage = |message: &'static str| Failure::message(Exit::Usage, message);
    if span.is_zero() {
        return Err(usage("a pause for no time is none").advice(NOT_ASKED));
    }
    if span > Request::MAX_PAUSE {
        let advice = "Nothing was asked. Who wants to stop a builder for longer takes it out of master.toml.";
        return Err(usage("a pause lasts 7d at most").advice(advice));
    }
    Ok(())
}

pub(super) async fn resume(arguments: Resume) -> Result<Exit, Failure> {
    let Resume { builder, asking } = arguments;
    let mut asker = asking.open().await?;
    asker.check_builder(&builder)?;
    let wish = Wish::Resume {
        builder: builder.clone(),
    };
    asker.ask(wish).await?;
    asker.say_granted(&format!("{builder} is given builds again"));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_some_time_and_no_longer_than_requests_are_kept() {
        let day = Duration::from_secs(24 * 3600);
        for (span, fine) in [
            (Duration::ZERO, false),
            (Duration::from_secs(1), true),
            (7 * day, true),
            (7 * day + Duration::from_secs(1), false),
        ] {
            assert_eq!(check(span).is_ok(), fine, "{span:?}");
        }
    }
}
