//! Names for things that come and go, and for time.
//!
//! An id is an index and a tag. The tag changes each time the index is used again, so an event for
//! a session or a link that has died since finds nobody: late events are dropped by construction.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds since an arbitrary start, from a clock that never goes back. Only `os/clock.rs`
/// reads one; everybody else is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    /// Saturates: a deadline beyond the end of the clock never comes.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    /// Saturates at the start of the clock.
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A shard's place in the shard map, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// No shard: what a link has that goes to somebody else.
    pub const NONE: Self = Self(u16::MAX);

    /// As an index into per-shard vectors.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A worker thread's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// What the id of a [`Slab`]'s entries is made of.
pub trait SlabId: Copy + Eq {
    /// Joins an index and its tag.
    fn new(index: u32, tag: u32) -> Self;
    /// The place in the slab.
    fn index(self) -> u32;
    /// Which of the place's tenants.
    fn tag(self) -> u32;
}

macro_rules! slab_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            index: u32,
            tag: u32,
        }
        impl $crate::ids::SlabId for $name {
            fn new(index: u32, tag: u32) -> Self {
                Self { index, tag }
            }
            fn index(self) -> u32 {
                self.index
            }
            fn tag(self) -> u32 {
                self.tag
            }
        }
    };
}

pub(crate) use slab_id;

slab_id! {
    /// One client connection. The worker that accepted it gives the id out.
    SessionId
}
slab_id! {
    /// One connection to a shard. The engine that asked for it gives the id out.
    LinkId
}
slab_id! {
    /// What the connections that a session uses have in common; each engine gives out its own.
    LaneId
}

/// A vector with holes, whose ids tell an old tenant of a place from a new one.
#[derive(Clone, Debug)]
pub struct Slab<K, T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    _key: std::marker::PhantomData<fn() -> K>,
}

#[derive(Clone, Debug)]
struct Place<T> {
    tag: u32,
    tenant: Option<T>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), _key: std::marker::PhantomData }
    }
}

impl<K: SlabId, T> Slab<K, T> {
    /// Puts `tenant` in a free place.
    pub fn insert(&mut self, tenant: T) -> K {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.tenant = Some(tenant);
            return K::new(index, place.tag);
        }
        let index = u32::try_from(self.places.len()).expect("fewer than 2^32 connections");
        self.places.push(Place { tag: 0, tenant: Some(tenant) });
        K::new(index, 0)
    }

    /// The tenant with this id, if it still lives here.
    pub fn get(&self, id: K) -> Option<&T> {
        let place = self.places.get(id.index() as usize)?;
        if place.tag == id.tag() { place.tenant.as_ref() } else { None }
    }

    /// The tenant with this id, if it still lives here.
    pub fn get_mut(&mut self, id: K) -> Option<&mut T> {
        let place = self.places.get_mut(id.index() as usize)?;
        if place.tag == id.tag() { place.tenant.as_mut() } else { None }
    }

    /// Takes the tenant out; its id is never valid again.
    pub fn remove(&mut self, id: K) -> Option<T> {
        let place = self.places.get_mut(id.index() as usize)?;
        if place.tag != id.tag() {
            return None;
        }
        let tenant = place.tenant.take()?;
        place.tag = place.tag.wrapping_add(1);
        self.free.push(id.index());
        Some(tenant)
    }

    /// All tenants with their ids, by place.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let tenant = place.tenant.as_ref()?;
            Some((K::new(u32::try_from(index).ok()?, place.tag), tenant))
        })
    }

    /// All tenants with their ids, by place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| {
            let tag = place.tag;
            let tenant = place.tenant.as_mut()?;
            Some((K::new(u32::try_from(index).ok()?, tag), tenant))
        })
    }

    /// How many tenants there are. Takes time in proportion to the places ever used.
    pub fn len(&self) -> usize {
        self.places.iter().filter(|place| place.tenant.is_some()).count()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.places.iter().all(|place| place.tenant.is_none())
    }
}

/// Tenants kept under ids that somebody else's [`Slab`] gives out.
#[derive(Clone, Debug)]
pub struct Mirror<K, T> {
    places: Vec<Option<(u32, T)>>,
    _key: std::marker::PhantomData<fn() -> K>,
}

impl<K, T> Default for Mirror<K, T> {
    fn default() -> Self {
        Self { places: Vec::new(), _key: std::marker::PhantomData }
    }
}

impl<K: SlabId, T> Mirror<K, T> {
    /// Keeps `tenant` under `id`; whoever was in that place before is returned.
    pub fn insert(&mut self, id: K, tenant: T) -> Option<T> {
        let index = id.index() as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index].replace((id.tag(), tenant)).map(|(_, old)| old)
    }

    /// The tenant with this id, if it still lives here.
    pub fn get(&self, id: K) -> Option<&T> {
        match self.places.get(id.index() as usize)? {
            Some((tag, tenant)) if *tag == id.tag() => Some(tenant),
            _ => None,
        }
    }

    /// The tenant with this id, if it still lives here.
    pub fn get_mut(&mut self, id: K) -> Option<&mut T> {
        match self.places.get_mut(id.index() as usize)? {
            Some((tag, tenant)) if *tag == id.tag() => Some(tenant),
            _ => None,
        }
    }

    /// All tenants, by place.
    pub fn tenants_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.as_mut().map(|(_, tenant)| tenant))
    }

    /// Takes the tenant out.
    pub fn remove(&mut self, id: K) -> Option<T> {
        self.get(id)?;
        self.places[id.index() as usize].take().map(|(_, tenant)| tenant)
    }

    /// All tenants with their ids, by place.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let (tag, tenant) = place.as_ref()?;
            Some((K::new(u32::try_from(index).ok()?, *tag), tenant))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_is_not_the_old_tenant() {
        let mut slab: Slab<SessionId, &str> = Slab::default();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(new.index(), old.index());
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.get(new), Some(&"new"));
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_mirror_slab_follows_the_ids_of_another() {
        let mut ours: Slab<SessionId, u8> = Slab::default();
        let mut mirror: Mirror<SessionId, u8> = Mirror::default();
        for round in 0..3 {
            let a = ours.insert(round);
            let b = ours.insert(round);
            assert_eq!(mirror.insert(b, round), None);
            assert_eq!(mirror.insert(a, round), None);
            assert_eq!(mirror.remove(a), ours.remove(a));
            assert_eq!(mirror.get(a), None);
            assert_eq!(mirror.remove(b), ours.remove(b));
        }
        assert_eq!(mirror.iter().count(), 0);
    }

    #[test]
    fn time_saturates() {
        assert_eq!(Time(u64::MAX) + Duration::from_secs(1), Time(u64::MAX));
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
    }
}
