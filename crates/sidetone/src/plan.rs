//! The dialplan and the sounds it plays, loaded as a whole before the first call.

mod includes;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;

use dialplan::{Globals, LoadOptions, Location, Plan, Reachable, Source, Surroundings};
use media::codec::Codec;
use media::prompt::{PromptSettings, PromptStore};

use crate::config::Config;
use crate::tones;
use crate::users::Users;

/// Why the dialplan cannot be used: one sentence with file and line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{}: cannot read the dialplan ({source}); check dialplan.file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error(transparent)]
    Plan(#[from] dialplan::Error),
    /// The context of unauthenticated callers does not exist.
    #[error("the dialplan has no context {context:?}; define it or change dialplan.context")]
    NoContext {
        /// The context.
        context: String,
    },
    /// A context that calls of a user or of a token start in does not exist.
    #[error("{key}: the dialplan has no context {context:?}; define it or change {key}")]
    NoContextOf {
        /// The key that names it.
        key: String,
        /// The context.
        context: String,
    },
    /// The folder of sounds is not there.
    #[error("{}: is no folder that can be read; create it or change sounds.dir", path.display())]
    NoSounds {
        /// The folder.
        path: PathBuf,
    },
    /// The sound for who is on hold cannot be played.
    #[error("{0}; change sounds.hold_music")]
    HoldMusic(#[source] media::Error),
    /// The ringback tone cannot be encoded.
    #[error("the ringback tone cannot be made: {0}")]
    Ringback(#[source] media::Error),
    /// A sound or tone cannot be played.
    #[error("{location}: {source}")]
    Sound {
        /// The action that plays it.
        location: Location,
        /// What is wrong with it.
        source: media::Error,
    },
}

/// The codecs that the configuration allows, in its order.
#[must_use]
pub fn codecs(config: &Config) -> Vec<Codec> {
    let mut codecs = Vec::new();
    for name in &config.media.codecs {
        let codec = name.codec();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    codecs
}

/// Loads the dialplan, and decodes and encodes everything it is known to play.
///
/// # Errors
/// The first thing that is wrong. Nothing is loaded then.
pub fn load(config: &Config) -> Result<(Plan, PromptStore), PlanError> {
    load_after(config, None)
}

/// As [`load`], and what is in `former` already is not encoded again.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_after(
    config: &Config,
    former: Option<&PromptStore>,
) -> Result<(Plan, PromptStore), PlanError> {
    let plan = read(config)?;
    if let Some(path) = config.sounds.dir.as_ref().filter(|dir| std::fs::read_dir(dir).is_err()) {
        return Err(PlanError::NoSounds { path: path.clone() });
    }
    // Everything the plan names stays encoded, so that no call ever waits for it, whatever webhooks
    // name besides.
    let tones = (plan.tones().count() + 1) * codecs(config).len();
    let cached_max = (plan.sounds().count() + 1).max(tones);
    let settings = PromptSettings { cached_max, ..settings(config) };
    let prompts = PromptStore::new(config.sounds.dir.clone(), embedded_sound, settings);
    if let Some(former) = former {
        prompts.take_over(former);
    }
    let hold_music = config.sounds.hold_music.as_str();
    prompts.preload([hold_music], &codecs(config)).map_err(PlanError::HoldMusic)?;
    for codec in codecs(config) {
        prompts.tone(&tones::ringback(), codec).map_err(PlanError::Ringback)?;
        for (sound, location) in plan.sounds() {
            let prompt = prompts.prompt(sound.as_str());
            let prompt = prompt.map_err(|source| unplayable(location, source))?;
            prompt.track(codec).map_err(|source| unplayable(location, source))?;
        }
        for (script, location) in plan.tones() {
            let tone = prompts.tone(&tones::script(script), codec);
            tone.map_err(|source| unplayable(location, source))?;
        }
    }
    prompts.forget_former();
    prompts.keep_all();
    Ok((plan, prompts))
}

/// Whether every context that calls start in exists.
///
/// # Errors
/// The first one that does not, with the key that names it.
pub fn check_contexts(plan: &Plan, users: &Users, config: &Config) -> Result<(), PlanError> {
    let of_users = users.iter().flat_map(|user| {
        user.contexts.iter().map(|context| (format!("users.{}.contexts", user.name), context))
    });
    let of_tokens = config.auth.token_context.iter();
    let of_tokens = of_tokens.map(|context| ("auth.token_context".to_owned(), context));
    let mut missing: Vec<_> =
        of_users.chain(of_tokens).filter(|(_, context)| plan.context(context).is_none()).collect();
    missing.sort();
    match missing.into_iter().next() {
        Some((key, context)) => Err(PlanError::NoContextOf { key, context: context.clone() }),
        None => Ok(()),
    }
}

/// Whether the dialplan can do what it says: see [`Plan::check`].
///
/// # Errors
/// Everything that is wrong.
pub fn check(plan: &Plan, users: &Users, config: &Config) -> Result<(), PlanError> {
    let prompts = PromptStore::new(config.sounds.dir.clone(), embedded_sound, settings(config));
    let sound = |name: &dialplan::SoundName| {
        prompts.prompt(name.as_str()).map(|_| ()).map_err(|error| error.to_string())
    };
    let findings = findings(plan, users, config, &sound);
    if findings.is_empty() { Ok(()) } else { Err(dialplan::Error { findings }.into()) }
}

/// Refuses a plan whose public context leads to someone who did not allow it; what else could be better is logged.
/// Sounds are not looked at.
///
/// # Errors
/// Every way that leads there.
pub fn check_exposure(plan: &Plan, users: &Users, config: &Config) -> Result<(), PlanError> {
    let (exposed, others): (Vec<_>, Vec<_>) = findings(plan, users, config, &|_| Ok(()))
        .into_iter()
        .partition(|finding| matches!(finding.fault, dialplan::Fault::Exposed { .. }));
    for finding in others {
        tracing::warn!(%finding, "dialplan");
    }
    if exposed.is_empty() { Ok(()) } else { Err(dialplan::Error { findings: exposed }.into()) }
}

fn findings(
    plan: &Plan,
    users: &Users,
    config: &Config,
    sound: &dialplan::SoundCheck<'_>,
) -> Vec<dialplan::Finding> {
    let user = |name: &str| {
        let is_public = users.get(name)?.public;
        Some(if is_public { Reachable::ByAll } else { Reachable::ByUsers })
    };
    let public_context = config.dialplan.context.as_str();
    let own_host = |host: &str| is_own_host(host, config);
    plan.check(&Surroundings { public_context, user: Some(&user), own_host: &own_host, sound })
}

/// Whether a host, perhaps with a port, is an address that SIP is listened on.
fn is_own_host(host: &str, config: &Config) -> bool {
    let address = match host.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => SocketAddr::new(ip, SIP_PORT),
            Err(_) => return false,
        },
    };
    let is_it = |bound: SocketAddr| {
        let is_ip =
            bound.ip() == address.ip() || bound.ip().is_unspecified() && address.ip().is_loopback();
        is_ip && bound.port() == address.port()
    };
    let sockets = config.listen.iter().flat_map(|listen| listen.address.sockets());
    sockets.into_iter().any(|(bound, _)| is_it(bound))
}

