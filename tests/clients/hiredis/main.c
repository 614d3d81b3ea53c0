/* What applications do with hiredis, as checks: `hiredis HOST PORT PROTOCOL`.
 *
 * Prints a line for each check, "ok WHAT" or "not ok WHAT: WHY", and ends with 1 if any is not
 * ok. It knows nothing of who answers: whatever holds here is to hold on a stock server with a
 * replica and an append-only file, and on an endpoint alike. */

#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/adapters/poll.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

/* Nothing here takes nearly as long, unless something never comes. */
static const struct timeval patience = {.tv_sec = 40};

static const char *host;
static int port, protocol;
/* Several programs, and earlier runs of this one, may share the database. */
static char prefix[64];

/* ------------------------------------------------------------------ checks */

static jmp_buf failed;
static char why[512];

/* Ends the running check. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    longjmp(failed, 1);
}

#define EXPECT(condition)                                                                         \
    do {                                                                                          \
        if (!(condition)) fail("line %d: not so: %s", __LINE__, #condition);                      \
    } while (0)

static redisContext *connect_to(void) {
    redisContext *c = redisConnectWithTimeout(host, port, patience);
    if (!c || c->err) fail("no connection: %s", c ? c->errstr : "no memory");
    redisSetTimeout(c, patience);
    if (protocol == 3) {
        redisReply *hello = redisCommand(c, "HELLO 3");
        if (!hello || hello->type != REDIS_REPLY_MAP) {
            fail("HELLO 3: %s", hello && hello->str ? hello->str : c->errstr);
        }
        freeReplyObject(hello);
    }
    return c;
}

/* The name of a key of this run. In braces, all of them are in one slot. */
static const char *key(const char *name) {
    static char names[8][160];
    static unsigned next;
    char *text = names[next++ % 8];
    snprintf(text, sizeof names[0], "%s:%s", prefix, name);
    return text;
}

static const char *together(const char *name) {
    static char names[8][160];
    static unsigned next;
    char *text = names[next++ % 8];
    snprintf(text, sizeof names[0], "{%s}:%s", prefix, name);
    return text;
}

/* ------------------------------------------------------------------ replies */

/* A check's replies live until its end, whichever way that comes. */
static redisReply *kept[4096];
static size_t kept_count;

static redisReply *keep(redisContext *c, void *reply) {
    if (!reply) fail("no reply: %s", c->errstr);
    if (kept_count == sizeof kept / sizeof kept[0]) fail("too many replies in one check");
    return kept[kept_count++] = reply;
}

static redisReply *call(redisContext *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    void *reply = redisvCommand(c, format, args);
    va_end(args);
    return keep(c, reply);
}

static redisReply *next_reply(redisContext *c) {
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK) fail("no reply: %s", c->errstr);
    return keep(c, reply);
}

static void is_text(const redisReply *reply, const char *text) {
    int string = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                 reply->type == REDIS_REPLY_VERB;
    if (!string || strcmp(reply->str, text) != 0) {
        fail("type %d '%s', and not '%s'", reply->type, reply->str ? reply->str : "", text);
    }
}

static void is_int(const redisReply *reply, long long number) {
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != number) {
        fail("type %d %lld '%s', and not %lld", reply->type, reply->integer,
             reply->str ? reply->str : "", number);
    }
}

static void is_error(const redisReply *reply, const char *part) {
    if (reply->type != REDIS_REPLY_ERROR || !strstr(reply->str, part)) {
        fail("type %d '%s', and not an error with '%s'", reply->type,
             reply->str ? reply->str : "", part);
    }
}

static void is_nil(const redisReply *reply) {
    if (reply->type != REDIS_REPLY_NIL) fail("type %d, and not nil", reply->type);
}

static redisReply **elements(const redisReply *reply, size_t count) {
    int some = reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_SET ||
               reply->type == REDIS_REPLY_MAP || reply->type == REDIS_REPLY_PUSH;
    if (!some || reply->elements != count) {
        fail("type %d with %zu elements, and not %zu: '%s'", reply->type, reply->elements, count,
             reply->str ? reply->str : "");
    }
    return reply->element;
}

