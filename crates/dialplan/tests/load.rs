//! What the loader takes, what it refuses, and where it says the mistake is.
#![allow(clippy::unwrap_used, reason = "test code")]

use dialplan::{Facts, Globals, Limits, LoadOptions, NoMatchReason, Number, Plan, Repeat, Source};
use proptest::prelude::*;

const GUIDE: &str = include_str!("guide.xml");
const DEFAULT: &str = include_str!("../../../config/default-dialplan.xml");

#[test]
fn the_extension_of_the_guide_loads_as_written() {
    let plan = load(GUIDE).unwrap();
    let sounds: Vec<String> =
        plan.sounds().map(|(sound, location)| format!("{location} {sound}")).collect();
    assert_eq!(sounds, ["test.xml:7 common/logged_in_status.wav"]);
    assert_eq!(plan.numbers("public"), [number("07010002000", "TRUNK_WEBRTC_TEST")]);
    let extension = &plan.context("public").unwrap().extensions[0];
    let actions: Vec<_> =
        extension.conditions[0].actions.iter().map(|action| action.application).collect();
    assert_eq!(actions, ["log", "set", "answer", "sleep", "playback", "hangup"]);
}

#[test]
fn the_default_dialplan_loads() {
    let plan = load(DEFAULT).unwrap();
    let expected = [
        number("07010002000", "TRUNK_WEBRTC_TEST"),
        number("9195", "delay_echo"),
        number("9196", "echo"),
        number("9197", "milliwatt"),
    ];
    assert_eq!(plan.numbers("public"), expected);
    let (tones, _) = plan.tones().next().unwrap();
    assert_eq!(tones.repeat(), Repeat::Forever);
    assert_eq!(tones.tones()[0].frequencies_hz, [1004.0]);
}

#[test]
fn the_default_dialplan_holds_the_extension_of_the_guide() {
    let written = |text: &str| -> Vec<String> {
        let plan = load(text).unwrap();
        let conditions = &plan.context("public").unwrap().extensions[0].conditions;
        conditions[0]
            .actions
            .iter()
            .map(|action| format!("{} {}", action.application, action.data))
            .collect()
    };
    assert_eq!(written(DEFAULT), written(GUIDE));
}

#[test]
fn every_way_to_wrap_an_extension_is_read_and_keeps_its_lines() {
    let extension = "<extension name=\"x\">\n<condition/>\n</extension>";
    let context = format!("<context name=\"public\">\n{extension}\n</context>");
    let section = format!("<section name=\"dialplan\" description=\"all\">\n{context}\n</section>");
    for (text, line) in [
        (extension.to_owned(), 1),
        (format!("\n{extension}\n{extension}"), 2),
        (format!("<?xml version=\"1.0\"\n?>\n<!-- two -->\n{extension}\n{context}"), 4),
        (format!("\u{feff}<?xml version=\"1.0\"?>\n{extension}"), 2),
        (format!("\u{feff}\n{extension}{extension}"), 2),
        (format!("<include>\n{extension}\n</include>"), 2),
        (format!("<include>\n<include>\n{context}\n</include></include>"), 4),
        (context.clone(), 2),
        (section.clone(), 3),
        (format!("<document type=\"freeswitch/xml\">\n{section}\n</document>"), 4),
        (format!("{section}\n{context}"), 3),
    ] {
        let plan = load(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let found = &plan.context("public").unwrap().extensions[0];
        assert_eq!((found.name.as_str(), found.location.line), ("x", line), "{text}");
    }
}

#[test]
fn sources_make_one_plan_and_extensions_without_context_go_where_the_caller_says() {
    let source = |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned() };
    let sources = [
        source("a.xml", "<extension name=\"bare\"><condition/></extension>"),
        source(
            "b.xml",
            "<context name=\"mine\"><extension name=\"second\"><condition/></extension></context>",
        ),
    ];
    let options = LoadOptions { context: "mine".to_owned(), ..LoadOptions::default() };
    let plan = Plan::load(&sources, &options).unwrap();
    let names: Vec<_> =
        plan.context("mine").unwrap().extensions.iter().map(|found| found.name.as_str()).collect();
    assert_eq!((plan.contexts().len(), names), (1, vec!["bare", "second"]));
}

