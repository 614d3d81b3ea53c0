/* weir.h: the database behind Weir, for other modules of the same server.
 *
 * A module that is loaded beside Weir can say commands to the shards, be called back with the
 * replies, wait until replicas have what it wrote, and ask how the shards are. The server's main
 * thread is never blocked by it.
 *
 *     static const WeirApi *weir;
 *     static WeirModule *me;
 *
 *     static void told(void *data, const WeirReply *reply) { ... }
 *
 *     int RedisModule_OnLoad(...) {
 *         ...
 *         weir = WEIR_LOAD(RedisModule_GetSharedAPI, ctx);
 *         if (weir == NULL) return REDISMODULE_ERR;
 *         me = weir->join("mine");
 *         ...
 *     }
 *
 *     int RedisModule_OnUnload(RedisModuleCtx *ctx) {
 *         return weir->leave(me) == WEIR_OK ? REDISMODULE_OK : REDISMODULE_ERR;
 *     }
 *
 *     ...
 *         const char *argv[] = {"SET", "key", "value"};
 *         WeirSession *session = weir->open(me);
 *         if (weir->submit(session, 3, argv, NULL, told, data) != WEIR_OK) ...
 *
 * examples/ledger.c is a whole module.
 *
 * This header needs no other but those of the language, and says the same to C and to C++. Weir's
 * own side of it is generated from it, so what it says is what Weir does.
 *
 *
 * Loading
 *
 * The functions are found by the server's GetSharedAPI, so Weir must be loaded before: either its
 * `loadmodule` line is in front of yours, or you call WEIR_LOAD when you first need it, and not at
 * load. The server then knows that you use Weir, and refuses MODULE UNLOAD weir until your module
 * has been unloaded.
 *
 *
 * Threads
 *
 * Any thread may call any function here, in callbacks too, unless the function says otherwise. None
 * of them waits for a shard or for the network, but `leave`.
 *
 * A callback comes on one of Weir's threads, or, when the server shuts down, on its main thread.
 * It never comes inside a call of yours of a function of this table other than `leave`, so you may
 * hold a lock in such a call that the callback takes too. A callback must be short, because other
 * clients of the database are served by the same thread. In it you may call Weir, and those
 * functions of the server that it lets any thread call: RedisModule_UnblockClient, which is how a
 * client is answered, RedisModule_EventLoopAddOneShot, which has the main thread do something, and
 * RedisModule_Log. Never wait in it for the main thread (RedisModule_ThreadSafeContextLock): that
 * may be waiting for you, in `leave`.
 *
 *
 * What is called back
 *
 * A function that takes a callback and returns WEIR_OK calls it exactly once, whatever happens.
 * If it returns anything else it never calls it, and has done nothing. The callback may be NULL
 * if you don't want to know.
 *
 *
 * Memory
 *
 * Arguments are copied before a function returns. What a callback is shown is Weir's, and good only
 * until the callback returns; copy what you need.
 *
 *
 * Versions
 *
 * The name WEIR_API_NAME has the number of the version. Within a version, what is there keeps its
 * place and its meaning; later Weirs may add members at the end of the structs, and values to the
 * lists of numbers. If a version 2 is ever made, both names will be exported. */

#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The name of the table in the server's list of shared APIs. */
#define WEIR_API_NAME "weir_api_1"

/* What functions return. */
enum {
    /* Done, or, of a function with a callback, under way. */
    WEIR_OK = 0,
    /* The endpoint is stopped because the server shuts down, or your module has left. */
    WEIR_GONE = 1,
    /* The session is owed too much: WEIR_OWED_MAX replies, or the requests that aren't answered
     * yet have WEIR_OWED_BYTES_MAX bytes together. Try again when some have been answered. */
    WEIR_FULL = 2,
    /* An argument that makes no sense: no session, no command, or a negative number other than
     * WEIR_ALL and WEIR_MAJORITY. */
    WEIR_INVALID = 3,
    /* Of `leave`: callbacks are still under way after ten seconds. */
    WEIR_BUSY = 4
};

/* How much a session may be owed. A single request may be larger if nothing else is under way. */
#define WEIR_OWED_MAX 65536
#define WEIR_OWED_BYTES_MAX 67108864

