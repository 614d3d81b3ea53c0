//! Pub/Sub: which client listens to what, and what the shards are to send us for it.
//!
//! ```text
//!   clients of one worker                    Book                             shards
//!
//!   s1 SUBSCRIBE news  --+                                        wire of feed F to shard 0
//!   s2 SUBSCRIBE news  --+--> topic (F, channel, news) ---------> SUBSCRIBE news
//!   s3 PSUBSCRIBE n*   -----> topic (F, pattern, n*)   --+------> PSUBSCRIBE n*
//!                                                        |        wire of feed F to shard 1
//!                                                        +------> PSUBSCRIBE n*
//!
//!   s1, s2 <--- listeners(F, channel, news) <------------------- message news ...
//! ```
//!
//! A **feed** is what all listeners of one login share: on each shard one connection for messages,
//! its **wire**. However many clients listen to a **topic** (a channel, a pattern or a shard
//! channel), the shard has one subscriber for it in each worker and feed, and sends each message
//! once.
//!
//! A message is published on one shard: PUBLISH takes that of the channel's slot, but a script or a
//! transaction publishes where its keys are, and a server tells of a key where the key is. So
//! channels and patterns are subscribed on all shards. A shard channel, which was made for it, is
//! on the shard of its slot only ([`Reach`]): as in a stock cluster it is the one to choose where
//! there are very many.
//!
//! # When a client is a subscriber
//!
//! A client's SUBSCRIBE becomes an **ask**: the same words are sent on every wire that its topics
//! reach, even if other clients listen to them already, and when all are confirmed the client
//! joins, and is told so. For the shard the second SUBSCRIBE of a connection changes nothing, but
//! its confirmation says two things that we couldn't know: that the shard's ACL still lets this
//! user listen, and that all messages published before have come in by now. So a client never gets
//! a message that is older than its subscription, nor misses one that is younger.
//!
//! Shards confirm one after the other, and one may publish before the last has confirmed. What
//! comes from a shard that has confirmed is kept for who asks, until it joins
//! ([`Book::early_listeners`]): then who is counted by PUBLISH is who gets the message.
//!
//! Leaving takes effect at once, and the shard is told at once if nobody else listens. But the
//! topic is remembered for a while ([`crate::limits::TOPIC_LINGER`]): so PUBLISH can subtract our
//! own wires from a shard's count of receivers without knowing whether the shard counted before or
//! after the UNSUBSCRIBE.
//!
//! # When a wire is lost
//!
//! What is wanted is in the book, and nothing of it in the wire: a new one is sent all topics that
//! have listeners, and all asks that were not complete. The messages of the time between are gone,
//! as they would be for a client of a stock server that connects again; [`Restored`] says how many
//! topics are concerned, and since when.

mod book;
mod frame;
mod glob;

pub use book::{
    AskId, Asking, Book, Confirmed, FeedId, Receivers, Refused, Restored, Send, TopicId, Word,
};
pub use frame::{confirm, deliver, is_farewell, is_message, topic_of};
pub use glob::glob_matches;

use crate::ids::ShardId;

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    ShardChannel,
}

impl Kind {
    /// All of them, in the order in which a session leaves them.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::ShardChannel];

    /// As the confirmation of a subscription says.
    pub fn subscribe_word(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::ShardChannel => "ssubscribe",
        }
    }

    /// As the confirmation of its end says.
    pub fn unsubscribe_word(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::ShardChannel => "sunsubscribe",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Channel => 0,
            Self::Pattern => 1,
            Self::ShardChannel => 2,
        }
    }
}

/// Which shards may publish to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The one of its slot.
    One(ShardId),
    /// Any.
    All,
}

impl Reach {
    /// The reach of a topic whose slot is on the shard that `owner` says.
    pub fn of(kind: Kind, name: &[u8], owner: impl FnOnce(&[u8]) -> ShardId) -> Self {
        match kind {
            Kind::Channel | Kind::Pattern => Self::All,
            Kind::ShardChannel => Self::One(owner(name)),
        }
    }

    /// Whether `shard` may publish to it.
    pub fn has(self, shard: ShardId) -> bool {
        match self {
            Self::One(one) => one == shard,
            Self::All => true,
        }
    }

    /// These shards, of all that there are.
    fn shards(self, all: &[ShardId]) -> impl Iterator<Item = ShardId> + use<'_> {
        let (one, all) = match self {
            Self::One(one) => (Some(one), &[][..]),
            Self::All => (None, all),
        };
        one.into_iter().chain(all.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shard_may_publish_to_a_channel_and_one_to_a_shard_channel() {
        let owner = |_: &[u8]| ShardId(1);
        assert_eq!(Reach::of(Kind::Channel, b"news", owner), Reach::All);
        assert_eq!(Reach::of(Kind::Pattern, b"news", owner), Reach::All);
        assert_eq!(Reach::of(Kind::ShardChannel, b"news", owner), Reach::One(ShardId(1)));
        let three = [ShardId(0), ShardId(1), ShardId(2)];
        let all: Vec<_> = Reach::All.shards(&three).map(|shard| shard.0).collect();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(Reach::One(ShardId(2)).shards(&three).collect::<Vec<_>>(), [ShardId(2)]);
    }
}