/* ------------------------------------------------------------------ ordinary use */

static void version(redisContext *c) {
    char field[16];
    snprintf(field, sizeof field, " resp=%d ", protocol);
    redisReply *info = call(c, "CLIENT INFO");
    EXPECT(info->str && strstr(info->str, field));
    is_text(call(c, "PING"), "PONG");
    is_text(call(c, "CLIENT SETNAME %s", "hiredis-name"), "OK");
    is_text(call(c, "CLIENT GETNAME"), "hiredis-name");
}

static void info(redisContext *c) {
    redisReply *all = call(c, "INFO");
    EXPECT(all->type == (protocol == 3 ? REDIS_REPLY_VERB : REDIS_REPLY_STRING));
    EXPECT(strstr(all->str, "\r\nrole:master\r\n"));
    EXPECT(strstr(all->str, "\r\nconnected_slaves:1\r\n"));
    EXPECT(strstr(all->str, "\r\naof_enabled:1\r\n"));
}

static void strings(redisContext *c) {
    is_text(call(c, "SET %s %s EX 100", key("string"), "value"), "OK");
    is_text(call(c, "GET %s", key("string")), "value");
    is_nil(call(c, "GET %s", key("missing")));
    is_nil(call(c, "SET %s other NX", key("string")));
    is_int(call(c, "APPEND %s s", key("string")), 6);
    is_int(call(c, "INCRBY %s 42", key("number")), 42);
    redisReply *ttl = call(c, "TTL %s", key("string"));
    EXPECT(ttl->integer > 90 && ttl->integer <= 100);
}

static void bytes(redisContext *c) {
    size_t size = 4u << 20;
    char *value = malloc(size);
    EXPECT(value);
    for (size_t i = 0; i < size; i++) value[i] = (char)(i * 7 + i / 256);
    is_text(call(c, "SET %s %b", key("large"), value, size), "OK");
    redisReply *seen = call(c, "GET %s", key("large"));
    int same = seen->len == size && memcmp(seen->str, value, size) == 0;
    free(value);
    EXPECT(same);
    is_int(call(c, "UNLINK %s", key("large")), 1);
}

static void many_keys(redisContext *c) {
    const char *words[201] = {"MSET"};
    char names[100][160];
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "%s:many:%d", prefix, i);
        words[1 + 2 * i] = words[2 + 2 * i] = names[i];
    }
    is_text(keep(c, redisCommandArgv(c, 201, words, NULL)), "OK");
    words[0] = "MGET";
    for (int i = 0; i < 100; i++) words[1 + i] = names[i];
    redisReply **values = elements(keep(c, redisCommandArgv(c, 101, words, NULL)), 100);
    for (int i = 0; i < 100; i++) is_text(values[i], names[i]);
    words[0] = "DEL";
    is_int(keep(c, redisCommandArgv(c, 101, words, NULL)), 100);
}

static void collections(redisContext *c) {
    is_int(call(c, "HSET %s f v", key("hash")), 1);
    redisReply *hash = call(c, "HGETALL %s", key("hash"));
    EXPECT(hash->type == (protocol == 3 ? REDIS_REPLY_MAP : REDIS_REPLY_ARRAY));
    is_text(elements(hash, 2)[1], "v");
    is_int(call(c, "RPUSH %s a b c", key("list")), 3);
    is_text(elements(call(c, "LRANGE %s 0 -1", key("list")), 3)[2], "c");
    is_int(call(c, "SADD %s a", key("set")), 1);
    redisReply *set = call(c, "SMEMBERS %s", key("set"));
    EXPECT(set->type == (protocol == 3 ? REDIS_REPLY_SET : REDIS_REPLY_ARRAY));
    is_text(elements(set, 1)[0], "a");
    is_int(call(c, "ZADD %s 2.5 m", key("sorted")), 1);
    redisReply *score = call(c, "ZSCORE %s m", key("sorted"));
    if (protocol == 3) {
        EXPECT(score->type == REDIS_REPLY_DOUBLE && fabs(score->dval - 2.5) < 1e-9);
    } else {
        is_text(score, "2.5");
    }
}

