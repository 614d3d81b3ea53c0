//! Scouts: links to those who know where the primaries are.
//!
//! ```text
//!   Sentinel 1  <--scout--+                       +--Mail::Map--> worker 1
//!   Sentinel 2  <--scout--+-- Masters --> ShardMap+--Mail::Map--> worker 2
//!   Sentinel 3  <--scout--+   (or Members)        +--> this engine
//!        |
//!        +-- "+switch-master users ...": they are asked again at once
//! ```
//!
//! The first worker's engine asks for all of them, so that all agree on which shard is which; the
//! others tell it what makes them doubt. Informants are asked at every `poll-interval`, at once
//! when something has happened, and more often while a shard is away. What is believed of their
//! answers is decided in `topology/`.

use std::sync::Arc;

use crate::ids::{LinkId, ShardId, Time, WorkerId};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::resp::{Value, write};
use crate::shards::{Address, ShardMap, Upstream};
use crate::topology::{Masters, Members, Told, View};

use super::event::{Destination, Mail, Whom};
use super::link::{Link, Own, Role, Token};
use super::{Engine, Level, Output};

/// What an informant is asked, and so what its reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// SENTINEL MASTERS: the config epochs.
    Masters,
    /// SENTINEL GET-MASTER-ADDR-BY-NAME of this master.
    Address(u16),
    /// CLUSTER NODES.
    Nodes,
}

/// Who is asked, and what is known by it.
#[derive(Debug)]
enum Source {
    Sentinels(Masters),
    Nodes { members: Members, seeds: Vec<Address> },
}

#[derive(Debug)]
struct Informant {
    address: Address,
    link: Option<LinkId>,
    /// Its greeting is over: it can be asked.
    ready: bool,
    retry_at: Time,
    /// It owes answers, ...
    asked: bool,
    /// ... and is to be asked again then.
    again: bool,
    /// It failed, and the log says so.
    failing: bool,
}

impl Informant {
    fn new(address: Address, now: Time) -> Self {
        Self {
            address,
            link: None,
            ready: false,
            retry_at: now,
            asked: false,
            again: false,
            failing: false,
        }
    }
}

/// See the module's picture.
#[derive(Debug)]
pub(super) struct Scouts {
    source: Source,
    informants: Vec<Informant>,
    /// When all are asked next.
    look_at: Time,
    /// When they were asked last.
    looked: Time,
    /// Since when a shard is away.
    away_since: Option<Time>,
    /// Until then somebody has doubts.
    doubted_until: Time,
    /// How many replicas each shard should have, as all engines were told last.
    replicas: Arc<[u32]>,
}

impl Scouts {
    /// Those of an upstream; none if it is fixed.
    pub(super) fn of(upstream: Upstream, now: Time) -> Option<Self> {
        let (source, addresses) = match upstream {
            Upstream::Static(_) => return None,
            Upstream::Sentinel { sentinels, masters } => {
                (Source::Sentinels(Masters::new(masters, sentinels.len())), sentinels)
            }
            Upstream::Cluster { seeds } => {
                let mut members = Members::default();
                members.ask_others(&vec![None; seeds.len()]);
                (Source::Nodes { members, seeds: seeds.clone() }, seeds)
            }
        };
        let informants = addresses.into_iter().map(|address| Informant::new(address, now));
        Some(Self {
            source,
            informants: informants.collect(),
            look_at: now,
            looked: Time::ZERO,
            away_since: Some(now),
            doubted_until: now,
            replicas: Arc::default(),
        })
    }

    fn by_link(&self, link: LinkId) -> Option<usize> {
        self.informants.iter().position(|informant| informant.link == Some(link))
    }

    fn whom(&self) -> Whom {
        match self.source {
            Source::Sentinels(_) => Whom::Sentinel,
            Source::Nodes { .. } => Whom::Shard,
        }
    }

    fn gone(&mut self, informant: usize) {
        match &mut self.source {
            Source::Sentinels(masters) => masters.gone(informant),
            Source::Nodes { members, .. } => members.gone(informant),
        }
    }

    fn map(&self) -> ShardMap {
        match &self.source {
            Source::Sentinels(masters) => masters.map(),
            Source::Nodes { members, .. } => members.map(),
        }
    }

    fn replicas(&self) -> Vec<u32> {
        match &self.source {
            Source::Sentinels(masters) => masters.replicas(),
            Source::Nodes { members, .. } => members.replicas(),
        }
    }

    /// When there is something to do if nothing happens before.
    pub(super) fn next_timeout(&self) -> Time {
        let down = self.informants.iter().filter(|informant| informant.link.is_none());
        down.map(|informant| informant.retry_at).chain([self.look_at]).min().unwrap_or(self.look_at)
    }

