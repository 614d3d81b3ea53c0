//! `CONFIG SET weir.upstream` of static shards: a primary's new address.

use std::thread;

use lab::client::ok;
use lab::cluster::Shards;
use lab::servers::both;

use crate::load::{Load, Told};
use crate::stage::{Endpoint, LONG, await_count, key_in, slots_of};

#[test]
fn a_primary_has_another_address() {
    for server in both() {
        let shards = Shards::of(&server).start();
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[LONG]);
        let (old, new, other) = (shards.primary(0), shards.replica(0, 0), shards.primary(1));
        let mut idle = endpoint.patient();
        let key = key_in(slots_of(0, 2), "idle");
        assert_eq!(idle.call(&["SET", &key, "v"]), ok());
        assert_eq!(idle.command("WAIT 1 0").int(), 1);
        let load = Load::default();
        let told = thread::scope(|scope| {
            let load = &load;
            let writer = |number: usize| {
                let (client, slots) = (endpoint.patient(), slots_of(number % 2, 2));
                scope.spawn(move || load.writes(client, &format!("w{number}"), slots))
            };
            let writers: Vec<_> = (0..3).map(writer).collect();
            let over = load.until_dropped(&endpoint);
            load.await_more(200);
            assert_eq!(new.client().command("REPLICAOF NO ONE"), ok());
            let upstream = format!("static://{},{}", new.address(), other.address());
            let set = ["CONFIG", "SET", "weir.upstream", &upstream];
            assert_eq!(endpoint.host_client().call(&set), ok());
            endpoint.await_primary(new);
            load.await_more(200);
            drop(over);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let told = Told::sum(told);
        println!("{}: {}", server.flavor, told.line());
        assert_eq!(told.not_sent, 0);
        told.look_for_all(&mut endpoint.client());

        // The old one is still there and would take it.
        assert_eq!(idle.call(&["SET", &key, "after"]), ok());
        assert_eq!(new.client().call(&["GET", &key]).text(), "after");
        assert_eq!(old.client().call(&["GET", &key]).text(), "v");
        let of = format!("REPLICAOF 127.0.0.1 {}", new.port());
        assert_eq!(old.client().command(&of), ok());
        await_count(&mut idle, 1);
    }
}

#[test]
fn what_would_leave_data_behind_is_refused() {
    for server in both() {
        let shards = Shards::of(&server).replicas(0).start();
        let endpoint = Endpoint::of(&server, &shards.upstream(), &[]);
        let (a, b) = (shards.primary(0).address(), shards.primary(1).address());
        let mut config = endpoint.host_client();
        let refused = [
            (format!("static://{a}"), "there are 2 shards, and 1 would leave data behind"),
            (format!("static://{a},{b},{b}"), "twice"),
            (format!("static://{a},{b},127.0.0.1:1"), "there are 2 shards, and 3 would"),
            (format!("static://{a}=0-99,{b}=100-16383"), "other slots for a shard"),
            (format!("sentinel://{a}/x,y"), "can't take each other's place"),
            (format!("cluster://{a}"), "can't take each other's place"),
            ("nonsense".to_owned(), "static://"),
            (String::new(), "static://"),
        ];
        for (value, why) in refused {
            let told = config.call(&["CONFIG", "SET", "weir.upstream", &value]);
            let text = told.error_text().unwrap_or_else(|| panic!("{value} was taken: {told:?}"));
            println!("{value}: {text}");
            assert!(text.contains(why), "{value}: {text}");
        }
        let told = config.command("CONFIG GET weir.upstream");
        assert_eq!(told.items()[1].text(), shards.upstream());
        let mut client = endpoint.client();
        for shard in 0..2 {
            assert_eq!(client.call(&["SET", &key_in(slots_of(shard, 2), "k"), "v"]), ok());
        }
    }
}