static void scan(redisContext *c) {
    for (int i = 0; i < 100; i++) call(c, "SET %s:scan:%d v", prefix, i);
    char cursor[32] = "0";
    char seen[100] = {0};
    int turns = 0;
    do {
        redisReply **reply =
            elements(call(c, "SCAN %s MATCH %s:scan:* COUNT 30", cursor, prefix), 2);
        snprintf(cursor, sizeof cursor, "%s", reply[0]->str);
        for (size_t i = 0; i < reply[1]->elements; i++) {
            int n = atoi(strrchr(reply[1]->element[i]->str, ':') + 1);
            EXPECT(n >= 0 && n < 100);
            seen[n] = 1;
        }
        EXPECT(++turns < 3000);
    } while (strcmp(cursor, "0") != 0);
    EXPECT(memchr(seen, 0, sizeof seen) == NULL);
    for (int i = 0; i < 100; i++) is_int(call(c, "DEL %s:scan:%d", prefix, i), 1);
}

static void errors(redisContext *c) {
    is_text(call(c, "SET %s v", key("text")), "OK");
    is_error(call(c, "LPUSH %s v", key("text")), "WRONGTYPE");
    is_error(call(c, "NOSUCH x"), "ERR unknown command 'NOSUCH'");
    is_error(call(c, "GET"), "ERR wrong number of arguments for 'get' command");
    is_text(call(c, "GET %s", key("text")), "v");
}

static void pipeline(redisContext *c) {
    for (int i = 0; i < 1000; i++) redisAppendCommand(c, "SET %s:pipe:%d %d", prefix, i, i);
    for (int i = 0; i < 1000; i++) redisAppendCommand(c, "GETDEL %s:pipe:%d", prefix, i);
    for (int i = 0; i < 1000; i++) is_text(next_reply(c), "OK");
    for (int i = 0; i < 1000; i++) {
        redisReply *reply = next_reply(c);
        EXPECT(reply->type == REDIS_REPLY_STRING && atoi(reply->str) == i);
    }
}

static void transaction(redisContext *c) {
    redisAppendCommand(c, "MULTI");
    redisAppendCommand(c, "SET %s 1", together("t"));
    redisAppendCommand(c, "INCR %s", together("t"));
    redisAppendCommand(c, "LPUSH %s x", together("t"));
    redisAppendCommand(c, "EXEC");
    is_text(next_reply(c), "OK");
    for (int i = 0; i < 3; i++) is_text(next_reply(c), "QUEUED");
    redisReply **done = elements(next_reply(c), 3);
    is_text(done[0], "OK");
    is_int(done[1], 2);
    is_error(done[2], "WRONGTYPE");
    is_error(call(c, "EXEC"), "ERR EXEC without MULTI");
}

static void watch(redisContext *c) {
    redisContext *other = connect_to();
    is_text(call(c, "SET %s 1", together("w")), "OK");
    is_text(call(c, "WATCH %s", together("w")), "OK");
    is_text(call(other, "SET %s 2", together("w")), "OK");
    is_text(call(c, "MULTI"), "OK");
    is_text(call(c, "SET %s 3", together("w")), "QUEUED");
    is_nil(call(c, "EXEC"));
    is_text(call(c, "GET %s", together("w")), "2");
    is_text(call(c, "MULTI"), "OK");
    is_error(call(c, "GET"), "wrong number of arguments");
    is_error(call(c, "EXEC"), "EXECABORT");
    is_text(call(c, "MULTI"), "OK");
    is_text(call(c, "DISCARD"), "OK");
    redisFree(other);
}