/// Reads the dialplan.
///
/// # Errors
/// Everything that is wrong in its files.
pub fn read(config: &Config) -> Result<Plan, PlanError> {
    let source = match &config.dialplan.file {
        Some(path) => Source {
            file: path.display().to_string(),
            text: std::fs::read_to_string(path)
                .map_err(|source| PlanError::Unreadable { path: path.clone(), source })?,
        },
        None => Source {
            file: "default-dialplan.xml".to_owned(),
            text: include_str!("../../../config/default-dialplan.xml").to_owned(),
        },
    };
    let mut globals: Globals =
        config.dialplan.globals.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let folder =
        config.sounds.dir.as_ref().map_or("sounds".into(), |dir| dir.display().to_string());
    globals.set("sounds_dir", folder);
    globals.set("recordings_dir", config.recordings_dir().display().to_string());
    let context = config.dialplan.context.clone();
    let options = LoadOptions {
        context: context.clone(),
        globals,
        includes: includes::includes(),
        ..LoadOptions::default()
    };
    let plan = Plan::load(&[source], &options)?;
    if plan.context(&context).is_none() {
        return Err(PlanError::NoContext { context });
    }
    Ok(plan)
}

fn unplayable(location: &Location, source: media::Error) -> PlanError {
    PlanError::Sound { location: location.clone(), source }
}

