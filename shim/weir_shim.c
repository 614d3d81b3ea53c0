#include "weir_shim.h"

#include <limits.h>
#include <stdlib.h>

void weir_log(weir_log_function log, RedisModuleCtx *ctx, const char *level, const char *text,
              size_t length) {
    int precision = length > INT_MAX ? INT_MAX : (int)length;
    log(ctx, level, "%.*s", precision, text);
}

RedisModuleCallReply *weir_call(weir_call_function call, RedisModuleCtx *ctx, const char *command,
                                const char *format, RedisModuleString **argv, size_t argc) {
    return call(ctx, command, format, argv, argc);
}

int weir_reply_long_double(weir_reply_long_double_function reply, RedisModuleCtx *ctx,
                           const char *text) {
    return reply(ctx, strtold(text, NULL));
}