/* For `numreplicas` of wait and waitaof: all replicas that each shard should have, or more than
 * half of them (see weir.replicas). When the time is up and a shard has fewer, the answer is an
 * error that begins with NOREPLICAS, and no number. */
#define WEIR_ALL (-1)
#define WEIR_MAJORITY (-2)

/* A module that uses Weir. */
typedef struct WeirModule WeirModule;

/* A client of the database. */
typedef struct WeirSession WeirSession;

/* The kinds of reply. More may come: treat those that you don't know like an error. */
enum {
    /* There will be no reply, because the session is gone: somebody ended it (CLIENT KILL, `close`,
     * `leave`, shutdown). The command may or may not have been executed. `text` says so, and begins
     * with IOERR. */
    WEIR_REPLY_GONE = 0,
    /* Bytes, in `text`. */
    WEIR_REPLY_STRING = 1,
    /* A status such as OK, in `text`. */
    WEIR_REPLY_STATUS = 2,
    /* An error, in `text`, its code first. */
    WEIR_REPLY_ERROR = 3,
    /* A number, in `integer`. */
    WEIR_REPLY_INTEGER = 4,
    /* A number, in `number`; it may be infinite, or none. */
    WEIR_REPLY_DOUBLE = 5,
    /* Nothing. */
    WEIR_REPLY_NULL = 6,
    /* 0 or 1, in `integer`. */
    WEIR_REPLY_BOOL = 7,
    /* `count` elements. */
    WEIR_REPLY_ARRAY = 8,
    /* As an array, in which each key is followed by its value. */
    WEIR_REPLY_MAP = 9,
    /* As an array, of which the order means nothing. */
    WEIR_REPLY_SET = 10,
    /* A whole number of any size: its digits, in `text`. */
    WEIR_REPLY_BIG_NUMBER = 11,
    /* A text, in `text`, with its format, in `format`. */
    WEIR_REPLY_VERBATIM = 12
};

/* A reply, or an element of one. What isn't meant by its kind is 0 or NULL. */
typedef struct WeirReply {
    /* One of WEIR_REPLY_... */
    int kind;
    /* `txt` or `mkd`, with a NUL behind it. */
    char format[4];
    int64_t integer;
    double number;
    /* `length` bytes, with a NUL behind them that isn't counted. There may be others inside. */
    const char *text;
    size_t length;
    /* `count` pointers. */
    const struct WeirReply *const *elements;
    size_t count;
    /* The reply as it came, in RESP3; only of the whole one, and not of WEIR_REPLY_GONE. Attributes
     * are only here. */
    const char *raw;
    size_t raw_length;
} WeirReply;

/* Called with the reply to a command, which is never NULL. */
typedef void (*WeirReplyCallback)(void *data, const WeirReply *reply);

/* What WAIT or WAITAOF said. */
typedef struct WeirAcks {
    /* NULL if the numbers hold, else an error, its code first. */
    const char *error;
    /* 1 if all primaries that the session wrote to have fsynced it, else 0. Of WAIT always 0. */
    int64_t local;
    /* How many replicas have it, of the shard where there are fewest. */
    int64_t replicas;
} WeirAcks;

/* Called when a wait is over; `acks` is never NULL. */
typedef void (*WeirAcksCallback)(void *data, const WeirAcks *acks);

/* A replica, as its primary told last. */
typedef struct WeirReplica {
    /* `ip:port` */
    const char *address;
    /* `online` and kin */
    const char *state;
    /* The offset that it acknowledged last. */
    uint64_t offset;
    /* Seconds since then. */
    uint64_t lag;
} WeirReplica;

/* A shard: what WEIR.SHARDS shows. */
typedef struct WeirShard {
    uint64_t number;
    /* `0-8191`, with a comma between several ranges */
    const char *slots;
    /* The primary's address. */
    const char *primary;
    /* `up`, `connecting`, or `down: ` and why */
    const char *state;
    /* How many unbroken histories of it there have been. */
    uint64_t generation;
    /* Clients in WAIT or WAITAOF. */
    uint64_t waiters;
    /* How often it was asked who has what. */
    uint64_t rounds;
    /* Connections to it. */
    uint64_t pipelines;
    /* `replica_count` pointers. */
    const WeirReplica *const *replicas;
    size_t replica_count;
} WeirShard;

