//! The certificate of the TLS and HTTPS listeners: the configured one, or one made here.

mod served;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};
use tracing::info;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::Config;
use crate::state_dir::state_dir;

pub use served::{Files, Served};

/// What the TLS listeners serve.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain and its key, which belong together.
    pub key: Arc<CertifiedKey>,
    /// End of its validity, seconds since 1970.
    pub not_after_unix_s: i64,
    not_before_unix_s: i64,
    /// File it was read from.
    pub path: PathBuf,
    /// Whether Sidetone made it, so that browsers ask before they accept it.
    pub is_self_made: bool,
    /// The files as they were just before they were read.
    pub files: Files,
}

/// Why there is no certificate to serve: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A PEM file cannot be read or holds something else.
    #[error("{}: cannot read a PEM {what} ({reason}); check tls.{key}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// The configuration key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key does not belong to the certificate, or cannot be used.
    #[error("{}: the certificate cannot be used with its key ({reason}); check tls.certificate and tls.key", path.display())]
    Pair {
        /// The certificate file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The certificate's validity has ended.
    #[error("{}: the certificate expired; renew it or remove tls.certificate and tls.key", path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate's validity has not begun.
    #[error("{}: the certificate is not valid yet; check the clock of this machine, or use it later", path.display())]
    TooEarly {
        /// The certificate file.
        path: PathBuf,
    },
    /// The self-made certificate cannot be stored.
    #[error("{}: cannot keep the certificate there ({source}); set state_dir to a folder that can be written", path.display())]
    State {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no folder to keep a self-made certificate in.
    #[error(
        "no folder to keep the certificate in; set state_dir in the configuration or the variable STATE_DIRECTORY"
    )]
    NoStateDir,
    /// Making a certificate failed.
    #[error("cannot make a certificate ({0}); set tls.certificate and tls.key")]
    Generation(#[from] rcgen::Error),
}

impl Certificate {
    /// The configured certificate, else the one in the state folder, else a new one that is
    /// then kept there. `names` are the addresses it must be valid for.
    ///
    /// # Errors
    /// When a file cannot be read, does not fit, has expired or cannot be written.
    pub fn obtain(config: &Config, names: &[IpAddr]) -> Result<Self, CertificateError> {
        if let Some(configured) = Self::configured(config)? {
            return Ok(configured);
        }
        let folder = state_dir(config).ok_or(CertificateError::NoStateDir)?;
        let (certificate, key) = self_made(&folder);
        if is_still_good(&certificate, names)
            && let Ok(kept) = load(&certificate, &key, true)
        {
            return Ok(kept);
        }
        if certificate.exists() {
            let path = certificate.display();
            info!(%path, "a new certificate is made: the kept one is damaged, ends soon or lacks an address");
        }
        make(&folder, &certificate, &key, names)?;
        load(&certificate, &key, true)
    }

    /// The configured certificate, if there is one.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit, or the certificate is not valid now.
    pub fn configured(config: &Config) -> Result<Option<Self>, CertificateError> {
        let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
            return Ok(None);
        };
        let loaded = load(certificate, key, false)?;
        let (now, path) = (OffsetDateTime::now_utc().unix_timestamp(), certificate.clone());
        if loaded.not_after_unix_s <= now {
            return Err(CertificateError::Expired { path });
        }
        if loaded.not_before_unix_s > now {
            return Err(CertificateError::TooEarly { path });
        }
        Ok(Some(loaded))
    }
}

fn self_made(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("tls.crt"), folder.join("tls.key"))
}

