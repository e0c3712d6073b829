//! A running server: everything started in order, and stopped in order.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use media::net::{MediaConfig, MediaPlane, PortMap, Recorder, RecorderConfig};
use rustls::ClientConfig;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tracing::{info, warn};
use transport::net::{HttpHandler, Listen, NetConfig, NetError, Network};
use transport::{Limits, TransportKind};

use crate::address::{MediaAddress, Outside, media_addresses};
use crate::banner::Addresses;
use crate::calls::{Dialer, Shared, Trail};
use crate::certificate::{Certificate, CertificateError, Served};
use crate::config::{self, Config, ListenKind};
use crate::health::Health;
use crate::http;
use crate::http::access::{Access, ControlToken};
use crate::limits;
use crate::loaded::Loaded;
use crate::logging::LogError;
use crate::metrics::{Collected, Metrics};
use crate::plan::PlanError;
use crate::registrar::{
    LateStore, MemoryStore, Registrar, SqliteStore, StoreError, StoredBinding, Writer,
};
use crate::reload::{Reloader, Running, Source};
use crate::signaling::{self, Signaling, SignalingThread};
use crate::state_dir::{self, StateDirError};
use crate::trust;
use crate::users::{UserError, Users};
use crate::webhook::{SigningKey, Webhooks};

/// A server that answers calls until it is shut down.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    network: Network,
    media: MediaPlane,
    recorder: Recorder,
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    signaling: JoinHandle<()>,
    /// Where that runs.
    thread: SignalingThread,
    control: JoinHandle<()>,
    watch: JoinHandle<()>,
    reloader: Arc<Reloader>,
}

