"""An application that knows of no cluster, at work: `load.py HOST PORT OVER`.

It ends well when the key OVER is there, and badly at the first error, of which nothing is retried;
or when it doesn't read what it has written.
"""

import itertools
import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

HOST, PORT, OVER = sys.argv[1], int(sys.argv[2]), sys.argv[3]

# The slots that are moved.
KEYS = [key for key in (f"redis-py:{n}" for n in range(5000)) if key_slot(key.encode()) < 1000]


def connect():
    return redis.Redis(
        HOST, PORT, decode_responses=True, socket_timeout=20, retry=Retry(NoBackoff(), 0)
    )


def expect(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r}, and not {expected!r}")


def counts(client):
    for turn in itertools.count(1):
        for key in KEYS:
            expect(client.incr(key), turn)
            expect(client.get(key), str(turn))
            with client.pipeline(transaction=False) as pipe:
                pipe.hset(f"{key}:hash", "turn", turn).hget(f"{key}:hash", "turn")
                pipe.mget(key, f"{key}:missing", "nowhere")
                expect(pipe.execute()[1:], [str(turn), [str(turn), None, None]])
            if client.exists(OVER):
                return
            yield


def queue(client):
    other = connect()
    for turn in itertools.count():
        for key in KEYS:
            name = f"{key}:queue"
            bring = threading.Timer(0.002, lambda: other.rpush(name, turn))
            bring.start()
            expect(client.blpop(name, 10), (name, str(turn)))
            bring.join()
            if client.exists(OVER):
                return
            yield


def main():
    rounds, failures = [0, 0], []

    def run(place, work):
        try:
            for _ in work(connect()):
                rounds[place] += 1
        except Exception as error:
            failures.append(f"{work.__name__}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate((counts, queue))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("redis-py: {} rounds of counting, {} elements waited for".format(*rounds))
    if failures:
        sys.exit("\n".join(failures))


main()
