"""What applications do with redis-py, as checks: `main.py HOST PORT PROTOCOL [CA_FILE]`.

Prints a line for each check, "ok WHAT" or "not ok WHAT: WHY", and ends with 1 if any is not ok. It
knows nothing of who answers: whatever holds here is to hold on a stock server with a replica and an
append-only file, and on an endpoint alike. With a CA_FILE it speaks TLS.
"""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import redis
import redis.asyncio
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cache import CacheConfig
from redis.retry import Retry

HOST, PORT, PROTOCOL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CA_FILE = sys.argv[4] if len(sys.argv) > 4 else None
# Several programs, and earlier runs of this one, may share the database.
PREFIX = f"redis-py:{PROTOCOL}:{'tls' if CA_FILE else 'tcp'}:{os.getpid()}"

CHECKS = []


def check(what):
    """Names a function that is a check. It is given a client, and raises if all isn't well."""

    def register(function):
        CHECKS.append((what, function))
        return function

    return register


def key(name):
    return f"{PREFIX}:{name}"


def together(name):
    """A key that is in one slot with all others of this kind."""
    return f"{{{PREFIX}}}:{name}"


def options(**more):
    given = {
        "host": HOST,
        "port": PORT,
        "protocol": PROTOCOL,
        "decode_responses": True,
        "socket_timeout": 40,
    }
    if CA_FILE:
        given.update(ssl=True, ssl_ca_certs=CA_FILE, ssl_check_hostname=True)
    given.update(more)
    return given


def connect(**more):
    return redis.Redis(**options(**more))


def equal(seen, expected):
    if seen != expected or (isinstance(expected, bool) and not isinstance(seen, bool)):
        raise AssertionError(f"{seen!r}, and not {expected!r}")


def raises(kind, text, function, *args, **named):
    try:
        seen = function(*args, **named)
    except kind as error:
        if text not in str(error):
            raise AssertionError(f"the error is {error!s}, and not {text}") from error
        return
    raise AssertionError(f"{seen!r}, and not an error")


def eventually(what, probe, seconds=10):
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.01)


def in_threads(count, work):
    """Runs `work` so many times at once. What goes wrong in one goes wrong here."""
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


# ------------------------------------------------------------------ the connection


@check("the connection speaks the version that was asked for")
def _(client):
    equal(client.client_info()["resp"], str(PROTOCOL))
    equal(client.ping(), True)
    equal(client.echo("hello"), "hello")


@check("a connection has a name and says its library")
def _(client):
    with connect(client_name="a-name", single_connection_client=True) as named:
        info = named.client_info()
        equal(info["name"], "a-name")
        equal(info["lib-name"], "redis-py")
        equal(named.client_getname(), "a-name")
        listed = [row for row in client.client_list() if row["name"] == "a-name"]
        equal([row["id"] for row in listed], [str(named.client_id())])


@check("a killed connection is opened again")
def _(client):
    with connect(single_connection_client=True, retry=Retry(ExponentialBackoff(), 5)) as other:
        before = other.client_id()
        client.client_kill_filter(_id=before)
        equal(other.set(key("after-kill"), "v"), True)
        assert other.client_id() != before


@check("INFO is that of one primary")
def _(client):
    info = client.info()
    equal(info["role"], "master")
    equal(info["loading"], 0)
    equal(info["connected_slaves"], 1)
    equal(info["aof_enabled"], 1)
    assert info["redis_version"] >= "7.2", info["redis_version"]


@check("commands of a server's own: TIME, DBSIZE, CONFIG GET, COMMAND COUNT")
def _(client):
    seconds, _micros = client.time()
    assert abs(seconds - time.time()) < 60, seconds
    client.set(key("counted"), 1)
    assert client.dbsize() >= 1
    equal(list(client.config_get("maxmemory")), ["maxmemory"])
    assert client.command_count() > 200


# ------------------------------------------------------------------ values


