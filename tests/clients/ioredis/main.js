// What applications do with ioredis, as checks: `main.js HOST PORT PROTOCOL`.
//
// It knows nothing of who answers: whatever holds here is to hold on a stock server with a replica
// and an append-only file, and on an endpoint alike.
"use strict";

const Redis = require("ioredis");
const {
  assert,
  host,
  port,
  protocol,
  prefix,
  UNLOCK,
  key,
  together,
  sleep,
  eventually,
  refused,
  check,
  run,
} = require("../checks.js");

/** A connection of its own. */
function connect(options = {}) {
  const client = new Redis({ host, port, protocol, maxRetriesPerRequest: 3, ...options });
  // A check sees the error of the command; without a listener each is printed as well.
  client.on("error", () => {});
  return client;
}

// ------------------------------------------------------------------ the connection

check("the connection speaks the version that was asked for", async (client) => {
  assert.match(await client.client("INFO"), new RegExp(` resp=${protocol} `));
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.ping("hello"), "hello");
});

check("a connection has a name and says its library", async () => {
  const named = connect({ connectionName: "io-name" });
  const info = await named.client("INFO");
  assert.match(info, / name=io-name /);
  assert.match(info, / lib-name=ioredis/);
  assert.equal(await named.client("GETNAME"), "io-name");
});

check("a killed connection is opened again", async (client) => {
  const other = connect();
  const before = await other.client("ID");
  assert.equal(await client.client("KILL", "ID", before), 1);
  await eventually(
    "it is back",
    async () => (await other.client("ID").catch(() => before)) !== before,
  );
  assert.equal(await other.set(key("after-kill"), "v"), "OK");
});

check("INFO is that of one primary", async (client) => {
  const info = await client.info();
  assert.match(info, /\r\nrole:master\r\n/);
  assert.match(info, /\r\nconnected_slaves:1\r\n/);
  assert.match(info, /\r\naof_enabled:1\r\n/);
});

// ------------------------------------------------------------------ values

check("strings and numbers", async (client) => {
  const name = key("string");
  assert.equal(await client.set(name, "value", "EX", 100), "OK");
  assert.equal(await client.get(name), "value");
  assert.equal(await client.get(key("missing")), null);
  assert.equal(await client.set(name, "other", "NX"), null);
  assert.equal(await client.append(name, "s"), 6);
  assert.equal(await client.getrange(name, 1, 3), "alu");
  assert.ok((await client.ttl(name)) > 90);
  assert.equal(await client.incrby(key("number"), 42), 42);
  assert.equal(await client.incrbyfloat(key("number"), 0.5), "42.5");
});

check("a value of any bytes comes back as it was", async (client) => {
  const value = Buffer.from([...Array(256).keys()]);
  await client.set(key("bytes"), value);
  assert.ok(value.equals(await client.getBuffer(key("bytes"))));
});

check("a value of 8 MB", async (client) => {
  const value = Buffer.alloc(8 << 20, "0123456789abcdef\r\n");
  assert.equal(await client.set(key("large"), value), "OK");
  assert.ok(value.equals(await client.getBuffer(key("large"))));
  assert.equal(await client.unlink(key("large")), 1);
});

check("many keys at once", async (client) => {
  const names = [...Array(100).keys()].map((n) => key(`many:${n}`));
  assert.equal(await client.mset(new Map(names.map((name, n) => [name, n]))), "OK");
  const values = await client.mget([...names, key("missing")]);
  assert.deepEqual(values, [...names.map((_, n) => String(n)), null]);
  assert.equal(await client.exists(names), 100);
  assert.equal(await client.del(names), 100);
});

check("all keys are found by scanStream", async (client) => {
  const names = [...Array(200).keys()].map((n) => key(`scan:${n}`));
  await Promise.all(names.map((name) => client.set(name, "v")));
  const seen = new Set();
  for await (const some of client.scanStream({ match: key("scan:*"), count: 40 })) {
    some.forEach((name) => seen.add(name));
  }
  assert.deepEqual([...seen].sort(), names.sort());
  await client.del(names);
});

