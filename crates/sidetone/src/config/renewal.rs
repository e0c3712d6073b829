//! What of a configuration can change while the server runs.

use super::{Config, Limits, Media};

impl Config {
    /// This configuration of a running server with all that `wanted` can change while it runs, and
    /// the keys of `wanted` that need a restart.
    #[must_use]
    pub fn renewed(&self, wanted: &Config) -> (Config, Vec<&'static str>) {
        let new = wanted.clone();
        let renewed = Config {
            tls: new.tls,
            auth: new.auth,
            users: new.users,
            calls: new.calls,
            sounds: new.sounds,
            dialplan: new.dialplan,
            media: Media {
                codecs: new.media.codecs,
                opus_complexity: new.media.opus_complexity,
                connect_timeout_s: new.media.connect_timeout_s,
                ..self.media.clone()
            },
            limits: Limits {
                sound_duration_max_s: new.limits.sound_duration_max_s,
                sound_bytes_max: new.limits.sound_bytes_max,
                ..self.limits.clone()
            },
            ..self.clone()
        };
        let keys = wanted.keys_unlike(&renewed);
        (renewed, keys)
    }

    fn keys_unlike(&self, other: &Config) -> Vec<&'static str> {
        let (media, other_media) = (&self.media, &other.media);
        let (limits, other_limits) = (&self.limits, &other.limits);
        let rows = [
            ("state_dir", self.state_dir != other.state_dir),
            ("listen", self.listen != other.listen),
            ("web", self.web != other.web),
            ("sip", self.sip != other.sip),
            ("recordings", self.recordings != other.recordings),
            ("webhook", self.webhook != other.webhook),
            ("registrar", self.registrar != other.registrar),
            ("control", self.control != other.control),
            ("log", self.log != other.log),
            ("media.shards", media.shards != other_media.shards),
            ("media.addresses", media.addresses != other_media.addresses),
            ("media.external_address", media.external_address != other_media.external_address),
            ("media.external_ports", media.external_ports != other_media.external_ports),
            ("media.local_networks", media.local_networks != other_media.local_networks),
            ("media.stun_server", media.stun_server != other_media.stun_server),
            ("media.webrtc_port", media.webrtc_port != other_media.webrtc_port),
            ("media.rtp_port_min", media.rtp_port_min != other_media.rtp_port_min),
            ("media.rtp_port_max", media.rtp_port_max != other_media.rtp_port_max),
            (
                "media.opus_transcode_complexity",
                media.opus_transcode_complexity != other_media.opus_transcode_complexity,
            ),
            ("limits", limits != other_limits),
        ];
        rows.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn renewed(wanted: &str) -> (Config, Vec<&'static str>) {
        let wanted = Config::parse(wanted, "x.toml".as_ref()).unwrap();
        Config::default().renewed(&wanted)
    }

    #[test]
    fn what_a_call_takes_at_its_start_is_renewed() {
        for wanted in [
            "[users.7]\npassword = 'x'\n",
            "[auth]\nrealm = 'other'\n",
            "[calls]\nring_timeout_s = 5\n",
            "[dialplan]\ncontext = 'other'\n",
            "[sounds]\nhold_music = 'x.wav'\n",
            "[tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\n",
            "[media]\ncodecs = ['pcma']\nopus_complexity = 1\nconnect_timeout_s = 3\n",
            "[limits]\nsound_duration_max_s = 9\nsound_bytes_max = 9\n",
        ] {
            let (config, keys) = renewed(wanted);
            assert_eq!(config, Config::parse(wanted, "x.toml".as_ref()).unwrap(), "{wanted}");
            assert!(keys.is_empty(), "{wanted}: {keys:?}");
        }
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        for (wanted, named) in [
            ("state_dir = '/x'\n", "state_dir"),
            ("listen = [{ kind = 'udp', address = '127.0.0.1:5070' }]\n", "listen"),
            ("[web]\nphone = false\n", "web"),
            ("[sip]\nt1_ms = 100\n", "sip"),
            ("[registrar]\nflow_grace_s = 1\n", "registrar"),
            ("[recordings]\nduration_max_s = 9\n", "recordings"),
            ("[webhook]\nsecret = 'a secret of more than 24 bytes'\n", "webhook"),
            ("[control]\naddress = '127.0.0.1:1'\n", "control"),
            ("[log]\nlevel = 'debug'\n", "log"),
            ("[media]\nshards = 3\n", "media.shards"),
            ("[media]\naddresses = ['192.0.2.1']\n", "media.addresses"),
            ("[media]\nexternal_address = '192.0.2.1'\n", "media.external_address"),
            ("[media]\nstun_server = 'x:1'\n", "media.stun_server"),
            ("[media]\nwebrtc_port = 9999\n", "media.webrtc_port"),
            ("[media]\nrtp_port_min = 10200\n", "media.rtp_port_min"),
            ("[media]\nrtp_port_max = 20000\n", "media.rtp_port_max"),
            ("[media]\nopus_transcode_complexity = 1\n", "media.opus_transcode_complexity"),
            ("[limits]\ncalls_max = 7\n", "limits"),
        ] {
            assert_eq!(renewed(wanted), (Config::default(), vec![named]), "{wanted}");
        }
        let together = "[media]\nexternal_address = '192.0.2.1'\nexternal_ports = ['10000:1']\n\
                        local_networks = ['10.0.0.0/8']\n";
        let keys = vec!["media.external_address", "media.external_ports", "media.local_networks"];
        assert_eq!(renewed(together), (Config::default(), keys));
    }
}
