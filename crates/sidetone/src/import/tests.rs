//! What files of other servers become.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

const HEAD: &str = "[100]\ntype=endpoint\nauth=100\n[100]\ntype=auth\npassword=x\n";

#[test]
fn passwords_are_taken_without_comments_and_blanks_and_keep_what_is_escaped() {
    let text = "[a]\ntype=endpoint\nauth=a ; who\naors=a\n[a]\ntype=auth\npassword=1\\;2@3 ; weak \n\
                [a]\ntype=aor\nmax_contacts=3\n;-- [b]\ntype=endpoint --;\n";
    let imported = asterisk(&[("pjsip.conf", text)]);
    let user = &config(&imported).users["a"];
    assert_eq!(user.password.as_deref(), Some("1;2@3"));
    assert_eq!((user.max_contacts, user.remove_existing), (3, false));
    assert!(!imported.config.contains("users.b"));
}

#[test]
fn templates_are_filled_in_and_sections_are_gone_on_with() {
    let text = "[base](!)\ntype=endpoint\ncontext=office\nallow=!all,alaw\n[secret](!)\ntype=auth\npassword=x\n\
                [7](base)\nauth=7\n[7-auth](secret)\n[7](secret)\n[8](base)\nauth=7\nallow=ulaw\n[8](+)\ncontext=lab\n";
    let imported = asterisk(&[("pjsip.conf", text)]);
    let config = config(&imported);
    assert_eq!(config.users["7"].contexts, ["office"]);
    assert_eq!(config.users["8"].contexts, ["lab"]);
    assert_eq!(config.users["8"].codecs.as_ref().unwrap().len(), 2);
    assert!(!config.users.contains_key("base"));
}

#[test]
fn a_user_without_a_password_is_left_out_and_named_with_its_line() {
    let imported = asterisk(&[("pjsip.conf", "\n[open]\ntype=endpoint\n")]);
    assert!(config(&imported).users.is_empty());
    assert!(imported.report().contains("pjsip.conf:2: the user open: it has no password"));
}

#[test]
fn a_port_of_all_addresses_takes_in_the_same_port_of_one() {
    let pjsip = "[t]\ntype=transport\nprotocol=udp\nbind=0.0.0.0\n";
    let sip = "[general]\nudpbindaddr=127.0.0.1\n";
    let imported = asterisk(&[("pjsip.conf", pjsip), ("sip.conf", sip)]);
    let shown: Vec<String> =
        config(&imported).listen.iter().map(|l| format!("{:?} {}", l.kind, l.address)).collect();
    assert_eq!(shown, ["Udp 0.0.0.0:5060"]);
}

#[test]
fn the_ports_of_media_hold_those_of_webrtc() {
    let imported = asterisk(&[("rtp.conf", "[general]\nrtpstart=10000\nrtpend=20000\n")]);
    let media = config(&imported).media;
    assert_eq!(
        (media.webrtc_port, media.rtp_port_min, media.rtp_port_max),
        (10_000, 10_064, 20_000)
    );
    let imported = asterisk(&[("rtp.conf", "[general]\nrtpstart=10000\nrtpend=10010\n")]);
    let media = config(&imported).media;
    assert_eq!((media.webrtc_port, media.rtp_port_min), (0, 10_000));
}

#[test]
fn guests_do_not_get_where_users_start() {
    let sip = "[general]\ncontext=office\n[7]\nhost=dynamic\nsecret=x\n";
    let plan = "[office]\nexten => 1,1,Answer()\n[lobby]\nexten => 1,1,Answer()\n";
    let imported = asterisk(&[("sip.conf", sip), ("extensions.conf", plan)]);
    assert_eq!(config(&imported).dialplan.context, "public");
    assert!(imported.report().contains("sip.conf:2: callers without a password are not let into"));
    let sip = "[general]\ncontext=lobby\n[7]\nhost=dynamic\nsecret=x\ncontext=office\n";
    let imported = asterisk(&[("sip.conf", sip), ("extensions.conf", plan)]);
    assert_eq!(config(&imported).dialplan.context, "lobby");
}

