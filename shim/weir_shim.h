/* What Rust can't call soundly: the server's variadic functions.
 *
 * Each function here takes the server's own function as its first argument. So the shim needs no
 * server to be linked, and the module's API table stays in one place, the crate redis-module.
 *
 * build.rs compiles weir_shim.c and makes the Rust declarations of this file. */

#ifndef WEIR_SHIM_H
#define WEIR_SHIM_H

#include <stddef.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct RedisModuleString RedisModuleString;

typedef void (*weir_log_function)(RedisModuleCtx *ctx, const char *level, const char *format, ...);
typedef RedisModuleCallReply *(*weir_call_function)(RedisModuleCtx *ctx, const char *command,
                                                    const char *format, ...);

/* Logs `length` bytes of `text` as they are: whatever looks like a format in them is only text.
 * The server cuts a line after about a thousand bytes. `ctx` may be NULL. Any thread may call
 * it. */
void weir_log(weir_log_function log, RedisModuleCtx *ctx, const char *level, const char *text,
              size_t length);

/* Runs a command with `argc` arguments. `format` ends with "v", which stands for them, behind the
 * server's letters for how to run it. NULL means what the letters say, or that there is no such
 * command. The caller frees the reply. Only on the main thread. */
RedisModuleCallReply *weir_call(weir_call_function call, RedisModuleCtx *ctx, const char *command,
                                const char *format, RedisModuleString **argv, size_t argc);

typedef int (*weir_reply_long_double_function)(RedisModuleCtx *ctx, long double number);

/* Replies with the number that `text`, a C string, says: Rust has no type for it. */
int weir_reply_long_double(weir_reply_long_double_function reply, RedisModuleCtx *ctx,
                           const char *text);

#endif