    /// How soon the next look is.
    fn pace(&self, settings: &crate::settings::Settings, now: Time) -> std::time::Duration {
        let hurry = match self.away_since {
            None if now < self.doubted_until => limits::SCOUT_HURRY,
            None => return settings.poll_interval,
            Some(since) if now.since(since) < limits::SCOUT_HURRY_MAX => limits::SCOUT_HURRY,
            Some(_) => limits::LINK_RETRY,
        };
        hurry.min(settings.poll_interval)
    }
}

impl Engine {
    /// `upstream` was set anew: static shards have other addresses, or others are to be asked.
    pub(super) fn upstream_changed(&mut self, upstream: Upstream) {
        let now = self.now;
        match (upstream, &mut self.scouts) {
            (Upstream::Static(map), None) => self.map_changed(Arc::new(map)),
            (Upstream::Sentinel { sentinels, .. }, Some(_)) => self.ask_others(sentinels),
            (Upstream::Cluster { seeds: others }, Some(scouts)) => {
                if let Source::Nodes { seeds, .. } = &mut scouts.source {
                    seeds.clone_from(&others);
                }
                let known = scouts.informants.iter().map(|informant| informant.address.clone());
                let mut all = others;
                all.extend(known.filter(|address| !all.contains(address)).collect::<Vec<_>>());
                self.ask_others(all);
            }
            _ => {}
        }
        if let Some(scouts) = &mut self.scouts {
            scouts.look_at = now;
        }
    }

    /// These are asked from now on. Who is asked already keeps its link.
    fn ask_others(&mut self, addresses: Vec<Address>) {
        let now = self.now;
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let same = addresses.len() == scouts.informants.len()
            && addresses.iter().zip(&scouts.informants).all(|(new, old)| *new == old.address);
        if same {
            return;
        }
        let mut before: Vec<Option<Informant>> =
            std::mem::take(&mut scouts.informants).into_iter().map(Some).collect();
        let mut places = Vec::new();
        for address in addresses.into_iter().take(limits::SCOUTS_MAX) {
            let is_it =
                |old: &Option<Informant>| old.as_ref().is_some_and(|o| o.address == address);
            let place = before.iter().position(is_it);
            let known = place.and_then(|place| before[place].take());
            scouts.informants.push(known.unwrap_or_else(|| Informant::new(address, now)));
            places.push(place);
        }
        match &mut scouts.source {
            Source::Sentinels(masters) => masters.ask_others(&places),
            Source::Nodes { members, .. } => members.ask_others(&places),
        }
        for link in before.into_iter().flatten().filter_map(|informant| informant.link) {
            self.drop_link(link);
        }
    }

    /// Something makes us doubt that the map is still true: whoever knows is asked.
    pub(super) fn look_again(&mut self) {
        let now = self.now;
        match &mut self.scouts {
            Some(scouts) => {
                scouts.doubted_until = now + limits::SCOUT_DOUBT;
                scouts.look_at = scouts.look_at.min(scouts.looked + limits::SCOUT_REST);
            }
            None if self.setup.worker != WorkerId(0)
                && self.map.may_change()
                && now.since(self.doubted) >= limits::SCOUT_REST =>
            {
                self.doubted = now;
                let to = Destination::Worker(WorkerId(0));
                self.outputs.push_back(Output::Mail { to, mail: Mail::Doubt });
            }
            None => {}
        }
    }

    /// Now and then: a primary that owes an answer for a while may be on its way to be replaced,
    /// long before we would give it up.
    pub(super) fn sweep_silence(&mut self) {
        if !self.map.may_change() {
            return;
        }
        let now = self.now;
        let waits = |link: &Link| {
            let since = now.since(link.silent_since);
            matches!(link.role, Role::Control | Role::Shared(_))
                && link.pipeline.owed() > 0
                && (limits::SCOUT_DOUBT..limits::SCOUT_HURRY_MAX).contains(&since)
        };
        if self.links.iter().any(|(_, link)| waits(link)) {
            self.look_again();
        }
    }

    pub(super) fn scouts_timer(&mut self) {
        let now = self.now;
        let away = self.shards.iter().any(|shard| !shard.is_up() && !shard.is_gone());
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        match (away, scouts.away_since) {
            (true, None) => {
                scouts.away_since = Some(now);
                scouts.look_at = scouts.look_at.min(now + limits::SCOUT_HURRY);
            }
            (false, Some(_)) => scouts.away_since = None,
            _ => {}
        }
        let whom = scouts.whom();
        let dial: Vec<usize> = (0..scouts.informants.len())
            .filter(|&place| {
                let informant = &scouts.informants[place];
                informant.link.is_none() && now >= informant.retry_at
            })
            .collect();
        for place in dial {
            self.dial_informant(place, whom);
        }
        if self.scouts.as_ref().is_some_and(|scouts| now >= scouts.look_at) {
            self.look();
        }
    }

