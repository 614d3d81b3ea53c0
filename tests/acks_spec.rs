//! Scenarios of `weir::acks`: what is told to one shard's acknowledgements, and what they then do.
//!
//! Each line is an epoll turn; what it leads to stands indented below it. `;` puts several things
//! into one turn. Trackers are t0, t1 ... in the order in which they were opened; sessions are
//! letters.
//!
//! ```text
//!   see online=2 aof=1 offset=500   from now on INFO says so (nothing happens yet)
//!   up [proof=117]                  a new history, maybe with a second_repl_offset
//!   poll, down                      a poll went out and came back; the shard can't be reached
//!   wrote a                         a's write was replied
//!   wait a 1 [30], waitaof a 1 1 [30]    a waits, perhaps for that many ms
//!   confirm a 1                     a is back with its last count, and asked for so many
//!   cancel a, unblock a
//!   ready t0, lost t0               a tracker's connection
//!   reply t0 1, reply t0 1 2        the round's count, and INFO
//!   error t0 TEXT, refused t0 TEXT  the question's error; the barrier's
//!   at 30.5                         the clock goes on to that ms, and rings what is due
//!   counts
//! ```

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use weir::acks::{
    Acked, Action, Confirm, Counted, Generation, Mark, Need, Proof, Seen, ShardAcks, TrackerId,
    WaitNumber,
};
use weir::ids::{SessionId, ShardId, SlabId, Time};

#[test]
fn scenarios() {
    scenario::run("acks", |input| {
        let mut play = Play::new();
        input.lines().for_each(|line| play.turn(line));
        play.out
    });
}

struct Play {
    acks: ShardAcks,
    now: Time,
    seen: Seen,
    marks: HashMap<SessionId, Mark>,
    counted: HashMap<SessionId, Counted>,
    trackers: Vec<TrackerId>,
    out: String,
}

impl Play {
    fn new() -> Self {
        let seen = Seen {
            generation: Generation(0),
            offset: 100,
            backlog_active: true,
            aof_enabled: false,
            cluster_enabled: false,
            online: 1,
        };
        Self {
            acks: ShardAcks::new(),
            now: Time(0),
            seen,
            marks: HashMap::new(),
            counted: HashMap::new(),
            trackers: Vec::new(),
            out: String::new(),
        }
    }

    fn turn(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
        for part in line.split(';') {
            let words: Vec<&str> = part.split_whitespace().collect();
            self.act(&words);
        }
        self.acks.start_rounds(self.now);
        self.drain("");
    }

    fn act(&mut self, words: &[&str]) {
        match words {
            ["see", rest @ ..] => self.see(rest),
            ["up", rest @ ..] => {
                self.seen.generation.0 += 1;
                let proof = rest.first().map(|word| word.strip_prefix("proof=").unwrap());
                let proof = proof.map_or(Proof::Nothing, |end| Proof::Below(end.parse().unwrap()));
                self.acks.new_generation(proof, &self.seen, self.now);
            }
            ["poll"] => {
                let number = self.acks.begin_report();
                self.acks.report(number, &self.seen);
            }
            ["down"] => self.acks.down(self.now),
            ["wrote", who] => {
                self.marks.insert(session(who), self.acks.mark());
            }
            ["wait", who, replicas, rest @ ..] => {
                self.wait(who, Need::Wait { replicas: replicas.parse().unwrap() }, rest);
            }
            ["waitaof", who, local, replicas, rest @ ..] => {
                let (local, replicas) = (local.parse().unwrap(), replicas.parse().unwrap());
                self.wait(who, Need::WaitAof { local, replicas }, rest);
            }
            ["confirm", who, replicas] => {
                let need = Need::Wait { replicas: replicas.parse().unwrap() };
                let (mark, counted) = (self.mark(who), self.counted[&session(who)]);
                let number = WaitNumber::default();
                let shard = ShardId(0);
                let old = Confirm { shard, number, mark, need, deadline: None, counted };
                self.acks.confirm(session(who), &old, self.now);
            }
            ["cancel", who] => self.acks.cancel(session(who), self.now),
            ["unblock", who] => self.acks.unblock(session(who), self.now),
            ["at", millis] => self.go_on((millis.parse::<f64>().unwrap() * 1000.0) as u64),
            ["counts"] => writeln!(self.out, "  {:?}", self.acks.counts()).unwrap(),
            [what, tracker, rest @ ..] => self.tracker(what, tracker, rest),
            _ => panic!("{words:?}"),
        }
    }

