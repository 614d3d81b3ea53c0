/* A module for tests: it does with Weir, and with the host beside Weir, whatever a module may do.
 *
 *   PROBE.SAY command ...        says it in one session, and tells the reply as a text
 *   PROBE.WAIT n ms              WAIT of that session; PROBE.WAITAOF local n ms likewise
 *   PROBE.CLOSE                  closes that session; the next PROBE.SAY opens another
 *   PROBE.SHARDS                 the state of the shards, as a text
 *   PROBE.STRESS threads each    so many threads say INCR so often, in one session and in their own
 *   PROBE.FLOOD n command ...    says it so often, and answers at once
 *   PROBE.COUNTS                 how much was submitted and called back
 *   PROBE.REFUSALS               what functions return that are called wrongly
 *   PROBE.CALL flags command ... RedisModule_Call
 *   PROBE.LATER command key      RedisModule_Call on the main thread, for no client
 *
 * Loaded with an argument it does without Weir. */

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redismodule.h"

#include "weir.h"

static const WeirApi *weir;
static WeirModule *me;
static WeirSession *session;
static atomic_long submitted, called;
/* This thread is in a call of Weir's, in which no callback may come. */
static __thread int inside;

/* Told when the process ends too: then nobody can ask any more. */
__attribute__((destructor)) static void tell_counts(void) {
    fprintf(stderr, "probe: submitted %ld called %ld\n", submitted, called);
}

/* ------------------------------------------------------------------------------ texts */

typedef struct Text {
    char *bytes;
    size_t length;
} Text;

static void add(Text *text, const char *format, ...) {
    char piece[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(piece, sizeof(piece), format, args);
    va_end(args);
    if (length >= (int)sizeof(piece)) length = sizeof(piece) - 1;
    text->bytes = realloc(text->bytes, text->length + (size_t)length + 1);
    memcpy(text->bytes + text->length, piece, (size_t)length + 1);
    text->length += (size_t)length;
}

static void show(Text *out, const WeirReply *reply) {
    static const char *const names[] = {"gone", "string", "status", "error", "integer", "double", "null",
                                        "bool", "array", "map", "set", "big", "verbatim"};
    add(out, "%s", names[reply->kind]);
    if (reply->text != NULL) {
        if (reply->text[reply->length] != '\0') add(out, "!no end!");
        add(out, " %zu %s%s", reply->length, reply->format, reply->text);
    }
    if (reply->kind == WEIR_REPLY_INTEGER || reply->kind == WEIR_REPLY_BOOL)
        add(out, " %" PRId64, reply->integer);
    if (reply->kind == WEIR_REPLY_DOUBLE) add(out, " %g", reply->number);
    if (reply->kind >= WEIR_REPLY_ARRAY && reply->kind <= WEIR_REPLY_SET) {
        add(out, " [");
        for (size_t i = 0; i < reply->count; i++) {
            add(out, i > 0 ? ", " : "");
            show(out, reply->elements[i]);
        }
        add(out, "]");
    }
}

static int answer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    Text *text = RedisModule_GetBlockedClientPrivateData(ctx);
    (void)argv, (void)argc;
    return RedisModule_ReplyWithStringBuffer(ctx, text->bytes, text->length);
}

static void forget(RedisModuleCtx *ctx, void *data) {
    (void)ctx;
    if (data == NULL) return;
    free(((Text *)data)->bytes);
    free(data);
}

static RedisModuleBlockedClient *block(RedisModuleCtx *ctx) {
    return RedisModule_BlockClient(ctx, answer, NULL, forget, 0);
}

static void unblock(RedisModuleBlockedClient *client, Text text) {
    Text *copy = malloc(sizeof(*copy));
    *copy = text;
    RedisModule_UnblockClient(client, copy);
}

/* ------------------------------------------------------------------------------ one session */

static int refused(RedisModuleCtx *ctx, RedisModuleBlockedClient *client, int outcome) {
    if (client != NULL) RedisModule_AbortBlock(client);
    char text[64];
    snprintf(text, sizeof(text), "refused %d", outcome);
    return RedisModule_ReplyWithSimpleString(ctx, text);
}

static void count_call(void) {
    if (inside) abort();
    called++;
}

static void said(void *client, const WeirReply *reply) {
    Text text = {NULL, 0};
    count_call();
    show(&text, reply);
    if (reply->kind != WEIR_REPLY_GONE && (reply->raw == NULL || reply->raw_length < 3))
        add(&text, " no raw");
    if (client != NULL) unblock(client, text);
    else free(text.bytes);
}

/* The arguments from `from` on. */
static const char **words(RedisModuleString **argv, int argc, int from, size_t **lengths) {
    const char **words = calloc((size_t)(argc - from), sizeof(*words));
    *lengths = calloc((size_t)(argc - from), sizeof(**lengths));
    for (int i = from; i < argc; i++)
        words[i - from] = RedisModule_StringPtrLen(argv[i], &(*lengths)[i - from]);
    return words;
}

