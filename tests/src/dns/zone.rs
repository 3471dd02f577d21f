//! What the fake name server says, by name and number of the question. Pure but for its counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;

/// Longer than this chain of aliases no answer is.
const ALIASES: usize = 8;

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

/// What is said to one question.
#[derive(Clone, Debug)]
pub struct Reply {
    said: Said,
    ttl: u32,
    after: Duration,
    silent_about: Option<Family>,
}

#[derive(Clone, Debug)]
enum Said {
    Addresses(Vec<IpAddr>),
    Alias(String),
    Code(ResponseCode),
    Nothing,
}

/// The names.
#[derive(Debug, Default)]
pub(super) struct Zone {
    state: Mutex<ZoneState>,
}

#[derive(Debug, Default)]
struct ZoneState {
    names: BTreeMap<String, Vec<Reply>>,
    asked: BTreeMap<(String, Family), usize>,
}

// === impl Reply ===

impl Reply {
    /// Addresses of either family; each question gets those of its own.
    ///
    /// # Panics
    /// One is no address: a mistake in the test.
    #[must_use]
    pub fn addresses(addresses: &[&str]) -> Self {
        Self::saying(Said::Addresses(addresses.iter().map(|it| it.parse().expect("an address")).collect()))
    }

    /// So many public addresses, more than a datagram holds.
    #[must_use]
    pub fn many(count: u32) -> Self {
        let first = u32::from(Ipv4Addr::new(1, 1, 0, 1));
        Self::saying(Said::Addresses((0..count).map(|number| Ipv4Addr::from(first + number).into()).collect()))
    }

    /// Another name of this server stands for it.
    #[must_use]
    pub fn alias(name: &str) -> Self {
        Self::saying(Said::Alias(name.to_owned()))
    }

    /// There is no such name.
    #[must_use]
    pub fn no_such_name() -> Self {
        Self::saying(Said::Code(ResponseCode::NXDomain))
    }

    /// The server has failed.
    #[must_use]
    pub fn failure() -> Self {
        Self::saying(Said::Code(ResponseCode::ServFail))
    }

    /// No answer at all.
    #[must_use]
    pub fn silent() -> Self {
        Self::saying(Said::Nothing)
    }

    /// It may be kept for so long; by default not at all.
    #[must_use]
    pub fn ttl(self, seconds: u32) -> Self {
        Self { ttl: seconds, ..self }
    }

    /// It comes so late.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// Questions of this family are not answered.
    #[must_use]
    pub fn silent_about(self, family: Family) -> Self {
        Self { silent_about: Some(family), ..self }
    }

    fn saying(said: Said) -> Self {
        Self { said, ttl: 0, after: Duration::ZERO, silent_about: None }
    }
}

// === impl Zone ===

impl Zone {
    pub(super) fn set(&self, name: &str, replies: Vec<Reply>) {
        let mut state = self.state.lock();
        let name = plain(name);
        state.asked.retain(|(asked, _), _| *asked != name);
        state.names.insert(name, replies);
    }

    pub(super) fn asked(&self, name: &str, family: Family) -> usize {
        self.state.lock().asked.get(&(plain(name), family)).copied().unwrap_or_default()
    }

    /// The answer to a message and how late it comes; nothing if there is none.
    pub(super) fn answer(&self, request: &Message) -> Option<(Message, Duration)> {
        let query = request.queries.first()?;
        let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
        answer.metadata.recursion_desired = request.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let after = self.fill(&mut answer, query)?;
        Some((answer, after))
    }

    fn fill(&self, answer: &mut Message, query: &Query) -> Option<Duration> {
        let families = [(RecordType::A, Family::V4), (RecordType::AAAA, Family::V6)];
        let asked = families.into_iter().find(|(asked, _)| *asked == query.query_type());
        // Of anything else nothing is there.
        let Some((_, family)) = asked else { return Some(Duration::ZERO) };
        let (mut name, mut late) = (query.name().clone(), Duration::ZERO);
        for _ in 0..ALIASES {
            let reply = self.next(&name, family);
            late += reply.after;
            if reply.silent_about == Some(family) {
                return None;
            }
            match reply.said {
                Said::Addresses(addresses) => {
                    let fitting = addresses.into_iter().filter(|it| it.is_ipv4() == (family == Family::V4));
                    answer.add_answers(fitting.map(|it| Record::from_rdata(name.clone(), reply.ttl, RData::from(it))));
                    return Some(late);
                }
                Said::Alias(other) => {
                    let other = Name::from_ascii(format!("{}.", plain(&other))).expect("a name");
                    let alias = RData::CNAME(CNAME(other.clone()));
                    answer.add_answer(Record::from_rdata(name, reply.ttl, alias));
                    name = other;
                }
                Said::Code(code) => {
                    answer.metadata.response_code = code;
                    return Some(late);
                }
                Said::Nothing => return None,
            }
        }
        Some(late)
    }

    /// The reply to the next question for a name.
    fn next(&self, name: &Name, family: Family) -> Reply {
        let name = plain(&name.to_ascii());
        let mut state = self.state.lock();
        let count = state.asked.entry((name.clone(), family)).or_default();
        *count += 1;
        let at = *count - 1;
        let below = name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let replies = state.names.get(&name).or_else(|| state.names.get(&below?));
        let reply = replies.and_then(|replies| replies.get(at).or_else(|| replies.last()));
        reply.cloned().unwrap_or_else(Reply::no_such_name)
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
