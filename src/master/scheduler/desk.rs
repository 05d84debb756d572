//! What people asked for, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::{CalledOff, Fate, Lane};
use super::{Circumstances, Scheduler};
use crate::master::releases::by_release;
use crate::model::{
    Answer, Build, BuilderName, Cancel, Denial, PayloadId, ProjectName, Release, ReleaseOrigin,
    Request, Source, Text, Timestamp, Version, Wish,
};

/// A request's place among others: when it was made.
type Made = (Timestamp, PayloadId);

/// What people asked for, as the stream of requests tells it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    asked: BTreeMap<PayloadId, Request>,
    /// All of them, oldest first.
    made: BTreeSet<Made>,
    /// The first answer to each, with its place in the stream.
    answers: BTreeMap<PayloadId, (u64, Option<Denial>)>,
    /// Requests that a build or a release names.
    fulfilled: BTreeSet<PayloadId>,
    /// Those without an answer.
    open: BTreeSet<Made>,
    /// Those for builds that were granted and that no build names yet.
    builds: BTreeMap<BuilderName, BTreeSet<Made>>,
    /// Those of another kind that were granted.
    others: BTreeSet<Made>,
}

/// What was granted of one builder, and still matters.
#[derive(Default)]
pub(super) struct Wishes<'a> {
    /// The oldest build that is wanted, and not ordered yet.
    pub(super) build: Option<Asked<'a>>,
    /// Until when it is paused, and the request that says so.
    pub(super) paused: Option<(Timestamp, &'a Request)>,
    /// When somebody last said that it shall go on.
    pub(super) resumed: Timestamp,
}

/// A build that somebody wants.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) id: PayloadId,
    pub(super) request: &'a Request,
    pub(super) what: AskedBuild<'a>,
}

/// Which build somebody wants.
#[derive(Clone, Copy)]
pub(super) enum AskedBuild<'a> {
    /// One of these revisions, and the newest of everything else.
    At(&'a [Source]),
    /// That of this number again.
    Again(u64),
}

impl Desk {
    /// So many requests are held; the stream forgets them after a week.
    const MAX_ASKED: usize = 20_000;

    pub(super) fn ask(&mut self, id: PayloadId, request: Request) {
        let request = self.asked.entry(id).or_insert(request);
        self.made.insert((request.issued, id));
        self.sort(id);
        if self.asked.len() > Self::MAX_ASKED
            && let Some((_, oldest)) = self.made.first().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: PayloadId) {
        self.answers.remove(&id);
        self.fulfilled.remove(&id);
        let Some(request) = self.asked.remove(&id) else {
            return;
        };
        let made = (request.issued, id);
        self.made.remove(&made);
        self.open.remove(&made);
        if let Some(builder) = request.wish.builder() {
            take(&mut self.builds, builder, &made);
        }
        self.others.remove(&made);
    }

    pub(super) fn answer(&mut self, sequence: u64, request: PayloadId, denial: Option<Denial>) {
        let first = self
            .answers
            .get(&request)
            .is_none_or(|(held, _)| sequence < *held);
        if first {
            self.answers.insert(request, (sequence, denial));
            self.sort(request);
        }
    }

    pub(super) fn fulfil(&mut self, request: PayloadId) {
        self.fulfilled.insert(request);
        self.sort(request);
    }

    /// Puts a request where it belongs by what is known of it.
    fn sort(&mut self, id: PayloadId) {
        let Some(request) = self.asked.get(&id) else {
            return;
        };
        let made = (request.issued, id);
        let Some((_, denial)) = self.answers.get(&id) else {
            self.open.insert(made);
            return;
        };
        self.open.remove(&made);
        let granted = denial.is_none();
        match &request.wish {
            Wish::Force { builder, .. } | Wish::Retry { builder, .. } => {
                if granted && !self.fulfilled.contains(&id) {
                    let builds = self.builds.entry(builder.clone()).or_default();
                    builds.insert(made);
                } else {
                    take(&mut self.builds, builder, &made);
                }
            }
            Wish::Cancel { .. }
            | Wish::Pause { .. }
            | Wish::Resume { .. }
            | Wish::Release { .. } => {
                if granted {
                    self.others.insert(made);
                } else {
                    self.others.remove(&made);
                }
            }
        }
    }

