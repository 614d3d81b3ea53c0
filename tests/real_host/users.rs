//! The host's ACL decides what a client of its port may say.

use lab::client::{Client, bulk, error, ok};
use lab::process::Proc;
use lab::servers;

use super::Database;

const USERS: &str = "
ACL SETUSER reader on >p ~x* +get +mget &news*
ACL SETUSER counter on >p ~x* ~y* +@all -@dangerous
ACL SETUSER half on >p (~x* +get) (~y* +set)
ACL SETUSER nobody on >p
";

/// Said by each user, on a stock server and on the host's port.
const SAID: &str = "
GET x
GET y
SET x 1
SET y 1
MGET x xx
MGET x y
KEYS *
FLUSHALL
EVAL return 0
GETX x
GET
PUBLISH news 1
PUBLISH other 1
MULTI
GET x
EXEC
MULTI
SET x 2
SET z 1
EXEC
GET x
MULTI
GETX x
EXEC
";

fn play(client: &mut Client, user: &str) -> Vec<String> {
    assert_eq!(client.call(&["AUTH", user, "p"]), ok());
    SAID.lines()
        .filter(|line| !line.is_empty())
        .map(|line| format!("{user}: {line}: {:?}", client.command(line)))
        .collect()
}

#[test]
fn each_user_is_answered_as_by_a_stock_server() {
    for server in servers::both() {
        let bare = Proc::start(&server, &["appendonly no"]);
        let database = Database::start(&server, 1, 0, &[]);
        for mut admin in [bare.client(), database.port()] {
            for line in USERS.lines().filter(|line| !line.is_empty()) {
                assert_eq!(admin.command(line), ok(), "{line}");
            }
        }
        for user in ["reader", "counter", "half", "nobody"] {
            let stock = play(&mut bare.client(), user);
            assert_eq!(play(&mut database.port(), user), stock);
        }
        // What a user was refused is in the host's log.
        let log = format!("{:?}", database.port().command("ACL LOG 1"));
        assert!(log.contains("nobody"), "{log}");
    }
}

#[test]
fn who_has_not_logged_in_gets_nothing() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 0, &[]);
        let mut admin = database.port();
        assert_eq!(admin.command("SET k 1"), ok());
        assert_eq!(admin.command("CONFIG SET requirepass secret"), ok());
        let mut client = Client::try_connect(&database.host.address()).unwrap();
        let no_auth = error("NOAUTH Authentication required.");
        for line in ["GET k", "WEIR.DO GET k", "WEIR.PASS GET k", "MULTI", "WAIT 0 0"] {
            assert_eq!(client.command(line), no_auth, "{line}");
        }
        assert_eq!(client.command("AUTH secret"), ok());
        assert_eq!(client.command("GET k"), bulk("1"));
        assert_eq!(client.command("WEIR.DO GET k"), bulk("1"));
        // The user may change in the middle of a connection.
        assert_eq!(client.command("ACL SETUSER narrow on >p +set ~k"), ok());
        assert_eq!(client.command("AUTH narrow p"), ok());
        assert!(client.command("GET k").is_error("NOPERM"));
        assert_eq!(client.command("SET k 2"), ok());
        assert_eq!(client.command("AUTH default secret"), ok());
        assert_eq!(client.command("GET k"), bulk("2"));
    }
}

#[test]
fn guests_log_in_to_the_shards_as_they_are_told() {
    let server = &servers::both()[1];
    let shards = lab::cluster::Shards::of(server).shards(1).replicas(0).start();
    let mut shard = shards.primary(0).client();
    assert_eq!(shard.command("ACL SETUSER guest on >right ~* &* +@all"), ok());
    assert_eq!(shard.command("ACL SETUSER default nopass ~* &* -@all +ping +info"), ok());
    for (password, may) in [("right", true), ("wrong", false)] {
        let host = lab::host::Host::of(server)
            .upstream(shards.upstream())
            .line("weir.intercept-user guest")
            .line(format!("weir.intercept-password {password}"))
            .start();
        let mut client = host.host_client();
        for line in ["SET k 1", "SET k 2", "RESET", "SET k 3", "PING", "SET k 4"] {
            let got = client.command(line);
            let stays = line == "RESET" || line == "PING";
            assert_eq!(got.is_error("WRONGPASS"), !may && !stays, "{line}: {got:?}");
            assert!(stays || !may || got == ok(), "{line}: {got:?}");
        }
        assert_eq!(host.log().contains("weir.intercept-user can't log in"), !may);
    }
}

/// What only the shards have is for those who may say anything: of its keys the host knows nothing.
#[test]
fn a_command_that_the_host_does_not_have_needs_the_right_to_weir_do() {
    for server in servers::both() {
        // As if LPOS were a module's on the shards.
        let database = Database::start(&server, 1, 0, &["rename-command LPOS \"\""]);
        let mut admin = database.port();
        assert_eq!(admin.command("RPUSH x a").int(), 1);
        assert_eq!(admin.command("LPOS x a").int(), 0);
        for line in [
            "ACL SETUSER narrow on >p ~* +get",
            "ACL SETUSER trusted on >p ~* +get +weir.do",
            "ACL SETUSER all on >p ~* &* +@all",
        ] {
            assert_eq!(admin.command(line), ok(), "{line}");
        }
        for (user, may) in [("narrow", false), ("trusted", true), ("all", true)] {
            let mut client = database.port();
            assert_eq!(client.call(&["AUTH", user, "p"]), ok());
            for line in ["LPOS x a", "WEIR.PASS LPOS x a", "WEIR.DO LPOS x a"] {
                let told = client.command(line);
                assert_eq!(told.error_text().is_none(), may, "{user}: {line}: {told:?}");
            }
        }
    }
}
