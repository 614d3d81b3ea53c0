//! What applications do with redis-rs, as checks: `weir-clients-redis-rs HOST PORT PROTOCOL`.
//!
//! Prints a line for each check, "ok WHAT" or "not ok WHAT: WHY", and ends with 1 if any is not ok.
//! It knows nothing of who answers: whatever holds here is to hold on a stock server with a replica
//! and an append-only file, and on an endpoint alike.

mod asynchronous; // the multiplexed connection, client-side caching, Pub/Sub as a stream

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::panic;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{
    Client, Commands, Connection, ConnectionInfo, Direction, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushKind, RedisError, RedisResult, Script, ServerErrorKind, cmd, pipe,
};

/// Nothing here takes nearly as long, unless something never comes.
const PATIENCE: Duration = Duration::from_secs(40);

/// Who to connect to, and how this run's keys are named.
pub struct World {
    host: String,
    port: u16,
    protocol: u8,
    /// Several programs, and earlier runs of this one, may share the database.
    prefix: String,
}

impl World {
    fn from_args() -> Option<World> {
        let [host, port, protocol] =
            std::env::args().skip(1).collect::<Vec<_>>().try_into().ok()?;
        let prefix = format!("redis-rs:{protocol}:{}", std::process::id());
        Some(World { host, port: port.parse().ok()?, protocol: protocol.parse().ok()?, prefix })
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// A key that is in one slot with all others of this kind.
    pub fn together(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    pub fn info(&self) -> ConnectionInfo {
        let info = (self.host.as_str(), self.port).into_connection_info().expect("a host and port");
        let version =
            if self.protocol == 3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let settings = info.redis_settings().clone().set_protocol(version);
        info.set_redis_settings(settings)
    }

    pub fn client(&self) -> Client {
        Client::open(self.info()).expect("a client")
    }

    fn connect(&self) -> Connection {
        self.try_connect(self.info()).expect("a connection")
    }

    fn try_connect(&self, info: ConnectionInfo) -> RedisResult<Connection> {
        let connection = Client::open(info)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }
}

fn server_error(error: &RedisError) -> Option<ServerErrorKind> {
    match error.kind() {
        ErrorKind::Server(kind) => Some(kind),
        _ => None,
    }
}

pub fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Checks are given the world and a connection in good order.
type Check = fn(&World, &mut Connection) -> RedisResult<()>;

const CHECKS: &[(&str, Check)] = &[
    ("the connection speaks the version that was asked for", version),
    ("a connection says its library, and has a name", names),
    ("INFO is that of one primary", info),
    ("strings and numbers", strings),
    ("a value of 4 MB and of any bytes", large),
    ("many keys at once", many_keys),
    ("all keys are found by scan_match", scan),
    ("hashes, lists, sets, sorted sets", collections),
    ("streams and their groups", streams),
    ("errors are those of a server", errors),
    ("a pipeline of 2,000 commands", pipeline),
    ("a transaction", transaction),
    ("an error within a transaction", failed_transaction),
    ("a transaction with a command that can't be queued is not executed", aborted_transaction),
    ("WATCH: eight threads count by optimistic locking", optimistic),
    ("WAIT and WAITAOF", wait),
    ("WAIT in a pipeline and after a transaction", wait_pipelined),
    ("scripts", scripts),
    ("BLPOP, BLMOVE and XREAD BLOCK", blocking),
    ("SUBSCRIBE and PSUBSCRIBE", publish),
    ("messages as pushes", pushes),
    ("a lock by SET NX PX and a script that unlocks, with WAIT", lock),
    ("databases are apart", databases),
    ("users: their password, their commands, their keys", users),
    ("async: a multiplexed connection, with WAIT and WAITAOF", asynchronous::multiplexed),
    ("async: a hundred tasks on one connection", asynchronous::many_tasks),
    ("async: pipelines and transactions", asynchronous::pipelines),
    ("async: Pub/Sub as a stream", asynchronous::publish),
    ("async: a cache at the client's side is told of changes", asynchronous::caching),
];

thread_local! {
    /// What the last failed assertion of this thread said.
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let Some(world) = World::from_args() else {
        eprintln!("usage: weir-clients-redis-rs HOST PORT PROTOCOL");
        return ExitCode::from(2);
    };
    // A failed assertion is a line of ours, and not a report of a crash.
    panic::set_hook(Box::new(|panic| {
        let line = panic.location().map_or(0, |at| at.line());
        let text = panic.payload_as_str().unwrap_or("panicked");
        FAILURE.with_borrow_mut(|failure| *failure = format!("line {line}: {text}"));
    }));
    let mut failed = false;
    for (what, check) in CHECKS {
        let why = match panic::catch_unwind(|| check(&world, &mut world.connect())) {
            Ok(Ok(())) => {
                println!("ok {what}");
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => FAILURE.take(),
        };
        failed = true;
        println!("not ok {what}: {}", why.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    ExitCode::from(u8::from(failed))
}

// ------------------------------------------------------------------ the connection

fn version(world: &World, con: &mut Connection) -> RedisResult<()> {
    let info: String = cmd("CLIENT").arg("INFO").query(con)?;
    let field = format!(" resp={} ", world.protocol);
    assert!(info.contains(&field), "{info} has no {field}");
    assert_eq!(cmd("PING").query::<String>(con)?, "PONG");
    Ok(())
}

fn names(_world: &World, con: &mut Connection) -> RedisResult<()> {
    let () = con.client_setname("rs-name")?;
    assert_eq!(con.client_getname::<String>()?, "rs-name");
    let info: String = cmd("CLIENT").arg("INFO").query(con)?;
    assert!(info.contains(" lib-name=redis-rs ") && info.contains(" name=rs-name "), "{info}");
    let id: i64 = con.client_id()?;
    assert!(info.starts_with(&format!("id={id} ")), "{info}");
    Ok(())
}

fn info(_world: &World, con: &mut Connection) -> RedisResult<()> {
    let info: redis::InfoDict = cmd("INFO").query(con)?;
    assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
    assert_eq!(info.get::<u32>("connected_slaves"), Some(1));
    assert_eq!(info.get::<u32>("aof_enabled"), Some(1));
    Ok(())
}

// ------------------------------------------------------------------ values

fn strings(world: &World, con: &mut Connection) -> RedisResult<()> {
    let name = world.key("string");
    let () = con.set_ex(&name, "value", 100)?;
    assert_eq!(con.get::<_, String>(&name)?, "value");
    assert_eq!(con.get::<_, Option<String>>(world.key("missing"))?, None);
    assert!(con.ttl::<_, i64>(&name)? > 90);
    assert!(!con.set_nx::<_, _, bool>(&name, "other")?);
    assert_eq!(con.append::<_, _, i64>(&name, "s")?, 6);
    assert_eq!(con.getrange::<_, String>(&name, 1, 3)?, "alu");
    assert_eq!(con.incr::<_, _, i64>(world.key("number"), 42)?, 42);
    assert_eq!(con.incr::<_, _, f64>(world.key("number"), 0.5)?, 42.5);
    Ok(())
}

fn large(world: &World, con: &mut Connection) -> RedisResult<()> {
    let value: Vec<u8> = (0..=255u8).cycle().take(4 << 20).collect();
    let () = con.set(world.key("large"), &value)?;
    let seen: Vec<u8> = con.get(world.key("large"))?;
    assert!(seen == value, "another value, of {} bytes", seen.len());
    assert_eq!(con.unlink::<_, i64>(world.key("large"))?, 1);
    Ok(())
}

fn many_keys(world: &World, con: &mut Connection) -> RedisResult<()> {
    let pairs: Vec<(String, i64)> =
        (0..100).map(|n| (world.key(&format!("many:{n}")), n)).collect();
    let names: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
    let () = con.mset(&pairs)?;
    assert_eq!(con.mget::<_, Vec<i64>>(&names)?, (0..100).collect::<Vec<_>>());
    assert_eq!(con.exists::<_, i64>(&names)?, 100);
    assert_eq!(con.del::<_, i64>(&names)?, 100);
    Ok(())
}

fn scan(world: &World, con: &mut Connection) -> RedisResult<()> {
    let names: BTreeSet<String> = (0..200).map(|n| world.key(&format!("scan:{n}"))).collect();
    for name in &names {
        let () = con.set(name, "v")?;
    }
    let seen = con.scan_match::<_, String>(world.key("scan:*"))?.collect::<RedisResult<_>>()?;
    assert_eq!(names, seen);
    assert_eq!(con.del::<_, i64>(Vec::from_iter(&names))?, 200);
    Ok(())
}

fn collections(world: &World, con: &mut Connection) -> RedisResult<()> {
    let hash = world.key("hash");
    let () = con.hset_multiple(&hash, &[("a", "1"), ("b", "two")])?;
    let seen: HashMap<String, String> = con.hgetall(&hash)?;
    assert_eq!(seen, HashMap::from([("a".into(), "1".into()), ("b".into(), "two".into())]));
    assert_eq!(con.rpush::<_, _, i64>(world.together("list"), &["a", "b"])?, 2);
    let (from, to) = (world.together("list"), world.together("list2"));
    assert_eq!(con.lmove::<_, _, String>(from, to, Direction::Left, Direction::Right)?, "a");
    assert_eq!(con.sadd::<_, _, i64>(world.together("set1"), &["a", "b", "c"])?, 3);
    assert_eq!(con.sadd::<_, _, i64>(world.together("set2"), &["b", "c", "d"])?, 3);
    let both: BTreeSet<String> = con.sinter(&[world.together("set1"), world.together("set2")])?;
    assert_eq!(both, BTreeSet::from(["b".into(), "c".into()]));
    let sorted = world.key("sorted");
    let () = con.zadd_multiple(&sorted, &[(1.0, "a"), (f64::INFINITY, "b")])?;
    let rows: Vec<(String, f64)> = con.zrange_withscores(&sorted, 0, -1)?;
    assert_eq!(rows, [("a".into(), 1.0), ("b".into(), f64::INFINITY)]);
    assert_eq!(con.zscore::<_, _, Option<f64>>(&sorted, "c")?, None);
    Ok(())
}

fn streams(world: &World, con: &mut Connection) -> RedisResult<()> {
    let name = world.key("stream");
    let id: String = con.xadd(&name, "*", &[("n", "1")])?;
    let () = con.xgroup_create(&name, "group", "0")?;
    let options = StreamReadOptions::default().group("group", "me").count(5);
    let read: StreamReadReply = con.xread_options(&[&name], &[">"], &options)?;
    let entry = &read.keys[0].ids[0];
    assert_eq!((read.keys[0].key.as_str(), &entry.id), (name.as_str(), &id));
    assert_eq!(entry.get::<String>("n").as_deref(), Some("1"));
    assert_eq!(con.xack::<_, _, _, i64>(&name, "group", &[id])?, 1);
    Ok(())
}

fn errors(world: &World, con: &mut Connection) -> RedisResult<()> {
    let () = con.set(world.key("text"), "v")?;
    let error = con.lpush::<_, _, i64>(world.key("text"), 1).unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let error = cmd("NOSUCH").arg("x").exec(con).unwrap_err();
    assert!(error.to_string().contains("unknown command 'NOSUCH'"), "{error}");
    assert_eq!(server_error(&error), Some(ServerErrorKind::ResponseError));
    assert_eq!(con.get::<_, String>(world.key("text"))?, "v");
    Ok(())
}

// ------------------------------------------------------------------ pipelines, transactions

fn pipeline(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    for n in 0..1000 {
        all.set(world.key(&format!("pipe:{n}")), n).ignore();
    }
    for n in 0..1000 {
        all.get_del(world.key(&format!("pipe:{n}")));
    }
    assert_eq!(all.query::<Vec<i64>>(con)?, (0..1000).collect::<Vec<_>>());
    Ok(())
}

fn transaction(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    all.atomic().set(world.together("t"), 1).ignore().incr(world.together("t"), 1);
    all.hset(world.together("th"), "f", "v").hgetall(world.together("th"));
    let (count, set, hash): (i64, i64, HashMap<String, String>) = all.query(con)?;
    assert_eq!((count, set, hash), (2, 1, HashMap::from([("f".into(), "v".into())])));
    Ok(())
}

fn failed_transaction(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    all.atomic().set(world.together("e"), "v").lpush(world.together("e"), "x");
    let error = all.exec(con).unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    assert_eq!(con.get::<_, String>(world.together("e"))?, "v");
    Ok(())
}

fn aborted_transaction(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    all.atomic().set(world.together("never"), "v").add_command(cmd("GET"));
    let error = all.exec(con).unwrap_err();
    assert_eq!(server_error(&error), Some(ServerErrorKind::ExecAbort), "{error}");
    assert!(!con.exists::<_, bool>(world.together("never"))?);
    Ok(())
}

fn optimistic(world: &World, con: &mut Connection) -> RedisResult<()> {
    let name = world.together("optimistic");
    thread::scope(|scope| {
        let work = || -> RedisResult<()> {
            let con = &mut world.connect();
            for _ in 0..10 {
                let ((),) = redis::transaction(con, &[&name], |con, pipe| {
                    let value: Option<i64> = con.get(&name)?;
                    pipe.set(&name, value.unwrap_or(0) + 1).query(con)
                })?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    assert_eq!(con.get::<_, i64>(&name)?, 80);
    Ok(())
}

// ------------------------------------------------------------------ acknowledged writes

pub fn wait_for(replicas: i64) -> redis::Cmd {
    let mut wait = cmd("WAIT");
    wait.arg(replicas).arg(20_000);
    wait
}

pub fn wait_for_files() -> redis::Cmd {
    let mut wait = cmd("WAITAOF");
    wait.arg(1).arg(1).arg(20_000);
    wait
}

fn wait(world: &World, con: &mut Connection) -> RedisResult<()> {
    let () = con.set(world.key("acknowledged"), "v")?;
    assert_eq!(wait_for(1).query::<i64>(con)?, 1);
    assert_eq!(wait_for_files().query::<(i64, i64)>(con)?, (1, 1));
    // There is one replica, and no more come.
    // On a busy machine less may be known at a deadline.
    eventually("the one replica is counted", || {
        cmd("WAIT").arg(2).arg(500).query(con).is_ok_and(|count: i64| count == 1)
    });
    // Who wrote nothing has nothing to wait for.
    assert_eq!(wait_for(1).query::<i64>(&mut world.connect())?, 1);
    let error = cmd("WAIT").arg(1).arg(-1).exec(con).unwrap_err();
    assert!(error.to_string().contains("timeout is negative"), "{error}");
    Ok(())
}

fn wait_pipelined(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    for n in 0..50 {
        all.set(world.key(&format!("wait:{n}")), n).ignore();
    }
    all.add_command(wait_for(1)).add_command(wait_for_files()).get(world.key("wait:49"));
    assert_eq!(all.query::<(i64, (i64, i64), i64)>(con)?, (1, (1, 1), 49));
    let mut transaction = pipe();
    transaction.atomic().incr(world.together("wt"), 1);
    assert_eq!(transaction.query::<(i64,)>(con)?, (1,));
    assert_eq!(wait_for(1).query::<i64>(con)?, 1);
    Ok(())
}

// ------------------------------------------------------------------ scripts, blocking, pub/sub

fn scripts(world: &World, con: &mut Connection) -> RedisResult<()> {
    let body = "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('GET', KEYS[1])}";
    let script = Script::new(&format!("-- {}\n{body}", world.prefix));
    let name = world.key("script");
    // Unknown to the server: the first call by its hash fails, and the library loads it.
    for value in ["a", "b"] {
        let seen: (String, String) = script.key(&name).arg(value).invoke(con)?;
        assert_eq!(seen, (name.clone(), value.into()));
    }
    let unknown = cmd("EVALSHA").arg("f".repeat(40)).arg(0).exec(con).unwrap_err();
    assert_eq!(server_error(&unknown), Some(ServerErrorKind::NoScript));
    let failing = Script::new("return redis.error_reply('CODE my reason')");
    let error = failing.invoke::<()>(con).unwrap_err();
    assert_eq!((error.code(), error.detail()), (Some("CODE"), Some("my reason")));
    Ok(())
}

fn blocking(world: &World, con: &mut Connection) -> RedisResult<()> {
    let queue = world.together("queue");
    let () = con.rpush(&queue, "a")?;
    let popped: Option<[String; 2]> = con.blpop(&queue, 5.0)?;
    assert_eq!(popped, Some([queue.clone(), "a".into()]));
    assert_eq!(con.blpop::<_, Option<[String; 2]>>(&queue, 0.05)?, None);
    let later = |what: fn(&World, &mut Connection)| {
        let mut other = world.connect();
        move || {
            thread::sleep(Duration::from_millis(50));
            what(world, &mut other);
        }
    };
    thread::scope(|scope| {
        scope.spawn(later(|world, other| {
            other.rpush(world.together("queue"), "b").expect("pushed")
        }));
        let moved: String =
            con.blmove(&queue, world.together("to"), Direction::Left, Direction::Left, 5.0)?;
        assert_eq!(moved, "b");
        scope.spawn(later(|world, other| {
            other.xadd(world.key("xread"), "*", &[("n", "1")]).expect("added")
        }));
        let options = StreamReadOptions::default().block(5000);
        let read: StreamReadReply = con.xread_options(&[world.key("xread")], &["0"], &options)?;
        assert_eq!(read.keys[0].ids[0].get::<String>("n").as_deref(), Some("1"));
        Ok(())
    })
}

fn publish(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut own = world.connect();
    // All in one slot: channels of several shards keep the order of their own messages only.
    {
        let mut subscriber = own.as_pubsub();
        subscriber.set_read_timeout(Some(PATIENCE))?;
        subscriber.subscribe(world.together("channel"))?;
        subscriber.psubscribe(world.together("p:*"))?;
        for n in 0..100 {
            assert_eq!(con.publish::<_, _, i64>(world.together("channel"), n)?, 1);
        }
        assert_eq!(con.publish::<_, _, i64>(world.together("p:x"), "by pattern")?, 1);
        for n in 0..100 {
            let message = subscriber.get_message()?;
            assert_eq!(message.get_channel_name(), world.together("channel"));
            assert_eq!(message.get_payload::<i64>()?, n);
        }
        let message = subscriber.get_message()?;
        assert_eq!(message.get_pattern::<Option<String>>()?, Some(world.together("p:*")));
        assert_eq!(message.get_payload::<String>()?, "by pattern");
        subscriber.unsubscribe(world.together("channel"))?;
    }
    // Leaving it gives up the pattern as well; the connection is one for commands again.
    assert_eq!(own.get::<_, Option<String>>(world.key("missing"))?, None);
    assert_eq!(con.publish::<_, _, i64>(world.together("p:x"), "nobody")?, 0);
    Ok(())
}

fn pushes(world: &World, con: &mut Connection) -> RedisResult<()> {
    let mut own = world.connect();
    let (sender, pushed) = std::sync::mpsc::channel();
    own.set_push_sender(sender);
    if world.protocol == 2 {
        assert!(own.subscribe_resp3(world.key("push")).is_err(), "RESP2 has no pushes");
        return Ok(());
    }
    // It only sends this. Confirmations and messages are read with the replies of later commands.
    own.subscribe_resp3(world.key("push"))?;
    let mut comes = |kind: PushKind| {
        eventually("a push", || {
            let () = own.set(world.key("pushed"), "v").expect("a subscriber may write");
            pushed.try_iter().any(|push| push.kind == kind)
        });
    };
    comes(PushKind::Subscribe);
    assert_eq!(con.publish::<_, _, i64>(world.key("push"), "v")?, 1);
    comes(PushKind::Message);
    own.unsubscribe_resp3(world.key("push"))?;
    assert_eq!(own.get::<_, String>(world.key("pushed"))?, "v");
    Ok(())
}

// ------------------------------------------------------------------ locks, databases, users

fn lock(world: &World, con: &mut Connection) -> RedisResult<()> {
    let name = world.key("lock");
    let take = |who: &str| {
        let mut set = cmd("SET");
        set.arg(&name).arg(who).arg("NX").arg("PX").arg(10_000);
        set
    };
    let unlock = Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
         return 0",
    );
    let (taken, held): (bool, i64) =
        pipe().add_command(take("me")).add_command(wait_for(1)).query(con)?;
    assert_eq!((taken, held), (true, 1));
    let mut other = world.connect();
    assert!(!take("you").query::<bool>(&mut other)?);
    assert_eq!(unlock.key(&name).arg("you").invoke::<i64>(&mut other)?, 0);
    assert_eq!(unlock.key(&name).arg("me").invoke::<i64>(con)?, 1);
    assert_eq!(wait_for(1).query::<i64>(con)?, 1);
    assert!(take("you").query::<bool>(&mut other)?);
    Ok(())
}

fn databases(world: &World, con: &mut Connection) -> RedisResult<()> {
    let info = world.info();
    let settings = info.redis_settings().clone().set_db(3);
    let mut other = world.try_connect(info.set_redis_settings(settings))?;
    let () = con.set(world.key("database"), "zero")?;
    assert_eq!(other.get::<_, Option<String>>(world.key("database"))?, None);
    let () = other.set(world.key("database"), "three")?;
    let () = cmd("SELECT").arg(0).query(&mut other)?;
    assert_eq!(other.get::<_, String>(world.key("database"))?, "zero");
    Ok(())
}

fn users(world: &World, con: &mut Connection) -> RedisResult<()> {
    let user = world.prefix.replace(':', "-");
    let keys = format!("~{}", world.key("allowed:*"));
    let rules = ["reset", "on", ">secret", &keys, "+@connection", "-wait", "+get", "+set"];
    let () = cmd("ACL").arg("SETUSER").arg(&user).arg(&rules).query(con)?;
    let login = |password| {
        let info = world.info();
        let settings = info.redis_settings().clone().set_username(&user).set_password(password);
        world.try_connect(info.set_redis_settings(settings))
    };
    let mut own = login("secret")?;
    let () = own.set(world.key("allowed:x"), "v")?;
    let denied = |outcome: RedisResult<()>| {
        assert_eq!(outcome.unwrap_err().code(), Some("NOPERM"));
    };
    denied(own.get(world.key("other")));
    denied(own.del(world.key("allowed:x")));
    denied(wait_for(1).exec(&mut own));
    let error = login("wrong").err().expect("a wrong password is refused");
    // How the library says it depends on the version.
    let refused =
        error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS");
    assert!(refused, "{error}");
    assert_eq!(cmd("ACL").arg("DELUSER").arg(&user).query::<i64>(con)?, 1);
    Ok(())
}
