//! Every bound, named, with its reason and with what happens there.

use std::time::Duration;

// ------------------------------------------------------------------------------------ resp

/// Bytes of an inline request, or of one header line. A stock server's own bound
/// (redis `server.h`, `PROTO_INLINE_MAX_SIZE`); beyond it: a protocol error.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one argument: a stock server's default for `proto-max-bulk-len`. Beyond it: a protocol
/// error.
pub const BULK_BYTES_MAX: i64 = 512 * 1024 * 1024;

/// Arguments of one request: a stock server's own bound (redis `networking.c`,
/// `processMultibulkBuffer`). Beyond it: a protocol error.
pub const REQUEST_ARGS_MAX: i64 = i32::MAX as i64;

/// Bytes of one request that are held at most, whatever the settings say: argument ranges are kept
/// in 32 bits.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

const _: () = assert!(REQUEST_BYTES_MAX < u32::MAX as usize - BULK_BYTES_MAX as usize);

// ------------------------------------------------------------------------------------ pipeline

/// Bytes read from a shard at once, and the memory that an idle link keeps.
pub const LINK_READ_BYTES: usize = 64 * 1024;

/// The same of a link that many clients share, once it has brought more than that at once. With
/// values of 16 KB it takes a sixth less processor time than 64 KB; 1 MB takes no less.
pub const SHARED_LINK_READ_BYTES: usize = 256 * 1024;

/// Bytes of an unfinished reply that are held before it is passed on in pieces. Below it a reply is
/// passed on whole, so that a shard that dies in the middle of it costs an error and no connection.
pub const REPLY_STREAM_BYTES: usize = 32 * 1024;

const _: () = assert!(REPLY_STREAM_BYTES < LINK_READ_BYTES);

/// Bytes of commands that wait for a shard before the clients who send them are no longer served.
/// They are again at half.
pub const LINK_BACKLOG_HIGH: usize = 4 * 1024 * 1024;

/// Bytes of commands that were sent and are not answered, which a link keeps in case they must be
/// sent elsewhere, before the clients who send them are no longer served. They are again at half.
pub const LINK_KEPT_HIGH: usize = 16 * 1024 * 1024;

/// Replies that a link may owe before the clients who use it are no longer served.
pub const LINK_OWED_HIGH: usize = 128 * 1024;

// ------------------------------------------------------------------------------------ session

/// Replies that one client may be owed. Beyond it the client is not read until half have left. It
/// is also a client's share of a link: others wait behind so many of its commands at most. Beside
/// pipelines of 10,000 commands, a GET takes 0.7 ms with 1024, as it does on a stock server (which
/// reads 16 KB of a client at a time), and 1.7 ms with 4096.
pub const SESSION_SEATS_MAX: usize = 1024;

/// Seats whose memory a session keeps when it has nothing outstanding.
pub const SESSION_SEATS_KEPT: usize = 16;

/// Bytes read from a client at once: its share of a turn. Also how much of what it sends is held
/// while it waits; beyond it the client is not read.
pub const SESSION_READ_BYTES: usize = 32 * 1024;

/// Bytes that wait for a client before the rest of a large reply waits at its shard: the connection
/// is not read on, for anybody. Large enough for a client to be busy for a moment, small enough for
/// a reply of half a gigabyte to pass through the memory of a small host. It is read on at half.
pub const REPLY_OUTPUT_HIGH: usize = 4 * 1024 * 1024;

/// Buffers up to this size are kept for the next session that needs one...
pub const BUFFER_KEPT_BYTES: usize = 64 * 1024;

/// ... and so many of them by each worker.
pub const BUFFERS_KEPT: usize = 64;

// ------------------------------------------------------------------------------------ acks

/// Needs for more replicas than this share one class of rounds (`acks/class.rs`). It bounds the
/// tracker connections that clients can make Weir open by asking for ever different numbers; beyond
/// it a waiter may be held up by one that asks for more, until its deadline at the latest.
pub const ACK_CLASS_REPLICAS_MAX: u8 = 9;

