//! The asynchronous side of redis-rs. Each check runs in an event loop of its own.

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncCommands, AsyncConnectionConfig, Commands, Connection, RedisResult, pipe};

use crate::{PATIENCE, World, wait_for, wait_for_files};

fn run(check: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, check).await.expect("something never comes")
    })
}

async fn connect(
    world: &World,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let config = config.set_response_timeout(Some(PATIENCE));
    world.client().get_multiplexed_async_connection_with_config(&config).await
}

pub fn multiplexed(world: &World, _con: &mut Connection) -> RedisResult<()> {
    run(async {
        let mut con = connect(world, AsyncConnectionConfig::new()).await?;
        let () = con.set(world.key("async"), "v").await?;
        assert_eq!(con.get::<_, String>(world.key("async")).await?, "v");
        assert_eq!(wait_for(1).query_async::<i64>(&mut con).await?, 1);
        assert_eq!(wait_for_files().query_async::<(i64, i64)>(&mut con).await?, (1, 1));
        Ok(())
    })
}

pub fn many_tasks(world: &World, _con: &mut Connection) -> RedisResult<()> {
    run(async {
        let con = connect(world, AsyncConnectionConfig::new()).await?;
        let add = |n: usize| {
            let mut con = con.clone();
            let name = world.key(&format!("async:count:{}", n % 7));
            async move {
                for _ in 0..10 {
                    let () = con.incr(&name, 1).await?;
                }
                RedisResult::Ok(())
            }
        };
        for done in futures_util::future::join_all((0..100).map(add)).await {
            done?;
        }
        let names: Vec<String> = (0..7).map(|n| world.key(&format!("async:count:{n}"))).collect();
        let counts: Vec<i64> = con.clone().mget(names).await?;
        assert_eq!(counts.iter().sum::<i64>(), 1000);
        Ok(())
    })
}

pub fn pipelines(world: &World, _con: &mut Connection) -> RedisResult<()> {
    run(async {
        let mut con = connect(world, AsyncConnectionConfig::new()).await?;
        let mut transaction = pipe();
        transaction.atomic().incr(world.together("async:t"), 1).incr(world.together("async:t"), 1);
        assert_eq!(transaction.query_async::<(i64, i64)>(&mut con).await?, (1, 2));
        let mut pipeline = pipe();
        pipeline.set(world.key("async:p"), 7).ignore().add_command(wait_for(1));
        pipeline.get(world.key("async:p"));
        assert_eq!(pipeline.query_async::<(i64, i64)>(&mut con).await?, (1, 7));
        Ok(())
    })
}

pub fn publish(world: &World, con: &mut Connection) -> RedisResult<()> {
    run(async {
        let mut own = world.client().get_async_pubsub().await?;
        own.subscribe(world.key("async:channel")).await?;
        assert_eq!(con.publish::<_, _, i64>(world.key("async:channel"), "v")?, 1);
        let message = own.on_message().next().await.expect("a message");
        assert_eq!(message.get_payload::<String>()?, "v");
        own.unsubscribe(world.key("async:channel")).await?;
        Ok(())
    })
}

pub fn caching(world: &World, con: &mut Connection) -> RedisResult<()> {
    run(async {
        let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::default());
        let opened = connect(world, config).await;
        if world.protocol == 2 {
            assert!(opened.is_err(), "RESP2 has no pushes");
            return Ok(());
        }
        let mut caching = opened?;
        for value in ["one", "two", "three"] {
            let () = con.set(world.key("cached"), value)?;
            let start = Instant::now();
            while caching.get::<_, String>(world.key("cached")).await? != value {
                assert!(start.elapsed() < PATIENCE, "the change to {value} is never seen");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let again: String = caching.get(world.key("cached")).await?;
            assert_eq!(again, value);
        }
        let statistics = caching.get_cache_statistics().expect("there is a cache");
        assert!(statistics.hit > 0 && statistics.invalidate > 0, "{statistics:?}");
        Ok(())
    })
}
