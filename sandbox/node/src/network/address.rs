//! Addresses of 127.0.0.0/8 for pods and links.
//!
//! Several runtimes may share one machine, so a runtime claims blocks of 254 addresses: whoever holds the UDP socket on
//! the block's network address owns the block.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};

/// The UDP port whose socket on `127.x.y.0` claims the block `127.x.y.0/24`. Any fixed port works that needs no root
/// and lies below the ephemeral range.
const CLAIM_PORT: u16 = 31_999;

/// Second octets of pod addresses.
pub(super) const POD_OCTETS: std::ops::RangeInclusive<u8> = 10..=19;
/// Second octets of link addresses.
pub(super) const LINK_OCTETS: std::ops::RangeInclusive<u8> = 40..=99;

/// Hands out addresses from claimed blocks, the longest unused first.
#[derive(Debug)]
pub(super) struct AddressPool {
    candidates: std::vec::IntoIter<(u8, u8)>,
    claims: Vec<UdpSocket>,
    free: VecDeque<Ipv4Addr>,
}

impl AddressPool {
    /// A pool over `127.OCTET.0.0/16` for each second octet given. Claims nothing yet.
    pub(super) fn new(octets: std::ops::RangeInclusive<u8>) -> Self {
        let blocks: Vec<(u8, u8)> = octets
            .flat_map(|second| (0..=255).map(move |third| (second, third)))
            .collect();
        Self {
            candidates: blocks.into_iter(),
            claims: Vec::new(),
            free: VecDeque::new(),
        }
    }

    /// An address that nobody else uses. `AddrNotAvailable` when every block is taken.
    pub(super) fn allocate(&mut self) -> io::Result<Ipv4Addr> {
        if self.free.is_empty() {
            self.claim()?;
        }
        self.free
            .pop_front()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    }

    /// Gives an address back; it is reused last, so that stale clients do not meet a stranger soon.
    pub(super) fn release(&mut self, address: Ipv4Addr) {
        if !self.free.contains(&address) {
            self.free.push_back(address);
        }
    }

    fn claim(&mut self) -> io::Result<()> {
        for (second, third) in self.candidates.by_ref() {
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::new(127, second, third, 0), CLAIM_PORT)) else {
                continue;
            };
            self.claims.push(claim);
            self.free
                .extend((1..=254).map(|last| Ipv4Addr::new(127, second, third, last)));
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "every loopback block of this range is claimed",
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn two_pools_never_share_an_address() {
        let (mut one, mut two) = (AddressPool::new(LINK_OCTETS), AddressPool::new(LINK_OCTETS));
        let mut seen = HashSet::new();
        for _ in 0..300 {
            assert!(seen.insert(one.allocate().unwrap()));
            assert!(seen.insert(two.allocate().unwrap()));
        }
    }

    #[test]
    fn a_released_address_is_reused_last() {
        let mut pool = AddressPool::new(LINK_OCTETS);
        let first = pool.allocate().unwrap();
        pool.release(first);
        pool.release(first);
        let rest: Vec<_> = (0..253).map(|_| pool.allocate().unwrap()).collect();
        assert!(!rest.contains(&first));
        assert_eq!(pool.allocate().unwrap(), first);
        assert_ne!(pool.allocate().unwrap(), first, "released twice, handed out once");
    }
}