#[test]
fn lines_become_actions_with_the_line_they_come_from() {
    let plan = "[a]\nexten => _[1-4]X.,1,NoOp(to ${EXTEN:1} by ${CALLERID(num)})\n same => n,Set(CALLERID(name)=Desk)\n \
                same => n,Dial(PJSIP/${EXTEN}&SIP/9,20,rT)\n same => n,Hangup()\nexten => 5,1,Wait(0.5)\n \
                same => n,VoiceMail(5)\nexten => 5/7,1,Busy()\n";
    let imported = asterisk(&[("pjsip.conf", HEAD), ("extensions.conf", plan)]);
    for expected in [
        "number = \"^[1-4][0-9].+$\"",
        "  # extensions.conf:2 noop(to ${EXTEN:1} by ${CALLERID(num)})\n  \"log INFO to ${destination_number:1} by ${caller_id_number}\",",
        "\"set effective_caller_id_name=Desk\"",
        "\"set call_timeout=20\"",
        "\"bridge user/${destination_number},user/9\"",
        "\"sleep 500\"",
        "caller = \"7\"",
    ] {
        assert!(imported.dialplan.contains(expected), "{expected} in {}", imported.dialplan);
    }
    let report = imported.report();
    assert!(report.contains("extensions.conf:4: Dial option T: phones transfer"), "{report}");
    assert!(
        report.contains("extensions.conf:7: voicemail(5): there is no such application"),
        "{report}"
    );
    let at = |text: &str| imported.dialplan.find(text).unwrap();
    assert!(at("caller = \"7\"") < at("\"sleep 500\""), "the more exact one comes first");
}

#[test]
fn jumps_become_steps_that_nobody_can_dial() {
    let plan = "[a]\nexten => 1,1,GotoIf($[\"${CALLERID(num)}\" = \"7\"]?ok:no)\n same => n(ok),Goto(b,${EXTEN:1},1)\n \
                same => n(no),ExecIf($[\"${x}\" != \"\"]?Wait(1))\n same => n,Gosub(b,s,1(${EXTEN}))\n \
                same => n,GotoIf($[${x} < 3]?ok)\n[b]\nexten => s,1,Return()\nexten => _2XX,1,Goto(a,1,no)\n";
    let imported = asterisk(&[("extensions.conf", plan)]);
    for expected in [
        "\"transfer a-2 XML steps\"",
        "caller = \"7\"\nactions = [\n  \"transfer a-3 XML steps\",\n]\nelse = [\n  \"transfer a-4 XML steps\",\n]",
        "\"transfer ${exten_2:1} XML b\"",
        "{ field = \"${x}\", is = \"^$\" },\n]\nactions = [\n  \"log DEBUG nothing to do\",\n]\nelse = [\n  \"sleep 1000\",",
        "\"set ARG1=${exten_2}\",\n  \"execute_extension s XML b\"",
        "\"set exten_2=1\",\n  \"transfer a-4 XML steps\"",
    ] {
        assert!(imported.dialplan.contains(expected), "{expected} in {}", imported.dialplan);
    }
    let report = imported.report();
    assert!(
        report.contains("extensions.conf:6: gotoif($[${x} < 3]?ok): only = and !="),
        "{report}"
    );
    assert!(!imported.dialplan.contains("include = [\"steps\"]"));
}

#[test]
fn a_menu_takes_a_number_of_its_context_and_goes_there() {
    let plan = "[m]\nexten => s,1,Answer()\n same => n(top),Background(hello&press)\n same => n,WaitExten(4)\n\
                exten => 1,1,Echo()\nexten => _20X,1,Busy()\nexten => t,1,Hangup()\nexten => i,1,Goto(s,top)\n";
    let imported = asterisk(&[("extensions.conf", plan)]);
    let sound = "common/logged_in_status.wav";
    for expected in [
        &format!(
            "play_and_get_digits 1 3 1 4000 # {sound}!{sound} silence_stream://1 menu_digits .+ 2500"
        ),
        "is = [\"1\", \"^20[0-9]$\"] },\n]\nactions = [\n  \"transfer ${menu_digits} XML m\",",
        "\"transfer t XML m\"",
        "\"transfer i XML m\"",
    ] {
        assert!(imported.dialplan.contains(expected), "{expected} in {}", imported.dialplan);
    }
    assert!(imported.report().contains("the sound press is not there"));
}

#[test]
fn what_is_recorded_is_played_back_from_where_it_is() {
    let plan = "[default]\nexten => 1,1,Record(/tmp/greeting:wav,3,30)\nexten => 1,2,Playback(/tmp/greeting)\n";
    let imported = asterisk(&[("pjsip.conf", HEAD), ("extensions.conf", plan)]);
    assert!(
        imported.dialplan.contains("\"record tmp/greeting.wav 30 200 3\""),
        "{}",
        imported.dialplan
    );
    let playback = "\"playback $${recordings_dir}/tmp/greeting.wav\"";
    assert!(imported.dialplan.contains(playback), "{}", imported.dialplan);
}

