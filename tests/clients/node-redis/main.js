// What applications do with node-redis, as checks: `main.js HOST PORT PROTOCOL`.
//
// It knows nothing of who answers: whatever holds here is to hold on a stock server with a replica
// and an append-only file, and on an endpoint alike.
"use strict";

const { createClient, createClientPool, defineScript, ErrorReply, WatchError } = require("redis");
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
async function connect(options = {}) {
  const client = createClient({ socket: { host, port }, RESP: protocol, ...options });
  // A check sees the error of the command; without a listener each ends the process.
  client.on("error", () => {});
  await client.connect();
  return client;
}

// ------------------------------------------------------------------ the connection

check("the connection speaks the version that was asked for", async (client) => {
  assert.equal((await client.clientInfo()).resp, protocol);
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.echo("hello"), "hello");
});

check("a connection has a name and says its library", async () => {
  const named = await connect({ name: "node-name", clientInfoTag: "tag" });
  assert.equal(await named.clientGetName(), "node-name");
  const info = await named.sendCommand(["CLIENT", "INFO"]);
  assert.match(info, / lib-name=node-redis\(tag\) /);
});

check("a killed connection is opened again", async (client) => {
  const other = await connect();
  const before = await other.clientId();
  assert.equal(await client.clientKill({ filter: "ID", id: before }), 1);
  await eventually(
    "it is back",
    async () => (await other.clientId().catch(() => before)) !== before,
  );
  assert.equal(await other.set(key("after-kill"), "v"), "OK");
});

check("INFO is that of one primary", async (client) => {
  const info = await client.info();
  assert.match(info, /\r\nrole:master\r\n/);
  assert.match(info, /\r\nconnected_slaves:1\r\n/);
  assert.match(info, /\r\naof_enabled:1\r\n/);
});

check("CONFIG GET and COMMAND", async (client) => {
  assert.deepEqual(Object.keys(await client.configGet("maxmemory")), ["maxmemory"]);
  assert.ok((await client.commandCount()) > 200);
  const [get] = await client.commandInfo(["get"]);
  assert.equal(get.arity, 2);
});

// ------------------------------------------------------------------ values

