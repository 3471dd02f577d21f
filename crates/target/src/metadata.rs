//! Where clouds serve credentials to their own instances. No list of the operator's opens these. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of these services, by which some find them without an address.
const NAMES: [&str; 7] = [
    // Google.
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    // AWS.
    "instance-data",
    "instance-data.ec2.internal",
    // Tencent, Equinix.
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
];

const V4: [Ipv4Addr; 9] = [
    // AWS, Google, Azure, DigitalOcean, OpenStack and most others.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: the resolver beside it, ECS tasks, EKS pods.
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent.
    Ipv4Addr::new(169, 254, 0, 23),
    // Scaleway.
    Ipv4Addr::new(169, 254, 42, 42),
    // Azure's platform address.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle.
    Ipv4Addr::new(192, 0, 0, 192),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
];

const V6: [Ipv6Addr; 6] = [
    // AWS: instances, the resolver beside it, EKS pods.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // OpenStack.
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Scaleway.
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Whether an address serves metadata. What stands inside a v6 address is asked for by itself.
pub(crate) fn is_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => V4.contains(&address),
        IpAddr::V6(address) => V6.contains(&address),
    }
}

/// Whether a name (in lower case, without a dot at its end) is one of such a service.
pub(crate) fn is_name(name: &str) -> bool {
    NAMES.contains(&name)
}