@check("strings")
def _(client):
    name = key("string")
    equal(client.set(name, "value"), True)
    equal(client.get(name), "value")
    equal(client.get(key("missing")), None)
    equal(client.append(name, "s"), 6)
    equal(client.getrange(name, 1, 3), "alu")
    equal(client.strlen(name), 6)
    equal(client.set(name, "new", get=True), "values")
    equal(client.set(name, "other", nx=True), None)
    equal(client.getdel(name), "new")
    equal(client.incr(name), 1)
    equal(client.incrby(name, 41), 42)
    equal(client.incrbyfloat(name, 0.5), 42.5)


@check("a value of any bytes comes back as it was")
def _(_client):
    with connect(decode_responses=False) as binary:
        value = bytes(range(256)) * 40 + b"\r\n$-1\r\n"
        name = key("bytes").encode() + b"\0\xff"
        binary.set(name, value)
        equal(binary.get(name), value)
        equal(binary.strlen(name), len(value))


@check("a value of 8 MB")
def _(_client):
    with connect(decode_responses=False) as binary:
        value = os.urandom(1 << 19).hex().encode() * 8
        equal(binary.set(key("large"), value), True)
        assert binary.get(key("large")) == value, "another value"
        equal(binary.getrange(key("large"), 5, 9), value[5:10])
        equal(binary.unlink(key("large")), 1)


@check("expiry")
def _(client):
    name = key("expiring")
    client.set(name, "v", ex=100)
    assert 90 < client.ttl(name) <= 100
    equal(client.persist(name), True)
    equal(client.ttl(name), -1)
    equal(client.ttl(key("missing")), -2)
    equal(client.pexpire(name, 20), True)
    eventually("it expires", lambda: not client.exists(name))


@check("many keys at once")
def _(client):
    pairs = {key(f"many:{n}"): str(n) for n in range(200)}
    equal(client.mset(pairs), True)
    equal(client.mget(*pairs, key("missing")), [*pairs.values(), None])
    equal(client.exists(*pairs, key("missing")), 200)
    equal(client.touch(*list(pairs)[:10]), 10)
    equal(client.unlink(*list(pairs)[:50]), 50)
    equal(client.delete(*pairs), 150)


@check("all keys are found by SCAN")
def _(client):
    names = {key(f"scan:{n}") for n in range(300)}
    for name in names:
        client.set(name, "v")
    equal(sorted(client.scan_iter(match=key("scan:*"), count=50)), sorted(names))
    equal(sorted(client.keys(key("scan:*"))), sorted(names))
    client.delete(*names)


@check("hashes")
def _(client):
    name = key("hash")
    equal(client.hset(name, mapping={"a": 1, "b": "two"}), 2)
    equal(client.hgetall(name), {"a": "1", "b": "two"})
    equal(client.hgetall(key("missing")), {})
    equal(client.hmget(name, "b", "c"), ["two", None])
    equal(client.hincrbyfloat(name, "a", 0.25), 1.25)
    equal(client.hexists(name, "c"), False)
    equal(dict(client.hscan_iter(name)), {"a": "1.25", "b": "two"})
    equal(client.hdel(name, "a", "c"), 1)


@check("lists")
def _(client):
    name = together("list")
    equal(client.rpush(name, "a", "b", "c"), 3)
    equal(client.lrange(name, 0, -1), ["a", "b", "c"])
    equal(client.lpos(name, "c"), 2)
    equal(client.lmove(name, together("list2"), "LEFT", "RIGHT"), "a")
    equal(client.lpop(name, 5), ["b", "c"])
    equal(client.lpop(name), None)


@check("sets")
def _(client):
    one, two = together("set1"), together("set2")
    equal(client.sadd(one, "a", "b", "c"), 3)
    equal(client.sadd(two, "b", "c", "d"), 3)
    equal(set(client.smembers(one)), {"a", "b", "c"})
    equal(set(client.sinter(one, two)), {"b", "c"})
    equal(client.sunionstore(together("set3"), one, two), 4)
    equal([bool(member) for member in client.smismember(one, ["a", "z"])], [True, False])
    equal(sorted(client.sscan_iter(one)), ["a", "b", "c"])


