//! Which addresses a name that a user gave may lead to: only those that anybody on the internet
//! could reach. Whoever connects must use the addresses answered here, as a second look-up of
//! the same name may answer differently.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// More than any service needs, and few enough to try one after the other.
const MAX_ADDRESSES: usize = 4;

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The name is unknown, or nobody could be asked.
    #[error("the host name cannot be resolved")]
    Unresolved(#[source] io::Error),
    /// Every address of it is private, loopback, link-local or reserved.
    #[error("the host name leads to no public address")]
    NotPublic,
}

/// The public addresses of `host`, at most four, in the resolver's order. Takes as long as the
/// system's resolver does: set a time limit around it.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreachable> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(Unreachable::Unresolved)?;
    let public: Vec<_> = found.filter(|address| is_public(address.ip())).take(MAX_ADDRESSES).collect();
    if public.is_empty() { Err(Unreachable::NotPublic) } else { Ok(public) }
}

/// Whether an address is part of the public internet, by the IANA registries of special-purpose
/// addresses (RFC 6890 and what was added since). An address that carries another one within is
/// judged by that.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..) // this network, private, loopback, multicast and reserved
            | (100, 64..=127, _) // shared by carriers
            | (169, 254, _) // link-local, metadata services among them
            | (172, 16..=31, _) // private
            | (192, 168, _) // private
            | (192, 0, 0 | 2) // protocol assignments, documentation
            | (192, 88, 99) // 6to4 relays
            | (198, 18 | 19, _) // benchmarks
            | (198, 51, 100) // documentation
            | (203, 0, 113) // documentation
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4-mapped; NAT64, through which networks without IPv4 see all of it; 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments (Teredo among them), documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Of all others only 2000::/3 is given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (case, address, public) in [
            ("public", "8.8.8.8", true),
            ("public, beside a private range", "172.32.0.1", true),
            ("public, beside another", "100.128.0.1", true),
            ("unspecified", "0.0.0.0", false),
            ("this network", "0.1.2.3", false),
            ("loopback", "127.0.0.1", false),
            ("all of loopback", "127.255.255.254", false),
            ("private 10", "10.0.0.1", false),
            ("private 172", "172.31.255.255", false),
            ("private 192", "192.168.1.1", false),
            ("carriers", "100.64.0.1", false),
            ("metadata", "169.254.169.254", false),
            ("containers' metadata", "169.254.170.2", false),
            ("assignments", "192.0.0.8", false),
            ("documentation", "192.0.2.1", false),
            ("benchmarks", "198.19.0.1", false),
            ("multicast", "224.0.0.1", false),
            ("reserved", "240.0.0.1", false),
            ("broadcast", "255.255.255.255", false),
            ("public v6", "2606:4700:4700::1111", true),
            ("v6 unspecified", "::", false),
            ("v6 loopback", "::1", false),
            ("v6 link-local", "fe80::1", false),
            ("v6 site-local", "fec0::1", false),
            ("v6 unique local", "fd12:3456::1", false),
            ("v6 metadata", "fd00:ec2::254", false),
            ("v6 multicast", "ff02::1", false),
            ("v6 documentation", "2001:db8::1", false),
            ("v6 documentation, the newer", "3fff::1", false),
            ("Teredo", "2001::1", false),
            ("segment routing", "5f00::1", false),
            ("mapped public", "::ffff:8.8.8.8", true),
            ("mapped loopback", "::ffff:127.0.0.1", false),
            ("mapped metadata", "::ffff:169.254.169.254", false),
            ("compatible, as once was", "::127.0.0.1", false),
            ("NAT64 of public", "64:ff9b::8.8.8.8", true),
            ("NAT64 of private", "64:ff9b::10.0.0.1", false),
            ("NAT64 for local use", "64:ff9b:1::8.8.8.8", false),
            ("6to4 of public", "2002:808:808::1", true),
            ("6to4 of loopback", "2002:7f00:1::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{case}: {address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_where_it_leads() {
        for (case, host) in [
            ("a name for loopback", "localhost"),
            ("an address", "127.0.0.1"),
            ("an address as one number", "2130706433"),
            ("an address in short", "127.1"),
            ("metadata", "169.254.169.254"),
            ("IPv6", "::1"),
        ] {
            let resolved = resolve(host, 25).await;
            assert!(matches!(resolved, Err(Unreachable::NotPublic)), "{case}: {resolved:?}");
        }
        assert!(matches!(resolve("nowhere.invalid", 25).await, Err(Unreachable::Unresolved(_))));
        assert!(resolve("8.8.8.8", 25).await.is_ok(), "a public address");
    }
}