/// Rounds of one class that may be out at a time, each on a tracker connection of its own. Two: one
/// that stays until its replicas have caught up, and one that is started anew for who came since.
pub const ACK_ROUNDS_PER_CLASS_MAX: usize = 2;

/// A tracker connection that nobody needed for this long is closed. Opening one costs a round trip
/// and a greeting, so a client that waits once a second must not pay that each time; a minute of
/// keeping a few idle connections costs nothing.
pub const ACK_TRACKER_IDLE_MAX: Duration = Duration::from_secs(60);

/// After a tracker connection was lost, its class opens none for this long, so that a shard that
/// refuses connections isn't asked in a busy loop.
pub const ACK_REOPEN_DELAY: Duration = Duration::from_millis(20);

/// After a shard refused a barrier for a reason that may pass (no memory, too few replicas), the
/// class asks again after this. Short beside any deadline that people use, long beside a round.
pub const ACK_REFUSED_DELAY: Duration = Duration::from_millis(50);

/// How long an acknowledgement that was seen is told to who asks later. A replica may have left
/// since, and a stock server would then count less; but a reply that was under way for this long
/// would say the same, so an answer is never older than a slow network makes any answer.
pub const ACK_KNOWN_AGE_MAX: Duration = Duration::from_millis(10);

/// Replies that are kept to answer from, of a shard. Within [`ACK_KNOWN_AGE_MAX`] a busy shard
/// gives a few dozen; one that was pushed out costs its waiter a round.
pub const ACK_KNOWN_MAX: usize = 16;

/// `WAIT 0` asks for the count as it stands. The barrier moved just now, so the replicas get this
/// long to acknowledge it, or those that hold the client's write would be counted as not holding
/// it.
pub const ACK_STANDING_MAX: Duration = Duration::from_millis(10);

/// A round isn't cut short before it is this old: replicas that are well acknowledge within it. The
/// true value follows the time that the shard's rounds take (twice the last), between these bounds.
pub const ACK_SETTLE_MIN: Duration = Duration::from_millis(2);
/// See [`ACK_SETTLE_MIN`]. A replica on another continent answers within it.
pub const ACK_SETTLE_MAX: Duration = Duration::from_millis(100);
/// The bound that holds until a first round has been measured.
pub const ACK_SETTLE_FIRST: Duration = Duration::from_millis(10);

/// How long after its deadline (and what a round needs to settle) a waiter still waits for the
/// shard to say the count; after it the answer is what is known, else 0.
pub const ACK_GRACE: Duration = Duration::from_millis(100);

/// How long an INFO that is to confirm an old count may take. A round trip to the other side of the
/// world is a third of it; after it the shard is asked as if for the first time.
pub const ACK_CONFIRM_MAX: Duration = Duration::from_secs(1);

/// A blocked `WAITAOF` is asked again after this long, then after twice as long, and so on: the
/// first acknowledgement of a replica tells of the fsync before the write, and the next would come
/// only with the replica's own cron, a second later.
pub const ACK_REASK_FIRST: Duration = Duration::from_micros(500);
/// Where the doubling of [`ACK_REASK_FIRST`] stops. An fsync that takes long (everysec, a slow
/// disk) is then noticed at most this late, for 16 questions a second.
pub const ACK_REASK_MAX: Duration = Duration::from_millis(64);

/// Offset bounds remembered for each generation; when they are full, the older half is thinned.
pub const ACK_BOUNDS_MAX: usize = 64;

/// Generations back for which a mark can still be proven to have survived. An older one is lost,
/// which is told to its client: four failovers between a client's write and its WAIT.
pub const ACK_PAST_MAX: usize = 4;

const _: () = assert!(6 * (ACK_CLASS_REPLICAS_MAX as usize + 1) <= 64, "classes fit a bit set");
const _: () = assert!(ACK_BOUNDS_MAX >= 4, "thinning halves the older half");

// ------------------------------------------------------------------------------------ os, worker

/// Descriptor numbers that the table of `os/fds.rs` can hold. A descriptor beyond is refused as if
/// the process had no more. 2^20 is what the kernel allows a process by default (`fs.nr_open`).
pub const DESCRIPTOR_NUMBERS_MAX: usize = 1 << 20;