static int say(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    size_t *lengths;
    const char **command = words(argv, argc, 1, &lengths);
    if (session == NULL) session = weir->open(me);
    RedisModuleBlockedClient *client = block(ctx);
    submitted++;
    inside = 1;
    int outcome = weir->submit(session, (size_t)argc - 1, command, lengths, said, client);
    inside = 0;
    free(command), free(lengths);
    if (outcome == WEIR_OK) return REDISMODULE_OK;
    submitted--;
    return refused(ctx, client, outcome);
}

static void acknowledged(void *client, const WeirAcks *acks) {
    Text text = {NULL, 0};
    count_call();
    if (acks->error != NULL) add(&text, "error %s", acks->error);
    else add(&text, "%" PRId64 " %" PRId64, acks->local, acks->replicas);
    unblock(client, text);
}

static int wait_for(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long numbers[3] = {0, 0, 0};
    for (int i = 1; i < argc && i < 4; i++) RedisModule_StringToLongLong(argv[i], &numbers[i - 1]);
    if (session == NULL) session = weir->open(me);
    RedisModuleBlockedClient *client = block(ctx);
    submitted++;
    int outcome =
        argc == 3
            ? weir->wait(session, numbers[0], numbers[1], acknowledged, client)
            : weir->waitaof(session, numbers[0], numbers[1], numbers[2], acknowledged, client);
    if (outcome == WEIR_OK) return REDISMODULE_OK;
    submitted--;
    return refused(ctx, client, outcome);
}

static int close_it(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    inside = 1;
    weir->close(session);
    inside = 0;
    session = NULL;
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static void told(void *client, const WeirShard *const *shards, size_t count) {
    Text text = {NULL, 0};
    count_call();
    for (size_t i = 0; i < count; i++) {
        const WeirShard *shard = shards[i];
        add(&text, "shard %" PRIu64 " slots %s primary %s state %s", shard->number, shard->slots,
            shard->primary, shard->state);
        add(&text, " generation %" PRIu64 " pipelines %" PRIu64 "\n", shard->generation,
            shard->pipelines);
        for (size_t j = 0; j < shard->replica_count; j++) {
            const WeirReplica *replica = shard->replicas[j];
            add(&text, "replica %s state %s offset %" PRIu64 " lag %" PRIu64 "\n",
                replica->address, replica->state, replica->offset, replica->lag);
        }
    }
    if (count == 0) add(&text, "nobody knows");
    unblock(client, text);
}

static int ask_shards(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    RedisModuleBlockedClient *client = block(ctx);
    submitted++;
    int outcome = weir->shards(me, told, client);
    if (outcome == WEIR_OK) return REDISMODULE_OK;
    submitted--;
    return refused(ctx, client, outcome);
}

static int counts(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv, (void)argc;
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, submitted);
    return RedisModule_ReplyWithLongLong(ctx, called);
}

static int refusals(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    const char *none[] = {"PING"};
    (void)argv, (void)argc;
    if (session == NULL) session = weir->open(me);
    weir->close(NULL);
    RedisModule_ReplyWithArray(ctx, 7);
    RedisModule_ReplyWithLongLong(ctx, weir->submit(session, 0, none, NULL, said, NULL));
    RedisModule_ReplyWithLongLong(ctx, weir->submit(NULL, 1, none, NULL, said, NULL));
    RedisModule_ReplyWithLongLong(ctx, weir->wait(session, -3, 0, NULL, NULL));
    RedisModule_ReplyWithLongLong(ctx, weir->waitaof(session, 0, -3, 0, NULL, NULL));
    RedisModule_ReplyWithLongLong(ctx, weir->wait(session, 0, -1, NULL, NULL));
    RedisModule_ReplyWithLongLong(ctx, weir->submit(session, 1, none, NULL, NULL, NULL));
    return RedisModule_ReplyWithLongLong(ctx, weir->wait(session, 0, 1, NULL, NULL));
}

/* ------------------------------------------------------------------------------ many at once */

typedef struct Stress {
    RedisModuleBlockedClient *client;
    WeirSession *shared;
    long threads, each;
    atomic_long left, good, bad, full, out_of_order;
} Stress;

/* One thread's own session. */
typedef struct Line {
    Stress *stress;
    WeirSession *session;
    atomic_long left, last;
} Line;

static void one_less(Stress *stress) {
    if (atomic_fetch_sub(&stress->left, 1) != 1) return;
    Text text = {NULL, 0};
    add(&text, "good %ld bad %ld out-of-order %ld", stress->good, stress->bad,
        stress->out_of_order);
    weir->close(stress->shared);
    unblock(stress->client, text);
    free(stress);
}

static void shared_told(void *data, const WeirReply *reply) {
    Stress *stress = data;
    count_call();
    if (reply->kind == WEIR_REPLY_INTEGER) stress->good++;
    else stress->bad++;
    one_less(stress);
}

static void own_told(void *data, const WeirReply *reply) {
    Line *line = data;
    Stress *stress = line->stress;
    count_call();
    if (reply->kind == WEIR_REPLY_INTEGER) stress->good++;
    else stress->bad++;
    /* Its own key counts its own commands. */
    if (reply->integer != atomic_fetch_add(&line->last, 1) + 1) stress->out_of_order++;
    if (atomic_fetch_sub(&line->left, 1) == 1) {
        weir->close(line->session);
        free(line);
    }
    one_less(stress);
}

