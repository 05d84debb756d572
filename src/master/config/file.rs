//! Reading the file: every table of it, and all that is wrong at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::faults::{Faults, MasterConfigError, Owner, did_you_mean};
use super::recipe::{self, Known, Recipe};
use super::section::{At, Section, fields};
use super::stanza::Stanzas;
use super::{
    Builder, MasterConfig, PreReleases, ReleasePlace, ReleaseSource, Repository, SlaveRules, order,
    requester,
};
use crate::model::{
    Branch, BuilderName, Head, LockName, ProjectName, RepositoryName, SlaveName, Text,
};

const DAY_SECONDS: u64 = 24 * 3600;

impl MasterConfig {
    /// Reads `text`; relative paths in it start from `folder`, the folder of the file.
    ///
    /// # Errors
    ///
    /// [`MasterConfigError`], with every mistake that there is.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, MasterConfigError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(MasterConfigError::no_toml(text, &errors));
        }
        let faults = Faults::of(text);
        let table = fields(table.into_inner());
        let top = Section::new(0..0, Owner::table(""), table, &faults);
        match read(top, folder) {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(faults.into_error()),
        }
    }
}

/// Reads all of it. Without what must be there, which has been noted, there is no configuration.
fn read(mut top: Section<'_, '_>, folder: &Path) -> Option<MasterConfig> {
    let farm = top.required("farm");
    let bus = top.required("bus");
    let keyring = top.required::<PathBuf>("keyring");
    let signing_key = top.required::<PathBuf>("signing-key");
    let bus_key = top.required::<PathBuf>("bus-key");
    let state = top.required::<PathBuf>("state");

    let mut periods = top.table_or_empty("periods");
    let head_seconds = Head::PERIOD.as_secs();
    let head_period = periods.time("head-seconds", head_seconds, 1..=DAY_SECONDS, 1);
    let silence = periods.time("silence-seconds", 45, 1..=DAY_SECONDS, 1);
    let lease = periods.time("lease-seconds", 3, 1..=60, 1);
    periods.finish();

    let repositories = read_repositories(&mut top);
    let releases = read_releases(&mut top, &repositories);
    let slaves = read_slaves(&mut top);
    let locks = read_locks(&mut top);
    let stanzas = Stanzas::read(&mut top);
    let lock_names = locks.keys().cloned().collect();
    let known = Known {
        repositories: &repositories,
        releases: &releases.keys().cloned().collect(),
        locks: &lock_names,
        filters: RefCell::default(),
    };
    let builders = read_builders(&stanzas, &known, top.faults());
    let requesters = requester::read(&mut top, &stanzas.names);

    let mut telemetry = top.table_or_empty("telemetry");
    let listen = telemetry.optional::<SocketAddr>("listen");
    telemetry.finish();
    let mut webhooks = top.table_or_empty("webhooks");
    let hooks = requester::read_login(&mut webhooks);
    webhooks.finish();
    top.finish();

    Some(MasterConfig {
        farm: farm?,
        bus: bus?,
        keyring: folder.join(keyring?),
        signing_key: key_place(folder, signing_key?),
        bus_key: key_place(folder, bus_key?),
        state: folder.join(state?),
        head_period,
        silence,
        repositories: (repositories.into_iter())
            .filter_map(|(name, repository)| Some((name, repository?)))
            .collect(),
        builders,
        lease,
        requesters,
        releases: (releases.into_iter())
            .filter_map(|(name, release)| Some((name, release?)))
            .collect(),
        slaves,
        locks,
        telemetry: listen.map(|listen| listen.value),
        hooks: hooks.map(|login| login.value),
    })
}

/// A credential of systemd lies in a folder that only the service is told of; every other path starts from `folder`.
fn key_place(folder: &Path, path: PathBuf) -> PathBuf {
    if path.to_string_lossy().starts_with("credential:") {
        path
    } else {
        folder.join(path)
    }
}

fn read_repositories(top: &mut Section<'_, '_>) -> BTreeMap<RepositoryName, Option<Repository>> {
    let read = |section: &mut Section<'_, '_>| {
        let url = section.required("url");
        let branches = section.full_list::<Branch>("branches");
        // Enough for the first fetch of every commit of a large repository; one that hangs holds up nobody else.
        let patience = section.time("patience-seconds", 600, 1..=3600, 1);
        let poll_period = section.time("poll-seconds", 60, 1..=DAY_SECONDS, 1);
        let branches: BTreeSet<Branch> = branches?.into_iter().map(|found| found.value).collect();
        // Without any, it is no use to say of each builder that its branch is not there.
        if branches.is_empty() {
            return None;
        }
        Some(Repository {
            url: url?,
            branches: branches.into_iter().collect(),
            poll_period,
            patience,
        })
    };
    let mut repositories = BTreeMap::new();
    for (name, mut section) in top.named("repositories") {
        let repository = read(&mut section);
        section.finish();
        repositories.extend(name.map(|name| (name, repository)));
    }
    repositories
}