const _: () = assert!(DESCRIPTOR_NUMBERS_MAX.is_power_of_two(), "the table is made of words");

/// Descriptors that a worker may need for one shard: its pipelines, its control link and its
/// trackers, each with a successor while one is replaced. A reserve, not a bound: it is what
/// `maxclients` has to leave free.
pub const DESCRIPTORS_PER_SHARD: usize = 32;

/// Descriptors of a worker itself: epoll, bell, sockets between two owners, and scouts.
pub const DESCRIPTORS_PER_WORKER: usize = 8 + SCOUTS_MAX;

/// Shards for which descriptors are set aside where their number isn't known at load, because a
/// cluster will tell it. With more of them, fewer clients may find room than were promised.
pub const CLUSTER_SHARDS_RECKONED: usize = 32;

/// Bytes read from one client in a turn. What is left is reported again by the next turn, after
/// everybody else's share.
pub const TURN_READ_BYTES: usize = 64 * 1024;

/// The same of one link to a shard, which may bring many clients' replies.
pub const TURN_READ_LINK_BYTES: usize = SHARED_LINK_READ_BYTES;

/// Events taken from the kernel in a turn. The others come first in the next.
pub const TURN_EVENTS_MAX: usize = 1024;

/// Letters that a worker opens in a turn. The others wait for the next, which then doesn't sleep.
pub const TURN_LETTERS_MAX: usize = 1024;

/// Clients accepted in a turn from one listener, so that a storm of them doesn't hold up those who
/// are served. The others wait in the kernel's queue.
pub const TURN_ACCEPTS_MAX: usize = 256;

/// Clients that may wait in the kernel to be accepted; cut to `net.core.somaxconn` by it. Beyond it
/// the kernel drops their first packet, and they try again after a second.
pub const LISTEN_BACKLOG: i32 = 4096;

/// How long a listener rests when the process has no more descriptors. The clients wait in the
/// kernel's queue.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long a client that is to be closed may take to accept what it is owed. Then it is closed
/// without.
pub const CLOSE_FLUSH_MAX: Duration = Duration::from_secs(5);

/// How long a worker may take to stop. It needs a turn, so a second would be plenty; beyond this
/// the thread is taken for lost, and is named to whoever wanted it to stop.
pub const STOP_MAX: Duration = Duration::from_secs(5);

// ------------------------------------------------------------------------------------ engine

/// How often sessions are looked through for idle ones and for those that hold up others.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Ids in one CLIENT KILL: more than anybody types, few enough to be looked through per session.
pub const CLIENT_FILTER_IDS_MAX: usize = 1024;

/// How long after a failure a link to a shard is opened again: soon enough for a shard that
/// restarts to be back in service at once, seldom enough for a shard that refuses us to cost no
/// CPU.
pub const LINK_RETRY: Duration = Duration::from_millis(100);

/// Lanes of one worker: different combinations of user, RESP version and database that clients use
/// at a time. Each costs a connection to every shard that it is used on; beyond it AUTH, SELECT and
/// HELLO are refused.
pub const LANES_MAX: usize = 1024;

/// The connections of a lane that nobody used for this long are closed. Long enough for a client
/// that comes back every few seconds, short enough for a user's password not to stay in memory.
pub const LANE_IDLE_MAX: Duration = Duration::from_secs(10);

/// Links for one session at a time that are kept open, for each shard and lane, while nobody uses
/// them.
pub const PINNED_IDLE_MAX: usize = 16;

/// Links for one session at a time that a worker opens at once on a shard; the others come when
/// these have been greeted. A stock server's `tcp-backlog` is 511 connections that it has not
/// accepted yet. What comes beyond it is told nothing, and tries again after a second: so thousands
/// of clients that begin to wait in the same moment would be refused. Sixteen workers fit in.
pub const PINS_OPENING_MAX: usize = 31;

const _: () = assert!(16 * PINS_OPENING_MAX < 511);

