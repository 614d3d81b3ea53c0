#include "weir_shim.h"

#include <limits.h>

void weir_log(weir_log_function log, RedisModuleCtx *ctx, const char *level, const char *text,
              size_t length) {
    int precision = length > INT_MAX ? INT_MAX : (int)length;
    log(ctx, level, "%.*s", precision, text);
}

RedisModuleCallReply *weir_call(weir_call_function call, RedisModuleCtx *ctx, const char *command) {
    /* E: errors come as replies. Without 3 or 0 the reply is in RESP2, whatever `ctx` speaks. */
    return call(ctx, command, "E");
}
