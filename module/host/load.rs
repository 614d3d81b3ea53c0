//! What happens at load, step by step. Each step either works or says why it never could.

use std::ffi::c_int;
use std::sync::Arc;

use super::api::Ctx;
use super::asks::Asks;
use super::commands::Asking;
use super::descriptors::Space;
use super::guests::Guests;
use super::pass::{self, Names};
use super::state::{self, Running};
use super::{commands, config, descriptors, exports, info, log};
use crate::command::CommandTable;
use crate::engine::{Level, Mail};
use crate::settings::Settings;
use crate::shards::{ShardMap, Upstream};
use crate::stats::Stats;
use crate::worker::{Fleet, FleetSetup, ToHost};

/// `0.1.0` as 100: what `MODULE LIST` shows.
pub(super) fn version_number() -> c_int {
    env!("CARGO_PKG_VERSION")
        .split('.')
        .fold(0, |number, part| number * 100 + part.parse::<c_int>().unwrap_or(0))
}

/// Loads the module: everything that may fail first, the threads last.
///
/// # Errors
/// Why it can't work, and what to change: a sentence for the log.
pub(super) fn load(ctx: Ctx<'_>, argc: c_int) -> Result<(), String> {
    if argc > 0 {
        return Err(
            "loadmodule weir.so takes no arguments: put each setting on a line of its own, \
                    for example: weir.upstream static://10.0.0.1:6379,10.0.0.2:6379"
                .to_owned(),
        );
    }
    state::clear();
    let settings = configure(ctx)?;
    settings.check()?;
    let upstream =
        Upstream::parse(&settings.upstream).map_err(|error| format!("weir.upstream: {error}"))?;
    let map = upstream.into_map();
    let space = make_room(ctx, &settings, map.reckoned())?;
    // Ours among them: the endpoint has some too.
    commands::register(ctx).map_err(|refused| refused.0)?;
    let table = read_commands(ctx)?;
    if !ctx.register_info(Some(info::info)) {
        return Err("the server refused the INFO sections".to_owned());
    }
    serve(&settings, map, table, space)?;
    open_the_port(ctx, &settings)?;
    exports::export(ctx)?;
    if !ctx.on_shutdown(Some(super::shutdown)) {
        log::line(Level::Warning, "the server won't tell when it shuts down: clients will be cut");
    }
    Ok(())
}

/// Registers the options and reads what the user has set.
fn configure(ctx: Ctx<'_>) -> Result<Settings, String> {
    config::register(ctx).map_err(|name| format!("the server refused the setting weir.{name}"))?;
    if !ctx.load_configs() {
        return Err("a weir.* setting is wrong: the server's line above says which".to_owned());
    }
    Ok(state::with(|state| state.config.pending.clone()))
}

/// Finds out where our descriptors may be, and says so if there is no room for all clients.
fn make_room(ctx: Ctx<'_>, settings: &Settings, shards: usize) -> Result<Space, String> {
    let host_maxclients = ctx.host_maxclients().ok_or("the server's INFO tells no maxclients")?;
    let wanted = descriptors::divide(u64::MAX, host_maxclients, settings, shards)?;
    // If it may be had, enough for each client to wait in a command, with a connection of its own.
    let limit = descriptors::limit(wanted.wanted_limit + u64::from(settings.maxclients));
    let space = descriptors::divide(limit, host_maxclients, settings, shards)?;
    if space.clients < settings.maxclients {
        log::line(
            Level::Warning,
            &format!(
                "the limit of open files is {limit}: {} clients are served at most, not the {} of \
                 weir.maxclients; for these start the server with at least {} (ulimit -n, or \
                 LimitNOFILE= of its service)",
                space.clients, settings.maxclients, wanted.wanted_limit
            ),
        );
    }
    Ok(space)
}

/// What commands there are and where their keys lie, as the host knows it.
fn read_commands(ctx: Ctx<'_>) -> Result<CommandTable, String> {
    let reply = ctx.command_table().ok_or(
        "the server has no command COMMAND, from which the endpoint learns where keys are; is it \
         renamed?",
    )?;
    CommandTable::from_reply(&reply)
        .map_err(|error| format!("the server's reply to COMMAND is not understood: {error}"))
}

/// Lets the clients of the host's own port in.
fn open_the_port(ctx: Ctx<'_>, settings: &Settings) -> Result<(), String> {
    if !ctx.on_client_change(Some(pass::client_changed)) {
        return Err("the server won't tell when a client has gone".to_owned());
    }
    if !settings.intercept {
        return Ok(());
    }
    pass::learn_modules(ctx);
    if !ctx.on_module_change(Some(pass::modules_changed)) {
        return Err("the server won't tell when a module is loaded".to_owned());
    }
    if !ctx.filter(Some(pass::filter)) {
        return Err("the server refused the command filter".to_owned());
    }
    Ok(())
}

/// Starts the workers.
fn serve(
    settings: &Settings,
    map: ShardMap,
    table: CommandTable,
    space: Space,
) -> Result<(), String> {
    let shards = map.reckoned();
    let stats = Stats::new(usize::from(settings.threads), map.most());
    let asks = Arc::new(Asks::default());
    let setup = FleetSetup {
        settings: Arc::new(config::effective(settings, space.clients)),
        map: Arc::new(map),
        table: Arc::new(table),
        stats: stats.clone(),
        log: Arc::new(log::line),
        fd_base: i32::try_from(space.base).map_err(|_| "the server's maxclients is too large")?,
        to_host: to_host(Arc::clone(&asks)),
    };
    let fleet = Fleet::start(setup).map_err(|error| error.to_string())?;
    let listening = match fleet.listening() {
        [] => "the host's own port".to_owned(),
        doors => doors.join(" "),
    };
    log::line(
        Level::Notice,
        &format!(
            "serving on {listening} with {} worker thread(s): {}",
            settings.threads, settings.upstream
        ),
    );
    exports::open(fleet.entrance(), Arc::clone(&asks), settings);
    state::with(|state| {
        state.config.applied = settings.clone();
        state.running = Some(Running {
            guests: Guests::default(),
            ear: None,
            names: Names::new(),
            fleet,
            stats,
            asks,
            workers: settings.threads,
            shards,
            fd_base: space.base,
            clients_room: space.clients,
            listening,
        });
    });
    Ok(())
}

/// What becomes of the workers' mail to the host.
fn to_host(asks: Arc<Asks<Asking>>) -> ToHost {
    Arc::new(move |mail| match mail {
        Mail::Answer { ticket, worker, answer } => {
            commands::answered(&asks, ticket, worker, answer);
        }
        // Nobody asks or tells the host of these.
        Mail::Ask { .. } | Mail::Map(_) | Mail::Replicas(_) | Mail::Doubt => {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_number_too() {
        assert!(version_number() >= 100);
    }
}