#[test]
fn a_long_chain_of_jumps_is_translated_in_bounded_time() {
    let mut plan = String::from("[a]\nexten => 1,1(l0),NoOp\n");
    for at in 1..20_000 {
        plan +=
            &format!("same => n(l{at}),GotoIf($[${{x}} = {at}]?l{}:l{})\n", at - 1, 19_999 - at);
    }
    let began = std::time::Instant::now();
    let error = try_asterisk(&[("extensions.conf", &plan)]);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    assert!(error.is_ok(), "{error:?}");
}

#[test]
fn a_context_without_password_that_leads_to_users_is_cut_off() {
    let profile = "<profile name=\"x\"><settings><param name=\"context\" value=\"public\"/></settings></profile>";
    let user = "<user id=\"9\"><params><param name=\"password\" value=\"x\"/></params></user>";
    let plan = "<context name=\"public\"><extension name=\"in\">\n<condition field=\"destination_number\" expression=\"^9$\">\n\
                <action application=\"bridge\" data=\"user/9\"/></condition></extension></context>";
    let imported =
        freeswitch(&[("p.xml", profile), ("u.xml", user), ("dialplan/public.xml", plan)]);
    assert!(imported.report().contains("public.xml:3: bridge"), "{}", imported.report());
    assert!(!imported.dialplan.contains("\"bridge user/9\""), "{}", imported.dialplan);
}

