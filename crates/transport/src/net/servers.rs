//! The servers of a SIP domain, by its SRV records (RFC 3263 §4.2, RFC 2782).

use std::{io, net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType, rdata::SRV},
};
use rand::{Rng, RngExt};
use tracing::debug;

use crate::{TransportKind, routing::NextHop};

/// A server of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) transport: TransportKind,
    pub(super) name: String,
    pub(super) port: u16,
}

/// The servers of the domain `name` for the transport that a URI asks for, or for UDP and else TCP
/// where it leaves that open; in the order in which they are to be tried. Empty where nobody says
/// anything of them: the domain's own addresses serve then.
///
/// `name_servers` are asked; where there are none, those of the system.
///
/// # Errors
/// The domain says that it has no such server.
pub(super) async fn servers(
    name: &str,
    hop: &NextHop,
    name_servers: &[SocketAddr],
) -> io::Result<Vec<Server>> {
    // What has no dot is a machine of this network, and no domain.
    if !name.trim_end_matches('.').contains('.') {
        return Ok(Vec::new());
    }
    let resolver = match resolver(name_servers).await {
        Ok(resolver) => resolver,
        Err(error) => {
            debug!(%error, "no name servers to ask for SRV records");
            return Ok(Vec::new());
        }
    };
    let mut is_denied = false;
    for (transport, service) in services(hop) {
        let query = format!("{service}.{}.", name.trim_end_matches('.'));
        let found = match resolver.lookup(query.as_str(), RecordType::SRV).await {
            Ok(found) => found,
            Err(error) => {
                debug!(query, %error, "no SRV records");
                match error.is_no_records_found() {
                    true => continue,
                    // Who does not answer is not asked for the next ones.
                    false => break,
                }
            }
        };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(record) => Some(record.clone()),
            _ => None,
        });
        let mut records: Vec<SRV> = records.collect();
        let before = records.len();
        // A target of nothing but the root says that there is no such service (RFC 2782).
        records.retain(|record| !record.target.is_root());
        is_denied |= records.len() < before;
        if records.is_empty() {
            continue;
        }
        order(&mut records, &mut rand::rng());
        let server = |record: SRV| Server {
            transport,
            name: record.target.to_ascii().trim_end_matches('.').to_owned(),
            port: record.port,
        };
        return Ok(records.into_iter().map(server).collect());
    }
    if is_denied { Err(io::ErrorKind::NotFound.into()) } else { Ok(Vec::new()) }
}

/// The services to ask for, best first.
fn services(hop: &NextHop) -> impl Iterator<Item = (TransportKind, &'static str)> {
    let udp = (TransportKind::Udp, "_sip._udp");
    let tcp = (TransportKind::Tcp, "_sip._tcp");
    let tls = (TransportKind::Tls, "_sips._tcp");
    let services = match hop.transport {
        TransportKind::Udp => [Some(udp), hop.is_open.then_some(tcp)],
        TransportKind::Tcp => [Some(tcp), None],
        TransportKind::Tls => [Some(tls), None],
        TransportKind::Ws | TransportKind::Wss => [None, None],
    };
    services.into_iter().flatten()
}

/// A resolver that has read the system's configuration as it is now.
async fn resolver(name_servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if name_servers.is_empty() {
        let read = tokio::task::spawn_blocking(TokioResolver::builder_tokio);
        read.await.map_err(io::Error::from)??
    } else {
        let servers = name_servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let ResolverOpts { timeout, attempts, use_hosts_file, .. } = builder.options_mut();
    (*timeout, *attempts) = (QUERY_TIMEOUT, QUERY_ATTEMPTS);
    // It has no records of this kind.
    *use_hosts_file = ResolveHosts::Never;
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Puts records in the order in which clients are to try them: by priority, and among equals by
/// chance, so that each comes first as often as its weight says (RFC 2782).
fn order(records: &mut [SRV], rng: &mut impl Rng) {
    records.sort_by_key(|record| (record.priority, record.weight));
    for at in 0..records.len() {
        let Some((first, _)) = records.get(at..).and_then(<[SRV]>::split_first) else { return };
        let priority = first.priority;
        let equals = records.iter().skip(at).take_while(|record| record.priority == priority);
        let total = equals.clone().map(|record| u32::from(record.weight)).sum::<u32>();
        let drawn = rng.random_range(0..=total);
        let mut sum = 0;
        let reaches = |record: &SRV| {
            sum += u32::from(record.weight);
            sum >= drawn
        };
        let chosen = at + equals.map(reaches).take_while(|is_reached| !is_reached).count();
        if let Some(passed) = records.get_mut(at..=chosen) {
            passed.rotate_right(1);
        }
    }
}

/// How long a name server may take to answer a query, and how often it is asked.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1_500);
const QUERY_ATTEMPTS: usize = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use hickory_resolver::proto::rr::Name;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn record(priority: u16, weight: u16, port: u16) -> SRV {
        SRV::new(priority, weight, port, Name::from_ascii("a.test.").unwrap())
    }

    fn ports(records: &[(u16, u16, u16)], rng: &mut StdRng) -> Vec<u16> {
        let mut records: Vec<_> = records.iter().map(|&(p, w, port)| record(p, w, port)).collect();
        order(&mut records, rng);
        records.iter().map(|record| record.port).collect()
    }

    #[test]
    fn rfc2782_a_lower_priority_comes_first_whatever_the_weights() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let ports = ports(&[(20, 100, 3), (10, 0, 1), (30, 0, 4), (10, 1, 2)], &mut rng);
            assert_eq!(ports[2..], [3, 4]);
        }
        assert!(ports(&[], &mut rng).is_empty());
    }

    #[test]
    fn rfc2782_among_equals_each_comes_first_as_often_as_its_weight_says() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut firsts = [0_u32; 3];
        for _ in 0..10_000 {
            let ports = ports(&[(1, 60, 0), (1, 0, 1), (1, 20, 2)], &mut rng);
            firsts[usize::from(ports[0])] += 1;
        }
        assert!((7_000..8_000).contains(&firsts[0]), "{firsts:?}");
        assert!((2_000..3_000).contains(&firsts[2]), "{firsts:?}");
        assert!((1..500).contains(&firsts[1]), "one without weight has a small chance: {firsts:?}");
    }
}