    fn dial_informant(&mut self, place: usize, whom: Whom) {
        let pipeline = Pipeline::with_unasked(is_tidings, Token::Own(Own::Tidings));
        let link = self.links.insert(Link::new(ShardId::NONE, Role::Scout, pipeline, self.now));
        let timeout = self.settings.connect_timeout;
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let informant = &mut scouts.informants[place];
        informant.link = Some(link);
        let address = informant.address.clone();
        self.outputs.push_back(Output::Connect { link, whom, address, timeout });
    }

    /// A scout's connection stands: greets.
    pub(super) fn scout_opened(&mut self, id: LinkId) {
        let settings = Arc::clone(&self.settings);
        let Some(whom) = self.scouts.as_ref().map(Scouts::whom) else {
            return;
        };
        let (user, password) = match whom {
            Whom::Sentinel => (&settings.sentinel_user, &settings.sentinel_password),
            Whom::Shard => (&settings.shard_user, &settings.shard_password),
        };
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.silent_since = self.now;
        let size = super::links::GREETING_BYTES_MAX + user.len() + password.len();
        link.pipeline.opened(size, |out| {
            let mut tokens = Vec::with_capacity(4);
            if super::links::write_login(out, user, password) {
                tokens.push(Token::Own(Own::Login));
            }
            write::request(out, &["CLIENT", "SETNAME", "weir-scout"]);
            tokens.push(Token::Own(Own::Named));
            if whom == Whom::Sentinel {
                // Events come between replies.
                write::request(out, &["HELLO", "3"]);
                write::request(out, &["PSUBSCRIBE", "*"]);
                tokens.extend([Token::Own(Own::Lane); 2]);
            }
            tokens
        });
        self.flush_link(id);
    }

    /// An informant has greeted us back: it is asked.
    pub(super) fn scout_greeted(&mut self, id: LinkId) {
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let Some(place) = scouts.by_link(id) else {
            return;
        };
        let informant = &mut scouts.informants[place];
        informant.ready = true;
        if std::mem::take(&mut informant.failing) {
            let line = format!("{} can be asked again", self.informant_name(place));
            self.log(Level::Notice, line);
        }
        self.ask_informant(place);
    }

    pub(super) fn scout_failed(&mut self, id: LinkId, reason: &str) {
        let now = self.now;
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let Some(place) = scouts.by_link(id) else {
            return;
        };
        let informant = &mut scouts.informants[place];
        let was_ready = std::mem::take(&mut informant.ready);
        informant.link = None;
        informant.retry_at = if was_ready { now } else { now + limits::LINK_RETRY };
        (informant.asked, informant.again) = (false, false);
        let told = std::mem::replace(&mut informant.failing, !was_ready);
        scouts.gone(place);
        if !was_ready && !told {
            let line = format!("{} can't be asked: {reason}", self.informant_name(place));
            self.log(Level::Warning, line);
        }
        self.look_again();
    }

    fn informant_name(&self, place: usize) -> String {
        let Some(scouts) = &self.scouts else {
            return String::new();
        };
        let address = &scouts.informants[place].address;
        match scouts.source {
            Source::Sentinels(_) => format!("Sentinel {address}"),
            Source::Nodes { .. } => format!("cluster node {address}"),
        }
    }

    // ---------------------------------------------------------------- asking

    /// Asks all who can be asked.
    fn look(&mut self) {
        let now = self.now;
        let silent = self.settings.shard_timeout;
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        scouts.looked = now;
        scouts.look_at = now + scouts.pace(&self.settings, now);
        let all: Vec<(usize, LinkId, bool)> = (scouts.informants.iter().enumerate())
            .filter_map(|(place, informant)| Some((place, informant.link?, informant.ready)))
            .collect();
        for (place, link, ready) in all {
            match self.silence(link) {
                Some(since) if now.since(since) >= silent => {
                    self.reject_link(link, &self.silent());
                }
                _ if ready => self.ask_informant(place),
                _ => {}
            }
        }
    }

