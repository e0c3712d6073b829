//! Recordings of real calls: what was said is in the file, and is heard when the file is played.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::phone::{Heard, Phone};
use crate::server::Server;

const PLAN: &str = r#"<include>
  <extension name="voicemail"><condition field="destination_number" expression="^voicemail$">
    <action application="record" data="mail/${uuid}.wav 1"/>
    <action application="playback" data="$${recordings_dir}/mail/${uuid}.wav"/>
    <action application="playback" data="{volume=-12}$${recordings_dir}/mail/${uuid}.wav"/>
  </condition></extension>
  <extension name="silence"><condition field="destination_number" expression="^silence$">
    <action application="record" data="silence.wav 30 200 1"/>
    <action application="playback" data="tone_stream://%(1000,0,440)"/>
  </condition></extension>
  <extension name="session"><condition field="destination_number" expression="^session$">
    <action application="set" data="RECORD_STEREO=true"/>
    <action application="record_session" data="calls/session.wav"/>
    <action application="answer"/>
    <action application="playback" data="tone_stream://%(60000,0,440)"/>
  </condition></extension>
</include>"#;

fn serve() -> Server {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("sidetone-recordings-{}-{number}.xml", std::process::id());
    let plan = std::env::temp_dir().join(name);
    std::fs::write(&plan, PLAN).unwrap();
    let server = Server::start(&format!("[dialplan]\nfile = '{}'\n", plan.display()));
    std::fs::remove_file(plan).unwrap();
    server
}

/// Waits until a file is complete, and reads one of its channels.
fn read(path: &Path, channel: usize) -> Heard {
    let end = Instant::now() + Duration::from_secs(5);
    while !path.exists() {
        assert!(Instant::now() < end, "{} is not written", path.display());
        std::thread::yield_now();
    }
    let mut reader = hound::WavReader::open(path).unwrap();
    let channels = usize::from(reader.spec().channels);
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    Heard::of(samples.into_iter().skip(channel).step_by(channels).collect())
}

#[test]
fn a_message_is_recorded_and_played_back() {
    let server = serve();
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("voicemail");
    phone.say_tone(700.0, Duration::from_millis(1_100));
    let heard = phone.listen_until_bye(Duration::from_secs(10));
    assert!((heard.frequency_hz() - 700.0).abs() < 4.0, "{} Hz", heard.frequency_hz());
    assert!((95..=105).contains(&heard.packets), "{} packets", heard.packets);
    let (first, second) = heard.samples.split_at(heard.samples.len() / 2);
    let peak = |samples: &[i16]| samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    let ratio = f64::from(peak(first)) / f64::from(peak(second));
    assert!((3.6..4.4).contains(&ratio), "12 dB softer is not 1 to {ratio}");
    let mut files = std::fs::read_dir(server.folder.join("recordings/mail")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert_eq!(read(&file, 0).samples.len(), 8_000);
    assert!(files.next().is_none(), "there is one file");
}

#[test]
fn a_recording_ends_when_nobody_speaks() {
    let server = serve();
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("silence");
    phone.say_tone(700.0, Duration::from_millis(400));
    let heard = phone.listen_until_bye(Duration::from_secs(10));
    assert!((heard.frequency_hz() - 440.0).abs() < 4.0, "{} Hz", heard.frequency_hz());
    let recorded = read(&server.folder.join("recordings/silence.wav"), 0);
    let seconds = recorded.samples.len() as f64 / 8_000.0;
    assert!((1.3..1.8).contains(&seconds), "{seconds} s");
}

#[test]
fn both_sides_of_a_call_are_recorded_until_it_ends() {
    let server = serve();
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("session");
    phone.say_tone(700.0, Duration::from_secs(1));
    phone.hang_up();
    let path = server.folder.join("recordings/calls/session.wav");
    for (channel, tone_hz) in [(0, 700.0), (1, 440.0)] {
        let recorded = read(&path, channel);
        let frequency_hz = recorded.frequency_hz();
        assert!((frequency_hz - tone_hz).abs() < 4.0, "{frequency_hz} Hz on {channel}");
        let seconds = recorded.samples.len() as f64 / 8_000.0;
        assert!((0.9..1.3).contains(&seconds), "{seconds} s");
    }
    let (_, metrics) = server.get("/metrics");
    let line = "sidetone_recordings_total{result=\"completed\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{line} is missing");
}