    fn see(&mut self, words: &[&str]) {
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            let number: u64 = value.parse().unwrap();
            match name {
                "online" => self.seen.online = number as i64,
                "offset" => self.seen.offset = number,
                "backlog" => self.seen.backlog_active = number > 0,
                "aof" => self.seen.aof_enabled = number > 0,
                "cluster" => self.seen.cluster_enabled = number > 0,
                _ => panic!("{word}"),
            }
        }
    }

    fn wait(&mut self, who: &str, need: Need, rest: &[&str]) {
        let timeout = rest.first().map(|millis| Duration::from_millis(millis.parse().unwrap()));
        let deadline = timeout.map(|timeout| self.now + timeout);
        self.acks.wait(
            session(who),
            WaitNumber::default(),
            need,
            self.mark(who),
            deadline,
            self.now,
        );
    }

    fn mark(&self, who: &str) -> Option<Mark> {
        self.marks.get(&session(who)).copied()
    }

    fn tracker(&mut self, what: &str, tracker: &str, rest: &[&str]) {
        let id = self.trackers[tracker.strip_prefix('t').unwrap().parse::<usize>().unwrap()];
        match what {
            "ready" => self.acks.tracker_ready(id, self.now),
            "lost" => self.acks.tracker_lost(id, self.now),
            "refused" => self.acks.barrier_refused(id, rest.join(" ").as_bytes().into(), self.now),
            "error" => {
                let text = rest.join(" ").as_bytes().into();
                self.acks.round_replied(id, Err(text), &self.seen, self.now);
            }
            "reply" => {
                let numbers: Vec<i64> = rest.iter().map(|word| word.parse().unwrap()).collect();
                let (local, replicas) = match numbers[..] {
                    [replicas] => (0, replicas),
                    [local, replicas] => (local, replicas),
                    _ => panic!("{rest:?}"),
                };
                let acked = Acked { local, replicas };
                self.acks.round_replied(id, Ok(acked), &self.seen, self.now);
            }
            _ => panic!("{what}"),
        }
    }

    fn go_on(&mut self, until: u64) {
        while let Some(next) = self.acks.next_timeout().filter(|next| next.0 <= until) {
            self.now = self.now.max(next);
            self.acks.handle_timeout(self.now);
            self.acks.start_rounds(self.now);
            self.drain(&format!("{} ms: ", self.now.0 as f64 / 1000.0));
        }
        self.now = Time(until);
    }

    fn drain(&mut self, when: &str) {
        while let Some(action) = self.acks.poll_action() {
            let text = self.tell(action);
            writeln!(self.out, "  {when}{text}").unwrap();
        }
    }

    fn tell(&mut self, action: Action) -> String {
        match action {
            Action::OpenTracker(id) => {
                self.trackers.push(id);
                format!("open t{}", self.trackers.len() - 1)
            }
            Action::CloseTracker(id) => format!("close {}", self.name(id)),
            Action::Ask { tracker, barrier, ask } => {
                format!("{}: {barrier:?}, {}", self.name(tracker), question(ask))
            }
            Action::AskAgain { tracker, ask } => {
                format!("{}: again {}", self.name(tracker), question(ask))
            }
            Action::Unblock { tracker } => format!("{}: unblock", self.name(tracker)),
            Action::Answer { session, answer, .. } => {
                let who = char::from(b'a' + session.index() as u8);
                match answer {
                    Ok(counted) => {
                        self.counted.insert(session, counted);
                        let Acked { local, replicas } = counted.acked;
                        format!("{who}: {local} {replicas}")
                    }
                    Err(weir::acks::Denied::Lost) => format!("{who}: lost"),
                    Err(weir::acks::Denied::Unreachable) => format!("{who}: unreachable"),
                    Err(weir::acks::Denied::Error(text)) => {
                        format!("{who}: -{}", String::from_utf8_lossy(&text))
                    }
                }
            }
        }
    }

    fn name(&self, id: TrackerId) -> String {
        format!("t{}", self.trackers.iter().position(|&other| other == id).unwrap())
    }
}

fn session(name: &str) -> SessionId {
    SessionId::new(u32::from(name.as_bytes()[0] - b'a'), 0)
}

fn question(ask: Need) -> String {
    match ask {
        Need::Wait { replicas } => format!("WAIT {replicas}"),
        Need::WaitAof { local, replicas } => format!("WAITAOF {local} {replicas}"),
    }
}
