/* A module that writes to the database behind Weir, and answers when replicas have what it wrote.
 *
 *     loadmodule libweir.so
 *     loadmodule ledger.so
 *
 *     > LEDGER.ADD alice 30 1 500
 *     (integer) 30
 *
 * adds 30 to alice's account, and answers with the balance when one replica has it, or with an
 * error after 500 milliseconds. The server's thread never waits: the client does.
 *
 *     cc -shared -fPIC -I<of weir.h> -I<of redismodule.h> ledger.c -o ledger.so
 *
 * It is C, and C++ too. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redismodule.h"

#include "weir.h"

static const WeirApi *weir;
static WeirModule *me;

/* One LEDGER.ADD, from the command to its reply. It belongs to whoever comes next: first the
 * callbacks, one after the other, then the server. */
typedef struct Transfer {
    RedisModuleBlockedClient *client;
    /* Its own, so that WAIT is about this write, and holds up no other. */
    WeirSession *session;
    long long replicas_wanted, timeout_ms;
    int64_t balance;
    char error[256];
} Transfer;

/* The client gets its answer on the main thread. Any thread may call this. */
static void finish(Transfer *transfer, const char *error) {
    if (error != NULL) snprintf(transfer->error, sizeof(transfer->error), "%s", error);
    weir->close(transfer->session);
    RedisModule_UnblockClient(transfer->client, transfer);
}

/* The second callback: replicas have it, or the time is up. */
static void acknowledged(void *data, const WeirAcks *acks) {
    Transfer *transfer = (Transfer *)data;
    char error[128];
    if (acks->error != NULL) {
        finish(transfer, acks->error);
    } else if (acks->replicas < transfer->replicas_wanted) {
        snprintf(error, sizeof(error), "NOREPLICAS written, but only %lld replicas are known to have it",
                 (long long)acks->replicas);
        finish(transfer, error);
    } else {
        finish(transfer, NULL);
    }
}

/* The first callback: it is written, or not. */
static void written(void *data, const WeirReply *reply) {
    Transfer *transfer = (Transfer *)data;
    if (reply->kind != WEIR_REPLY_INTEGER) {
        finish(transfer, reply->text != NULL ? reply->text : "ERR not understood");
        return;
    }
    transfer->balance = reply->integer;
    if (weir->wait(transfer->session, transfer->replicas_wanted, transfer->timeout_ms, acknowledged,
                   transfer) != WEIR_OK)
        finish(transfer, "IOERR written, but the endpoint is gone");
}

/* The server's call when the client is unblocked. */
static int answer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    Transfer *transfer = (Transfer *)RedisModule_GetBlockedClientPrivateData(ctx);
    (void)argv;
    (void)argc;
    if (transfer->error[0] != '\0') return RedisModule_ReplyWithError(ctx, transfer->error);
    return RedisModule_ReplyWithLongLong(ctx, transfer->balance);
}

static void forget(RedisModuleCtx *ctx, void *transfer) {
    (void)ctx;
    free(transfer);
}

/* LEDGER.ADD account amount replicas timeout-ms */
static int add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    const int cant_wait = REDISMODULE_CTX_FLAGS_MULTI | REDISMODULE_CTX_FLAGS_LUA |
                          REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
    const char *command[3] = {"INCRBY", NULL, NULL};
    size_t lengths[3] = {6, 0, 0};
    long long replicas_wanted, timeout_ms;
    Transfer *transfer;
    int outcome;

    if (argc != 5) return RedisModule_WrongArity(ctx);
    if (RedisModule_StringToLongLong(argv[3], &replicas_wanted) != REDISMODULE_OK ||
        RedisModule_StringToLongLong(argv[4], &timeout_ms) != REDISMODULE_OK ||
        replicas_wanted < 0 || timeout_ms <= 0)
        return RedisModule_ReplyWithError(ctx, "ERR value is not an integer or out of range");
    /* To block a client where the server can't would end in an assertion. */
    if (RedisModule_GetContextFlags(ctx) & cant_wait)
        return RedisModule_ReplyWithError(ctx, "ERR LEDGER.ADD can't wait here");

    transfer = (Transfer *)calloc(1, sizeof(*transfer));
    if (transfer == NULL) return RedisModule_ReplyWithError(ctx, "ERR out of memory");
    transfer->session = weir->open(me);
    if (transfer->session == NULL) {
        free(transfer);
        return RedisModule_ReplyWithError(ctx, "ERR the endpoint is gone");
    }
    transfer->replicas_wanted = replicas_wanted;
    transfer->timeout_ms = timeout_ms;
    transfer->client = RedisModule_BlockClient(ctx, answer, NULL, forget, 0);

    command[1] = RedisModule_StringPtrLen(argv[1], &lengths[1]);
    command[2] = RedisModule_StringPtrLen(argv[2], &lengths[2]);
    outcome = weir->submit(transfer->session, 3, command, lengths, written, transfer);
    /* From here on a callback may have freed it, unless there will be none. */
    if (outcome != WEIR_OK) finish(transfer, "ERR the endpoint is gone");
    return REDISMODULE_OK;
}

#ifdef __cplusplus
extern "C" {
#endif

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    if (RedisModule_Init(ctx, "ledger", 1, REDISMODULE_APIVER_1) != REDISMODULE_OK)
        return REDISMODULE_ERR;
    weir = WEIR_LOAD(RedisModule_GetSharedAPI, ctx);
    if (weir == NULL) {
        RedisModule_Log(ctx, "warning", "the module weir must be loaded before this one");
        return REDISMODULE_ERR;
    }
    if (RedisModule_CreateCommand(ctx, "ledger.add", add, "blocking deny-script", 0, 0, 0) !=
        REDISMODULE_OK)
        return REDISMODULE_ERR;
    me = weir->join("ledger");
    return me != NULL ? REDISMODULE_OK : REDISMODULE_ERR;
}

/* The server calls it only when no client is blocked. Even then a callback may not have returned.
 * */
int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    (void)ctx;
    return weir->leave(me) == WEIR_OK ? REDISMODULE_OK : REDISMODULE_ERR;
}

#ifdef __cplusplus
}
#endif