static void *hurry(void *data) {
    Line *line = data;
    Stress *stress = line->stress;
    char key[64];
    const char *own[] = {"INCR", key}, *shared[] = {"INCR", "stress:shared"};
    snprintf(key, sizeof(key), "stress:%p", data);
    WeirSession *session = line->session;
    for (long i = 0, each = stress->each; i < each; i++) {
        submitted += 2;
        inside = 1;
        /* What is full isn't full for long. Not before the last is submitted is `stress` freed. */
        while (weir->submit(stress->shared, 2, shared, NULL, shared_told, stress) == WEIR_FULL) {}
        while (weir->submit(session, 2, own, NULL, own_told, line) == WEIR_FULL) {}
        inside = 0;
    }
    return NULL;
}

static int stress(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long threads, each;
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_StringToLongLong(argv[1], &threads);
    RedisModule_StringToLongLong(argv[2], &each);
    Stress *stress = calloc(1, sizeof(*stress));
    stress->client = block(ctx);
    stress->shared = weir->open(me);
    stress->threads = threads;
    stress->each = each;
    stress->left = 2 * threads * each;
    for (long long i = 0; i < threads; i++) {
        Line *line = calloc(1, sizeof(*line));
        pthread_t thread;
        line->stress = stress;
        line->session = weir->open(me);
        line->left = each;
        pthread_create(&thread, NULL, hurry, line);
        pthread_detach(thread);
    }
    return REDISMODULE_OK;
}

static int flood(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long times, done = 0;
    size_t *lengths;
    if (argc < 3) return RedisModule_WrongArity(ctx);
    RedisModule_StringToLongLong(argv[1], &times);
    const char **command = words(argv, argc, 2, &lengths);
    if (session == NULL) session = weir->open(me);
    for (long long i = 0; i < times; i++) {
        submitted++;
        inside = 1;
        int outcome = weir->submit(session, (size_t)argc - 2, command, lengths, said, NULL);
        inside = 0;
        if (outcome == WEIR_OK) done++;
        else submitted--;
    }
    free(command), free(lengths);
    return RedisModule_ReplyWithLongLong(ctx, done);
}

/* ------------------------------------------------------------------------------ the host */

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    char format[16];
    if (argc < 3) return RedisModule_WrongArity(ctx);
    snprintf(format, sizeof(format), "%sv", RedisModule_StringPtrLen(argv[1], NULL));
    const char *command = RedisModule_StringPtrLen(argv[2], NULL);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, command, format, argv + 3, (size_t)argc - 3);
    if (reply == NULL) return RedisModule_ReplyWithError(ctx, "ERR the call was refused");
    if (RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_PROMISE)
        RedisModule_ReplyWithSimpleString(ctx, "a promise");
    else
        RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static char later_command[64], later_key[64];

static void run_later(void *data) {
    (void)data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(NULL);
    RedisModuleCallReply *reply = RedisModule_Call(ctx, later_command, "cc", later_key, "later");
    if (reply != NULL) {
        size_t length;
        const char *bytes = RedisModule_CallReplyProto(reply, &length);
        RedisModule_Log(ctx, "notice", "probe: later: %.*s", (int)length, bytes);
        RedisModule_FreeCallReply(reply);
    } else {
        RedisModule_Log(ctx, "notice", "probe: later: refused");
    }
    RedisModule_FreeThreadSafeContext(ctx);
}

static int later(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    snprintf(later_command, sizeof(later_command), "%s", RedisModule_StringPtrLen(argv[1], NULL));
    snprintf(later_key, sizeof(later_key), "%s", RedisModule_StringPtrLen(argv[2], NULL));
    RedisModule_EventLoopAddOneShot(run_later, NULL);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    static const struct {
        const char *name;
        RedisModuleCmdFunc run;
    } commands[] = {
        {"probe.say", say},           {"probe.wait", wait_for}, {"probe.waitaof", wait_for},
        {"probe.close", close_it},    {"probe.counts", counts}, {"probe.shards", ask_shards},
        {"probe.refusals", refusals}, {"probe.stress", stress}, {"probe.flood", flood},
        {"probe.call", call},         {"probe.later", later},
    };
    (void)argv;
    if (RedisModule_Init(ctx, "probe", 1, REDISMODULE_APIVER_1) != REDISMODULE_OK)
        return REDISMODULE_ERR;
    if (argc == 0) weir = WEIR_LOAD(RedisModule_GetSharedAPI, ctx);
    if (argc == 0 && weir == NULL) return REDISMODULE_ERR;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (RedisModule_CreateCommand(ctx, commands[i].name, commands[i].run, "", 0, 0, 0) !=
            REDISMODULE_OK)
            return REDISMODULE_ERR;
    if (weir != NULL) me = weir->join("probe module");
    return REDISMODULE_OK;
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    (void)ctx;
    return weir == NULL || weir->leave(me) == WEIR_OK ? REDISMODULE_OK : REDISMODULE_ERR;
}