check("hashes, lists, sets, sorted sets", async (client) => {
  assert.equal(await client.hset(key("hash"), { a: 1, b: "two" }), 2);
  assert.deepEqual({ ...(await client.hgetall(key("hash"))) }, { a: "1", b: "two" });
  assert.deepEqual({ ...(await client.hgetall(key("missing"))) }, {});
  assert.equal(await client.rpush(key("list"), "a", "b", "c"), 3);
  assert.deepEqual(await client.lrange(key("list"), 0, -1), ["a", "b", "c"]);
  await client.sadd(together("set1"), "a", "b", "c");
  await client.sadd(together("set2"), "b", "c", "d");
  assert.deepEqual((await client.sinter(together("set1"), together("set2"))).sort(), ["b", "c"]);
  await client.zadd(key("sorted"), 1, "a", 2.5, "b");
  assert.equal(await client.zscore(key("sorted"), "b"), "2.5");
  const rows = (await client.zrange(key("sorted"), 0, -1, "WITHSCORES")).flat().map(String);
  assert.deepEqual(rows, ["a", "1", "b", "2.5"]);
});

check("replies in the version's own types", async () => {
  if (protocol === 2) {
    assert.throws(() => connect({ replyMapping: "resp3" }));
    return;
  }
  const typed = connect({ replyMapping: "resp3" });
  await typed.hset(key("typed"), { a: 1, b: 2 });
  assert.deepEqual({ ...(await typed.call("HGETALL", key("typed"))) }, { a: "1", b: "2" });
  await typed.zadd(key("typed-scores"), 1.5, "m");
  assert.equal(await typed.zscore(key("typed-scores"), "m"), 1.5);
});

check("streams and their groups", async (client) => {
  const name = key("stream");
  const id = await client.xadd(name, "*", "n", "1");
  assert.deepEqual(await client.xrange(name, "-", "+"), [[id, ["n", "1"]]]);
  assert.equal(await client.xgroup("CREATE", name, "group", "0"), "OK");
  const read = await client.xreadgroup("GROUP", "group", "me", "COUNT", 5, "STREAMS", name, ">");
  assert.deepEqual(read, [[name, [[id, ["n", "1"]]]]]);
  assert.equal(await client.xack(name, "group", id), 1);
});

check("errors are those of a server", async (client) => {
  await client.set(key("text"), "v");
  await refused(client.lpush(key("text"), 1), "WRONGTYPE");
  await refused(client.call("NOSUCH", "x"), "unknown command 'NOSUCH'");
  await refused(client.call("GET"), "wrong number of arguments for 'get' command");
});

// ------------------------------------------------------------------ pipelines, transactions

check("a pipeline with an error in its place", async (client) => {
  const name = key("place");
  const pipeline = client.pipeline().set(name, "v").lpush(name, "x").get(name).wait(1, 20_000);
  const [set, push, get, wait] = await pipeline.exec();
  assert.deepEqual(
    [set, get, wait],
    [
      [null, "OK"],
      [null, "v"],
      [null, 1],
    ],
  );
  assert.match(push[0].message, /WRONGTYPE/);
});

check("2,000 commands by auto-pipelining", async () => {
  const client = connect({ enableAutoPipelining: true });
  const numbers = [...Array(1000).keys()];
  await Promise.all(numbers.map((n) => client.set(key(`auto:${n}`), n)));
  const values = await Promise.all(numbers.map((n) => client.get(key(`auto:${n}`))));
  assert.deepEqual(values, numbers.map(String));
  await client.del(numbers.map((n) => key(`auto:${n}`)));
});

check("a transaction", async (client) => {
  const done = await client
    .multi()
    .set(together("t"), 1)
    .incr(together("t"))
    .get(together("t"))
    .exec();
  assert.deepEqual(done, [
    [null, "OK"],
    [null, 2],
    [null, "2"],
  ]);
});

check("a transaction command by command", async () => {
  const client = connect();
  assert.equal(await client.multi({ pipeline: false }), "OK");
  assert.equal(await client.set(together("step"), "v"), "QUEUED");
  assert.equal(await client.ping(), "QUEUED");
  assert.deepEqual(await client.exec(), [
    [null, "OK"],
    [null, "PONG"],
  ]);
  assert.equal(await client.multi({ pipeline: false }), "OK");
  assert.equal(await client.discard(), "OK");
  await refused(client.exec(), "EXEC without MULTI");
});

