//! Addresses that are Hookbus itself: what this process listens on, its Kafka, and its egress proxy. No list of the operator's opens
//! these: a tenant has nothing to say to an admin port or a broker, nor to a proxy that takes it for one of its own host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use url::Host;

/// What librdkafka takes where no port is given.
const KAFKA_PORT: u16 = 9092;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    listeners: Vec<SocketAddr>,
    /// Brokers, and whatever else is known by name or address.
    brokers: Vec<BrokerAddress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BrokerAddress {
    host: Host,
    port: u16,
}

impl OwnAddresses {
    /// What the process listens on, and Kafka's brokers as the configuration lists them (`a:9092,b:9092`).
    #[must_use]
    pub fn new(listeners: Vec<SocketAddr>, brokers: &str) -> Self {
        Self { listeners, brokers: brokers.split(',').filter_map(BrokerAddress::read).collect() }
    }

    /// With one more place: a name or an address, in brackets or not.
    #[must_use]
    pub fn and(mut self, host: &str, port: u16) -> Self {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Some(Host::Ipv4(address)),
            Ok(IpAddr::V6(address)) => Some(Host::Ipv6(address)),
            Err(_no_address) => Host::parse(host).ok(),
        };
        self.brokers.extend(host.map(|host| BrokerAddress { host, port }));
        self
    }

    /// The brokers at a port that are known by name: who resolves names compares what they resolve to.
    pub fn broker_names(&self, port: u16) -> impl Iterator<Item = &str> {
        self.brokers.iter().filter(move |broker| broker.port == port).filter_map(|broker| match &broker.host {
            Host::Domain(name) => Some(name.as_str()),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        })
    }

    /// Whether a broker is known by this name (in lower case, without a dot at its end).
    pub(crate) fn has_name(&self, name: &str, port: u16) -> bool {
        self.broker_names(port).any(|broker| broker.trim_end_matches('.') == name)
    }

    /// Whether it is an address of a broker or one that this process listens on.
    pub(crate) fn has_address(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let is_broker = |broker: &BrokerAddress| broker.port == port && broker.ip() == Some(ip);
        let is_listener = |listener: &SocketAddr| {
            let bound = listener.ip().to_canonical();
            listener.port() == port && (bound == ip || (bound.is_unspecified() && is_of_this_host(ip)))
        };
        self.brokers.iter().any(is_broker) || self.listeners.iter().any(is_listener)
    }
}

impl BrokerAddress {
    fn read(text: &str) -> Option<Self> {
        let bare = text.trim();
        let bare = bare.split_once("://").map_or(bare, |(_, rest)| rest);
        let with_port = bare.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = with_port.unwrap_or((bare, KAFKA_PORT));
        Host::parse(host).ok().map(|host| Self { host, port })
    }

    fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(IpAddr::V6(address).to_canonical()),
        }
    }
}

/// Whether the kernel would answer at this address itself. Nothing is sent: connecting a UDP socket looks up the route, and
/// the route to an own address begins there.
fn is_of_this_host(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let begins_there = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        Ok(socket.local_addr()?.ip() == ip)
    });
    // Without a route to it, it is somewhere else.
    begins_there.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_known_by_name_and_by_address() {
        let own =
            OwnAddresses::new(Vec::new(), "kafka-0.Kafka.svc:9092, SASL_SSL://10.0.0.9:9094,[fd00::9]:9095,kafka-1,,");
        assert!(own.has_name("kafka-0.kafka.svc", 9092) && own.has_name("kafka-1", 9092));
        assert!(!own.has_name("kafka-0.kafka.svc", 443) && !own.has_name("kafka.svc", 9092));
        let has = |address: &str| own.has_address(address.parse().unwrap());
        assert!(has("10.0.0.9:9094") && has("[::ffff:10.0.0.9]:9094") && has("[fd00::9]:9095"));
        assert!(!has("10.0.0.9:9092") && !has("10.0.0.8:9094"));
        assert_eq!(own.broker_names(9092).collect::<Vec<_>>(), ["kafka-0.kafka.svc", "kafka-1"]);
    }

    #[test]
    fn another_place_is_known_as_a_broker_is() {
        let own = OwnAddresses::new(Vec::new(), "kafka:9092").and("Proxy.internal", 3_128).and("fd00::1", 3_128);
        assert!(own.has_name("proxy.internal", 3_128) && !own.has_name("proxy.internal", 443));
        assert!(own.has_address("[fd00::1]:3128".parse().unwrap()) && own.has_name("kafka", 9_092));
        assert!(!own.has_address("[fd00::1]:443".parse().unwrap()));
    }

    #[test]
    fn listeners_are_known_on_every_address_of_this_host() {
        let own = OwnAddresses::new(vec!["0.0.0.0:8081".parse().unwrap(), "127.0.0.1:9464".parse().unwrap()], "");
        let has = |address: &str| own.has_address(address.parse().unwrap());
        assert!(has("127.0.0.1:8081") && has("127.9.9.9:8081") && has("[::1]:8081") && has("127.0.0.1:9464"));
        assert!(!has("127.0.0.1:8082") && !has("127.0.0.2:9464") && !has("192.0.2.1:8081"));
    }
}
