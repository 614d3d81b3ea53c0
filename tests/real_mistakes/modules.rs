//! Commands that only the shards know: those of a module.

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::client::{Value, bulk, ok};
use lab::servers;

use super::Database;

/// A module with a command that has a key behind a number, and one that has none.
const SOURCE: &str = r#"
#include "redismodule.h"

static int put(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[2], REDISMODULE_WRITE);
    RedisModule_StringSet(key, argv[3]);
    RedisModule_CloseKey(key);
    RedisModule_ReplicateVerbatim(ctx);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int answer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv; (void)argc;
    return RedisModule_ReplyWithLongLong(ctx, 42);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv; (void)argc;
    if (RedisModule_Init(ctx, "toy", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR) return 1;
    if (RedisModule_CreateCommand(ctx, "toy.put", put, "write", 2, 2, 1)) return 1;
    if (RedisModule_CreateCommand(ctx, "toy.answer", answer, "readonly", 0, 0, 0)) return 1;
    return 0;
}
"#;

/// The header that the module API's crate has, if it is at hand.
fn header() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")))?;
    let folders = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let crates = folders(home.join("registry/src")).flat_map(|registry| folders(registry.path()));
    crates
        .map(|found| found.path())
        .filter(|path| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("redis-mod"))
        })
        .map(|path| path.join("src/include"))
        .find(|path| path.join("redismodule.h").exists())
}

/// Compiles the module, into the folder of a server.
fn build(folder: &Path, header: &Path) -> PathBuf {
    let (source, module) = (folder.join("toy.c"), folder.join("toy.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-I"])
        .arg(header)
        .arg("-o")
        .args([&module, &source])
        .status()
        .unwrap();
    assert!(done.success());
    module
}

#[test]
fn commands_of_modules_go_where_their_keys_are() {
    let header = header().expect("the crate of the module API, without which there is no host");
    for server in servers::both() {
        let builder = lab::process::Proc::start(&server, &super::NO_LINES);
        let module = build(builder.folder(), &header);
        let line = format!("loadmodule {}", module.display());
        let database = Database::with(&server, 3, &[], &[&line]);
        let mut client = database.client();
        lab::eventually("they are known", || client.command("TOY.ANSWER") == Value::Int(42));
        for number in 0..12 {
            let (number, key) = (number.to_string(), format!("key:{number}"));
            assert_eq!(client.call(&["TOY.PUT", &number, &key, &number]), ok());
            assert_eq!(client.call(&["GET", &key]), bulk(&number));
        }
        assert_eq!(client.command("DBSIZE"), Value::Int(12));
        let told = client.command("TOY.PUT 1").error_text().unwrap();
        assert_eq!(told, "ERR wrong number of arguments for 'toy.put' command");
        // In a transaction, and with its writes counted.
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("TOY.PUT 1 a b").text(), "QUEUED");
        assert_eq!(client.command("EXEC"), Value::Array(vec![ok()]));
        assert_eq!(client.command("WAIT 0 100"), Value::Int(0));
    }
}