static void acknowledged(redisContext *c) {
    is_text(call(c, "SET %s v", key("acknowledged")), "OK");
    is_int(call(c, "WAIT 1 20000"), 1);
    /* There is one replica, and no more come. On a busy machine less may be known at a deadline. */
    int tries = 0;
    while (call(c, "WAIT 2 500")->integer != 1) EXPECT(++tries < 20);
    redisReply **files = elements(call(c, "WAITAOF 1 1 20000"), 2);
    is_int(files[0], 1);
    is_int(files[1], 1);
    is_error(call(c, "WAIT 1 -1"), "ERR timeout is negative");
    redisAppendCommand(c, "SET %s a", key("w1"));
    redisAppendCommand(c, "SET %s b", key("w2"));
    redisAppendCommand(c, "WAIT 1 20000");
    redisAppendCommand(c, "GET %s", key("w1"));
    is_text(next_reply(c), "OK");
    is_text(next_reply(c), "OK");
    is_int(next_reply(c), 1);
    is_text(next_reply(c), "a");
}

static void scripts(redisContext *c) {
    const char *script = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])";
    is_text(call(c, "EVAL %s 1 %s v", script, key("script")), "v");
    redisReply *sha = call(c, "SCRIPT LOAD %s", script);
    is_text(call(c, "EVALSHA %s 1 %s w", sha->str, key("script")), "w");
    is_error(call(c, "EVALSHA %s 0", "ffffffffffffffffffffffffffffffffffffffff"), "NOSCRIPT");
    is_error(call(c, "EVAL %s 0", "return redis.error_reply('my reason')"), "my reason");
}

static void blocking(redisContext *c) {
    redisContext *other = connect_to();
    is_nil(call(c, "BLPOP %s 0.05", key("queue")));
    is_int(call(other, "RPUSH %s a", key("queue")), 1);
    is_text(elements(call(c, "BLPOP %s 5", key("queue")), 2)[1], "a");
    /* Sent before there is anything; the GET behind it waits its turn. */
    redisAppendCommand(c, "BLPOP %s 5", key("queue"));
    redisAppendCommand(c, "GET %s", key("missing"));
    int written = 0;
    while (!written) EXPECT(redisBufferWrite(c, &written) == REDIS_OK);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    is_int(call(other, "RPUSH %s b", key("queue")), 1);
    is_text(elements(next_reply(c), 2)[1], "b");
    is_nil(next_reply(c));
    redisFree(other);
}

static int pushes;

static void on_push(void *context, void *reply) {
    const redisReply *push = reply;
    (void)context;
    if (push->elements == 3 && strcmp(push->element[0]->str, "message") == 0 &&
        strcmp(push->element[2]->str, "v") == 0) {
        pushes++;
    }
    freeReplyObject(reply);
}