#[test]
fn globals_are_set_from_where_they_stand_on_and_used_everywhere() {
    let plan = load(
        r#"<X-PRE-PROCESS cmd="set" data="short=9196"/>
           <X-PRE-PROCESS cmd="set" data="number=$${short}0"/>
           <extension name="$${short}">
             <condition field="destination_number" expression="^$${number}$">
               <action application="playback" data="$${sounds_dir}/$${short}.wav"/>
             </condition>
           </extension>"#,
    )
    .unwrap();
    assert_eq!(plan.numbers("public"), [number("91960", "9196")]);
    assert_eq!(plan.sounds().next().unwrap().0.as_str(), "9196.wav");
    let error = load(
        "<extension name=\"$${late}\"><condition/></extension>\n<X-PRE-PROCESS cmd=\"set\" data=\"late=1\"/>",
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .starts_with("test.xml:1: the global variable $${late} is not defined")
    );
}

#[test]
fn the_first_extension_whose_conditions_all_hold_is_found() {
    let plan = load(
        r#"<extension name="both">
             <condition field="destination_number" expression="^1$"/>
             <condition field="${caller_id_number}" expression="^2$"/>
           </extension>
           <extension name="address"><condition field="network_addr" expression="^192\.0\.2\."/></extension>
           <extension name="one"><condition field="destination_number" expression="^1$"/></extension>
           <extension name="shadowed"><condition field="destination_number" expression="^1$"/></extension>"#,
    )
    .unwrap();
    let found = |to: &str, from: &str, address: &str| {
        let facts = facts(to, from, address);
        plan.route("public", &facts)
            .map(|route| route.extension().unwrap().name.clone())
            .unwrap_or_default()
    };
    assert_eq!(found("1", "2", "::1"), "both");
    assert_eq!(found("1", "3", "::1"), "one");
    assert_eq!(found("1", "3", "192.0.2.7"), "address");
    assert_eq!(found("3", "2", "::1"), "");
    assert_eq!(plan.numbers("public"), [number("1", "one")]);
    assert_eq!(plan.numbers("none"), []);
}

#[test]
fn a_number_without_an_extension_is_explained_in_one_line() {
    let plan = load(&format!(
        "{GUIDE}\n<extension name=\"e\">\n<condition field=\"context\" expression=\"^x$\"/></extension>"
    ));
    let plan = plan.unwrap();
    let error = plan.route("public", &facts("555\n", "199", "::1")).unwrap_err();
    let expected = "no match in context \"public\": TRUNK_WEBRTC_TEST (test.xml:2): destination_number \"555 \" is not \
                    ^(07010002000)$; e (test.xml:13): context \"\" is not ^x$";
    assert_eq!(error.to_string(), expected);
    let NoMatchReason::NoExtension { failed, more: 0 } = error.reason else {
        panic!("both are listed")
    };
    assert_eq!((failed.len(), failed[0].value.as_str()), (2, "555\n"));

    let error = plan.route("internal", &facts("1", "2", "::1")).unwrap_err();
    assert_eq!(error.to_string(), "no match in context \"internal\": there is no such context");
}

#[test]
fn the_line_about_a_number_is_bounded() {
    let extension = "<extension name=\"e\"><condition field=\"destination_number\" expression=\"^1$\"/></extension>";
    let plan = load(&extension.repeat(10_000)).unwrap();
    let error =
        plan.route("public", &facts(&"5".repeat(10_000), "", "::1")).unwrap_err().to_string();
    assert!(error.ends_with("; and 9980 more"), "{error}");
    assert!(error.len() < 4096);
}

