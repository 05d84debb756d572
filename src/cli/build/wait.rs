//! Waiting for the build that was asked for, and telling how it gets on.

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use super::ask::{Asker, Granted, Output};
use super::list::terminal_width;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::status::{parse_age, style};
use crate::cli::{clock, stop_signal};
use crate::model::{BuilderName, PayloadId, Timestamp, Verdict};
use crate::status::json::{Asked, write_asked};
use crate::status::{BuildStatus, News, expected, news, text};

/// How often the line on the terminal is drawn, and a build gone silent noticed.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Waiting {
    /// Wait until the build ends, and tell how it gets on. The exit code says whether it went well.
    #[arg(long)]
    wait: bool,
    /// With --wait: give up waiting after so long, such as 90s, 15m, 2h or 3d.
    #[arg(long, value_name = "AGE", value_parser = parse_age, requires = "wait")]
    timeout: Option<Duration>,
}

impl Waiting {
    /// Waits, if that is wanted, for the build that carries the id of the request.
    pub(super) async fn wait(
        &self,
        mut asker: Asker,
        granted: &Granted,
        builder: &BuilderName,
    ) -> Result<Exit, Failure> {
        if !self.wait {
            return Ok(Exit::Ok);
        }
        let mut teller = Teller::new(&asker, granted, builder);
        // Whatever the request leads to is ordered after what is known already.
        let known = asker.board.builds().map(|build| build.sequence).max();
        let from = known.map_or(1, |known| known + 1);
        let mut awaited = asker.viewer.await_build(granted.request, from).await?;
        let mut stop = pin!(stop_signal());
        let mut timeout = pin!(tokio::time::sleep(self.timeout.unwrap_or(Duration::MAX)));
        let mut period = tokio::time::interval(PERIOD);
        loop {
            let given_up = tokio::select! {
                () = awaited.next() => None,
                _ = period.tick() => None,
                () = &mut timeout => Some(Exit::TimedOut),
                () = &mut stop => Some(Exit::Interrupted),
            };
            if let Some(verdict) = teller.look(awaited.build())? {
                return Ok(if verdict.is_well() {
                    Exit::Ok
                } else {
                    Exit::NotWell
                });
            }
            if let Some(exit) = given_up {
                teller.give_up(awaited.build(), exit)?;
                return Ok(exit);
            }
        }
    }
}

/// Tells how the build gets on: on a terminal in one line that is drawn again and again, else in one line for each thing
/// that happens.
struct Teller {
    request: PayloadId,
    asked: Timestamp,
    expected: Option<Duration>,
    told: Vec<News>,
    way: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Terminal,
    Lines,
    Json,
}

impl Teller {
    fn new(asker: &Asker, granted: &Granted, builder: &BuilderName) -> Self {
        Self {
            request: granted.request,
            asked: granted.asked,
            expected: expected(&asker.board, builder),
            told: Vec::new(),
            way: match asker.output {
                Output::Programs => Way::Json,
                Output::People if io::stdout().is_terminal() => Way::Terminal,
                Output::People => Way::Lines,
            },
        }
    }

    /// Tells what is new; returns the verdict, once there is one.
    fn look(&mut self, build: Option<&BuildStatus>) -> io::Result<Option<Verdict>> {
        let now = clock::now();
        let mut verdict = None;
        for news in build.map_or_else(Vec::new, |build| news(build, now)) {
            if let News::Over { verdict: said, .. } = &news {
                verdict = Some(*said);
            }
            if !self.told.contains(&news) {
                if let Some(build) = build {
                    self.tell(build, &news)?;
                }
                self.told.push(news);
            }
        }
        if self.way == Way::Terminal && verdict.is_none() {
            let line = text::progress_line(build, self.asked, self.expected, now);
            draw(&line)?;
        }
        Ok(verdict)
    }

    fn tell(&self, build: &BuildStatus, news: &News) -> io::Result<()> {
        let mut out = anstream::stdout();
        match self.way {
            Way::Json => {
                let asked = Asked::Build(build, news);
                write_asked(self.request, asked, clock::now(), &mut out)
            }
            Way::Lines => text::write_news(build, news, self.expected, style(), &mut out),
            Way::Terminal => match news {
                // The line tells the rest.
                News::Ordered
                | News::Accepted
                | News::StepStarted { .. }
                | News::StepFinished { .. } => Ok(()),
                News::Over { .. } => {
                    draw("")?;
                    text::write_news(build, news, self.expected, style(), &mut out)
                }
            },
        }
    }

    fn give_up(&self, build: Option<&BuildStatus>, exit: Exit) -> io::Result<()> {
        match self.way {
            Way::Json => {
                let mut out = anstream::stdout();
                write_asked(self.request, Asked::NotAwaited, clock::now(), &mut out)?;
            }
            // What was drawn stays.
            Way::Terminal => writeln!(io::stdout())?,
            Way::Lines => {}
        }
        let why = if exit == Exit::TimedOut {
            "The time is over"
        } else {
            "Interrupted"
        };
        let then = build.map(BuildStatus::id).map_or_else(
            || "The request is granted, and its build comes when its turn does.".to_owned(),
            |id| format!("{id} goes on: pybots build show {id}, or pybots build cancel {id}."),
        );
        say!("{why}: only the waiting ends. {then}");
        Ok(())
    }
}

/// Draws a line of the terminal anew, and nothing else of it.
fn draw(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    write!(out, "{}", drawn(line, terminal_width()))?;
    out.flush()
}

/// What draws `line` over the one before, cut so that it stays one line.
fn drawn(line: &str, width: Option<usize>) -> String {
    // In the last column a cursor would wrap.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(1));
    let line: String = line.chars().take(room).collect();
    format!("\r\x1b[K{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_line_never_clears_the_screen_and_never_wraps() {
        assert_eq!(drawn("queued 0:05", Some(80)), "\r\x1b[Kqueued 0:05");
        assert_eq!(drawn("queued 0:05", Some(8)), "\r\x1b[Kqueued ");
        assert_eq!(drawn("", None), "\r\x1b[K");
    }
}