fn load(
    certificate: &Path,
    key: &Path,
    is_self_made: bool,
) -> Result<Certificate, CertificateError> {
    let bad_pem = |path: &Path, what, key, reason: String| CertificateError::Pem {
        path: path.to_owned(),
        what,
        key,
        reason,
    };
    let files = Files::now(certificate, key);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| bad_pem(certificate, "certificate", "certificate", why_no_pem(&e)))?;
    let Some(first) = chain.first() else {
        let reason = "the file holds none".to_owned();
        return Err(bad_pem(certificate, "certificate", "certificate", reason));
    };
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|_| bad_pem(certificate, "certificate", "certificate", DAMAGED.to_owned()))?;
    let not_after_unix_s = parsed.validity().not_after.timestamp();
    let not_before_unix_s = parsed.validity().not_before.timestamp();
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| bad_pem(key, "private key", "key", why_no_key(key, &e)))?;
    let path = certificate.to_owned();
    let signing = any_supported_type(&private)
        .map_err(|_| bad_pem(key, "private key", "key", UNFIT_KEY.to_owned()))?;
    // Not `CertifiedKey::from_der`, which takes no certificate of version 1: `openssl x509` makes
    // such, and phones and browsers that do not verify or were told to trust it take them.
    if signing.public_key().is_some_and(|public| *public != *parsed.public_key().raw) {
        let reason = "the key belongs to another certificate".to_owned();
        return Err(CertificateError::Pair { path, reason });
    }
    let key = Arc::new(CertifiedKey::new(chain, signing));
    Ok(Certificate { key, not_after_unix_s, not_before_unix_s, path, is_self_made, files })
}

fn why_no_key(path: &Path, error: &pem::Error) -> String {
    let is_locked = std::fs::read(path)
        .is_ok_and(|content| content.windows(9).any(|window| window == b"ENCRYPTED"));
    match is_locked {
        true => "it is locked by a password, and must not be".to_owned(),
        false => why_no_pem(error),
    }
}

fn why_no_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it is cut off: its END line is missing".to_owned(),
        pem::Error::NoItemsFound => "the file holds none".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        _ => DAMAGED.to_owned(),
    }
}

/// Whether the kept certificate is valid for another month and names every address.
fn is_still_good(certificate: &Path, names: &[IpAddr]) -> bool {
    let Ok(der) = CertificateDer::from_pem_file(certificate) else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return false };
    let a_month_from_now = (OffsetDateTime::now_utc() + RENEW_BEFORE).unix_timestamp();
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return false };
    let covers = |ip: &IpAddr| {
        alternative.value.general_names.iter().any(|name| match (name, ip) {
            (GeneralName::IPAddress(bytes), IpAddr::V4(ip)) => *bytes == ip.octets(),
            (GeneralName::IPAddress(bytes), IpAddr::V6(ip)) => *bytes == ip.octets(),
            _ => false,
        })
    };
    parsed.validity().not_after.timestamp() > a_month_from_now && names.iter().all(covers)
}

fn make(
    folder: &Path,
    certificate: &Path,
    key: &Path,
    names: &[IpAddr],
) -> Result<(), CertificateError> {
    let mut subjects = vec!["localhost".to_owned()];
    subjects.extend(host_name());
    subjects.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    subjects.extend(names.iter().map(IpAddr::to_string));
    subjects.sort();
    subjects.dedup();
    let mut params = rcgen::CertificateParams::new(subjects)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Sidetone");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + VALIDITY;
    let pair = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&pair)?;

    let state = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::State { path, source }
    };
    std::fs::create_dir_all(folder).map_err(state(folder))?;
    write_private(key, pair.serialize_pem().as_bytes()).map_err(state(key))?;
    std::fs::write(certificate, made.pem()).map_err(state(certificate))
}

/// Writes a file that only its owner may read, by way of a new file so that the mode is right
/// from the first byte.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("key.new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

/// The machine's name, when it can stand in a certificate.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

const DAMAGED: &str = "it is damaged";
const UNFIT_KEY: &str =
    "it must be RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519, and whole";