/// Why the server does not start: one sentence that says where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener's address cannot be taken.
    #[error("{0}; {advice}", advice = what_to_do(.0))]
    Listen(#[from] NetError),
    /// The address of the control port cannot be taken.
    #[error("cannot listen on {address} for metrics and health: {source}; change control.address")]
    Control {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing can be kept.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// There is no certificate to serve.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// What is to be logged cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A user's section cannot be used.
    #[error(transparent)]
    User(#[from] UserError),
    /// The dialplan or a sound of it cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The media plane cannot start.
    #[error("{0}; change media in the configuration, or end the program that uses the port")]
    Media(#[from] media::net::StartError),
    /// The thread of signalling cannot start.
    #[error("the thread of signalling cannot start: {0}")]
    Thread(#[source] std::io::Error),
    /// The thread that writes recordings cannot start.
    #[error("the thread that writes recordings cannot start: {0}")]
    Recorder(#[source] std::io::Error),
    /// Two metrics have one name.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn what_to_do(error: &NetError) -> &'static str {
    let NetError::Listen { source, .. } = error else {
        return "change listen in the configuration";
    };
    match source.kind() {
        ErrorKind::AddrInUse => {
            "end the program that uses the address, or change listen in the configuration"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: change listen in the configuration"
        }
        ErrorKind::PermissionDenied => {
            "change listen in the configuration to a port above 1023, or grant CAP_NET_BIND_SERVICE"
        }
        _ => "change listen in the configuration",
    }
}

impl Server {
    /// Starts everything; when it returns, calls are answered. A reload reads `source`. Must run on
    /// a Tokio runtime.
    ///
    /// # Errors
    /// The first part that cannot start; everything started before it is stopped.
    pub async fn start(config: Config, source: Source) -> Result<Self, StartError> {
        crate::install_crypto_provider();
        let open_files = limits::raise_open_files().unwrap_or_else(|error| {
            warn!(%error, "the open-file limit cannot be raised");
            ASSUMED_OPEN_FILES
        });
        state_dir::check(&config)?;
        let calls_max = limits::calls_max(config.limits.calls_max, open_files);
        let loaded = Loaded::load(&config, None).await?;
        let (numbers, numbers_now) = watch::channel(loaded.numbers.clone());

        let (events, inbound) = mpsc::channel(INBOUND_MAX);
        let tls_client = trust::tls_client();
        let net_config = net_config(&config, open_files, calls_max, Arc::clone(&tls_client));
        let network = Network::new(net_config, events);
        let thread = SignalingThread::start().map_err(StartError::Thread)?;
        let stop_on_error = StopOnError(Some(network.clone()));
        let configured = config.listen.iter().flat_map(|listen| listen.address.sockets());
        let configured: Vec<IpAddr> = configured.map(|(address, _)| address.ip()).collect();
        let outside = Outside::find(&config, &configured).await;
        let names = certificate_names(&config, &outside);
        let certificate = obtain_certificate(&config, &names)?;
        let served = certificate.as_ref().map(Served::new);
        let phone = http::phone::router(numbers_now, config.web.phone);
        let listen = listen_all(&network, &thread, &config, served.as_ref(), &phone)?;
        let bound: Vec<IpAddr> = listen.iter().map(|(_, address)| address.ip()).collect();
        let media_addresses = media_addresses(&config, &bound, &outside);
        let media = start_media(&config, &media_addresses, calls_max)?;

        let health = Arc::new(Health::new(calls_max));
        let recorder =
            Recorder::start(RecorderConfig::from(&config)).map_err(StartError::Recorder)?;
        let collected = Collected::new(media.clone(), network.clone(), recorder.clone());
        let metrics = Arc::new(Metrics::new(calls_max)?);
        if let Some(certificate) = &certificate {
            metrics.certificate_expiry(certificate.not_after_unix_s);
        }
        let control = Control::bind(config.control.address).await?;
        let registrar = registrar(&config, &loaded.users, &network).await;
        let (stop, stopped) = watch::channel(false);
        let (dialer, inbox) = Dialer::new();
        let reloader = Arc::new(Reloader {
            source,
            running: Mutex::new(Running {
                config: config.clone(),
                prompts: Arc::clone(&loaded.prompts),
                files: certificate.as_ref().map(|certificate| certificate.files.clone()),
            }),
            dialer: dialer.clone(),
            registrar: Arc::clone(&registrar),
            numbers,
            served,
            names,
            metrics: Arc::clone(&metrics),
        });
        let router = http::control::router(
            Arc::clone(&metrics),
            collected,
            Arc::clone(&health),
            Arc::clone(&reloader),
            Access::new(control.address, control_token(&config)),
        );
        let (control_address, control) = control.start(router);
        let shared = Shared {
            plan: loaded.plan,
            public_context: loaded.public_context,
            users: loaded.users,
            sip_ports: listen
                .iter()
                .filter(|(kind, _)| kind.transport() == TransportKind::Udp)
                .map(|(_, address)| address.port())
                .collect(),
            hosts: media_addresses.iter().flat_map(|a| [a.bound, a.advertised]).collect(),
            registrar,
            prompts: loaded.prompts,
            hold_music: loaded.hold_music,
            media: Arc::new(media.clone()),
            recorder: recorder.clone(),
            webhooks: Arc::new(webhooks(&config, &tls_client)),
            dialer,
            capabilities: loaded.capabilities,
            metrics,
            health: Arc::clone(&health),
            policy: loaded.policy,
            trail: Trail::default(),
            ourselves: Arc::default(),
            stop: stopped,
        };
        let rtp_ports = config.media.rtp_port_min..=config.media.rtp_port_max;
        let signaling = signaling::Config {
            advertised: media_addresses.iter().map(|a| (a.bound, a.advertised)).collect(),
            listeners: listen.iter().map(|(kind, address)| (kind.transport(), *address)).collect(),
            token_key: loaded.token_key,
            unacknowledged_max: limits::unacknowledged_max(calls_max, &rtp_ports),
            ..signaling::Config::from(&config)
        };
        let signaling = Signaling::new(signaling, network.clone(), shared, inbox);
        let signaling = thread.spawn(signaling.run(inbound));
        let addresses = Addresses {
            listen,
            control: control_address,
            media: media_addresses,
            webrtc: media.webrtc_addresses().concat(),
            rtp_ports: config.media.rtp_port_min..=config.media.rtp_port_max,
            numbers: loaded.numbers,
            is_self_made_certificate: certificate.is_some_and(|made| made.is_self_made),
            has_phone: config.web.phone,
        };
        stop_on_error.disarm();
        let watch = tokio::spawn(Arc::clone(&reloader).watch_certificate());
        info!(calls_max, open_files, "started");
        Ok(Server {
            addresses,
            network,
            media,
            recorder,
            health,
            stop,
            signaling,
            thread,
            control,
            watch,
            reloader,
        })
    }

    /// Where the server is reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What takes a changed configuration.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Returns when the signalling loop has ended although nobody stopped it: the server is deaf
    /// then, and the process had better be started anew.
    pub async fn failed(&mut self) {
        // Whether it returned or panicked, it is gone.
        let _ = (&mut self.signaling).await;
    }

    /// Takes no new calls, ends the live ones with BYE, waits for the answers, and stops. Takes
    /// a few seconds at most.
    pub async fn shut_down(self) {
        self.health.drain();
        self.stop.send_replace(true);
        let mut signaling = self.signaling;
        if tokio::time::timeout(SHUTDOWN_MAX, &mut signaling).await.is_err() {
            warn!("peers did not answer BYE in time");
            signaling.abort();
        }
        self.network.shutdown().await;
        self.control.abort();
        self.watch.abort();
        drop(self.thread);
        let (media, recorder) = (self.media, self.recorder);
        let end = move || {
            media.shutdown();
            recorder.shutdown();
        };
        // Joining threads blocks.
        if tokio::task::spawn_blocking(end).await.is_err() {
            warn!("the media plane did not stop in order");
        }
        info!("stopped");
    }
}

/// Stops the listeners of a server that did not start.
struct StopOnError(Option<Network>);

impl StopOnError {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnError {
    fn drop(&mut self) {
        if let Some(network) = self.0.take() {
            tokio::spawn(async move { network.shutdown().await });
        }
    }
}

/// The registrar with what an earlier process has kept. A store that does not work is no reason
/// not to start: phones register again.
async fn registrar(config: &Config, users: &Users, network: &Network) -> Arc<Registrar> {
    let folder = state_dir::state_dir(config).filter(|_| config.registrar.persist);
    let opened = tokio::task::spawn_blocking(move || open_store(folder.as_deref()));
    let opened = match opened.await {
        Ok(opened) => opened,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let (writer, stored) = opened.unwrap_or_else(|error| {
        warn!(%error, "registrations are not kept over a restart");
        (Writer::none(), Vec::new())
    });
    let registrar = Registrar::new(config.into(), writer);
    let flow_to = |local, remote| network.udp_flow_from(local, remote);
    registrar.restore(stored, users, flow_to, tokio::time::Instant::now());
    Arc::new(registrar)
}

fn open_store(folder: Option<&Path>) -> Result<(Writer, Vec<StoredBinding>), StoreError> {
    let Some(folder) = folder else { return Ok((Writer::start(MemoryStore)?, Vec::new())) };
    let path = folder.join("registrations.db");
    match SqliteStore::open_or_renew(&path) {
        Ok((store, stored)) => Ok((Writer::start(store)?, stored)),
        Err(error) => {
            warn!(%error, "registrations of before cannot be read, phones have to register again; check state_dir");
            Ok((Writer::start(LateStore::new(path))?, Vec::new()))
        }
    }
}

/// Without a secret to sign with, requests go out all the same; the program that they ask can tell.
fn webhooks(config: &Config, tls: &ClientConfig) -> Webhooks {
    let key = SigningKey::of(config).unwrap_or_else(|error| {
        warn!(%error, "nobody can check the signatures of webhooks");
        SigningKey::unknown()
    });
    Webhooks::new(tls, key)
}

fn net_config(
    config: &Config,
    open_files: u64,
    calls_max: usize,
    tls_client: Arc<ClientConfig>,
) -> NetConfig {
    let limits = &config.limits;
    let connections_max = limits::connections_max(limits.connections_max, open_files, calls_max);
    let ping_interval = Duration::from_secs(config.web.ping_interval_s);
    let between_registers = Duration::from_secs(config.registrar.expires_max_s.into());
    let usual = NetConfig::default();
    NetConfig {
        limits: Limits {
            head_bytes_max: limits.head_bytes_max,
            body_bytes_max: limits.body_bytes_max,
            headers_max: limits.headers_max,
        },
        connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        // A phone on TCP may be silent from one REGISTER to the next.
        idle_timeout: usual.idle_timeout.max(between_registers + REGISTER_LATE_MAX),
        ping_interval,
        pong_timeout: ping_interval / 2,
        origins: config.web.origins.clone(),
        tls_client: Some(tls_client),
        ..usual
    }
}

/// The certificate, if any listener needs one.
fn obtain_certificate(
    config: &Config,
    names: &[IpAddr],
) -> Result<Option<Certificate>, CertificateError> {
    let is_needed = config.listen.iter().any(|listen| listen.kind.is_secure());
    is_needed.then(|| Certificate::obtain(config, names)).transpose()
}

/// The addresses that a self-made certificate is valid for.
fn certificate_names(config: &Config, outside: &Outside) -> Vec<IpAddr> {
    let names: Vec<IpAddr> = config
        .listen
        .iter()
        .filter(|listen| listen.kind.is_secure())
        .flat_map(|listen| listen.address.sockets())
        .map(|(address, _)| address.ip())
        .collect();
    // A wildcard is reached by the addresses that media has, too.
    let media = media_addresses(config, &names, outside).into_iter().map(|media| media.advertised);
    names.iter().copied().filter(|ip| !ip.is_unspecified()).chain(media).collect()
}

fn listen_all(
    network: &Network,
    thread: &SignalingThread,
    config: &Config,
    served: Option<&Arc<Served>>,
    phone: &Router,
) -> Result<Vec<(ListenKind, SocketAddr)>, NetError> {
    let mut bound = Vec::new();
    for config::Listen { kind, address } in &config.listen {
        for (socket, is_required) in address.sockets() {
            let Some(listen) = listener(*kind, served, phone) else { continue };
            let guard = (*kind == ListenKind::Udp).then(|| thread.enter());
            let listened = network.listen(listen, socket);
            drop(guard);
            match listened {
                Ok(address) => bound.push((*kind, address)),
                Err(error) if is_required || !is_missing_family(&error) => return Err(error),
                Err(error) => info!(%error, "not listened on, since this machine has no IPv6"),
            }
        }
    }
    Ok(bound)
}

fn listener(kind: ListenKind, served: Option<&Arc<Served>>, phone: &Router) -> Option<Listen> {
    let phone = phone.clone();
    let handler = || {
        HttpHandler::new(move |request, _| {
            let phone = phone.clone();
            async move {
                match phone.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        })
    };
    Some(match kind {
        ListenKind::Udp => Listen::Udp,
        ListenKind::Tcp => Listen::Tcp,
        ListenKind::Tls => Listen::Tls(Arc::new(served?.tls())),
        ListenKind::Http => Listen::Http(handler()),
        ListenKind::Https => {
            let mut tls = served?.tls();
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            Listen::Https(Arc::new(tls), handler())
        }
    })
}

fn is_missing_family(error: &NetError) -> bool {
    let NetError::Listen { source, .. } = error else { return false };
    source.kind() == std::io::ErrorKind::AddrNotAvailable
        || source.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn start_media(
    config: &Config,
    addresses: &[MediaAddress],
    calls_max: usize,
) -> Result<MediaPlane, media::net::StartError> {
    MediaPlane::start(MediaConfig {
        shards: u16::try_from(config.shard_count()).unwrap_or(u16::MAX),
        addresses: addresses.iter().map(|address| address.bound).collect(),
        advertised: addresses.iter().map(|a| (a.bound, a.advertised)).collect(),
        external_ports: PortMap::new(config.media.external_ports.0.clone()),
        local_networks: config.media.local_networks.clone(),
        webrtc_port: config.media.webrtc_port,
        rtp_ports: config.media.rtp_port_min..=config.media.rtp_port_max,
        legs_max: calls_max,
        opus_complexity: config.media.opus_transcode_complexity,
        ..MediaConfig::default()
    })
}

/// The control port before it serves.
struct Control {
    address: SocketAddr,
    listener: tokio::net::TcpListener,
}

impl Control {
    async fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |source| StartError::Control { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        Ok(Control { address: listener.local_addr().map_err(failed)?, listener })
    }

    fn start(self, router: Router) -> (SocketAddr, JoinHandle<()>) {
        (self.address, tokio::spawn(http::serve::serve(self.listener, router)))
    }
}

/// What is asked of who may change something. Without a folder to keep it in, only signals can.
fn control_token(config: &Config) -> Option<ControlToken> {
    let folder = state_dir::state_dir(config)?;
    ControlToken::kept_in(&folder)
        .inspect_err(|error| warn!(%error, "sidetone reload does not work; SIGHUP does"))
        .ok()
}

/// Messages from the network that may wait for the signalling loop; senders wait beyond it.
const INBOUND_MAX: usize = 1_024;
/// What is assumed when the system does not tell.
const ASSUMED_OPEN_FILES: u64 = 1_024;
/// A phone that is later than this with its REGISTER may as well connect again.
const REGISTER_LATE_MAX: Duration = Duration::from_mins(10);
/// How long live calls may take to end when the server stops.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