/* Called with `count` shards; with NULL and 0 if the endpoint was stopped meanwhile. */
typedef void (*WeirShardsCallback)(void *data, const WeirShard *const *shards, size_t count);

/* The functions. */
typedef struct WeirApi {
    /* The size of this struct as Weir has it, in bytes. WEIR_LOAD has looked at it. */
    size_t size;
    /* Weir's own version: 100 is 0.1.0. */
    int64_t weir_version;

    /* Makes your module known. `name` is what its sessions are called in CLIENT LIST; what isn't a
     * letter, a digit or one of `._-` becomes `_` there. Once, before all else. Never NULL. */
    WeirModule *(*join)(const char *name);

    /* Closes all sessions of your module, and waits until all its callbacks have returned. In
     * OnUnload, always, and not in a callback: after it nothing of yours is called any more, so
     * your code may go. A module that goes without it leaves its sessions behind, and if any of
     * them is owed a reply, the server crashes when that comes.
     *
     * WEIR_OK: `module`, and all its sessions, must not be used any more. WEIR_BUSY: callbacks are
     * still under way after ten seconds; so refuse to be unloaded. `leave` may be called again. */
    int (*leave)(WeirModule *module);

    /* Opens a session. It is one client of the database, with its own transaction, database
     * (SELECT) and name; what `wait` tells is of what this session wrote. It costs no connection,
     * and lives until `close` or `leave`. It is logged in to the shards as weir.intercept-user.
     *
     * NULL if the endpoint is stopped or the module has left. */
    WeirSession *(*open)(WeirModule *module);

    /* Ends a session, at once. Commands that haven't been answered may or may not be executed;
     * their callbacks are called soon, by other threads, with WEIR_REPLY_GONE or an error.
     * `session` must not be used any more, by any thread. A callback may close its session, even
     * if the call that it is due to hasn't returned yet. NULL is ignored. */
    void (*close)(WeirSession *session);

    /* Says a command: `argc` arguments, its name first, of `argvlen[i]` bytes each, or, if
     * `argvlen` is NULL, each ending with a NUL. Several may be under way; they are answered in
     * the order in which they were submitted, and executed in it by each shard. A command that is
     * told to wait (BLPOP, WAIT) holds up those behind it in its session, as on any connection.
     *
     * Commands that would change how or whether replies come are answered with an error, and are
     * not said: AUTH, HELLO, SUBSCRIBE and kin, MONITOR, QUIT, RESET, CLIENT REPLY, CLIENT
     * TRACKING. All others are those of the endpoint. */
    int (*submit)(WeirSession *session, size_t argc, const char *const *argv, const size_t *argvlen,
                  WeirReplyCallback callback, void *data);

    /* WAIT: tells how many replicas have all that this session has written, when there are
     * `numreplicas` or more, or `timeout_ms` milliseconds have passed (0: no time-out). Never more
     * than is true. Behind what was submitted before, and in front of what is submitted later.
     * Inside a transaction say it by `submit`. */
    int (*wait)(WeirSession *session, int64_t numreplicas, int64_t timeout_ms,
                WeirAcksCallback callback, void *data);

    /* WAITAOF: the same for what has been fsynced; `numlocal` is 0 or 1. */
    int (*waitaof)(WeirSession *session, int64_t numlocal, int64_t numreplicas, int64_t timeout_ms,
                   WeirAcksCallback callback, void *data);

    /* Asks how the shards are. It asks Weir's threads and no shard, so the answer comes soon. */
    int (*shards)(WeirModule *module, WeirShardsCallback callback, void *data);
} WeirApi;

/* The table, if it has all that this header has. */
static inline const WeirApi *weir_checked(const void *table) {
    const WeirApi *api = (const WeirApi *)table;
    return api != NULL && api->size >= sizeof(WeirApi) ? api : NULL;
}

/* Finds Weir: `WEIR_LOAD(RedisModule_GetSharedAPI, ctx)`, or with the function of that name of
 * the header that your module is built with. NULL if Weir isn't loaded, or is older than this
 * header. On the main thread, with a context of your module. A macro, because it knows none of
 * the server's types. */
#define WEIR_LOAD(get_shared_api, ctx) weir_checked((get_shared_api)((ctx), WEIR_API_NAME))

#ifdef __cplusplus
}
#endif

#endif