    /// Those of `made` that are held, in that order.
    fn held<'a>(
        &'a self,
        made: impl IntoIterator<Item = &'a Made>,
    ) -> impl Iterator<Item = (PayloadId, &'a Request)> {
        let made = made.into_iter();
        made.filter_map(|(_, id)| Some((*id, self.asked.get(id)?)))
    }

    /// The same without those that are older than what the stream keeps: somebody else put them there again, or they have
    /// waited for longer than a master remembers that starts anew.
    fn remembered<'a>(
        &'a self,
        made: impl IntoIterator<Item = &'a Made>,
        now: Timestamp,
    ) -> impl Iterator<Item = (PayloadId, &'a Request)> {
        self.held(made)
            .filter(move |(_, request)| now.since(request.issued) <= Request::MEMORY)
    }

    /// What was granted, by builder.
    pub(super) fn wishes(
        &self,
        lanes: &BTreeMap<BuilderName, Lane>,
        now: Timestamp,
    ) -> BTreeMap<&BuilderName, Wishes<'_>> {
        let mut wishes: BTreeMap<&BuilderName, Wishes<'_>> = BTreeMap::new();
        for (builder, made) in &self.builds {
            let lane = lanes.get(builder);
            let forgotten = |issued| lane.is_some_and(|lane: &Lane| lane.has_forgotten(issued));
            let mut made = self.remembered(made, now);
            let oldest = made.find(|(_, request)| !forgotten(request.issued));
            let build = oldest.and_then(|(id, request)| {
                let what = match &request.wish {
                    Wish::Force { sources, .. } => AskedBuild::At(sources),
                    Wish::Retry { number, .. } => AskedBuild::Again(*number),
                    Wish::Cancel { .. }
                    | Wish::Pause { .. }
                    | Wish::Resume { .. }
                    | Wish::Release { .. } => return None,
                };
                Some(Asked { id, request, what })
            });
            wishes.entry(builder).or_default().build = build;
        }
        for (_, request) in self.remembered(&self.others, now) {
            match &request.wish {
                Wish::Pause { builder, until } => {
                    wishes.entry(builder).or_default().paused = Some((*until, request));
                }
                Wish::Resume { builder } => {
                    let of = wishes.entry(builder).or_default();
                    of.paused = None;
                    of.resumed = request.issued;
                }
                Wish::Force { .. }
                | Wish::Retry { .. }
                | Wish::Cancel { .. }
                | Wish::Release { .. } => {}
            }
        }
        wishes
    }
}

/// Takes a request from those of a builder.
fn take(builds: &mut BTreeMap<BuilderName, BTreeSet<Made>>, builder: &BuilderName, made: &Made) {
    if let Some(of) = builds.get_mut(builder) {
        of.remove(made);
        if of.is_empty() {
            builds.remove(builder);
        }
    }
}

/// Most answers of one decision. Each of them is decided again until it is stored.
const MAX_ANSWERS: usize = 256;

fn denied(code: &str, detail: &str) -> Denial {
    Denial {
        code: Text::tidy(code),
        detail: Text::tidy(detail),
    }
}

impl Scheduler {
    /// What to say to whoever has not been answered; of many, to those who asked first.
    pub(super) fn answers(&self, circumstances: &Circumstances<'_>, now: Timestamp) -> Vec<Answer> {
        let open = self.desk.held(&self.desk.open).take(MAX_ANSWERS);
        let answers = open.map(|(id, request)| Answer {
            farm: circumstances.farm,
            request: id,
            requester: request.requester.clone(),
            issued: now,
            denial: self.judge(circumstances, request, now).err(),
        });
        answers.collect()
    }

    /// Whether a request is granted.
    fn judge(
        &self,
        circumstances: &Circumstances<'_>,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let config = circumstances.config;
        let (requester, wish) = (&request.requester, &request.wish);
        if now.since(request.issued) > Request::VALIDITY {
            let detail = "the request is more than an hour old; ask again if it is still wanted";
            return Err(denied("E-EXPIRED", detail));
        }
        if request.issued.since(now) > Build::CLOCK_SKEW {
            let detail = "the request was made in the future; set the requester's clock";
            return Err(denied("E-CLOCK", detail));
        }
        let verb = wish.verb();
        let may = config
            .requesters
            .get(requester)
            .is_some_and(|allowed| allowed.may(verb, wish.builder()));
        if !may {
            let what = wish.builder().map_or_else(String::new, |b| format!(" {b}"));
            let detail = format!(
                "{requester} may not {}{what}; [requesters.{requester}] in master.toml says who may what",
                verb.word()
            );
            return Err(denied("E-NOT-ALLOWED", &detail));
        }
        match wish {
            Wish::Force { builder, sources } => {
                let known = known_builder(circumstances, builder)?;
                let foreign = sources
                    .iter()
                    .find(|source| known.sources.get(&source.repository) != Some(&source.branch));
                match foreign {
                    None => Ok(()),
                    Some(source) => {
                        let detail = format!(
                            "{builder} does not build from {} {}",
                            source.repository, source.branch
                        );
                        Err(denied("E-SOURCE", &detail))
                    }
                }
            }
            Wish::Retry { builder, number } => {
                known_builder(circumstances, builder)?;
                match self.fate_of(builder, *number, now) {
                    None => Err(no_build(builder, *number)),
                    Some(Fate::InFlight { .. }) => {
                        let detail = format!("{builder}/{number} is not over; cancel it first");
                        Err(denied("E-RUNNING", &detail))
                    }
                    Some(_) => Ok(()),
                }
            }
            Wish::Cancel { builder, number } => match self.fate_of(builder, *number, now) {
                None => Err(no_build(builder, *number)),
                Some(Fate::InFlight { .. }) => Ok(()),
                Some(_) => {
                    let detail = format!("{builder}/{number} is over already");
                    Err(denied("E-OVER", &detail))
                }
            },
            Wish::Pause { builder, until } => {
                known_builder(circumstances, builder)?;
                if *until <= now || until.since(request.issued) > Request::MAX_PAUSE {
                    let detail = "a pause ends in the future and lasts a week at most; for longer, take the builder out of master.toml";
                    return Err(denied("E-TIME", detail));
                }
                Ok(())
            }
            Wish::Resume { builder } => known_builder(circumstances, builder).map(drop),
            Wish::Release { project, version } => {
                if !config.releases.contains_key(project) {
                    let detail = format!(
                        "no releases of {project} are followed: there is no [releases.{project}] in master.toml"
                    );
                    return Err(denied("E-NO-PROJECT", &detail));
                }
                let newest = self.release(project);
                if newest == Some(version) {
                    let detail = format!("{project} {version} is the newest already");
                    return Err(denied("E-KNOWN", &detail));
                }
                Ok(())
            }
        }
    }

