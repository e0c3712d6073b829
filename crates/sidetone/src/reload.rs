//! Taking a changed configuration without a restart: all of it, or nothing.
//!
//! Everything is loaded and checked beside what runs. Only then is it put in place, by steps that
//! cannot fail: the signalling loop starts new calls on it, users who are gone lose their
//! registrations, new TLS connections see the new certificate. Calls that are up keep what they
//! started with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use media::prompt::PromptStore;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::calls::Dialer;
use crate::certificate::{Certificate, CertificateError, Files, Served};
use crate::config::{Config, ConfigError};
use crate::http::phone::Number;
use crate::loaded::Loaded;
use crate::logging;
use crate::metrics::Metrics;
use crate::registrar::Registrar;
use crate::server::StartError;
use crate::state_dir;
use crate::users::Users;

/// Reads the configuration anew, from where it was read at start.
pub type Source = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Reloads a running server.
pub struct Reloader {
    pub(crate) source: Source,
    /// What the server runs on; held as long as a reload takes, so that one follows the other.
    pub(crate) running: Mutex<Running>,
    pub(crate) dialer: Dialer,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) numbers: watch::Sender<Vec<Number>>,
    /// What TLS listeners show, if there are any.
    pub(crate) served: Option<Arc<Served>>,
    /// Addresses that a self-made certificate is valid for.
    pub(crate) names: Vec<IpAddr>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What the server runs on.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) config: Config,
    /// The sounds and tones that are ready.
    pub(crate) prompts: Arc<PromptStore>,
    /// The certificate's files when they were last read, with success or not.
    pub(crate) files: Option<Files>,
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose change needs a restart; they are as they were.
    pub restart: Vec<&'static str>,
}

/// Why a reload changed nothing: the sentence that a start would end with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something that the configuration names cannot be used.
    #[error(transparent)]
    Load(#[from] StartError),
}

impl Reloader {
    /// Reads the configuration and what it names, and puts it in place. Once it returns, every new
    /// call runs on it.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed then.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut running = self.running.lock().await;
        let reloaded = self.try_reload(&mut running).await;
        self.metrics.config_reload(reloaded.is_ok());
        match &reloaded {
            Ok(Reloaded { restart }) if restart.is_empty() => info!("configuration reloaded"),
            Ok(Reloaded { restart }) => {
                warn!(keys = restart.join(", "), "configuration reloaded; these need a restart");
            }
            Err(error) => warn!(%error, "configuration not reloaded; all stays as it was"),
        }
        reloaded
    }

    async fn try_reload(&self, running: &mut Running) -> Result<Reloaded, ReloadError> {
        let source = Arc::clone(&self.source);
        let wanted = apart(move || source()).await?;
        // What waits for the next start must not keep the server from starting then.
        logging::filter(&wanted.log).map_err(StartError::from)?;
        state_dir::check(&wanted).map_err(StartError::from)?;
        let (config, restart) = running.config.renewed(&wanted);
        let former = Users::new(&running.config).map_err(StartError::from)?;
        let loaded = Loaded::load(&config, Some(&running.prompts)).await?;
        let certificate = self.certificate(&config).await.map_err(StartError::from)?;

        let (users, numbers) = (Arc::clone(&loaded.users), loaded.numbers.clone());
        running.prompts = Arc::clone(&loaded.prompts);
        self.dialer.renew(loaded).await;
        self.registrar.retain_allowed(&users, &former);
        self.numbers.send_replace(numbers);
        self.serve(certificate, running);
        running.config = config;
        Ok(Reloaded { restart })
    }

    /// Looks every few seconds whether the files of the certificate have changed, and takes them
    /// once they fit. Returns only where no certificate is shown.
    pub(crate) async fn watch_certificate(self: Arc<Self>) {
        if self.served.is_none() {
            return;
        }
        let mut ticks = interval(FILES_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut running = self.running.lock().await;
            let config = running.config.clone();
            let files = apart(move || Files::of(&config)).await;
            if files == running.files {
                continue;
            }
            running.files = files;
            match self.certificate(&running.config).await {
                Ok(certificate) => {
                    info!("the certificate's files have changed; new connections see the new one");
                    self.serve(certificate, &mut running);
                }
                Err(error) => {
                    warn!(%error, "the certificate's files have changed; the old one stays")
                }
            }
        }
    }

    /// The certificate of a configuration, if one is needed at all.
    async fn certificate(&self, config: &Config) -> Result<Option<Certificate>, CertificateError> {
        if self.served.is_none() {
            return Ok(None);
        }
        let (config, names) = (config.clone(), self.names.clone());
        let obtained = apart(move || Certificate::obtain(&config, &names)).await;
        if obtained.is_err() {
            self.metrics.certificate_reload(false);
        }
        obtained.map(Some)
    }

    fn serve(&self, certificate: Option<Certificate>, running: &mut Running) {
        let (Some(served), Some(certificate)) = (&self.served, certificate) else { return };
        served.replace(&certificate);
        self.metrics.certificate_reload(true);
        self.metrics.certificate_expiry(certificate.not_after_unix_s);
        running.files = Some(certificate.files);
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reloader").finish_non_exhaustive()
    }
}

/// Runs what reads files where that may block.
async fn apart<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(read).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// How often the certificate's files are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(2);