    fn ask_informant(&mut self, place: usize) {
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let informant = &mut scouts.informants[place];
        let Some(link) = informant.link else {
            return;
        };
        if std::mem::replace(&mut informant.asked, true) {
            informant.again = true;
            return;
        }
        match &scouts.source {
            Source::Sentinels(masters) => {
                let names = masters.names().to_vec();
                self.send_own(link, Own::Told(Question::Masters), |out| {
                    write::request(out, &["SENTINEL", "MASTERS"]);
                });
                for (number, name) in (0u16..).zip(&names) {
                    self.send_own(link, Own::Told(Question::Address(number)), |out| {
                        write::request(out, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
                    });
                }
            }
            Source::Nodes { .. } => {
                self.send_own(link, Own::Told(Question::Nodes), |out| {
                    write::request(out, &["CLUSTER", "NODES"]);
                });
            }
        }
    }

    /// An informant has answered.
    pub(super) fn told(&mut self, id: LinkId, question: Question, reply: &[u8]) {
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let Some(place) = scouts.by_link(id) else {
            return;
        };
        let Some((value, _)) = Value::parse(reply) else {
            return self.reject_link(id, "its answer can't be read");
        };
        if let Value::Error(text) = &value {
            let why = format!("it refuses to say where primaries are: {}", text.escape_ascii());
            return self.reject_link(id, &why);
        }
        let (changed, last) = match (&mut scouts.source, question) {
            (Source::Sentinels(masters), Question::Masters) => {
                if !masters.told_masters(place, &value) {
                    return self.reject_link(id, "its SENTINEL MASTERS can't be read");
                }
                (false, false)
            }
            (Source::Sentinels(masters), Question::Address(number)) => {
                let number = usize::from(number);
                let changed = masters.told_address(place, number, &value);
                (changed, number + 1 == masters.names().len())
            }
            (Source::Nodes { members, seeds }, Question::Nodes) => {
                let asked = &scouts.informants[place].address;
                let text = String::from_utf8_lossy(value.as_bytes().unwrap_or_default());
                let view = match View::parse(&text, asked) {
                    Ok(view) => view,
                    Err(error) => return self.reject_link(id, &error.to_string()),
                };
                if members.told(place, view) == Told::Changed {
                    let (known, seeds) = (members.addresses().to_vec(), seeds.clone());
                    self.spread_map();
                    self.spread_replicas();
                    self.answered(place);
                    return self.ask_nodes(known, &seeds);
                }
                (false, true)
            }
            _ => (false, true),
        };
        if last {
            self.answered(place);
        }
        if changed {
            self.spread_map();
        }
        self.spread_replicas();
    }

    fn answered(&mut self, place: usize) {
        if let Some(scouts) = &mut self.scouts
            && let Some(informant) = scouts.informants.get_mut(place)
        {
            informant.asked = false;
            if std::mem::take(&mut informant.again) {
                self.ask_informant(place);
            }
        }
    }

    /// The nodes of the cluster that are asked are those that anybody names, and the seeds if there
    /// is room for more.
    fn ask_nodes(&mut self, known: Vec<Address>, seeds: &[Address]) {
        let mut all = known;
        all.extend(seeds.iter().filter(|seed| !all.contains(seed)).cloned().collect::<Vec<_>>());
        all.truncate(limits::SCOUTS_MAX);
        // Each node tells the nodes in an order of its own.
        all.sort_unstable();
        self.ask_others(all);
    }

    /// A Sentinel has said that something has happened.
    pub(super) fn tidings(&mut self) {
        self.look();
    }

    /// What is believed has changed: everybody is told.
    fn spread_map(&mut self) {
        let Some(scouts) = &self.scouts else {
            return;
        };
        let map = Arc::new(scouts.map());
        if *map == *self.map {
            return;
        }
        for worker in (1..self.setup.workers).map(WorkerId) {
            let (to, mail) = (Destination::Worker(worker), Mail::Map(Arc::clone(&map)));
            self.outputs.push_back(Output::Mail { to, mail });
        }
        self.map_changed(map);
    }
}

impl Engine {
    /// Tells everybody how many replicas there should be, if that is another number than before.
    fn spread_replicas(&mut self) {
        let Some(scouts) = &mut self.scouts else {
            return;
        };
        let replicas = scouts.replicas();
        if *scouts.replicas == *replicas {
            return;
        }
        let replicas: Arc<[u32]> = replicas.into();
        scouts.replicas = Arc::clone(&replicas);
        for worker in (1..self.setup.workers).map(WorkerId) {
            let (to, mail) = (Destination::Worker(worker), Mail::Replicas(Arc::clone(&replicas)));
            self.outputs.push_back(Output::Mail { to, mail });
        }
        self.replicas_told(&replicas);
    }

    pub(super) fn replicas_told(&mut self, replicas: &[u32]) {
        for (shard, &replicas) in self.shards.iter_mut().zip(replicas) {
            shard.told_replicas = replicas;
        }
    }
}

/// Whether a frame is what a Sentinel publishes: a push that is no confirmation.
fn is_tidings(begin: &[u8], _: Option<Token>) -> bool {
    begin.starts_with(b">4\r\n")
}