/// Bytes of a transaction's commands without keys that wait for its first with one. Beyond it the
/// transaction is taken to the first shard, where keys of others are refused.
pub const TRANSACTION_WAITING_MAX: usize = 1024 * 1024;

/// A request of at least so many bytes is forwarded as it arrives, on a link of its own, where its
/// begin tells where it goes. Smaller ones are held and go with everybody's.
pub const UPLOAD_BYTES_MIN: usize = 1024 * 1024;

/// Bytes of a large request that wait for its shard before its client is no longer read.
pub const UPLOAD_BACKLOG_HIGH: usize = 1024 * 1024;

/// Bytes of the reply to one of Weir's own questions to a shard. The largest is that of COMMAND:
/// 300 KB, more with many modules. Beyond it the link is closed, and opened again.
pub const OWN_REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

// ------------------------------------------------------------------------------------ readers

/// Replicas of one shard that are read from. More are not watched.
pub const READERS_MAX: usize = 32;

/// Looks at a primary that are remembered, to tell by them how old what a replica has is.
pub const READER_LOOKS_MAX: usize = 64;

/// The least time between two looks for the sake of readers.
pub const READER_PACE_MIN: Duration = Duration::from_millis(5);

// ------------------------------------------------------------------------------------ redirects

/// How often CLIENT UNBLOCK is said at once to a command that it has overtaken; then every
/// [`SWEEP_INTERVAL`].
pub const UNBLOCKS_AT_ONCE: u32 = 10;

/// How often a command follows MOVED and ASK at once, before it rests between two tries: nodes that
/// send it to and fro have yet to agree.
pub const DETOURS_AT_ONCE: u32 = 5;

/// Of so many commands of a session that were refused before one, it is looked at where they are.
pub const DETOURS_LOOKED_AT: usize = 64;

/// How long it rests at least, as does one that was told TRYAGAIN: a few round trips between nodes.
pub const DETOUR_PAUSE: Duration = Duration::from_millis(10);

// ------------------------------------------------------------------------------------ scouts

/// Sentinels, or nodes of a cluster, that are asked where the primaries are. A few that live are
/// enough; more would only have to be kept connected. Those beyond are not asked.
pub const SCOUTS_MAX: usize = 16;

/// Of so many nodes is remembered that they have, or had, the data of a shard in a cluster.
pub const KIN_MAX: usize = 64;

/// How often they are asked while a shard is away: a failover is over soon after the votes of a few
/// servers, and each millisecond of it is one without writes.
pub const SCOUT_HURRY: Duration = Duration::from_millis(10);

/// For so long, then as often as a shard that is down is tried: [`LINK_RETRY`].
pub const SCOUT_HURRY_MAX: Duration = Duration::from_secs(60);

/// How long they are asked as often after something has raised a doubt; and how long a shard may
/// owe an answer before that does. Longer than commands take, shorter than any election.
pub const SCOUT_DOUBT: Duration = Duration::from_millis(150);

/// The least time between two looks for reasons that come in crowds, as when a thousand slots move.
pub const SCOUT_REST: Duration = Duration::from_millis(5);

const _: () = assert!(SCOUT_REST.as_micros() <= SCOUT_HURRY.as_micros());

// ------------------------------------------------------------------------------------ routing

/// Shards of one database. Redis's own advice ends at 1000 nodes of a cluster; beyond this number
/// the upstream is refused. It bounds the parts of a split request, and keeps part numbers in 16
/// bits.
pub const SHARDS_MAX: usize = 1024;

const _: () = assert!(SHARDS_MAX < u16::MAX as usize);

/// Commands and subcommands in one table. Stock servers have about 420, large modules some dozens
/// each; beyond it the `COMMAND` reply is refused. It keeps a table's places in 16 bits.
pub const COMMANDS_MAX: usize = 16_384;

/// Arguments for which the memory of planning a request is kept when the next one is planned. More
/// is given back: one request of a million keys must not cost memory for ever.
pub const PLAN_ARGS_KEPT: usize = 64 * 1024;

// ------------------------------------------------------------------------------------ pubsub

