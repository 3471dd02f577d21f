//! How a route of the fake endpoint answers: a list of replies, one per call, the last one for all that follow.
//!
//! As text, a word per reply: `500x2 204` answers 500 twice, then 204 for ever. After a `+` follow details:
//! `429+retry-after=3`, `204+delay=2s`, `302+location=http://127.0.0.1/`, `200+text=hello`, `200+huge=10m`,
//! `200+drip=100ms`, `200+cut` (resets inside the body), `204+early` (answers before it has read the body).
//! `hang` never answers, `reset` resets the connection instead of answering. Any other `name=value` is a header.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// Bytes of a dripping or cut body that announces more than it sends.
const SLOW_BODY_BYTES: usize = 1_000;

/// Replies in order of the calls.
#[derive(Clone, Debug)]
pub struct Script {
    /// Each with how many calls it answers; the last one answers all further calls.
    steps: Vec<(u32, Reply)>,
    count: CountBy,
}

/// What a call number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountBy {
    /// All requests to one path.
    Path,
    /// The attempts of one delivery (`X-Hookbus-Delivery-Id`): every event is treated alike.
    Delivery,
}

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What happens instead of an answer, or to it.
    pub fault: Fault,
    /// The status, where there is an answer.
    pub status: StatusCode,
    /// Headers on top of hyper's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Waited after the request's body was read, before the answer.
    pub delay: Duration,
    /// What follows the head.
    pub body: ReplyBody,
    /// Answer without reading the request's body.
    pub early: bool,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// No answer, connection open.
    Hang,
    /// The connection is reset when the answer is due.
    Reset,
    /// The connection is reset inside the answer's body.
    Cut,
}

/// A reply's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// These bytes at once.
    Whole(Bytes),
    /// So many bytes, made up on the way.
    Huge(usize),
    /// A byte at a time, with this pause.
    Drip(Duration),
}

// === impl Script ===

impl Script {
    /// One reply for all calls.
    #[must_use]
    pub fn always(reply: Reply) -> Self {
        Self { steps: vec![(1, reply)], count: CountBy::Path }
    }

    /// Counts calls per delivery, not per path.
    #[must_use]
    pub const fn per_delivery(mut self) -> Self {
        self.count = CountBy::Delivery;
        self
    }

    /// What its call numbers count.
    #[must_use]
    pub const fn count_by(&self) -> CountBy {
        self.count
    }

    /// Whether every call gets the same reply, so that nobody needs to count.
    #[must_use]
    pub const fn is_constant(&self) -> bool {
        self.steps.len() == 1
    }

    /// The reply to the call with this number, from 1.
    #[must_use]
    pub fn reply(&self, call: u32) -> &Reply {
        let mut left = call;
        for (times, reply) in &self.steps {
            if left <= *times {
                return reply;
            }
            left -= times;
        }
        self.steps.last().map(|(_, reply)| reply).expect("a script has a step: it cannot be made without")
    }
}

impl FromStr for Script {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let steps: anyhow::Result<Vec<_>> = text.split_whitespace().map(step).collect();
        let steps = steps.with_context(|| format!("in the script `{text}`"))?;
        ensure!(!steps.is_empty(), "a script needs at least one reply");
        Ok(Self { steps, count: CountBy::Path })
    }
}

fn step(word: &str) -> anyhow::Result<(u32, Reply)> {
    let mut parts = word.split('+');
    let head = parts.next().unwrap_or_default();
    let (name, times) = match head.split_once('x') {
        Some((name, times)) => (name, times.parse().with_context(|| format!("`{times}` is no number of calls"))?),
        None => (head, 1),
    };
    let mut reply = match name {
        "hang" => Reply { fault: Fault::Hang, ..Reply::status(204) },
        "reset" => Reply { fault: Fault::Reset, ..Reply::status(204) },
        number => {
            let status = StatusCode::from_bytes(number.as_bytes());
            let status = status.with_context(|| format!("`{number}` is no status, and neither hang nor reset"))?;
            Reply { status, ..Reply::status(204) }
        }
    };
    for detail in parts {
        add_detail(&mut reply, detail)?;
    }
    Ok((times, reply))
}