#[test]
fn too_deep_and_too_many_is_refused_with_file_and_line() {
    let deep = format!("\n{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let error = try_import(&[("a.xml", &deep)], super::freeswitch).unwrap_err().to_string();
    assert_eq!(error, "a.xml:2: the depth of elements is over the bound of 64");
    let many: String = (0..30_000).map(|at| format!("exten => _{at}X,1,Answer\n")).collect();
    let error = try_asterisk(&[("extensions.conf", &format!("[a]\n{many}"))]).unwrap_err();
    let expected = "extensions.conf:1: the number of extensions is over the bound of 20000";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn entities_are_refused_and_other_files_are_still_read() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n<include>&b;</include>";
    let user = "<user id=\"9\"><params><param name=\"password\" value=\"$${pw}\"/></params></user>";
    let vars = "<include><X-PRE-PROCESS cmd=\"set\" data=\"pw=secret\"/></include>";
    let files = [("a.xml", bomb), ("directory/9.xml", user), ("vars.xml", vars)];
    let imported = freeswitch(&files);
    assert_eq!(config(&imported).users["9"].password.as_deref(), Some("secret"));
    assert!(imported.report().contains("a.xml:1: the file:"), "{}", imported.report());
}

#[test]
fn what_of_xml_is_not_known_is_left_out_and_the_rest_is_kept() {
    let plan = "<context name=\"public\">\n<extension name=\"a\">\n<condition field=\"destination_number\" expression=\"^1$\">\n\
                <action application=\"answer\"/>\n<action application=\"fifo\" data=\"x in\"/>\n</condition></extension>\n\
                <extension name=\"b\" colour=\"red\"><condition/></extension>\n\
                <extension name=\"c\">\n<condition field=\"destination_number\" expression=\"^(?!2)\">\n\
                <action application=\"answer\"/></condition></extension></context>";
    let imported = freeswitch(&[("dialplan/public.xml", plan)]);
    let report = imported.report();
    for line in [
        "public.xml:5: the application \"fifo\"",
        "public.xml:7: colour",
        "public.xml:9: the expression",
    ] {
        assert!(report.contains(line), "{line} in {report}");
    }
    assert!(imported.dialplan.contains("name = \"a\"") && imported.dialplan.contains("WARNING"));
    assert!(
        !imported.dialplan.contains("name = \"b\"") && !imported.dialplan.contains("name = \"c\"")
    );
}

#[test]
fn a_profile_that_asks_for_passwords_lets_nobody_in_without() {
    let profile = |calls: &str| {
        format!(
            "<profile name=\"x\"><settings><param name=\"context\" value=\"public\"/><param name=\"sip-port\" \
             value=\"5080\"/><param name=\"auth-calls\" value=\"{calls}\"/><param name=\"ext-rtp-ip\" \
             value=\"203.0.113.9\"/></settings></profile>"
        )
    };
    let imported = freeswitch(&[("sip_profiles/x.xml", &profile("true"))]);
    assert_eq!(config(&imported).dialplan.context, "unauthenticated");
    let imported = freeswitch(&[("sip_profiles/x.xml", &profile("false"))]);
    let config = config(&imported);
    assert_eq!(config.dialplan.context, "public");
    assert!(config.media.external_address.is_some());
    assert_eq!(config.listen[0].address.to_string(), "0.0.0.0:5080");
}

#[test]
fn templates_that_double_and_files_that_include_themselves_are_refused() {
    let mut text = String::from("[t0](!)\na=1\n");
    for at in 1..60 {
        text += &format!("[t{at}](!,t{0},t{0})\n", at - 1);
    }
    let error = try_asterisk(&[("pjsip.conf", &text)]).unwrap_err().to_string();
    assert!(error.starts_with("pjsip.conf:") && error.contains("over the bound"), "{error}");
    let files = [("pjsip.conf", "\n#include b.conf\n"), ("b.conf", "#include pjsip.conf\n")];
    let error = try_asterisk(&files).unwrap_err().to_string();
    assert_eq!(error, "b.conf:1: pjsip.conf -> b.conf includes itself");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_text_makes_the_reader_of_asterisk_panic(
        lines in prop::collection::vec("(\\[[a-c]\\](\\([!+a-c,]{0,3}\\))?|(exten|same|type|include|auth|bind) ?=>? ?[_0-9a-cXNZ.!n]{0,4},[1n](\\([ab]\\))?,(Goto|GotoIf|ExecIf|Dial|Gosub|Background|WaitExten|Set|Read|Playback)\\([-$\\[\\]{}=?:,&/a-c0-9 \"]{0,12}\\)?|\\PC{0,20})", 0..14),
    ) {
        let text = lines.join("\n");
        let files = FILES.map(|name| (name, text.as_str()));
        if let Ok(imported) = try_asterisk(&files) {
            prop_assert!(Config::parse(&imported.config, "x".as_ref()).is_ok(), "{}", imported.config);
        }
    }

    #[test]
    fn no_text_makes_the_reader_of_freeswitch_panic(
        text in "(</?(include|context|extension|condition|action|user|param|settings)( (name|id|value|data|field)=\"[$a-c{}0-9:.]{0,6}\")?/?>|\\PC{0,6}){0,12}",
    ) {
        if let Ok(imported) = try_import(&[("dialplan/a.xml", &text)], super::freeswitch) {
            prop_assert!(Config::parse(&imported.config, "x".as_ref()).is_ok(), "{}", imported.config);
        }
    }
}

/// As many as are asked for, else fewer than usual, since each is an import of its own.
fn cases() -> ProptestConfig {
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    if is_asked { ProptestConfig::default() } else { ProptestConfig::with_cases(100) }
}

const FILES: [&str; 5] = ["pjsip.conf", "sip.conf", "http.conf", "rtp.conf", "extensions.conf"];

#[test]
fn networks_inside_are_taken_over_with_the_address_outside() {
    let transport = "[udp]\ntype=transport\nexternal_media_address=203.0.113.9\n";
    let inside = "local_net=192.168.1.7/24\nlocal_net=10.0.0.0/255.0.0.0\nlocal_net=office\n";
    let old = "[general]\nexternip=203.0.113.9\nlocalnet=192.168.1.0/255.255.255.0\nlocalnet=10.0.0.0/8\n\
               localnet=office\n";
    for (file, text) in
        [("pjsip.conf", format!("{transport}{inside}")), ("sip.conf", old.to_owned())]
    {
        let imported = asterisk(&[(file, &text)]);
        let networks = config(&imported).media.local_networks;
        assert!(networks.has("192.168.1.200".parse().unwrap()), "{file}: {networks}");
        assert!(networks.has("10.9.9.9".parse().unwrap()), "{file}: {networks}");
        assert!(!networks.has("192.168.2.1".parse().unwrap()), "{file}: {networks}");
        assert!(imported.report().contains("office is no network"), "{}", imported.report());
    }
    let alone = asterisk(&[("pjsip.conf", "[udp]\ntype=transport\nlocal_net=10.0.0.0/8\n")]);
    assert!(config(&alone).media.local_networks.is_empty());
}

fn config(imported: &Imported) -> Config {
    Config::parse(&imported.config, "sidetone.toml".as_ref()).unwrap()
}

fn asterisk(files: &[(&str, &str)]) -> Imported {
    try_asterisk(files).unwrap()
}

fn try_asterisk(files: &[(&str, &str)]) -> Result<Imported, ImportError> {
    try_import(files, super::asterisk)
}

fn freeswitch(files: &[(&str, &str)]) -> Imported {
    try_import(files, super::freeswitch).unwrap()
}

fn try_import(
    files: &[(&str, &str)],
    import: fn(&Path) -> Result<Imported, ImportError>,
) -> Result<Imported, ImportError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder: PathBuf =
        std::env::temp_dir().join(format!("sidetone-import-{}-{next}", std::process::id()));
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let imported = import(&folder);
    std::fs::remove_dir_all(folder).unwrap();
    imported
}