    fn fate_of(&self, builder: &BuilderName, number: u64, now: Timestamp) -> Option<Fate> {
        let lane = self.lanes.get(builder)?;
        Some(lane.numbered(number)?.fate(now))
    }

    /// The builds to call off because somebody was granted that.
    pub(super) fn cancels(&self, circumstances: &Circumstances<'_>, now: Timestamp) -> Vec<Cancel> {
        let granted = self.desk.remembered(&self.desk.others, now);
        let cancels = granted.filter_map(|(id, request)| {
            let Wish::Cancel { builder, number } = &request.wish else {
                return None;
            };
            let lane = self.lanes.get(builder)?;
            let order = lane.numbered(*number)?;
            let wanted =
                order.cancelled != Some(CalledOff::ByRequest) && is_in_flight(lane, *number, now);
            wanted.then(|| Cancel {
                farm: circumstances.farm,
                slave: order.build.slave.clone(),
                builder: builder.clone(),
                target: order.id,
                issued: now,
                reason: request.reason.clone(),
                requester: Some(Text::tidy(request.requester.as_str())),
                request: Some(id),
            })
        });
        cancels.collect()
    }

    /// The releases to announce because somebody was granted that.
    pub(super) fn announcements(
        &self,
        circumstances: &Circumstances<'_>,
        now: Timestamp,
    ) -> Vec<Release> {
        let granted = self.desk.remembered(&self.desk.others, now);
        let releases = granted.filter_map(|(id, request)| {
            let Wish::Release { project, version } = &request.wish else {
                return None;
            };
            (!self.desk.fulfilled.contains(&id)).then(|| Release {
                farm: circumstances.farm,
                project: project.clone(),
                version: version.clone(),
                previous: self.release(project).cloned(),
                seen: now,
                origin: ReleaseOrigin::Request,
                request: Some(id),
            })
        });
        releases.collect()
    }

    /// The greatest version known of a project: whoever looks for new releases looks for greater ones. The newest that was
    /// announced may be an older one, which somebody asked for.
    #[must_use]
    pub fn greatest_release(&self, project: &ProjectName) -> Option<&Version> {
        let versions = self.tracks.versions(project);
        versions.max_by(|one, other| by_release(one, other))
    }

    /// The newest release known of a project.
    #[must_use]
    pub fn release(&self, project: &ProjectName) -> Option<&Version> {
        let (_, track) = self.tracks.releases(project)?;
        self.tracks.version(&track.newest()?.1.id)
    }
}

fn is_in_flight(lane: &Lane, number: u64, now: Timestamp) -> bool {
    let order = lane.numbered(number);
    order.is_some_and(|order| matches!(order.fate(now), Fate::InFlight { .. }))
}

fn known_builder<'a>(
    circumstances: &Circumstances<'a>,
    name: &BuilderName,
) -> Result<&'a crate::master::config::Builder, Denial> {
    circumstances.config.builders.get(name).ok_or_else(|| {
        denied(
            "E-NO-BUILDER",
            &format!("there is no builder {name} in master.toml"),
        )
    })
}

fn no_build(builder: &BuilderName, number: u64) -> Denial {
    denied(
        "E-NO-BUILD",
        &format!("{builder}/{number} is not known, or too long ago"),
    )
}
