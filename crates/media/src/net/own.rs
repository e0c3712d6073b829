//! Where our own media is reached, so that no peer is believed to have its media there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    plane::MediaConfig,
    port_map::PortMap,
    ports::{Aim, PortAllocator},
};
use crate::sdp::RemoteMedia;

/// The ports of plain legs and of the shared sockets, at the addresses they have here and outside.
#[derive(Debug)]
pub(super) struct OwnPorts {
    addresses: Vec<IpAddr>,
    advertised: BTreeMap<IpAddr, IpAddr>,
    external: PortMap,
    shared: Vec<SocketAddr>,
    ports: Arc<PortAllocator>,
}

impl OwnPorts {
    pub(super) fn new(
        config: &MediaConfig,
        shared: Vec<SocketAddr>,
        ports: Arc<PortAllocator>,
    ) -> Self {
        let MediaConfig { addresses, advertised, external_ports, .. } = config.clone();
        Self { addresses, advertised, external: external_ports, shared, ports }
    }

    /// Whether something of ours has an address. `local` is the address at which whoever names it
    /// reaches us, for a plane that is bound to all.
    pub(super) fn is_own(&self, address: SocketAddr, local: Option<IpAddr>) -> bool {
        self.bound(address, local).any(|(ip, port)| {
            self.ports.is_used(ip, port) || self.shared.contains(&SocketAddr::new(ip, port))
        })
    }

    /// Keeps the ports that a peer names from other legs, where they are at an address of ours.
    fn aims(&self, remote: &RemoteMedia, local: Option<IpAddr>) -> Vec<Aim> {
        let RemoteMedia::Plain { rtp, rtcp, .. } = remote else { return Vec::new() };
        let named = [*rtp, *rtcp].into_iter().flat_map(|address| self.bound(address, local));
        named.filter_map(|(ip, port)| self.ports.aim(ip, port)).collect()
    }

    /// What is bound where an address leads, if it leads to us.
    fn bound(
        &self,
        address: SocketAddr,
        local: Option<IpAddr>,
    ) -> impl Iterator<Item = (IpAddr, u16)> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        self.addresses.iter().filter_map(move |bound| {
            let inside = if bound.is_unspecified() { local.unwrap_or(*bound) } else { *bound };
            let is_outside = self.advertised.get(bound) == Some(&ip);
            match (inside == ip, is_outside) {
                (true, _) => Some((*bound, port)),
                (false, true) => Some((*bound, self.external.inside(port))),
                (false, false) => None,
            }
        })
    }
}

/// What the peer of a leg names of our own ports, for as long as it does.
#[derive(Debug)]
pub(super) struct Aiming {
    own: Arc<OwnPorts>,
    signalling_local: Option<IpAddr>,
    aims: Vec<Aim>,
}

impl Aiming {
    /// That of a leg whose peer has named nothing yet.
    pub(super) fn new(own: Arc<OwnPorts>, signalling_local: Option<IpAddr>) -> Self {
        Self { own, signalling_local, aims: Vec::new() }
    }

    /// The peer has its media elsewhere from now on.
    pub(super) fn at(&mut self, remote: &RemoteMedia) {
        self.aims = self.own.aims(remote, self.signalling_local);
    }
}