fn settings(config: &Config) -> PromptSettings {
    PromptSettings {
        file_bytes_max: config.limits.sound_bytes_max,
        duration_max_s: config.limits.sound_duration_max_s,
        opus_complexity: config.media.opus_complexity,
        ..PromptSettings::default()
    }
}

#[derive(rust_embed::RustEmbed)]
#[folder = "sounds/"]
struct Sounds;

/// A sound in the binary.
pub(crate) fn embedded_sound(name: &str) -> Option<Cow<'static, [u8]>> {
    Sounds::get(name).map(|file| file.data)
}

// RFC 3261 §19.1.2.
const SIP_PORT: u16 = 5060;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn the_default_plan_loads_with_its_sounds() {
        let (plan, _) = load(&Config::default()).unwrap();
        let numbers: Vec<String> =
            plan.numbers("public").into_iter().map(|number| number.number).collect();
        assert_eq!(numbers, ["07010002000", "9195", "9196", "9197"]);
    }

    #[test]
    fn a_missing_context_is_named() {
        let mut config = Config::default();
        config.dialplan.context = "nowhere".to_owned();
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("nowhere") && error.contains("dialplan.context"), "{error}");
    }

    #[test]
    fn a_missing_context_of_a_user_or_a_token_is_named_with_its_key() {
        for (toml, key) in [
            ("[users.199]\npassword = 'x'\ncontexts = ['public', 'sales']\n", "users.199.contexts"),
            ("[auth]\ntoken_context = 'sales'\n", "auth.token_context"),
        ] {
            let config: Config = toml::from_str(toml).unwrap();
            let (plan, _) = load(&config).unwrap();
            let users = Users::new(&config).unwrap();
            let error = check_contexts(&plan, &users, &config).unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains("\"sales\""), "{error}");
        }
        let office = include_str!("../../../config/office.toml");
        let config: Config = toml::from_str(office).unwrap();
        let (plan, _) = load(&config).unwrap();
        check_contexts(&plan, &Users::new(&config).unwrap(), &config).unwrap();
    }

    #[test]
    fn a_host_of_a_uri_is_known_as_this_server() {
        let config = "[[listen]]\nkind = 'udp'\naddress = '0.0.0.0:5060'\n[[listen]]\nkind = 'tcp'\n\
                      address = '192.0.2.1:5070'\n";
        let config: Config = toml::from_str(config).unwrap();
        for (host, is_own) in [
            ("127.0.0.1", true),
            ("127.0.0.1:5070", false),
            ("192.0.2.1:5070", true),
            ("192.0.2.2:5070", false),
            ("pbx.example", false),
        ] {
            assert_eq!(is_own_host(host, &config), is_own, "{host}");
        }
    }

    #[test]
    fn a_missing_folder_of_sounds_is_named() {
        let mut config = Config::default();
        config.sounds.dir = Some("/nonexistent/sounds".into());
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/sounds") && error.contains("sounds.dir"), "{error}");
    }

    #[test]
    fn a_missing_hold_music_is_named() {
        let mut config = Config::default();
        config.sounds.hold_music = "none.wav".to_owned();
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("none.wav") && error.contains("sounds.hold_music"), "{error}");
    }

    #[test]
    fn a_missing_sound_is_named_with_its_line() {
        let folder = std::env::temp_dir().join(format!("sidetone-plan-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("plan.xml");
        let plan = "<include>\n<extension name=\"x\"><condition field=\"destination_number\" expression=\"^1$\">\n\
                    <action application=\"playback\" data=\"none.wav\"/></condition></extension></include>";
        std::fs::write(&file, plan).unwrap();
        let mut config = Config::default();
        config.dialplan.file = Some(file);
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("plan.xml:3") && error.contains("none.wav"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