static void subscribed(redisContext *c) {
    redisContext *own = connect_to();
    if (protocol == 2) {
        redisReply **confirmed = elements(call(own, "SUBSCRIBE %s", key("channel")), 3);
        is_text(confirmed[0], "subscribe");
        is_int(confirmed[2], 1);
        is_error(call(own, "GET x"), "Can't execute 'get'");
        is_int(call(c, "PUBLISH %s v", key("channel")), 1);
        redisReply **message = elements(next_reply(own), 3);
        is_text(message[0], "message");
        is_text(message[1], key("channel"));
        is_text(message[2], "v");
        is_int(elements(call(own, "UNSUBSCRIBE"), 3)[2], 0);
        is_nil(call(own, "GET %s", key("missing")));
    } else {
        pushes = 0;
        redisSetPushCallback(own, on_push);
        /* In RESP3 the confirmation is a push as well; the PING behind it has a reply. */
        redisAppendCommand(own, "SUBSCRIBE %s", key("channel"));
        redisAppendCommand(own, "PING");
        is_text(next_reply(own), "PONG");
        is_int(call(c, "PUBLISH %s v", key("channel")), 1);
        for (int i = 0; i < 1000 && !pushes; i++) {
            is_nil(call(own, "GET %s", key("missing")));
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        EXPECT(pushes == 1);
    }
    redisFree(own);
}

static void tracking(redisContext *c) {
    if (protocol == 2) {
        is_text(call(c, "CLIENT TRACKING OFF"), "OK");
        return;
    }
    redisContext *own = connect_to();
    redisContext *other = connect_to();
    /* Without a callback the next reply is whatever comes, pushes too. */
    redisSetPushCallback(own, NULL);
    is_text(call(own, "CLIENT TRACKING ON"), "OK");
    is_text(call(other, "SET %s 1", key("tracked")), "OK");
    is_text(call(own, "GET %s", key("tracked")), "1");
    is_text(call(other, "SET %s 2", key("tracked")), "OK");
    redisReply *push = next_reply(own);
    EXPECT(push->type == REDIS_REPLY_PUSH);
    is_text(elements(push, 2)[0], "invalidate");
    is_text(elements(push->element[1], 1)[0], key("tracked"));
    is_text(call(own, "GET %s", key("tracked")), "2");
    redisFree(own);
    redisFree(other);
}

static void lock(redisContext *c) {
    const char *unlock =
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end "
        "return 0";
    redisContext *other = connect_to();
    is_text(call(c, "SET %s me NX PX 10000", key("lock")), "OK");
    is_int(call(c, "WAIT 1 20000"), 1);
    is_nil(call(other, "SET %s you NX PX 10000", key("lock")));
    is_int(call(other, "EVAL %s 1 %s you", unlock, key("lock")), 0);
    is_int(call(c, "EVAL %s 1 %s me", unlock, key("lock")), 1);
    is_text(call(other, "SET %s you NX PX 10000", key("lock")), "OK");
    redisFree(other);
}

static void databases(redisContext *c) {
    redisContext *other = connect_to();
    is_text(call(other, "SELECT 3"), "OK");
    is_text(call(c, "SET %s zero", key("database")), "OK");
    is_nil(call(other, "GET %s", key("database")));
    is_text(call(other, "SET %s three", key("database")), "OK");
    is_text(call(c, "GET %s", key("database")), "zero");
    is_error(call(other, "SELECT 1000000"), "ERR DB index is out of range");
    redisFree(other);
}

static void users(redisContext *c) {
    char user[64];
    snprintf(user, sizeof user, "hiredis-%d-%d", protocol, (int)getpid());
    redisContext *own = connect_to();
    is_text(call(c, "ACL SETUSER %s reset on >secret ~%s:allowed:* +get +set", user, prefix), "OK");
    is_error(call(own, "AUTH %s wrong", user), "WRONGPASS");
    is_text(call(own, "AUTH %s secret", user), "OK");
    is_text(call(own, "SET %s v", key("allowed:x")), "OK");
    is_error(call(own, "GET %s", key("other")), "NOPERM");
    is_error(call(own, "DEL %s", key("allowed:x")), "NOPERM");
    is_error(call(own, "WAIT 1 0"), "NOPERM");
    is_int(call(c, "ACL DELUSER %s", user), 1);
    redisFree(own);
}

/* ------------------------------------------------------------------ the event-driven side */

struct Async {
    int owed, wrong, messages;
    /* The library has freed the context: it does so whenever the connection ends. */
    int closed;
};

static void count_reply(redisAsyncContext *ac, void *reply, void *context) {
    struct Async *async = ac->data;
    const redisReply *number = reply;
    /* Replies come in the order of the commands. */
    if (!number || number->type != REDIS_REPLY_STRING || atoi(number->str) != (int)(long)context) {
        async->wrong++;
    }
    async->owed--;
}

static void on_message(redisAsyncContext *ac, void *reply, void *context) {
    struct Async *async = ac->data;
    const redisReply *message = reply;
    (void)context;
    if (message && message->elements == 3 && strcmp(message->element[0]->str, "message") == 0) {
        async->messages++;
    } else if (message && message->elements == 3) {
        async->owed--;
    }
}

static void ignore(redisAsyncContext *ac, void *reply, void *context) {
    (void)ac, (void)reply, (void)context;
}

static void on_disconnect(const redisAsyncContext *ac, int status) {
    struct Async *async = ac->data;
    (void)status;
    async->closed = 1;
}

static redisAsyncContext *connect_async(struct Async *async) {
    redisAsyncContext *ac = redisAsyncConnect(host, port);
    if (!ac || ac->err) fail("no connection: %s", ac ? ac->errstr : "no memory");
    ac->data = async;
    redisPollAttach(ac);
    redisAsyncSetDisconnectCallback(ac, on_disconnect);
    if (protocol == 3) redisAsyncCommand(ac, ignore, NULL, "HELLO 3");
    return ac;
}

/* Handles what comes until `owed` is down to `down_to`, and so many messages are there. */
static void turn(redisAsyncContext *ac, const struct Async *async, int down_to, int messages) {
    time_t end = time(NULL) + patience.tv_sec;
    while (async->owed > down_to || async->messages < messages) {
        if (async->closed) fail("the connection has ended, %d still owed", async->owed);
        redisPollTick(ac, 0.1);
        if (time(NULL) > end) fail("%d still owed, %d messages", async->owed, async->messages);
    }
}

static void asynchronous(redisContext *c) {
    (void)c;
    struct Async async = {0};
    redisAsyncContext *ac = connect_async(&async);
    for (long i = 0; i < 500; i++) {
        redisAsyncCommand(ac, ignore, NULL, "SET %s:async:%ld %ld", prefix, i, i);
        redisAsyncCommand(ac, count_reply, (void *)i, "GETDEL %s:async:%ld", prefix, i);
        async.owed++;
    }
    turn(ac, &async, 0, 0);
    redisAsyncFree(ac);
    EXPECT(async.wrong == 0);
}

static void asynchronous_messages(redisContext *c) {
    struct Async async = {.owed = 1};
    redisAsyncContext *ac = connect_async(&async);
    redisAsyncCommand(ac, on_message, NULL, "SUBSCRIBE %s", key("async"));
    turn(ac, &async, 0, 0);
    for (int i = 0; i < 100; i++) is_int(call(c, "PUBLISH %s %d", key("async"), i), 1);
    turn(ac, &async, 0, 100);
    redisAsyncFree(ac);
    EXPECT(async.messages == 100);
}

/* ------------------------------------------------------------------ */

static const struct {
    const char *what;
    void (*check)(redisContext *);
} checks[] = {
    {"the connection speaks the version that was asked for, and has a name", version},
    {"INFO is that of one primary", info},
    {"strings and numbers", strings},
    {"a value of 4 MB and of any bytes", bytes},
    {"many keys at once", many_keys},
    {"hashes, lists, sets, sorted sets", collections},
    {"all keys are found by SCAN", scan},
    {"errors are those of a server", errors},
    {"a pipeline of 2,000 commands", pipeline},
    {"a transaction with an error in it", transaction},
    {"WATCH, EXECABORT, DISCARD", watch},
    {"WAIT and WAITAOF", acknowledged},
    {"scripts", scripts},
    {"BLPOP: nothing, what is there, and what comes", blocking},
    {"SUBSCRIBE and PUBLISH", subscribed},
    {"CLIENT TRACKING", tracking},
    {"a lock by SET NX PX and a script that unlocks, with WAIT", lock},
    {"databases are apart", databases},
    {"users: their password, their commands, their keys", users},
    {"async: a thousand commands", asynchronous},
    {"async: SUBSCRIBE", asynchronous_messages},
};

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: hiredis HOST PORT PROTOCOL\n");
        return 2;
    }
    host = argv[1];
    port = atoi(argv[2]);
    protocol = atoi(argv[3]);
    snprintf(prefix, sizeof prefix, "hiredis:%d:%d", protocol, (int)getpid());
    int code = 0;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        /* A check that fails leaves its other connections open: the process ends soon. */
        redisContext *volatile c = NULL;
        if (setjmp(failed) == 0) {
            c = connect_to();
            checks[i].check(c);
            printf("ok %s\n", checks[i].what);
        } else {
            printf("not ok %s: %s\n", checks[i].what, why);
            code = 1;
        }
        fflush(stdout);
        while (kept_count > 0) freeReplyObject(kept[--kept_count]);
        if (c) redisFree(c);
    }
    return code;
}