@check("sorted sets and their scores")
def _(client):
    name = key("sorted")
    equal(client.zadd(name, {"a": 1, "b": 2.5, "c": float("inf")}), 3)
    equal(client.zscore(name, "b"), 2.5)
    equal(client.zscore(name, "missing"), None)
    rows = [tuple(row) for row in client.zrange(name, 0, -1, withscores=True)]
    equal(rows, [("a", 1.0), ("b", 2.5), ("c", float("inf"))])
    equal(client.zincrby(name, 2, "a"), 3.0)
    equal(client.zrank(name, "a"), 1)
    equal(sorted(client.zscan_iter(name)), [("a", 3.0), ("b", 2.5), ("c", float("inf"))])
    equal(client.zrangebyscore(name, "(2.5", "+inf"), ["a", "c"])
    equal([tuple(row) for row in client.zpopmin(name, 1)], [("b", 2.5)])


@check("bitmaps, HyperLogLogs and places")
def _(client):
    equal(client.setbit(key("bits"), 7, 1), 0)
    equal(client.bitcount(key("bits")), 1)
    equal(client.pfadd(key("log"), "a", "b", "c"), 1)
    equal(client.pfcount(key("log")), 3)
    client.geoadd(key("places"), (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    equal(client.geodist(key("places"), "Palermo", "Catania", "km"), 166.2742)
    found = client.geosearch(
        key("places"), longitude=15, latitude=37, radius=100, unit="km", withdist=True
    )
    equal([(name, round(distance, 1)) for name, distance in found], [("Catania", 56.4)])


@check("streams and their groups")
def _(client):
    name = key("stream")
    first = client.xadd(name, {"n": 1})
    second = client.xadd(name, {"n": 2, "m": "x"})
    equal(client.xlen(name), 2)
    equal(client.xrange(name), [(first, {"n": "1"}), (second, {"n": "2", "m": "x"})])
    equal(client.xgroup_create(name, "group", id="0"), True)
    read = client.xreadgroup("group", "me", {name: ">"}, count=1)
    rows = read[name][0] if isinstance(read, dict) else read[0][1]
    equal(rows, [(first, {"n": "1"})])
    equal(client.xpending(name, "group")["pending"], 1)
    equal(client.xack(name, "group", first), 1)
    equal(client.xinfo_groups(name)[0]["last-delivered-id"], first)


@check("DUMP, RESTORE, COPY, RENAME, OBJECT, SORT")
def _(_client):
    with connect(decode_responses=False) as binary:
        name = together("dumped").encode()
        binary.rpush(name, 3, 1, 2)
        copy = together("restored")
        equal(binary.restore(copy, 0, binary.dump(name)), b"OK")
        equal(binary.sort(copy), [b"1", b"2", b"3"])
        equal(binary.copy(copy, together("copied")), True)
        equal(binary.rename(copy, together("renamed")), True)
        equal(binary.exists(copy), 0)
        equal(binary.object("refcount", together("renamed")), 1)
        equal(binary.type(together("renamed")), b"list")


@check("errors are those of a server")
def _(client):
    client.set(key("text"), "v")
    wrong = redis.exceptions.ResponseError
    raises(wrong, "WRONGTYPE", client.lpush, key("text"), 1)
    raises(wrong, "value is not an integer", client.incr, key("text"))
    raises(wrong, "unknown command 'NOSUCH'", client.execute_command, "NOSUCH", "x")
    raises(wrong, "wrong number of arguments for 'get'", client.execute_command, "GET")
    raises(wrong, "syntax error", client.execute_command, "SET", key("text"), "v", "BAD")


# ------------------------------------------------------------------ pipelines, transactions


@check("a pipeline of 2,000 commands over all slots")
def _(client):
    with client.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(key(f"pipe:{n}"), n)
        for n in range(1000):
            pipe.get(key(f"pipe:{n}"))
        equal(pipe.execute(), [True] * 1000 + [str(n) for n in range(1000)])
    client.delete(*(key(f"pipe:{n}") for n in range(1000)))


@check("an error within a pipeline is in its place")
def _(client):
    with client.pipeline(transaction=False) as pipe:
        pipe.set(key("place"), "v").lpush(key("place"), 1).get(key("place")).wait(1, 20000)
        seen = pipe.execute(raise_on_error=False)
        assert isinstance(seen[1], redis.exceptions.ResponseError), seen[1]
        equal([seen[0], *seen[2:]], [True, "v", 1])


@check("a transaction")
def _(client):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(together("t1"), 1).incr(together("t1")).hset(together("t2"), "f", "v")
        pipe.hgetall(together("t2")).zadd(together("t3"), {"m": 1.5}).zscore(together("t3"), "m")
        equal(pipe.execute(), [True, 2, 1, {"f": "v"}, 1, 1.5])


@check("an error within a transaction leaves the others done")
def _(client):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(together("u"), "v").lpush(together("u"), 1).get(together("u"))
        seen = pipe.execute(raise_on_error=False)
        assert "WRONGTYPE" in str(seen[1]), seen[1]
        equal([seen[0], seen[2]], [True, "v"])


@check("a transaction with a command that can't be queued is not executed")
def _(client):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(together("never"), "v").execute_command("GET")
        raises(redis.exceptions.ResponseError, "wrong number of arguments", pipe.execute)
    equal(client.exists(together("never")), 0)


@check("an empty transaction")
def _(client):
    with connect(single_connection_client=True) as own:
        equal(own.execute_command("MULTI"), "OK")
        equal(own.execute_command("EXEC"), [])
        own.execute_command("MULTI")
        own.execute_command("PING")
        equal(own.execute_command("DISCARD"), "OK")
        raises(redis.exceptions.ResponseError, "EXEC without MULTI", own.execute_command, "EXEC")
    equal(client.ping(), True)


@check("WATCH: a write by somebody else undoes the transaction")
def _(client):
    name = together("watched")
    client.set(name, 1)
    with client.pipeline() as pipe:
        pipe.watch(name)
        equal(pipe.get(name), "1")
        client.set(name, 2)
        pipe.multi()
        pipe.set(name, 3)
        raises(redis.exceptions.WatchError, "", pipe.execute)
    equal(client.get(name), "2")


@check("WATCH: UNWATCH forgets it")
def _(client):
    name = together("unwatched")
    client.set(name, 1)
    with client.pipeline() as pipe:
        pipe.watch(name)
        client.set(name, 2)
        pipe.unwatch()
        pipe.multi()
        pipe.incr(name)
        equal(pipe.execute(), [3])


@check("WATCH: eight threads count by optimistic locking")
def _(client):
    name = together("optimistic")

    def add(pipe):
        value = int(pipe.get(name) or 0)
        pipe.multi()
        pipe.set(name, value + 1)

    def work():
        for _ in range(10):
            client.transaction(add, name)

    in_threads(8, work)
    equal(client.get(name), "80")


# ------------------------------------------------------------------ acknowledged writes


@check("WAIT")
def _(client):
    with connect(single_connection_client=True) as own:
        own.set(key("acknowledged"), "v")
        equal(own.wait(1, 20000), 1)
        # There is one replica, and no more come. On a busy machine less may be known at a deadline.
        eventually("it is counted", lambda: own.wait(0, 0) == 1)
        eventually("the one replica is counted", lambda: own.wait(2, 500) == 1)
    # Who wrote nothing has nothing to wait for.
    with connect(single_connection_client=True) as idle:
        equal(idle.wait(1, 20000), 1)
    equal(client.get(key("acknowledged")), "v")


@check("WAIT after writes to many slots")
def _(_client):
    with connect(single_connection_client=True) as own:
        own.mset({key(f"wait:{n}"): n for n in range(50)})
        equal(own.wait(1, 20000), 1)


@check("WAITAOF")
def _(_client):
    with connect(single_connection_client=True) as own:
        own.set(key("durable"), "v")
        local, replicas = own.waitaof(1, 0, 20000)
        assert (local, replicas) in [(1, 0), (1, 1)], (local, replicas)
        own.set(key("durable"), "w")
        equal(own.waitaof(1, 1, 20000), [1, 1])


@check("WAIT in a pipeline and in a transaction")
def _(client):
    with client.pipeline(transaction=False) as pipe:
        pipe.set(key("w1"), 1).wait(1, 20000).set(key("w2"), 2).wait(1, 20000)
        pipe.waitaof(1, 1, 20000).get(key("w2"))
        equal(pipe.execute(), [True, 1, True, 1, [1, 1], "2"])
    with client.pipeline(transaction=True) as pipe:
        pipe.set(together("w3"), 1).get(together("w3"))
        equal(pipe.execute(), [True, "1"])
        # On the same connection, as long as the pipeline has one of its own.
        pipe.watch(together("w3"))
        pipe.multi()
        pipe.incr(together("w3"))
        equal(pipe.execute(), [2])
    with connect(single_connection_client=True) as own:
        pipe = own.pipeline(transaction=True)
        pipe.incr(together("w3"))
        equal(pipe.execute(), [3])
        equal(own.wait(1, 20000), 1)
        equal(own.waitaof(1, 1, 20000), [1, 1])


@check("WAIT refuses what a server refuses")
def _(client):
    wrong = redis.exceptions.ResponseError
    raises(wrong, "timeout is negative", client.wait, 1, -1)
    raises(wrong, "not an integer", client.execute_command, "WAIT", "x", 0)
    raises(wrong, "out of range", client.waitaof, 2, 0, 0)


# ------------------------------------------------------------------ scripts and functions


@check("scripts, by their hash once they are known")
def _(client):
    script = client.register_script(f"""-- {PREFIX}
        redis.call('SET', KEYS[1], ARGV[1])
        return {{KEYS[1], redis.call('GET', KEYS[1])}}""")
    # The first call finds out that the server doesn't have it, and loads it.
    for value in ["a", "b"]:
        equal(script(keys=[key("script")], args=[value]), [key("script"), value])
    equal(client.script_exists(script.sha, "0" * 40), [True, False])
    raises(redis.exceptions.NoScriptError, "", client.evalsha, "f" * 40, 1, key("script"))


@check("scripts: the kinds of reply, and of error")
def _(client):
    equal(client.eval("return 42", 0), 42)
    equal(client.eval("return {1, 'two', {3}, false}", 0), [1, "two", [3], None])
    equal(client.eval_ro("return redis.call('GET', KEYS[1])", 1, key("missing")), None)
    wrong = redis.exceptions.ResponseError
    raises(wrong, "my reason", client.eval, "return redis.error_reply('my reason')", 0)
    raises(wrong, "compiling", client.eval, "this is no Lua", 0)
    write = "return redis.call('SET', KEYS[1], 1)"
    raises(wrong, "Write commands are not allowed", client.eval_ro, write, 1, key("script"))


@check("scripts within a pipeline")
def _(client):
    script = client.register_script(f"-- {PREFIX} 2\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])")
    with client.pipeline(transaction=False) as pipe:
        script(keys=[key("counter1")], args=[2], client=pipe)
        script(keys=[key("counter2")], args=[3], client=pipe)
        equal(pipe.execute(), [2, 3])


@check("functions")
def _(client):
    name = "redis_py_" + PREFIX.replace(":", "_").replace("-", "_")
    code = f"""#!lua name={name}
        redis.register_function('{name}_set', function(keys, args)
            return redis.call('SET', keys[1], args[1])
        end)
        redis.register_function{{function_name='{name}_get', flags={{'no-writes'}},
            callback=function(keys) return redis.call('GET', keys[1]) end}}"""
    equal(client.function_load(code, replace=True), name)
    equal(client.fcall(f"{name}_set", 1, key("function"), "v"), "OK")
    equal(client.fcall_ro(f"{name}_get", 1, key("function")), "v")
    assert name in str(client.function_list(library=name))
    equal(client.function_delete(name), True)
    equal(client.function_list(library=name), [])


# ------------------------------------------------------------------ blocking, pub/sub


@check("BLPOP: what is there, what comes, and nothing")
def _(client):
    name = together("queue")
    client.rpush(name, "a")
    equal(list(client.blpop([together("no-queue"), name], timeout=5)), [name, "a"])
    equal(client.blpop([name], timeout=0.05), None)
    pusher = threading.Timer(0.1, lambda: client.rpush(name, "b"))
    pusher.start()
    equal(list(client.blpop([name], timeout=5)), [name, "b"])
    pusher.join()


@check("BLMOVE, BZPOPMIN and XREAD BLOCK")
def _(client):
    client.rpush(together("from"), "a")
    equal(client.blmove(together("from"), together("to"), 5), "a")
    client.zadd(together("zq"), {"m": 1.5})
    equal(list(client.bzpopmin([together("zq")], 5)), [together("zq"), "m", 1.5])
    name = together("xq")
    last = client.xadd(name, {"n": 1})
    adder = threading.Timer(0.1, lambda: client.xadd(name, {"n": 2}))
    adder.start()
    read = client.xread({name: last}, block=20000)
    adder.join()
    rows = read[name][0] if isinstance(read, dict) else read[0][1]
    equal([fields for _id, fields in rows], [{"n": "2"}])


def messages(pubsub, count):
    """The next so many messages of the kinds that carry data."""
    seen = []
    end = time.monotonic() + 10
    while len(seen) < count and time.monotonic() < end:
        message = pubsub.get_message(timeout=1)
        if message and message["type"] in ("message", "pmessage", "smessage"):
            seen.append((message["type"], message["pattern"], message["channel"], message["data"]))
    return seen


@check("SUBSCRIBE and PUBLISH")
def _(client):
    with client.pubsub() as pubsub:
        channels = [key("c1"), key("c2")]
        pubsub.subscribe(*channels)
        confirmed = [pubsub.get_message(timeout=5) for _ in channels]
        equal(
            [(m["type"], m["channel"], m["data"]) for m in confirmed],
            [("subscribe", channels[0], 1), ("subscribe", channels[1], 2)],
        )
        equal(client.publish(channels[0], "one"), 1)
        equal(client.publish(channels[1], "two"), 1)
        seen = messages(pubsub, 2)
        equal(
            sorted(seen),
            [("message", None, channels[0], "one"), ("message", None, channels[1], "two")],
        )
        equal(client.pubsub_numsub(channels[0]), [(channels[0], 1)])
        equal(client.pubsub_channels(key("c1")), [channels[0]])
        pubsub.unsubscribe()
        left = [pubsub.get_message(timeout=5) for _ in channels]
        equal(
            sorted((m["type"], m["data"]) for m in left), [("unsubscribe", 0), ("unsubscribe", 1)]
        )
    equal(client.publish(channels[0], "nobody"), 0)


@check("messages of one channel keep their order")
def _(client):
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(key("ordered"))
        eventually("subscribed", lambda: client.pubsub_numsub(key("ordered"))[0][1] == 1)
        with client.pipeline(transaction=False) as pipe:
            for n in range(500):
                pipe.publish(key("ordered"), n)
            equal(pipe.execute(), [1] * 500)
        equal([data for *_, data in messages(pubsub, 500)], [str(n) for n in range(500)])


@check("PSUBSCRIBE, SSUBSCRIBE and PING while subscribed")
def _(client):
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe(key("p:*"))
        pubsub.ssubscribe(key("shard-channel"))
        eventually("subscribed", lambda: client.pubsub_shardnumsub(key("shard-channel"))[0][1] == 1)
        pubsub.get_message(timeout=0.1)
        pubsub.get_message(timeout=0.1)
        pubsub.ping()
        equal(client.publish(key("p:x"), "pattern"), 1)
        equal(client.spublish(key("shard-channel"), "sharded"), 1)
        equal(
            sorted(messages(pubsub, 2)),
            [
                ("pmessage", key("p:*"), key("p:x"), "pattern"),
                ("smessage", None, key("shard-channel"), "sharded"),
            ],
        )


# ------------------------------------------------------------------ locks


@check("Lock: one holder at a time, and only the holder ends it")
def _(client):
    first = client.lock(key("lock"), timeout=10)
    second = client.lock(key("lock"), timeout=10)
    equal(first.acquire(blocking=False), True)
    equal(second.acquire(blocking=False), False)
    equal(second.acquire(blocking_timeout=0.1), False)
    equal(first.owned(), True)
    equal(second.locked(), True)
    equal(first.extend(10), True)
    equal(first.reacquire(), True)
    assert 5 < client.ttl(key("lock")) <= 10
    first.release()
    equal(second.acquire(blocking=False), True)
    client.set(key("lock"), "taken away")
    raises(redis.exceptions.LockNotOwnedError, "", second.release)
    client.delete(key("lock"))


@check("Lock: eight threads never overlap")
def _(client):
    inside, seen = [], []

    def work():
        for _ in range(5):
            with client.lock(key("mutex"), timeout=20, sleep=0.002):
                inside.append(1)
                seen.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    in_threads(8, work)
    equal(seen, [1] * 40)


@check("a lock by SET NX PX and a script that unlocks, with WAIT")
def _(client):
    name = key("redlock")
    unlock = """
        if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
        return 0"""
    with connect(single_connection_client=True) as own:
        equal(own.set(name, "me", nx=True, px=10000), True)
        equal(own.wait(1, 20000), 1)
        equal(client.set(name, "you", nx=True, px=10000), None)
        equal(client.eval(unlock, 1, name, "you"), 0)
        equal(own.eval(unlock, 1, name, "me"), 1)
        equal(own.wait(1, 20000), 1)
    equal(client.exists(name), 0)


# ------------------------------------------------------------------ databases, users, tracking


@check("databases are apart")
def _(client):
    with connect(db=3) as other:
        name = key("database")
        client.set(name, "zero")
        equal(other.exists(name), 0)
        other.set(name, "three")
        equal(client.get(name), "zero")
        equal(other.get(name), "three")
        equal(other.move(name, 4), True)
        with connect(db=4) as third:
            equal(third.get(name), "three")
            third.delete(name)
        equal(other.client_info()["db"], 3)


@check("users: their password, their commands, their keys")
def _(client):
    user = PREFIX.replace(":", "-")
    client.acl_setuser(
        user,
        enabled=True,
        passwords=["+secret"],
        keys=[key("allowed:*")],
        commands=["+get", "+set", "+ping", "+acl|whoami", "+hello", "+client"],
        reset=True,
    )
    try:
        with connect(username=user, password="secret") as restricted:
            equal(restricted.execute_command("ACL WHOAMI"), user)
            equal(restricted.set(key("allowed:x"), "v"), True)
            equal(restricted.get(key("allowed:x")), "v")
            denied = redis.exceptions.NoPermissionError
            raises(denied, "No permissions to access a key", restricted.get, key("other"))
            raises(denied, "'del' command", restricted.delete, key("allowed:x"))
            raises(denied, "'wait' command", restricted.wait, 1, 0)
        with connect(username=user, password="wrong", retry=Retry(NoBackoff(), 0)) as stranger:
            refused = redis.exceptions.AuthenticationError
            raises(refused, "invalid username-password pair", stranger.ping)
    finally:
        equal(client.acl_deluser(user), 1)


@check("a cache at the client's side is told of changes")
def _(client):
    if PROTOCOL == 2:
        raises(redis.exceptions.RedisError, "", connect, cache_config=CacheConfig())
        return
    if client.info("server")["redis_version"] < "7.4":
        # As Valkey calls itself. The library looks no further.
        caching = connect(cache_config=CacheConfig())
        raises(redis.exceptions.ConnectionError, "7.4 or later", caching.ping)
        return
    with connect(cache_config=CacheConfig()) as caching:
        name = key("cached")
        client.set(name, "one")
        equal(caching.get(name), "one")
        equal(caching.get(name), "one")
        equal(caching.get_cache().size, 1)
        client.set(name, "two")
        eventually("the change is seen", lambda: caching.get(name) == "two")
        # From the cache by now; a third party changes it once more, on another slot as well.
        client.mset({name: "three", key("cached:2"): "x"})
        eventually("the next one too", lambda: caching.get(name) == "three")


@check("MONITOR sees commands")
def _(client):
    with client.monitor() as monitor:
        client.set(key("monitored"), "v")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if key("monitored") in monitor.next_command()["command"]:
                return
        raise AssertionError("it did not")


# ------------------------------------------------------------------ asyncio


def in_asyncio(what):
    """A check that is a coroutine, with a client of redis.asyncio."""

    def register(function):
        def run(_client):
            async def with_client():
                async with redis.asyncio.Redis(**options()) as client:
                    # No check takes nearly as long, unless something never comes.
                    await asyncio.wait_for(function(client), 60)

            asyncio.run(with_client())

        CHECKS.append((f"asyncio: {what}", run))
        return function

    return register


@in_asyncio("values, WAIT and WAITAOF")
async def _(client):
    equal(await client.set(key("async"), "v"), True)
    equal(await client.get(key("async")), "v")
    equal(await client.hset(key("async:hash"), mapping={"a": 1}), 1)
    equal(await client.hgetall(key("async:hash")), {"a": "1"})
    async with redis.asyncio.Redis(**options(single_connection_client=True)) as own:
        await own.set(key("async"), "w")
        equal(await own.wait(1, 20000), 1)
        equal(await own.waitaof(1, 1, 20000), [1, 1])


@in_asyncio("a hundred coroutines at once")
async def _(client):
    async def add(n):
        for _ in range(10):
            await client.incr(key(f"async:count:{n % 7}"))

    await asyncio.gather(*(add(n) for n in range(100)))
    counts = await client.mget(*(key(f"async:count:{n}") for n in range(7)))
    equal(sum(map(int, counts)), 1000)


@in_asyncio("pipelines and transactions")
async def _(client):
    async with client.pipeline(transaction=True) as pipe:
        pipe.set(together("async:t"), 1).incr(together("async:t"))
        equal(await pipe.execute(), [True, 2])
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(key("async:p1"), 1).get(key("async:p1")).wait(1, 20000)
        equal(await pipe.execute(), [True, "1", 1])

    async def add(pipe):
        value = int(await pipe.get(together("async:t")))
        pipe.multi()
        pipe.set(together("async:t"), value + 1)

    equal(await client.transaction(add, together("async:t")), [True])
    equal(await client.get(together("async:t")), "3")


@in_asyncio("BLPOP does not hold up others")
async def _(client):
    name = key("async:queue")
    pop = asyncio.create_task(client.blpop([name], timeout=10))
    await asyncio.sleep(0.05)
    equal(await client.ping(), True)
    await client.rpush(name, "v")
    equal(list(await pop), [name, "v"])


@in_asyncio("a command given up leaves no reply behind")
async def _(client):
    async with redis.asyncio.Redis(**options(single_connection_client=True)) as own:
        await own.set(key("async:left"), "mine")
        try:
            await asyncio.wait_for(own.blpop([key("async:nothing")], timeout=5), 0.05)
            raise AssertionError("it popped something")
        except asyncio.TimeoutError:
            pass
        equal(await own.get(key("async:left")), "mine")
    equal(await client.get(key("async:left")), "mine")


@in_asyncio("Pub/Sub and locks")
async def _(client):
    async with client.pubsub() as pubsub:
        # It only sends this. Who wants to miss nothing waits for the confirmation.
        await pubsub.subscribe(key("async:channel"))
        confirmed = await pubsub.get_message(timeout=5)
        equal((confirmed["type"], confirmed["data"]), ("subscribe", 1))
        equal(await client.publish(key("async:channel"), "v"), 1)
        heard = await pubsub.get_message(timeout=5)
        equal((heard["type"], heard["data"]), ("message", "v"))
    async with client.lock(key("async:lock"), timeout=10):
        other = client.lock(key("async:lock"), timeout=10)
        equal(await other.acquire(blocking=False), False)
    equal(await client.exists(key("async:lock")), 0)


def main():
    failed = False
    with connect() as client:
        for what, function in CHECKS:
            try:
                function(client)
                print(f"ok {what}", flush=True)
            except Exception as error:  # whatever it is, the other checks are made as well
                failed = True
                why = " ".join(f"{type(error).__name__}: {error}".split())
                print(f"not ok {what}: {why}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