/// Browsers refuse certificates that are valid for longer than 398 days.
const VALIDITY: Duration = Duration::days(397);
const RENEW_BEFORE: Duration = Duration::days(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn config(folder: &Path) -> Config {
        crate::install_crypto_provider();
        Config { state_dir: Some(folder.to_owned()), ..Config::default() }
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sidetone-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_certificate_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder("kept");
        let config = config(&folder);
        let first = Certificate::obtain(&config, &["192.0.2.7".parse().unwrap()]).unwrap();
        let pem = std::fs::read(folder.join("tls.crt")).unwrap();
        let again = Certificate::obtain(&config, &["192.0.2.7".parse().unwrap()]).unwrap();
        assert!(first.is_self_made);
        assert_eq!(first.not_after_unix_s, again.not_after_unix_s);
        assert_eq!(pem, std::fs::read(folder.join("tls.crt")).unwrap());
        let mode = std::fs::metadata(folder.join("tls.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_new_address_makes_a_new_certificate() {
        let folder = folder("address");
        let config = config(&folder);
        Certificate::obtain(&config, &[]).unwrap();
        let pem = std::fs::read(folder.join("tls.crt")).unwrap();
        Certificate::obtain(&config, &["2001:db8::7".parse().unwrap()]).unwrap();
        assert_ne!(pem, std::fs::read(folder.join("tls.crt")).unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn configured(certificate: &str, key: &str) -> Result<Certificate, String> {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/certificate/testdata");
        let mut config = config(&testdata);
        config.tls.certificate = Some(testdata.join(certificate));
        config.tls.key = Some(testdata.join(key));
        Certificate::obtain(&config, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_is_used_from_its_first_day_to_its_last() {
        let folder = folder("days");
        let mut config = config(&folder);
        Certificate::obtain(&config, &[]).unwrap();
        let (certificate, key) = self_made(&folder);
        let key_pair = KeyPair::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
        (config.tls.certificate, config.tls.key) = (Some(certificate.clone()), Some(key));
        let now = OffsetDateTime::now_utc();
        for (from, to, said) in [(-2, -1, "expired"), (-1, 1, ""), (1, 2, "not valid yet")] {
            let mut params = CertificateParams::new(vec!["pbx.test".to_owned()]).unwrap();
            (params.not_before, params.not_after) =
                (now + Duration::days(from), now + Duration::days(to));
            std::fs::write(&certificate, params.self_signed(&key_pair).unwrap().pem()).unwrap();
            match Certificate::configured(&config) {
                Ok(_) => assert_eq!(said, ""),
                Err(error) => assert!(!said.is_empty() && error.to_string().contains(said)),
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_certificate_of_version_1_is_served() {
        let served = configured("version-1.crt", "version-1.key").unwrap();
        let (_, parsed) = X509Certificate::from_der(&served.key.cert[0]).unwrap();
        assert_eq!(parsed.version(), x509_parser::x509::X509Version::V1);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = folder("pair");
        Certificate::obtain(&config(&folder), &[]).unwrap();
        let [made, its_key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
        let (made, its_key) = (made.to_str().unwrap(), its_key.to_str().unwrap());
        for (certificate, key) in [("version-1.crt", its_key), (made, "version-1.key")] {
            let error = configured(certificate, key).unwrap_err();
            assert!(error.contains(certificate) && error.contains("another"), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named_with_what_is_wrong() {
        let folder = folder("bad");
        Certificate::obtain(&config(&folder), &[]).unwrap();
        let [made, its_key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
        let (pem, key) =
            (std::fs::read_to_string(&made).unwrap(), std::fs::read_to_string(&its_key).unwrap());
        let file = folder.join("x.pem");
        for (text, is_key, says) in [
            ("nothing", false, "PEM certificate (the file holds none); check tls.certificate"),
            (&pem[..pem.len() - 40], false, "certificate (it is cut off: its END line is missing)"),
            (&pem.replacen("MII", "AAA", 1), false, "certificate (it is damaged)"),
            (&pem.replacen("MII", "M!I", 1), false, "certificate (it is damaged)"),
            ("nothing", true, "PEM private key (the file holds none); check tls.key"),
            (&key.replacen("\nM", "\nA", 1), true, "private key (it must be RSA of 2048"),
        ] {
            std::fs::write(&file, text).unwrap();
            let mut config = config(&folder);
            config.tls.certificate = Some(if is_key { made.clone() } else { file.clone() });
            config.tls.key = Some(if is_key { file.clone() } else { its_key.clone() });
            let error = Certificate::obtain(&config, &[]).unwrap_err().to_string();
            assert!(error.contains("x.pem") && error.contains(says), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