/// Each mistake stands on line 3.
#[test]
fn every_mistake_is_found_with_its_file_and_line() {
    let in_condition = |line: &str| {
        format!(
            "<extension name=\"e\">\n<condition field=\"destination_number\" expression=\"^(1)$\">\n{line}\n\
             </condition></extension>"
        )
    };
    let in_extension = |line: &str| {
        format!("<context name=\"c\">\n<extension name=\"e\">\n{line}\n</extension></context>")
    };
    let in_context =
        |line: &str| format!("<include>\n<context name=\"c\">\n{line}\n</context></include>");
    let in_document = |line: &str| format!("<document>\n\n{line}\n</document>");
    for (text, expected) in [
        (
            in_condition("<action application=\"playbak\" data=\"a.wav\"/>"),
            "the application \"playbak\" is not supported; did you mean \"playback\"?",
        ),
        (
            in_condition("<action application=\"conference\" data=\"x\"/>"),
            "the application \"conference\" is not supported; none is close to it",
        ),
        (in_condition("<action data=\"x\"/>"), "<action> needs the attribute application"),
        (
            in_condition("<action application=\"answer\" date=\"\"/>"),
            "date=\"\" is not supported in <action>; did you mean \"data\"?",
        ),
        (
            in_condition("<action application=\"answer\" inline=\"true\"/>"),
            "answer cannot be inline: it needs the call; set, unset, export and log can be",
        ),
        (
            in_condition("<action application=\"log\" data=\"INFO $2\"/>"),
            "$2 refers to group 2, but the expression has 1",
        ),
        (
            in_condition("<action application=\"log\" data=\"$${x}\"/>"),
            "the global variable $${x} is not defined; there are: sounds_dir",
        ),
        (
            in_condition("<action application=\"sleep\" data=\"soon\"/>"),
            "sleep \"soon\": \"soon\" is not a whole number from 0 to 86400000",
        ),
        (
            in_condition("<action application=\"answer\"><x/></action>"),
            "<x> is not supported in <action>; it holds nothing, or a fallback of <action>",
        ),
        (
            in_condition("<action application=\"answer\">now</action>"),
            "answer \"now\": it takes no arguments",
        ),
        (
            in_condition("<antiaction application=\"answer\"/>"),
            "<antiaction> is not supported in <condition>; it holds <action>, <anti-action>, <condition>, and <regex> \
             if it has regex=\"all\", \"any\" or \"xor\"",
        ),
        (
            in_extension("<condition field=\"destination\" expression=\"1\"/>"),
            "calls have no field \"destination\"; did you mean \"destination_user\"?; a variable is written ${name}",
        ),
        (
            in_extension("<condition field=\"destination_numbr\" expression=\"1\"/>"),
            "calls have no field \"destination_numbr\"; did you mean \"destination_number\"?; a variable is written ${name}",
        ),
        (
            in_extension("<condition field=\"context\"/>"),
            "<condition> needs the attribute expression",
        ),
        (in_extension("<condition expression=\"1\"/>"), "<condition> needs the attribute field"),
        (
            in_extension("<condition field=\"context\" expression=\"^(?!x)\"/>"),
            "the expression \"^(?!x)\" is refused: look-around is not supported; write what must match, and put \
             exceptions in an extension before",
        ),
        (
            in_extension("<condition field=\"context\" expression=\"[\"/>"),
            "the expression \"[\" is refused: unclosed character class",
        ),
        (
            in_extension("<condition wday=\"2-8\"/>"),
            "wday: \"8\" cannot be read; write for example mon-fri or 2-6 (1 is Sunday)",
        ),
        (
            in_extension("<condition break=\"nevr\"/>"),
            "break=\"nevr\" is not supported in <condition>; did you mean \"never\"?",
        ),
        (
            in_extension("<action application=\"answer\"/>"),
            "<action> is not supported in <extension>; it holds <condition>",
        ),
        (
            in_context("<extension name=\"e\"></extension>"),
            "the extension \"e\" needs a <condition>; without attributes it always holds",
        ),
        (
            in_context("<extension name=\"e\" continue=\"maybe\"><condition/></extension>"),
            "continue=\"maybe\" is not supported in <extension>; there are: false, true, no, yes",
        ),
        (
            in_context("<context name=\"d\"/>"),
            "<context> is not supported in <context>; a dialplan holds <context> with <extension>, <condition> and \
             <action>",
        ),
        (in_context("stray"), "text outside of elements: \"stray\""),
        (in_extension("<condition>stray</condition>"), "text outside of elements: \"stray\""),
        (
            in_context("<X-PRE-PROCESS cmd=\"include\" data=\"*.xml\"/>"),
            "include \"*.xml\": files cannot be included here",
        ),
        (
            in_context("<X-PRE-PROCESS cmd=\"set\" data=\"x\"/>"),
            "data=\"x\" is not supported in <X-PRE-PROCESS>; write name=value",
        ),
        (
            in_document("<section name=\"directory\"/>"),
            "name=\"directory\" is not supported in <section>; only the section \"dialplan\" is read",
        ),
        (in_document("<section/>"), "<section> needs the attribute name"),
        ("\n\n<context/>".to_owned(), "<context> needs the attribute name"),
        (
            "\n\n<profile name=\"x\"/>".to_owned(),
            "<profile> is not supported in the file; a dialplan holds <context> with <extension>, <condition> and \
             <action>",
        ),
    ] {
        let error = load(&text).expect_err(&text);
        let message = error.to_string();
        assert_eq!(
            message.strip_prefix("test.xml:"),
            Some(format!("3: {expected}").as_str()),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_well_formed_is_found_with_its_line() {
    for (text, line) in [
        ("<context name=\"c\">\n<extension>\n</context>", 3),
        ("<extension><condition/></extension>\n<extension>\n<condition>\n</extension>", 4),
        ("<extension name=\"a\"\n<condition/></extension>", 2),
        ("<extension name=\"a&b\"><condition/></extension>", 1),
        ("\n<extension name=\"&unknown;\"><condition/></extension>", 2),
    ] {
        let error = load(text).expect_err(text);
        assert_eq!(error.findings[0].location.line, line, "{error}");
        assert!(
            error.findings[0].fault.to_string().starts_with("not well-formed XML: "),
            "{error}"
        );
    }
    let error = load("... skip ...\n<extension><condition/></extension>").unwrap_err();
    assert_eq!(error.to_string(), "test.xml:1: text outside of elements: \"... skip ...\"");
}

#[test]
fn an_empty_plan_is_refused() {
    for text in ["", "<!-- nothing -->", "<document/>", "<context name=\"public\"/>", " \n "] {
        assert_eq!(
            load(text).unwrap_err().to_string(),
            "test.xml:1: no extension is defined",
            "{text:?}"
        );
    }
    assert_eq!(
        Plan::load(&[], &LoadOptions::default()).unwrap_err().to_string(),
        "dialplan:1: no extension is defined"
    );
}

#[test]
fn a_document_type_is_refused_with_all_its_entities() {
    let bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>\n\
                <extension name=\"&b;\"><condition/></extension>";
    let expected = "test.xml:2: a document type (<!DOCTYPE …>) is refused; remove it";
    assert_eq!(load(bomb).unwrap_err().to_string(), expected);
    let late =
        "<extension><condition/></extension>\n<!DOCTYPE a [<!ENTITY a \"aaaaaaaa\">]><extension/>";
    assert_eq!(load(late).unwrap_err().findings[0].location.line, 2);
}

#[test]
fn depth_and_size_are_bounded() {
    for element in ["include", "context", "condition", "x"] {
        let deep = format!(
            "{}{}",
            format!("<{element}>").repeat(100_000),
            format!("</{element}>").repeat(100_000)
        );
        assert!(load(&deep).is_err());
        assert!(load(&format!("<{element}>").repeat(100_000)).is_err());
    }
    let limits = Limits {
        file_bytes_max: 1000,
        nodes_max: 100,
        extensions_max: 3,
        expressions_size_max: 400,
        globals_max: 2,
        ..Limits::default()
    };
    let bounded = |text: &str| {
        let source = Source { file: "test.xml".to_owned(), text: text.to_owned() };
        let options = LoadOptions { limits: limits.clone(), ..LoadOptions::default() };
        Plan::load(&[source], &options).map(|_| ()).map_err(|error| error.to_string())
    };
    let extension = "<extension><condition/></extension>";
    let many = |number: usize| extension.repeat(number);
    assert_eq!(bounded(&many(3)), Ok(()));
    let expected = "test.xml:1: the number of extensions is over the bound of 3";
    assert_eq!(bounded(&many(4)), Err(expected.to_owned()));
    let large = r"<extension><condition field='context' expression='^\d{300}$'/></extension>";
    assert_eq!(bounded(large), Ok(()));
    let expected = "test.xml:2: the size of all expressions, in states, is over the bound of 400";
    assert_eq!(bounded(&format!("{large}\n{large}\n{large}")), Err(expected.to_owned()));
    let expected = "test.xml:1: the file, in bytes, is over the bound of 1000";
    assert_eq!(bounded(&" ".repeat(1001)), Err(expected.to_owned()));
    let expected = "test.xml:1: the number of XML nodes is over the bound of 100";
    assert_eq!(bounded(&format!("<a>{}</a>", "<b/>".repeat(200))), Err(expected.to_owned()));
    let globals = "<X-PRE-PROCESS cmd=\"set\" data=\"a=\"/>\n<X-PRE-PROCESS cmd=\"set\" data=\"b=\"/>\n\
                   <X-PRE-PROCESS cmd=\"set\" data=\"a=1\"/>\n<X-PRE-PROCESS cmd=\"set\" data=\"c=\"/>";
    let expected = "test.xml:4: the number of global variables is over the bound of 2";
    assert_eq!(bounded(globals), Err(expected.to_owned()));
    let long = format!(
        "<extension><condition><action application=\"log\" data=\"{}\"/></condition></extension>",
        "x".repeat(4097)
    );
    assert_eq!(
        load(&long).unwrap_err().to_string(),
        "test.xml:1: data, in bytes, is over the bound of 4096"
    );
}

proptest! {
    #[test]
    fn the_loader_never_panics_on_text(text in "\\PC{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn the_loader_never_panics_on_pieces_of_a_plan(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        if let Ok(plan) = load(&pieces.concat()) {
            for context in plan.contexts() {
                plan.numbers(&context.name);
                let _ = plan.route(&context.name, &facts("07010002000", "199", "::1"));
            }
        }
    }

    #[test]
    fn the_loader_never_panics_on_a_changed_plan(at in 0..DEFAULT.len(), with in "\\PC{0,3}", skip in 0..40usize) {
        let before = DEFAULT.get(..at).unwrap_or_default();
        let after = DEFAULT.get(at + skip..).unwrap_or_default();
        if let Err(error) = load(&format!("{before}{with}{after}")) {
            prop_assert!(error.to_string().starts_with("test.xml:"));
            prop_assert!(!error.findings.iter().any(|finding| finding.to_string().contains('\n')));
        }
    }

    #[test]
    fn the_applications_never_panic_on_data(
        application in prop::sample::select(dialplan::app::APPLICATIONS),
        data in "[-%(),|;=$\\{\\}:a-dlvwL#*0-9 ./é]{0,40}",
    ) {
        let text = format!(
            "<extension><condition field=\"context\" expression=\"(.*)\">\
             <action application=\"{}\" data=\"{data}\"/></condition></extension>",
            application.name,
        );
        if let Ok(plan) = load(&text) {
            for (tones, _) in plan.tones() {
                let duration_ms: u64 = tones.tones().iter().map(dialplan::Tone::duration_ms).sum();
                prop_assert!((1..=60_000).contains(&duration_ms));
            }
            for (sound, _) in plan.sounds() {
                prop_assert!(!sound.as_str().split('/').any(|part| part.is_empty() || part.starts_with('.')));
            }
        }
    }
}

/// What a plan is made of, in no order.
const PIECES: &[&str] = &[
    "<include>",
    "</include>",
    "<context name=\"c\">",
    "</context>",
    "<extension name=\"e\">",
    "</extension>",
    "<condition field=\"destination_number\" expression=\"^(\\d+)$\">",
    "<condition>",
    "</condition>",
    "<action application=\"log\" data=\"INFO $1 ${uuid} $${sounds_dir}\"/>",
    "<action application=\"gentones\" data=\"%(1,2,300)|4\"/>",
    "<action application=\"answer\"/>",
    "<X-PRE-PROCESS cmd=\"set\" data=\"a=b\"/>",
    "<!-- -->",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE a>",
    "<![CDATA[",
    "]]>",
    "\u{feff}",
    "\n",
    "&lt;",
    "&",
    "$",
    "\"",
    ">",
];

fn load(text: &str) -> Result<Plan, dialplan::Error> {
    let globals = Globals::from_iter([("sounds_dir", "/opt/sounds")]);
    let source = Source { file: "test.xml".to_owned(), text: text.to_owned() };
    Plan::load(&[source], &LoadOptions { globals, ..LoadOptions::default() })
}

fn facts(to: &str, from: &str, address: &str) -> Facts {
    Facts {
        destination_number: to.to_owned(),
        caller_id_number: from.to_owned(),
        network_addr: Some(address.parse().unwrap()),
        ..Facts::default()
    }
}

fn number(number: &str, extension: &str) -> Number {
    Number { number: number.to_owned(), extension: extension.to_owned() }
}