check("a transaction with a command that can't be queued is not executed", async (client) => {
  const transaction = client.multi().set(together("never"), "v").call("GET");
  await refused(transaction.exec(), "EXECABORT");
  assert.equal(await client.exists(together("never")), 0);
});

check("WATCH: a write by somebody else undoes the transaction", async (client) => {
  const own = connect();
  assert.equal(await own.watch(together("watched")), "OK");
  await client.set(together("watched"), "theirs");
  assert.equal(await own.multi().set(together("watched"), "mine").exec(), null);
  assert.deepEqual(await own.multi().get(together("watched")).exec(), [[null, "theirs"]]);
});

// ------------------------------------------------------------------ acknowledged writes

check("WAIT and WAITAOF", async () => {
  const own = connect();
  await own.set(key("acknowledged"), "v");
  assert.equal(await own.wait(1, 20_000), 1);
  // There is one replica, and no more come. On a busy machine less may be known at a deadline.
  await eventually("the one is counted", async () => (await own.wait(2, 500)) === 1);
  assert.deepEqual(await own.call("WAITAOF", 1, 1, 20_000), [1, 1]);
  assert.equal(await connect().wait(1, 20_000), 1);
});

check("WAIT after writes to many slots", async () => {
  const own = connect();
  const writes = [...Array(50).keys()].map((n) => own.set(key(`wait:${n}`), n));
  const wait = own.wait(1, 20_000);
  assert.equal(new Set(await Promise.all(writes)).size, 1);
  assert.equal(await wait, 1);
  assert.deepEqual(await own.call("WAITAOF", 1, 1, 20_000), [1, 1]);
});

check("WAIT after and within a transaction", async () => {
  const own = connect();
  const done = await own.multi().incr(together("wt")).wait(0, 0).exec();
  assert.equal(done[0][1], 1);
  assert.ok([0, 1].includes(done[1][1]), String(done[1][1]));
  assert.equal(await own.wait(1, 20_000), 1);
});

// ------------------------------------------------------------------ scripts, blocking, pub/sub

check("a script that is a command", async (client) => {
  // Unknown to the server: the first call by its hash fails, and the library sends it whole.
  client.defineCommand("setAndGet", {
    numberOfKeys: 1,
    lua: `-- ${prefix}
      redis.call('SET', KEYS[1], ARGV[1])
      return {KEYS[1], redis.call('GET', KEYS[1])}`,
  });
  assert.deepEqual(await client.setAndGet(key("script"), "a"), [key("script"), "a"]);
  assert.deepEqual(await client.setAndGet(key("script"), "b"), [key("script"), "b"]);
  const done = await client.pipeline().setAndGet(key("s1"), "c").setAndGet(key("s2"), "d").exec();
  assert.deepEqual(
    done.map(([error, value]) => [error, value[1]]),
    [
      [null, "c"],
      [null, "d"],
    ],
  );
  await refused(client.evalsha("f".repeat(40), 0), "NOSCRIPT");
  await refused(client.eval("return redis.error_reply('my reason')", 0), "my reason");
});

check("BLPOP: what is there, what comes, and nothing", async (client) => {
  const own = connect();
  await client.rpush(key("queue"), "a");
  assert.deepEqual(await own.blpop(key("queue"), 5), [key("queue"), "a"]);
  assert.equal(await own.blpop(key("queue"), 0.05), null);
  const pop = own.blpop(key("queue"), 5);
  await sleep(50);
  await client.rpush(key("queue"), "b");
  assert.deepEqual(await pop, [key("queue"), "b"]);
});

check("blocked commands within a row of others", async (client) => {
  const own = connect();
  const row = [
    own.set(key("row"), "v"),
    own.blpop(key("row-queue"), 10),
    own.get(key("row")),
    own.wait(1, 20_000),
  ];
  await sleep(50);
  await client.rpush(key("row-queue"), "x");
  assert.deepEqual(await Promise.all(row), ["OK", [key("row-queue"), "x"], "v", 1]);
});

