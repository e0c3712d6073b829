//! What a peer's `a=fmtp` says of Opus (RFC 7587 §6.1).

/// What a peer wants of the Opus that is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusParameters {
    /// `maxplaybackrate`: what is above half of it is not heard; 8000 to 48000.
    pub playback_rate_hz_max: u32,
    /// `maxaveragebitrate`: bits per second at most; 6000 to 510000.
    pub bitrate_max: Option<u32>,
    /// `stereo`: whether it would rather have two channels.
    pub stereo: bool,
    /// `useinbandfec`: whether it makes use of in-band forward error correction.
    pub inband_fec: bool,
    /// `usedtx`: whether it would rather have nothing sent while nobody speaks.
    pub dtx: bool,
    /// `cbr`: whether every packet is to have one size.
    pub constant_bitrate: bool,
}

impl Default for OpusParameters {
    fn default() -> Self {
        OpusParameters {
            playback_rate_hz_max: RATE_HZ_MAX,
            bitrate_max: None,
            stereo: false,
            inband_fec: false,
            dtx: false,
            constant_bitrate: false,
        }
    }
}

impl OpusParameters {
    /// Reads the parameters of `a=fmtp`; what is malformed or out of range is as if it were absent.
    pub fn parse(parameters: &str) -> Self {
        let mut read = OpusParameters::default();
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let Ok(value) = value.trim().parse::<u32>() else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "maxplaybackrate" if (RATE_HZ_MIN..=RATE_HZ_MAX).contains(&value) => {
                    read.playback_rate_hz_max = value;
                }
                "maxaveragebitrate" if (BITRATE_MIN..=BITRATE_MAX).contains(&value) => {
                    read.bitrate_max = Some(value);
                }
                "stereo" => read.stereo = value == 1,
                "useinbandfec" => read.inband_fec = value == 1,
                "usedtx" => read.dtx = value == 1,
                "cbr" => read.constant_bitrate = value == 1,
                _ => {}
            }
        }
        read
    }
}

// RFC 7587 §6.1.
const RATE_HZ_MIN: u32 = 8000;
const RATE_HZ_MAX: u32 = 48_000;
const BITRATE_MIN: u32 = 6000;
const BITRATE_MAX: u32 = 510_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7587_6_1_every_parameter_is_read() {
        let read = OpusParameters::parse(
            "minptime=10; maxplaybackrate=16000;maxaveragebitrate=20000;stereo=1;useinbandfec=1;\
             usedtx=1;cbr=1;x-other",
        );
        let expected = OpusParameters {
            playback_rate_hz_max: 16_000,
            bitrate_max: Some(20_000),
            stereo: true,
            inband_fec: true,
            dtx: true,
            constant_bitrate: true,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_absent_malformed_or_out_of_range_is_the_default() {
        for parameters in
            ["", ";;=", "maxplaybackrate=0;maxaveragebitrate=1", "maxplaybackrate=x;stereo=2"]
        {
            assert_eq!(OpusParameters::parse(parameters), OpusParameters::default());
        }
    }
}
