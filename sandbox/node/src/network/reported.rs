//! The address of a pod as the API server is told it.

use std::net::Ipv4Addr;

/// How the API server is told a pod's address.
///
/// Kubernetes' own API server takes no loopback address for an endpoint, and proxies to none. Under it, a pod at
/// `127.x.y.z` is reported as `10.x.y.z`; whoever reads an address from the API translates it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportedAddresses {
    /// As it is.
    #[default]
    Loopback,
    /// As the address of 10.0.0.0/8 with the same last three octets.
    Private,
}

/// First octet of the addresses that stand for loopback addresses.
const PRIVATE: u8 = 10;

impl ReportedAddresses {
    /// What the API server is told of a loopback address.
    #[must_use]
    pub fn outward(self, address: Ipv4Addr) -> Ipv4Addr {
        match (self, address.octets()) {
            (Self::Private, [127, x, y, z]) => Ipv4Addr::new(PRIVATE, x, y, z),
            _ => address,
        }
    }

    /// The loopback address that the API server means; `None` for one that is no pod's here.
    #[must_use]
    pub fn inward(self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        match (self, address.octets()) {
            (Self::Private, [PRIVATE, x, y, z]) => Some(Ipv4Addr::new(127, x, y, z)),
            _ => address.is_loopback().then_some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let (pod, told) = (Ipv4Addr::new(127, 10, 3, 9), Ipv4Addr::new(10, 10, 3, 9));
        assert_eq!(ReportedAddresses::Private.outward(pod), told);
        assert_eq!(ReportedAddresses::Private.inward(told), Some(pod));
        assert_eq!(ReportedAddresses::Loopback.outward(pod), pod);
        assert_eq!(ReportedAddresses::Loopback.inward(pod), Some(pod));
        assert_eq!(ReportedAddresses::Loopback.inward(told), None);
        for reported in [ReportedAddresses::Loopback, ReportedAddresses::Private] {
            assert_eq!(reported.inward(Ipv4Addr::new(8, 8, 8, 8)), None);
        }
    }
}