/// How long a topic is remembered when nobody listens to it any more. Until then a PUBLISH's count
/// may still include our own subscription. Long beside the time that a PUBLISH is under way; it
/// costs a few hundred bytes for each topic that was left in this time.
pub const TOPIC_LINGER: Duration = Duration::from_secs(1);
// ------------------------------------------------------------------------------------ users

/// Bytes of a name or a password in AUTH. A stock server closes a connection that sends more before
/// it has logged in (redis `networking.c`, `processMultibulkBuffer`), and the connection on which
/// Weir asks is everybody's: beyond it the password is wrong.
pub const AUTH_WORD_BYTES_MAX: usize = 16 * 1024;

/// What is known of a user's rights is told to clients for so long. A right that is taken away on
/// the shards directly may be used at the endpoint for as long; one that is taken away through the
/// endpoint ends at once.
pub const RIGHT_AGE_MAX: Duration = Duration::from_secs(1);

/// A right that is in use is asked for again when it is this old, so that nobody waits for the
/// answer.
pub const RIGHT_REFRESH_AGE: Duration = Duration::from_millis(500);

/// A right that nobody has used for so long is not asked for on our own any more.
pub const RIGHT_IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a shard may take to say what a user may do, before another is asked, or what it said
/// last is taken for what it would say.
pub const RIGHT_ANSWER_MAX: Duration = Duration::from_millis(100);

/// How long a client waits at least until the shards have first said what its user may do, even if
/// no command waits for a shard (`failover-timeout` 0).
pub const RIGHT_FIRST_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(RIGHT_REFRESH_AGE.as_millis() < RIGHT_AGE_MAX.as_millis());

/// Connections of one worker to one shard on which clients log in, one at a time on each. Eight of
/// them let in some thousand clients a second on any network that one would put a database on; the
/// others wait.
pub const DOORS_MAX: usize = 8;

/// A connection on which clients log in is closed when none has for so long.
pub const DOOR_IDLE_MAX: Duration = Duration::from_secs(10);

// ------------------------------------------------------------------------------------ TLS

/// How long a client may take for the TLS handshake. A round trip or two to the other side of the
/// world on a bad line; beyond it the client is closed, so that one who never finishes doesn't hold
/// a place among `maxclients` for nothing.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Steps of clients' handshakes that a worker does in a turn. One may sign, which takes up to two
/// milliseconds with a large RSA key, so a storm of new clients would otherwise hold up those who
/// are served for seconds. The others wait for the next turn.
pub const TURN_HANDSHAKES_MAX: usize = 8;

/// Bytes that are encrypted for one connection at a time, if its socket takes them: its share of a
/// turn. A plain socket's share is what its buffer in the kernel takes.
pub const TLS_WRITE_BYTES: usize = 256 * 1024;

// ------------------------------------------------------------------------------------ pushes

/// Bytes of one line of MONITOR, which quotes a whole command: more than a client that doesn't take
/// it may keep waiting (`weir.pubsub-output-max`). Beyond it the connection is opened anew.
pub const MONITOR_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long CLIENT PAUSE may pause: ten years, so that no time overflows. Longer ones are cut.
pub const PAUSE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

// --------------------------------------------------------------------------- the host's port

/// Shard channels that are listened to for clients of the host's own port. One more is not.
pub const EAR_SHARD_CHANNELS_MAX: usize = 10_000;

/// How long the host's main thread waits for the shards to confirm that they are listened to, when
/// the first client of its port subscribes.
pub const EAR_WAIT_MAX: Duration = Duration::from_millis(100);

// ------------------------------------------------------------------------------------ modules

/// Replies that a session of another module may be owed. Beyond it `weir.h` says WEIR_FULL. Many
/// times what keeps the connections to the shards busy.
pub const MODULE_OWED_MAX: usize = 64 * 1024;

/// Bytes of requests of such a session that aren't answered yet; beyond it likewise, unless there
/// is only one.
pub const MODULE_OWED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a module that leaves waits for its callbacks. They come within a turn of each worker,
/// so beyond it something is wrong, and the module must stay.
pub const MODULE_LEAVE_MAX: Duration = Duration::from_secs(10);