check("SUBSCRIBE and PUBLISH", async (client) => {
  const own = connect();
  const seen = [];
  own.on("message", (channel, message) => seen.push([channel, message]));
  own.on("pmessage", (pattern, channel, message) => seen.push([pattern, channel, message]));
  assert.equal(await own.subscribe(key("c1"), key("c2")), 2);
  assert.equal(await own.psubscribe(key("p:*")), 3);
  assert.equal(await client.publish(key("c1"), "one"), 1);
  assert.equal(await client.publish(key("p:x"), "two"), 1);
  await eventually("both", () => seen.length === 2);
  assert.deepEqual(
    seen.sort(),
    [
      [key("c1"), "one"],
      [key("p:*"), key("p:x"), "two"],
    ].sort(),
  );
  assert.equal(await own.unsubscribe(key("c1"), key("c2")), 1);
  assert.equal(await own.punsubscribe(key("p:*")), 0);
  assert.equal(await own.get(key("missing")), null);
  assert.equal(await client.publish(key("c1"), "nobody"), 0);
});

check("a subscriber comes back after its connection was lost", async (client) => {
  const own = connect();
  const seen = [];
  own.on("message", (_, message) => seen.push(message));
  await own.subscribe(key("lost"));
  const rows = (await client.client("LIST")).split("\n");
  const mine = rows.filter(
    (row) => row.includes(` laddr=`) && row.includes(`:${own.stream.localPort} `),
  );
  assert.equal(mine.length, 1);
  assert.equal(await client.client("KILL", "ID", /^id=(\d+)/.exec(mine[0])[1]), 1);
  await eventually("heard again", async () => {
    await client.publish(key("lost"), "again");
    return seen.includes("again");
  });
});

check("a sharded channel", async (client) => {
  const own = connect();
  const seen = [];
  own.on("smessage", (channel, message) => seen.push([channel, message]));
  assert.equal(await own.ssubscribe(key("sharded")), 1);
  assert.equal(await client.spublish(key("sharded"), "v"), 1);
  await eventually("heard", () => seen.length === 1);
  assert.deepEqual(seen, [[key("sharded"), "v"]]);
});

// ------------------------------------------------------------------ locks, databases, users

check("a lock by SET NX PX and a script that unlocks, with WAIT", async (client) => {
  const own = connect();
  assert.equal(await own.set(key("lock"), "me", "PX", 10_000, "NX"), "OK");
  assert.equal(await own.wait(1, 20_000), 1);
  assert.equal(await client.set(key("lock"), "you", "PX", 10_000, "NX"), null);
  assert.equal(await client.eval(UNLOCK, 1, key("lock"), "you"), 0);
  assert.equal(await own.eval(UNLOCK, 1, key("lock"), "me"), 1);
});

check("databases are apart", async (client) => {
  const other = connect({ db: 3 });
  await client.set(key("database"), "zero");
  assert.equal(await other.get(key("database")), null);
  assert.equal(await other.set(key("database"), "three"), "OK");
  assert.equal(await other.select(0), "OK");
  assert.equal(await other.get(key("database")), "zero");
  await refused(other.select(1_000_000), "DB index is out of range");
});

check("users: their password, their commands, their keys", async (client) => {
  const user = prefix.replace(/:/g, "-");
  const rules = ["+@connection", "-wait", "+info", "+get", "+set", `~${key("allowed:*")}`];
  await client.acl("SETUSER", user, "reset", "on", ">secret", ...rules);
  const own = connect({ username: user, password: "secret" });
  assert.equal(await own.set(key("allowed:x"), "v"), "OK");
  await refused(own.get(key("other")), "NOPERM");
  await refused(own.del(key("allowed:x")), "NOPERM");
  await refused(own.wait(1, 0), "NOPERM");
  const stranger = connect({ username: user, password: "wrong", retryStrategy: null });
  const errors = [];
  stranger.on("error", (error) => errors.push(error.message));
  await stranger.ping().catch((error) => errors.push(error.message));
  assert.ok(
    errors.some((text) => /WRONGPASS|NOAUTH/.test(text)),
    errors.join(),
  );
  assert.equal(await client.acl("DELUSER", user), 1);
});

run(connect()).then((code) => process.exit(code));
