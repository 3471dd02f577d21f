//! The codes of what ends a process, and of what `hookbus doctor` finds: one table. `hookbus explain` prints the runbook of each,
//! which is built in, because whoever needs it may have nothing but a shell in a pod.
//!
//! Libraries write a code as text at the head of their message (`HB-020: ...`), so that it stands in every log line about it too.
//! A test holds this table, the messages and `deploy/runbooks` together.

use std::fmt;

use chassis::config::ConfigError;
use chassis::tasks::TaskFailure;
use vault::VaultError;

use crate::Usage;

/// Runbooks of codes that have no page of their own, a section each.
const SECTIONS: &str = include_str!("../../runbooks/codes.md");
/// Before the number.
const PREFIX: &str = "HB-";
/// Digits of the number.
const DIGITS: usize = 3;

macro_rules! codes {
    ($($(#[doc = $title:literal])+ $name:ident = $number:literal $(, $page:literal)?;)+) => {
        /// What can be wrong, as an operator would look it up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Code {
            $($(#[doc = $title])+ $name,)+
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];

            fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)+
                }
            }

            /// What it means, in a line.
            pub(crate) fn title(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($title,)+).trim_ascii(),)+
                }
            }

            /// Its own page, where it has one.
            fn page(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => {
                        let page: &[&str] = &[$(include_str!(concat!("../../runbooks/", $page)))?];
                        page.first().copied()
                    })+
                }
            }
        }
    };
}

codes! {
    /// The configuration cannot be used
    Configuration = 1;
    /// The command line cannot be understood
    CommandLine = 2;
    /// A key of `[security]` is missing or is no key
    Keys = 3;
    /// An address to listen on is taken or not of this host
    Listen = 4;
    /// A property of librdkafka is refused
    Property = 5;
    /// The certificate or key of a listener cannot be used
    ListenerTls = 6;
    /// The name of a broker is not known
    BrokerName = 10;
    /// A broker cannot be reached
    BrokerUnreachable = 11;
    /// TLS with a broker fails
    BrokerTls = 12;
    /// A broker does not accept who this is
    BrokerLogin = 13;
    /// Kafka does not permit what a role needs
    Denied = 14;
    /// A topic is missing
    TopicMissing = 15;
    /// A topic is not as it is configured
    TopicDiffers = 16;
    /// A setting of the brokers does not fit
    BrokerSetting = 17;
    /// A broker accepts connections and does not answer as Kafka
    BrokerSilent = 18;
    /// A partition has no leader, or too few replicas
    Leaderless = 19;
    /// A partition has lost its committed offset
    NoCommittedOffset = 20, "no-committed-offset.md";
    /// A log is shorter than what was read of it
    LogTruncated = 21, "log-truncated.md";
    /// A transaction stays open
    OpenTransaction = 22, "open-transaction.md";
    /// Lists of what waits are not what was left there
    ListsDiffer = 23, "lists-differ.md";
    /// Two processes use one slot
    SlotTwice = 24;
    /// Secrets are sealed with a key that is not here
    SealedWithout = 25;
    /// A record can neither be handled nor rejected
    Unwritable = 26;
    /// A part of the process has ended
    PartEnded = 30;
    /// The process did not end within its grace period
    Grace = 31;
    /// The process was ended by a second signal
    SecondSignal = 32;
    /// The clock of this host is not that of the brokers
    Clock = 33;
    /// Processes of several versions run together
    VersionsMixed = 34;
    /// A process has said nothing for a while
    Silent = 35;
    /// What the process may use is less than its configuration asks for
    Limits = 36;
    /// A target may not be called
    Target = 37;
}