fn read_releases(
    top: &mut Section<'_, '_>,
    repositories: &BTreeMap<RepositoryName, Option<Repository>>,
) -> BTreeMap<ProjectName, Option<ReleaseSource>> {
    let mut releases = BTreeMap::new();
    for (project, mut section) in top.named("releases") {
        let place = read_release_place(&mut section, repositories);
        let pre_releases = if section.or("pre-releases", false) {
            PreReleases::Count
        } else {
            PreReleases::Skip
        };
        let source = ReleaseSource {
            place,
            pre_releases,
            poll_period: section.time("poll-seconds", 3600, 1..=DAY_SECONDS, 1),
            patience: section.time("patience-seconds", 60, 1..=3600, 1),
        };
        section.finish();
        releases.extend(project.map(|project| (project, Some(source))));
    }
    releases
}

fn read_release_place(
    section: &mut Section<'_, '_>,
    repositories: &BTreeMap<RepositoryName, Option<Repository>>,
) -> ReleasePlace {
    let repository = section.optional::<RepositoryName>("repository");
    let prefix = section.optional::<Text>("tag-prefix");
    let index = section.optional::<Text>("index");
    if let Some(At { place, value }) = &repository
        && !repositories.contains_key(value)
    {
        let names = repositories.keys().map(RepositoryName::as_str);
        let guess = did_you_mean(value.as_str(), names);
        section.fault(
            place,
            "repository",
            format!("there is no [repositories.{value}]{guess}"),
        );
    }
    if let Some(At { place, value }) = &prefix {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        if repository.is_none() {
            section.fault(
                place,
                "tag-prefix",
                "means something only with a `repository`",
            );
        } else if !value.as_str().chars().all(is_plain) || value.as_str().len() > 100 {
            let message = "has at most 100 characters of A-Z a-z 0-9 . _ / -";
            section.fault(place, "tag-prefix", message);
        }
    }
    if let Some(At { place, value }) = &index {
        if repository.is_some() {
            let message = "releases are looked for in a `repository` or an `index`, not in both";
            section.fault(place, "index", message);
        } else if let Err(message) = check_index(value.as_str()) {
            section.fault(place, "index", message);
        }
    }
    match (repository, index) {
        (Some(repository), _) => ReleasePlace::Tags {
            repository: repository.value,
            prefix: prefix.map_or_else(|| Text::tidy("v"), |prefix| prefix.value),
        },
        (None, Some(index)) => ReleasePlace::Index(index.value),
        (None, None) => ReleasePlace::Requests,
    }
}

/// Checks the address of a project's page in a package index. No message repeats it, which may hold a secret.
fn check_index(raw: &str) -> Result<(), &'static str> {
    const FORM: &str = "is written as https://HOST/simple/PROJECT/";
    let (rest, is_secure) = match (raw.strip_prefix("https://"), raw.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return Err(FORM),
    };
    let (authority, path) = rest.split_once('/').ok_or(FORM)?;
    if authority.contains('@') {
        return Err("holds no user and no password: configurations can be read by others");
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons within an IPv6 address are none before a port.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = bare.unwrap_or(host).parse::<IpAddr>().ok();
    let is_name = !host.is_empty()
        && !host.starts_with(['-', '.'])
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    let is_host = match bare {
        Some(_) => address.is_some_and(|address| address.is_ipv6()),
        None => is_name,
    };
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let is_path = path.ends_with('/')
        && path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._~%+-".contains(c));
    if !is_host || !is_port || !is_path {
        return Err(FORM);
    }
    let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    if is_secure || is_here {
        Ok(())
    } else {
        Err("is an https:// address: http:// only on this machine, where nobody is between")
    }
}

fn read_slaves(top: &mut Section<'_, '_>) -> BTreeMap<SlaveName, SlaveRules> {
    let mut slaves = BTreeMap::new();
    for (name, mut section) in top.named("slaves") {
        let capacity = section.count("capacity", SlaveRules::default().capacity, 1..=1000);
        section.finish();
        slaves.extend(name.map(|name| (name, SlaveRules { capacity })));
    }
    slaves
}

fn read_locks(top: &mut Section<'_, '_>) -> BTreeMap<LockName, u32> {
    let mut locks = BTreeMap::new();
    for (name, mut section) in top.named("locks") {
        let slots = section.count("slots", 1, 1..=1000);
        section.finish();
        locks.extend(name.map(|name| (name, slots)));
    }
    locks
}

fn read_builders<'t>(
    stanzas: &Stanzas<'_, 't>,
    known: &Known<'_>,
    faults: &Faults<'t>,
) -> BTreeMap<BuilderName, Builder> {
    let mut recipes: BTreeMap<BuilderName, Recipe> = BTreeMap::new();
    for stanza in &stanzas.list {
        let before = faults.number();
        let recipe = recipe::read(stanza.section(faults), known);
        // Of one in which something is wrong itself, nothing more is known.
        let recipe = recipe.filter(|_| faults.number() == before);
        recipes.extend(recipe.map(|recipe| (stanza.name.clone(), recipe)));
    }
    order::check(&recipes, &stanzas.names, faults);
    let recipes = recipes.into_iter();
    recipes
        .map(|(name, recipe)| (name, recipe.builder))
        .collect()
}
