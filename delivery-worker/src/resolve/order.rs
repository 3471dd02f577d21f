//! In which order addresses are tried: both families by turns, IPv6 first, what has no route last (after RFC 8305). Pure but for
//! the question about the route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Of each family so many are looked at: more are not dialled.
const LOOKED_AT: usize = 8;

/// Both families by turns. On a host without IPv6, addresses of that kind would else cost the first attempt to connect.
pub(super) fn by_turns(addresses: &[IpAddr], has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let of = |is_v6: bool| addresses.iter().copied().filter(move |it| it.is_ipv6() == is_v6).take(LOOKED_AT);
    let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = (of(true).collect(), of(false).collect());
    if six.is_empty() || four.is_empty() {
        // Nothing to choose between.
        return [six, four].concat();
    }
    let (six, six_without): (Vec<_>, Vec<_>) = six.into_iter().partition(|it| has_route(*it));
    let (four, four_without): (Vec<_>, Vec<_>) = four.into_iter().partition(|it| has_route(*it));
    let mut ordered = Vec::with_capacity(2 * LOOKED_AT);
    for turn in 0..LOOKED_AT {
        ordered.extend(six.get(turn));
        ordered.extend(four.get(turn));
    }
    ordered.extend(six_without);
    ordered.extend(four_without);
    ordered
}

/// Whether the kernel knows a way there. Nothing is sent: connecting a UDP socket only looks up the route.
pub(super) fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(addresses: &[&str], has_route: impl Fn(IpAddr) -> bool) -> Vec<String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        by_turns(&addresses, has_route).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn families_take_turns_and_what_has_no_route_comes_last() {
        let mixed = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "2606::1", "2606::2"];
        assert_eq!(ordered(&mixed, |_| true), ["2606::1", "1.1.1.1", "2606::2", "1.1.1.2", "1.1.1.3"]);
        assert_eq!(ordered(&mixed, |it| it.is_ipv4()), ["1.1.1.1", "1.1.1.2", "1.1.1.3", "2606::1", "2606::2"]);
        assert_eq!(ordered(&mixed, |_| false).len(), 5, "who knows: none is lost");
        assert_eq!(ordered(&["1.1.1.1", "1.1.1.2"], |_| panic!("nobody asks")), ["1.1.1.1", "1.1.1.2"]);
    }

    #[test]
    fn of_thousands_only_the_first_are_looked_at() {
        let many: Vec<IpAddr> = (0..1_000).map(|low| Ipv4Addr::from_bits(0x0101_0000 + low).into()).collect();
        let both: Vec<IpAddr> = many.iter().copied().chain(["2606::1".parse().unwrap()]).collect();
        assert_eq!(by_turns(&both, |_| true).len(), LOOKED_AT + 1);
    }

    #[test]
    fn loopback_has_a_route() {
        assert!(has_route(Ipv4Addr::LOCALHOST.into()));
    }
}
