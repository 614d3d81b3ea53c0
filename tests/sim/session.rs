//! The judge of what is asked about the session itself: who it is, how it speaks, what it is in.

use weir::resp::Version;

use super::client::{Ask, Expected};
use super::resp::Reply;
use super::world::World;

impl World {
    /// Whether the reply is right, that is no error, to a request that names no key.
    pub fn judge_session(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        match (&expected.ask, reply) {
            (Ask::Ping, Reply::Simple(pong)) => pong == "PONG",
            (Ask::Echo(text), Reply::Bulk(echo)) => text == echo,
            (Ask::Id, Reply::Int(id)) => self.judge_id(client, *id),
            (Ask::ReplyOn | Ask::Quit, Reply::Simple(ok)) => ok == "OK",
            (Ask::List, list) => {
                let list = self.text_of(client, list);
                list.is_some_and(|list| list.contains(&format!("addr=client:{client} ")))
            }
            (Ask::Info, info) => {
                self.text_of(client, info).is_some_and(|info| info.contains("redis_version:"))
            }
            (Ask::Hello { .. }, hello) => {
                self.tally.moves += 1;
                self.judge_hello(client, hello)
            }
            (Ask::Select { db }, Reply::Simple(ok)) => {
                self.tally.moves += 1;
                self.clients[client].db = *db;
                ok == "OK" && *db < self.plan.databases
            }
            (Ask::Reset, Reply::Simple(reset)) => {
                self.nothing_was_executed(client);
                self.clients[client].db = 0;
                self.clients[client].resp = Version::Resp2;
                reset == "RESET"
            }
            (Ask::Unblock { .. } | Ask::Kill { .. }, Reply::Int(count)) => (0..=1).contains(count),
            _ => false,
        }
    }

    fn judge_id(&mut self, client: usize, id: i64) -> bool {
        let same = self.clients[client].id.is_none_or(|known| known == id);
        let others = self.clients.iter().enumerate().filter(|(other, _)| *other != client);
        let unique = others.filter_map(|(_, other)| other.id).all(|other| other != id);
        self.clients[client].id = Some(id);
        same && unique
    }

    /// A text for people, if it comes as the client's version has it.
    fn text_of(&self, client: usize, reply: &Reply) -> Option<String> {
        match (self.clients[client].resp, reply) {
            (Version::Resp2, Reply::Bulk(text)) | (Version::Resp3, Reply::Text(text)) => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        }
    }

    fn judge_hello(&self, client: usize, reply: &Reply) -> bool {
        let who = &self.clients[client];
        let proto = reply.field("proto") == Some(&Reply::Int(who.resp.number().into()));
        let known = who.id.is_none_or(|id| reply.field("id") == Some(&Reply::Int(id)));
        let kind = matches!(reply, Reply::Map(_)) == (who.resp == Version::Resp3);
        proto && known && kind
    }
}
