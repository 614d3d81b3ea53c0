//! A write that its primary has acknowledged, that no replica got, and that a failover undoes; and
//! then the old primary is the primary again.
//!
//! ```text
//!            A: primary      --> replica of B, without the write  --> primary
//!            B: cut off      --> primary                          --> replica of A
//!   client   SET k lost: OK                                           WAIT 1 0
//! ```
//!
//! To a connection to A that was open all the time nothing has happened, and its WAIT asks about an
//! offset which all have reached by now: it is told 1. So is one that a client library has made
//! anew, since Sentinel closes all when it makes A a replica. A client of the endpoint is told
//! `-UNBLOCKED`, though its connection was never closed at all.

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::sentinel::Sentinels;
use lab::servers::{Server, both};

use crate::stage::{Endpoint, LONG, await_count};

/// Both servers, and clients that have written before anything happens: one will write more.
struct Play<'a> {
    endpoint: &'a Endpoint,
    a: &'a Proc,
    b: &'a Proc,
    bare: Client,
    via: Client,
    early: Client,
}

impl<'a> Play<'a> {
    fn begin(endpoint: &'a Endpoint, shards: &'a Shards) -> Play<'a> {
        let (a, b) = (shards.primary(0), shards.replica(0, 0));
        let (bare, via, early) = (a.client(), endpoint.patient(), endpoint.patient());
        let mut play = Play { endpoint, a, b, bare, via, early };
        for (client, key) in play.clients().into_iter().zip(["bare", "via", "early"]) {
            assert_eq!(client.call(&["SET", key, "kept"]), ok());
            assert_eq!(client.command("WAIT 1 0").int(), 1);
        }
        play.cut_off();
        for (client, key) in play.clients().into_iter().zip(["bare", "via"]) {
            assert_eq!(client.call(&["SET", key, "lost"]), ok());
            assert_eq!(client.command("WAIT 1 10").int(), 0, "nobody else has it");
        }
        play
    }

    fn clients(&mut self) -> [&mut Client; 3] {
        [&mut self.bare, &mut self.via, &mut self.early]
    }

    /// B can't be a replica any more: it has a password where A has none.
    fn cut_off(&self) {
        assert_eq!(self.b.client().command("CONFIG SET masterauth nonsense"), ok());
        lab::eventually("the primary is alone", || {
            let mut client = self.a.client();
            client.command("CLIENT KILL TYPE replica");
            let online = self.a.info("replication").int("connected_slaves");
            online == 0 && self.b.info("replication").get("master_link_status") == Some("down")
        });
    }

    fn join(&self) {
        assert_eq!(self.b.client().call(&["CONFIG", "SET", "masterauth", ""]), ok());
    }

    /// A is the primary again, as at the start, and the writes are gone.
    fn end(mut self) {
        await_replica(self.a, self.b);
        self.endpoint.await_primary(self.a);
        assert_eq!(self.bare.command("GET bare"), bulk("kept"), "the write is lost");
        assert_eq!(self.bare.command("WAIT 1 0").int(), 1, "and its connection doesn't know");
        assert_eq!(self.via.command("GET via"), bulk("kept"), "the write is lost");
        let told = self.via.command("WAIT 1 0");
        assert!(told.is_error("UNBLOCKED"), "{told:?}");
        let text = told.error_text().unwrap();
        assert!(text.contains("shard 0") && text.contains("unknown"), "{text}");
        assert_eq!(self.via.command("WAIT 1 0").int(), 1, "it is told once");
        await_count(&mut self.early, 1);
        assert_eq!(self.early.command("GET early"), bulk("kept"));
        let mut late = self.endpoint.patient();
        assert_eq!(late.command("SET late v"), ok());
        assert_eq!(late.command("WAIT 1 0").int(), 1);
    }
}

/// Waits until one server is a replica of the other, and has all that it has.
fn await_replica(of: &Proc, replica: &Proc) {
    lab::eventually("it is a replica", || {
        let info = replica.info("replication");
        info.get("master_port") == Some(&of.port().to_string())
            && info.get("master_link_status") == Some("up")
    });
    let mut client = of.client();
    lab::eventually("it acknowledges", || {
        client.command("PUBLISH lab:stream new");
        client.command("WAIT 1 200") == Value::Int(1)
    });
}

#[track_caller]
fn replica_of(server: &Proc, of: Option<&Proc>) {
    let line = match of {
        Some(of) => format!("REPLICAOF 127.0.0.1 {}", of.port()),
        None => "REPLICAOF NO ONE".to_owned(),
    };
    let told = server.client().command(&line);
    assert_eq!(told.error_text(), None, "{line}");
}

fn upstream_is(endpoint: &Endpoint, primary: &Proc) {
    let upstream = format!("static://{}", primary.address());
    let told = endpoint.host_client().call(&["CONFIG", "SET", "weir.upstream", &upstream]);
    assert_eq!(told, ok());
    endpoint.await_primary(primary);
}

fn one_shard(server: &Server) -> Shards {
    Shards::of(server).shards(1).replicas(1).start()
}

#[test]
fn a_static_shard_fails_over_and_back() {
    for server in both() {
        let shards = one_shard(&server);
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[LONG]);
        let play = Play::begin(&endpoint, &shards);
        replica_of(play.b, None);
        upstream_is(&endpoint, play.b);
        replica_of(play.a, Some(play.b));
        await_replica(play.b, play.a);
        play.join();
        replica_of(play.a, None);
        replica_of(play.b, Some(play.a));
        upstream_is(&endpoint, play.a);
        play.end();
    }
}

/// The same while the endpoint knows of one address only, so all that it can see is another
/// history there.
#[test]
fn a_primary_loses_a_write_behind_the_endpoints_back() {
    for server in both() {
        let shards = one_shard(&server);
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[LONG]);
        let play = Play::begin(&endpoint, &shards);
        replica_of(play.b, None);
        replica_of(play.a, Some(play.b));
        await_replica(play.b, play.a);
        play.join();
        replica_of(play.a, None);
        replica_of(play.b, Some(play.a));
        play.end();
    }
}

#[test]
fn sentinels_fail_over_and_back() {
    for server in both() {
        let shards = one_shard(&server);
        // One: of several, those who haven't heard of a failover yet may undo it.
        let sentinels = Sentinels::of(&server).count(1).start(&shards);
        let endpoint = Endpoint::of(&server, &sentinels.upstream(), &[LONG]);
        let mut play = Play::begin(&endpoint, &shards);
        fail_over(&sentinels, play.b);
        endpoint.await_primary(play.b);
        play.join();
        sentinels.wait_settled(&shards);
        play.bare.assert_closed();
        play.bare = play.b.client();
        fail_over(&sentinels, play.a);
        sentinels.wait_settled(&shards);
        play.bare.assert_closed();
        play.bare = play.a.client();
        play.end();
    }
}

/// It may have to hear from the replica first, or to try again.
fn fail_over(sentinels: &Sentinels, replica: &Proc) {
    lab::eventually("the replica is promoted", || {
        let _ = sentinels.failover("master-a");
        replica.info("replication").get("role") == Some("master")
    });
}