impl Code {
    /// The runbook: what it means, where to look, what to do. Markdown.
    pub(crate) fn runbook(self) -> &'static str {
        self.page().unwrap_or_else(|| self.section())
    }

    /// Its section of the common page, with the heading.
    fn section(self) -> &'static str {
        let heading = format!("\n## {self}: ");
        let Some(start) = SECTIONS.find(&heading) else { return "" };
        let section = SECTIONS.get(start + 1..).unwrap_or_default();
        let end = section.get(1..).and_then(|rest| rest.find("\n## ")).map_or(section.len(), |at| at + 1);
        section.get(..end).unwrap_or_default().trim_end()
    }

    /// The code of this text: `HB-020`, `hb-20` or `20`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let number = text.trim().to_ascii_uppercase();
        let number: u16 = number.strip_prefix(PREFIX).unwrap_or(&number).parse().ok()?;
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The first code that a message names.
    fn in_message(message: &str) -> Option<Self> {
        message.match_indices(PREFIX).find_map(|(at, _)| Self::named(message.get(at..at + PREFIX.len() + DIGITS)?))
    }

    /// The code of a failure; `None`: it is an answer to a command, as that a subscription does not exist.
    pub(crate) fn of(error: &anyhow::Error) -> Option<Self> {
        if error.chain().any(|cause| cause.is::<ConfigError>()) {
            return Some(Self::Configuration);
        }
        if error.chain().any(|cause| cause.is::<VaultError>()) {
            return Some(Self::Keys);
        }
        let named = error.chain().find_map(|cause| Self::in_message(&cause.to_string()));
        let of_part = || error.chain().any(|cause| cause.is::<TaskFailure>()).then_some(Self::PartEnded);
        let of_user = || error.chain().any(|cause| cause.is::<Usage>()).then_some(Self::CommandLine);
        named.or_else(of_part).or_else(of_user)
    }

    /// Whether it is the configuration or the command line that has to be changed.
    pub(crate) fn is_of_user(self) -> bool {
        matches!(self, Self::Configuration | Self::CommandLine | Self::Keys | Self::Property)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:0DIGITS$}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn numbers_are_given_once_and_rise() {
        assert!(Code::ALL.is_sorted_by(|one, next| one.number() < next.number()));
        for code in Code::ALL {
            assert_eq!(Code::named(&code.to_string()), Some(*code));
        }
        assert_eq!((Code::named("20"), Code::named("hb-020")), (Code::named("HB-020"), Some(Code::NoCommittedOffset)));
        assert_eq!((Code::named("HB-999"), Code::named("")), (None, None));
    }

    #[test]
    fn every_code_has_a_runbook_that_names_it() {
        for code in Code::ALL {
            let runbook = code.runbook();
            assert!(runbook.len() > 200, "{code}: {runbook:?}");
            assert!(runbook.contains(&code.to_string()), "{code}");
            assert_eq!(runbook.matches("\n## HB-").count(), 0, "{code}: its section alone");
        }
        assert!(Code::Grace.runbook().starts_with(&format!("## HB-031: {}\n", Code::Grace.title())));
    }

    #[test]
    fn a_failure_has_the_code_of_its_kind_or_the_one_its_message_names() {
        let failed = |error: &str| TaskFailure { name: "fanout".into(), error: error.into() };
        let kafka = kafka::KafkaError::NoTopic { topic: "events".into() };
        assert_eq!(Code::of(&anyhow!(kafka).context("Kafka at a:9092")), Some(Code::TopicMissing));
        assert_eq!(Code::of(&failed("x: HB-020: y has no committed offset").into()), Some(Code::NoCommittedOffset));
        assert_eq!(Code::of(&failed("panicked: index 7").into()), Some(Code::PartEnded));
        assert_eq!(Code::of(&crate::usage("no such role").context("the command")), Some(Code::CommandLine));
        let read = chassis::config::load(Some(std::path::Path::new("/nowhere.toml")), std::iter::empty());
        assert_eq!(Code::of(&read.context("start").unwrap_err()), Some(Code::Configuration));
        assert_eq!(
            Code::of(&vault::parse_keys("k1").context("security.encryption_keys").unwrap_err()),
            Some(Code::Keys)
        );
        assert_eq!(Code::of(&anyhow!("not_found: there is no subscription HB-1")), None);
    }
}