check("strings and numbers", async (client) => {
  const name = key("string");
  assert.equal(await client.set(name, "value", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await client.get(name), "value");
  assert.equal(await client.get(key("missing")), null);
  assert.equal(await client.set(name, "other", { condition: "NX" }), null);
  assert.equal(await client.append(name, "s"), 6);
  assert.ok((await client.ttl(name)) > 90);
  assert.equal(await client.incrBy(key("number"), 42), 42);
  assert.equal(Number(await client.incrByFloat(key("number"), 0.5)), 42.5);
});

check("a value of 4 MB and of any bytes", async (client) => {
  const value = Buffer.alloc(4 << 20, Buffer.from([...Array(256).keys()]));
  const binary = client.withTypeMapping({ 36: Buffer });
  assert.equal(await client.set(key("large"), value), "OK");
  assert.ok(value.equals(await binary.get(key("large"))));
  assert.equal(await client.unlink(key("large")), 1);
});

check("many keys at once", async (client) => {
  const names = [...Array(100).keys()].map((n) => key(`many:${n}`));
  assert.equal(await client.mSet(names.map((name, n) => [name, String(n)])), "OK");
  const values = await client.mGet([...names, key("missing")]);
  assert.deepEqual([...values], [...names.map((_, n) => String(n)), null]);
  assert.equal(await client.exists(names), 100);
  assert.equal(await client.del(names), 100);
});

check("all keys are found by scanIterator", async (client) => {
  const names = [...Array(200).keys()].map((n) => key(`scan:${n}`));
  await Promise.all(names.map((name) => client.set(name, "v")));
  const seen = new Set();
  for await (const some of client.scanIterator({ MATCH: key("scan:*"), COUNT: 40 })) {
    [some].flat().forEach((name) => seen.add(name));
  }
  assert.deepEqual([...seen].sort(), names.sort());
  await client.del(names);
});

check("hashes, lists, sets, sorted sets", async (client) => {
  assert.equal(await client.hSet(key("hash"), { a: 1, b: "two" }), 2);
  assert.deepEqual({ ...(await client.hGetAll(key("hash"))) }, { a: "1", b: "two" });
  assert.equal(await client.rPush(key("list"), ["a", "b", "c"]), 3);
  assert.deepEqual(await client.lRange(key("list"), 0, -1), ["a", "b", "c"]);
  await client.sAdd(together("set1"), ["a", "b", "c"]);
  await client.sAdd(together("set2"), ["b", "c", "d"]);
  assert.deepEqual([...(await client.sInter([together("set1"), together("set2")]))].sort(), [
    "b",
    "c",
  ]);
  await client.zAdd(key("sorted"), [
    { score: 1, value: "a" },
    { score: Infinity, value: "b" },
  ]);
  assert.equal(await client.zScore(key("sorted"), "b"), Infinity);
  const rows = await client.zRangeWithScores(key("sorted"), 0, -1);
  assert.deepEqual(
    rows.map(({ value, score }) => [value, score]),
    [
      ["a", 1],
      ["b", Infinity],
    ],
  );
});

check("streams and their groups", async (client) => {
  const name = key("stream");
  const id = await client.xAdd(name, "*", { n: "1" });
  assert.equal(await client.xGroupCreate(name, "group", "0"), "OK");
  const read = await client.xReadGroup("group", "me", { key: name, id: ">" }, { COUNT: 5 });
  assert.equal(read[0].name, name);
  assert.deepEqual(
    read[0].messages.map((m) => [m.id, { ...m.message }]),
    [[id, { n: "1" }]],
  );
  assert.equal(await client.xAck(name, "group", id), 1);
});

check("errors are those of a server", async (client) => {
  await client.set(key("text"), "v");
  await assert.rejects(client.lPush(key("text"), "x"), ErrorReply);
  await refused(client.lPush(key("text"), "x"), "WRONGTYPE");
  await refused(client.sendCommand(["NOSUCH", "x"]), "unknown command 'NOSUCH'");
  await refused(client.sendCommand(["GET"]), "wrong number of arguments for 'get' command");
});

// ------------------------------------------------------------------ pipelines, transactions

check("2,000 commands at once are a pipeline", async (client) => {
  const numbers = [...Array(1000).keys()];
  const sets = numbers.map((n) => client.set(key(`pipe:${n}`), String(n)));
  const gets = numbers.map((n) => client.get(key(`pipe:${n}`)));
  assert.equal(new Set(await Promise.all(sets)).size, 1);
  assert.deepEqual(await Promise.all(gets), numbers.map(String));
  await client.del(numbers.map((n) => key(`pipe:${n}`)));
});

check("a pipeline without a transaction", async (client) => {
  const done = await client
    .multi()
    .set(key("ap1"), "a")
    .set(key("ap2"), "b")
    .get(key("ap1"))
    .wait(1, 20_000)
    .execAsPipeline();
  assert.deepEqual(done, ["OK", "OK", "a", 1]);
});

check("a transaction", async (client) => {
  const done = await client
    .multi()
    .set(together("t"), "1")
    .incr(together("t"))
    .hSet(together("th"), "f", "v")
    .hGetAll(together("th"))
    .exec();
  assert.deepEqual(done.slice(0, 3), ["OK", 2, 1]);
  assert.deepEqual({ ...done[3] }, { f: "v" });
});

check("an error within a transaction leaves the others done", async (client) => {
  const transaction = client
    .multi()
    .set(together("e"), "v")
    .lPush(together("e"), "x")
    .incr(together("n"));
  await assert.rejects(transaction.exec(), (error) => {
    assert.deepEqual([error.replies[0], error.replies[2]], ["OK", 1]);
    assert.deepEqual(error.errorIndexes, [1]);
    return true;
  });
  assert.equal(await client.get(together("e")), "v");
});

check("a transaction with a command that can't be queued is not executed", async (client) => {
  const transaction = client.multi().set(together("never"), "v").addCommand(["GET"]);
  await refused(transaction.exec(), "wrong number of arguments");
  assert.equal(await client.exists(together("never")), 0);
});

check("WATCH: a write by somebody else undoes the transaction", async (client) => {
  const own = await connect();
  assert.equal(await own.watch(together("watched")), "OK");
  await client.set(together("watched"), "theirs");
  await assert.rejects(own.multi().set(together("watched"), "mine").exec(), WatchError);
  assert.equal(await own.watch(together("watched")), "OK");
  assert.equal(await own.unwatch(), "OK");
  await client.set(together("watched"), "again");
  assert.deepEqual(await own.multi().get(together("watched")).exec(), ["again"]);
});

check("a pool, with a transaction on each of its connections", async (client) => {
  const pool = createClientPool(
    { socket: { host, port }, RESP: protocol },
    { minimum: 1, maximum: 8, acquireTimeout: 20_000 },
  );
  pool.on("error", () => {});
  await pool.connect();
  try {
    const add = async (own) => {
      for (;;) {
        await own.watch(together("pooled"));
        const value = Number(await own.get(together("pooled")));
        try {
          return await own
            .multi()
            .set(together("pooled"), String(value + 1))
            .exec();
        } catch (error) {
          if (!(error instanceof WatchError)) throw error;
        }
      }
    };
    await Promise.all([...Array(40)].map(() => pool.execute(add)));
    assert.equal(await client.get(together("pooled")), "40");
  } finally {
    await pool.close();
  }
});

// ------------------------------------------------------------------ acknowledged writes

check("WAIT and WAITAOF", async () => {
  const own = await connect();
  await own.set(key("acknowledged"), "v");
  assert.equal(await own.wait(1, 20_000), 1);
  // There is one replica, and no more come. On a busy machine less may be known at a deadline.
  await eventually("the one is counted", async () => (await own.wait(2, 500)) === 1);
  assert.deepEqual(await own.sendCommand(["WAITAOF", "1", "1", "20000"]), [1, 1]);
  assert.equal(await (await connect()).wait(1, 20_000), 1);
});

check("WAIT after writes to many slots", async () => {
  const own = await connect();
  const writes = [...Array(50).keys()].map((n) => own.set(key(`wait:${n}`), String(n)));
  const wait = own.wait(1, 20_000);
  assert.equal(new Set(await Promise.all(writes)).size, 1);
  assert.equal(await wait, 1);
  assert.deepEqual(await own.sendCommand(["WAITAOF", "1", "1", "20000"]), [1, 1]);
});

check("WAIT after a transaction", async () => {
  const own = await connect();
  assert.deepEqual(await own.multi().incr(together("wt")).exec(), [1]);
  assert.equal(await own.wait(1, 20_000), 1);
  assert.deepEqual(await own.sendCommand(["WAITAOF", "1", "1", "20000"]), [1, 1]);
});

// ------------------------------------------------------------------ scripts, blocking, pub/sub

check("a script that is a command, and a function", async (client) => {
  const own = await connect({
    scripts: {
      setAndGet: defineScript({
        NUMBER_OF_KEYS: 1,
        SCRIPT: `-- ${prefix}
          redis.call('SET', KEYS[1], ARGV[1])
          return redis.call('GET', KEYS[1])`,
        parseCommand(parser, name, value) {
          parser.pushKey(name);
          parser.push(value);
        },
        transformReply: undefined,
      }),
    },
  });
  // Unknown to the server: the first call by its hash fails, and the library sends it whole.
  assert.equal(await own.setAndGet(key("script"), "a"), "a");
  assert.equal(await own.setAndGet(key("script"), "b"), "b");
  await refused(client.evalSha("f".repeat(40)), "NOSCRIPT");
  const library = `node_${prefix.replace(/[:-]/g, "_")}`;
  const code = `#!lua name=${library}
    redis.register_function('${library}_f', function(keys, args)
      return redis.call('SET', keys[1], args[1])
    end)`;
  assert.equal(await client.functionLoad(code, { REPLACE: true }), library);
  assert.equal(
    await client.fCall(`${library}_f`, { keys: [key("function")], arguments: ["v"] }),
    "OK",
  );
  assert.equal(await client.get(key("function")), "v");
  assert.equal(await client.functionDelete(library), "OK");
});

check("BLPOP: what is there, what comes, and nothing", async (client) => {
  const own = await connect();
  await client.rPush(key("queue"), "a");
  assert.deepEqual({ ...(await own.blPop(key("queue"), 5)) }, { key: key("queue"), element: "a" });
  assert.equal(await own.blPop(key("queue"), 0.05), null);
  const pop = own.blPop(key("queue"), 5);
  await sleep(50);
  await client.rPush(key("queue"), "b");
  assert.equal((await pop).element, "b");
});

check("blocked commands within a row of others", async (client) => {
  const own = await connect();
  const row = [
    own.set(key("row"), "v"),
    own.blPop(key("row-queue"), 10),
    own.get(key("row")),
    own.wait(1, 20_000),
  ];
  await sleep(50);
  await client.rPush(key("row-queue"), "x");
  const [set, pop, get, wait] = await Promise.all(row);
  assert.deepEqual([set, pop.element, get, wait], ["OK", "x", "v", 1]);
});

check("XREAD BLOCK", async (client) => {
  const own = await connect();
  const read = own.xRead({ key: key("xread"), id: "0" }, { BLOCK: 20_000 });
  await sleep(50);
  await client.xAdd(key("xread"), "*", { n: "1" });
  const [{ messages }] = await read;
  assert.deepEqual({ ...messages[0].message }, { n: "1" });
});

check("SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and PUBLISH", async (client) => {
  const own = await connect();
  const seen = [];
  const hear = (message, channel) => seen.push(`${channel} ${message}`);
  await own.subscribe([key("c1"), key("c2")], hear);
  await own.pSubscribe(key("p:*"), hear);
  await own.sSubscribe(key("sharded"), hear);
  assert.equal(await client.publish(key("c1"), "one"), 1);
  assert.equal(await client.publish(key("p:x"), "two"), 1);
  assert.equal(await client.sPublish(key("sharded"), "three"), 1);
  await eventually("all three", () => seen.length === 3);
  assert.deepEqual(
    seen.sort(),
    [`${key("c1")} one`, `${key("p:x")} two`, `${key("sharded")} three`].sort(),
  );
  assert.equal((await client.pubSubNumSub(key("c1")))[key("c1")], 1);
  await own.unsubscribe();
  await own.pUnsubscribe();
  await own.sUnsubscribe();
  assert.equal(await client.publish(key("c1"), "nobody"), 0);
  assert.equal(await own.get(key("missing")), null);
});

check("commands while subscribed, in RESP3", async (client) => {
  const own = await connect();
  const seen = [];
  await own.subscribe(key("both"), (message) => seen.push(message));
  if (protocol === 3) {
    assert.equal(await own.set(key("while"), "v"), "OK");
    assert.equal(await own.publish(key("both"), "mine"), 1);
    await eventually("heard", () => seen.length === 1);
  } else {
    // The library doesn't send what a server would refuse.
    await client.publish(key("both"), "theirs");
    await eventually("heard", () => seen.length === 1);
  }
});

check("a subscriber comes back after its connection was lost", async (client) => {
  const own = await connect({ name: key("lost-subscriber") });
  const seen = [];
  await own.subscribe(key("lost"), (message) => seen.push(message));
  const rows = (await client.sendCommand(["CLIENT", "LIST"])).split("\n");
  const mine = rows.find((row) => row.includes(` name=${key("lost-subscriber")} `));
  assert.equal(await client.clientKill({ filter: "ID", id: Number(/^id=(\d+)/.exec(mine)[1]) }), 1);
  await eventually("heard again", async () => {
    await client.publish(key("lost"), "again");
    return seen.includes("again");
  });
});

// ------------------------------------------------------------------ locks, databases, users

check("a lock by SET NX PX and a script that unlocks, with WAIT", async (client) => {
  const own = await connect();
  const lease = { condition: "NX", expiration: { type: "PX", value: 10_000 } };
  assert.equal(await own.set(key("lock"), "me", lease), "OK");
  assert.equal(await own.wait(1, 20_000), 1);
  assert.equal(await client.set(key("lock"), "you", lease), null);
  const by = (who) => ({ keys: [key("lock")], arguments: [who] });
  assert.equal(await client.eval(UNLOCK, by("you")), 0);
  assert.equal(await own.eval(UNLOCK, by("me")), 1);
});

check("databases are apart", async (client) => {
  const other = await connect({ database: 3 });
  await client.set(key("database"), "zero");
  assert.equal(await other.get(key("database")), null);
  assert.equal(await other.set(key("database"), "three"), "OK");
  await other.select(0);
  assert.equal(await other.get(key("database")), "zero");
});

check("users: their password, their commands, their keys", async (client) => {
  const user = prefix.replace(/:/g, "-");
  const rules = ["+@connection", "-wait", "+get", "+set", `~${key("allowed:*")}`];
  await client.aclSetUser(user, ["reset", "on", ">secret", ...rules]);
  const own = await connect({ username: user, password: "secret" });
  assert.equal(await own.set(key("allowed:x"), "v"), "OK");
  await refused(own.get(key("other")), "NOPERM");
  await refused(own.del(key("allowed:x")), "NOPERM");
  await refused(own.wait(1, 0), "NOPERM");
  const socket = { host, port, reconnectStrategy: false };
  await refused(connect({ username: user, password: "wrong", socket }), "WRONGPASS");
  assert.equal(await client.aclDelUser(user), 1);
});

check("a cache at the client's side is told of changes", async (client) => {
  if (protocol === 2) {
    assert.throws(() => createClient({ RESP: 2, clientSideCache: { ttl: 0 } }));
    return;
  }
  const caching = await connect({
    clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" },
  });
  for (const value of ["one", "two", "three"]) {
    await client.set(key("cached"), value);
    await eventually(value, async () => (await caching.get(key("cached"))) === value);
    assert.equal(await caching.get(key("cached")), value);
  }
});

check("MONITOR sees commands", async (client) => {
  const own = await connect();
  const seen = [];
  await own.monitor((line) => seen.push(String(line)));
  await client.set(key("monitored"), "v");
  await eventually("it is seen", () => seen.some((line) => line.includes(key("monitored"))));
  await own.reset();
  assert.equal(await own.get(key("monitored")), "v");
});

check("a connection is closed when all is answered", async () => {
  const own = await connect();
  const last = own.set(key("last"), "v");
  await own.close();
  assert.equal(await last, "OK");
});

connect()
  .then(run)
  .then((code) => process.exit(code));