fn add_detail(reply: &mut Reply, detail: &str) -> anyhow::Result<()> {
    let (name, value) = detail.split_once('=').unwrap_or((detail, ""));
    match name {
        "cut" => reply.fault = Fault::Cut,
        "early" => reply.early = true,
        "delay" => reply.delay = duration(value)?,
        "drip" => reply.body = ReplyBody::Drip(duration(value)?),
        "huge" => reply.body = ReplyBody::Huge(size(value)?),
        "text" => reply.body = ReplyBody::Whole(Bytes::copy_from_slice(value.as_bytes())),
        header => reply.headers.push((HeaderName::from_str(header)?, HeaderValue::from_str(value)?)),
    }
    Ok(())
}

/// `250ms`, `3s`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(number.parse()?));
    }
    match text.strip_suffix('s') {
        Some(number) => Ok(Duration::from_secs(number.parse()?)),
        None => bail!("`{text}` is no duration such as 250ms or 3s"),
    }
}

/// `500`, `64k`, `10m`.
fn size(text: &str) -> anyhow::Result<usize> {
    let (number, factor) = match (text.strip_suffix('k'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1024),
        (None, Some(number)) => (number, 1024 * 1024),
        (None, None) => (text, 1),
    };
    Ok(number.parse::<usize>().with_context(|| format!("`{text}` is no size such as 500, 64k or 10m"))? * factor)
}

// === impl Reply ===

impl Reply {
    /// This status, at once, with an empty body.
    ///
    /// # Panics
    /// When it is no status: tests write it as a literal.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            fault: Fault::None,
            status: StatusCode::from_u16(status).expect("a literal status between 100 and 999"),
            headers: Vec::new(),
            delay: Duration::ZERO,
            body: ReplyBody::Whole(Bytes::new()),
            early: false,
        }
    }
}

// === impl ReplyBody ===

impl ReplyBody {
    /// Its length, as announced.
    pub(crate) const fn length(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Huge(bytes) => *bytes,
            Self::Drip(_) => SLOW_BODY_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(script: &str, calls: u32) -> Vec<u16> {
        let script: Script = script.parse().unwrap();
        (1..=calls).map(|call| script.reply(call).status.as_u16()).collect()
    }

    #[test]
    fn replies_follow_the_call_number_and_the_last_one_stays() {
        assert_eq!(statuses("500x2 204", 5), [500, 500, 204, 204, 204]);
        assert_eq!(statuses("410", 2), [410, 410]);
        assert_eq!(statuses("200 500x3", 6), [200, 500, 500, 500, 500, 500]);
    }

    #[test]
    fn details_are_understood() {
        let script: Script =
            "429+retry-after=3+delay=250ms hang reset 200+cut+huge=2k+early 200+drip=1s".parse().unwrap();
        assert_eq!(script.reply(1).headers, [(HeaderName::from_static("retry-after"), HeaderValue::from_static("3"))]);
        assert_eq!(script.reply(1).delay, Duration::from_millis(250));
        assert_eq!(script.reply(2).fault, Fault::Hang);
        assert_eq!(script.reply(3).fault, Fault::Reset);
        let cut = script.reply(4);
        assert_eq!((cut.fault, cut.early, cut.body.length()), (Fault::Cut, true, 2048));
        assert_eq!(script.reply(9).body, ReplyBody::Drip(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, named) in [
            ("", "at least one"),
            ("2O4", "2O4"),
            ("200x", "calls"),
            ("200+delay=3", "duration"),
            ("200+huge=x", "size"),
        ] {
            let error = format!("{:#}", text.parse::<Script>().unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
