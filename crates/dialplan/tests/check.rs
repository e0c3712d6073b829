//! What is wrong with a plan as a whole, and what is said about a number.
#![allow(clippy::unwrap_used, reason = "test code")]

use dialplan::{
    Facts, LoadOptions, Moment, Plan, Reachable, Situation, SoundName, Source, Surroundings,
    Variables,
};

#[test]
fn an_extension_behind_one_that_takes_all_is_never_reached() {
    let found = check(
        r#"
[[context.public.extension]]
name = "nine"
number = ["91", "92"]
actions = ["answer"]
[[context.public.extension]]
name = "again"
number = "^92$"
caller = "^1"
actions = ["answer"]
[[context.public.extension]]
name = "partly"
number = ["92", "93"]
actions = ["answer"]
[[context.public.extension]]
name = "all"
number = "^(.*)$"
actions = ["answer"]
[[context.public.extension]]
name = "late"
number = "^5"
actions = ["answer"]
"#,
    );
    let expected = [
        "p.toml:6: the extension \"again\" is never reached: \"nine\" (p.toml:2) takes every call that it could; move \
         it in front or remove it",
        "p.toml:19: the extension \"late\" is never reached: \"all\" (p.toml:15) takes every call that it could; move \
         it in front or remove it",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_extension_that_lets_calls_pass_hides_nothing() {
    for first in [
        "continue = true",
        "caller = \"^1\"",
        "number = \"^1\"",
        "network = \"::1\"",
        "when = { x = \"1\" }",
        "[[context.public.extension.condition]]\n[[context.public.extension.condition]]\ncaller = \"1\"",
    ] {
        let text = format!(
            "[[context.public.extension]]\n{first}\n[[context.public.extension]]\nnumber = \"12\"\nactions = [\"answer\"]\n"
        );
        assert_eq!(check(&text), Vec::<String>::new(), "{first}");
    }
}

#[test]
fn ways_to_nowhere_and_circles_are_found() {
    let found = check(
        r#"
[[context.public.extension]]
name = "a"
number = "1"
actions = ["transfer 2", "transfer 77", "execute_extension 5 XML othre", "transfer $1"]
[[context.public.extension]]
name = "b"
number = "2"
actions = ["log INFO x", "transfer 2"]
[[context.other.extension]]
number = "5"
actions = ["sleep 1000", "transfer 5"]
"#,
    );
    let expected = [
        "p.toml:5: transfer \"77\" leads nowhere: no extension of \"public\" takes the number",
        "p.toml:5: there is no context \"othre\"; did you mean \"other\"?",
        "p.toml:9: transfer \"2\" leads back to the extension \"b\" it stands in: the call goes round in circles",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_public_context_leads_to_nobody_who_is_protected() {
    let found = check(
        r#"
[context.public]
include = ["tests"]
[[context.public.extension]]
number = "1"
actions = ["bridge user/open,user/closed@pbx.example", "transfer 3 XML further", "bridge user/$1"]
[[context.tests.extension]]
number = "2"
actions = ["bridge sip:1@192.0.2.1"]
[[context.further.extension]]
number = "3"
actions = ["bridge user/closed"]
[[context.internal.extension]]
number = "4"
actions = ["bridge user/closed|sip:1@192.0.2.1"]
"#,
    );
    let lines: Vec<&str> = found.iter().map(|line| line.split(" \"").next().unwrap()).collect();
    assert_eq!(lines, ["p.toml:6: bridge", "p.toml:9: bridge", "p.toml:12: bridge"]);
    assert!(found[0].contains("leads to the user \"closed\", who is not public"), "{found:?}");
    assert!(found[1].contains("leads out of this server"), "{found:?}");
}

#[test]
fn a_missing_sound_is_found_with_its_line() {
    let text = "[[context.public.extension]]\nnumber = \"1\"\nactions = [\n\"playback a.wav!missing.wav\"]\n";
    assert_eq!(check(text), ["p.toml:4: missing.wav is missing"]);
}

#[test]
fn a_number_is_explained() {
    let plan = load(
        r#"
[[context.public.extension]]
name = "caller"
continue = true
caller = "^1(.)"
actions = ["log INFO $1", { run = "set vip=yes", inline = true }]
[[context.public.extension]]
name = "other"
number = "8"
actions = ["answer"]
[[context.public.extension]]
name = "vip"
when = { vip = "yes" }
number = "^(9)"
actions = ["log INFO $1 from ${caller_id_number}"]
"#,
    );
    let explain = |number: &str, caller: &str| {
        let facts = facts(number, caller);
        let mut variables = Variables::default();
        let mut situation =
            Situation { facts: &facts, variables: &mut variables, now: Moment::default() };
        plan.explain("public", &mut situation).to_string()
    };
    let expected = "caller (p.toml:2) matches, and the search goes on\n    caller_id_number \"199\" is ^1(.)\n\
                    other (p.toml:7) does not match\n    destination_number \"9\" is not 8\n\
                    vip (p.toml:11) matches\n    ${vip} \"yes\" is yes\n    destination_number \"9\" is ^(9)\n\
                    what runs:\n    log INFO 9\n    log INFO 9 from 199";
    assert_eq!(explain("9", "199"), expected);
    assert!(explain("9", "2").ends_with("no extension matches: the call is refused with 404"));
    assert!(explain("7", "199").contains("no extension ends the search; what runs before"));
    let mut variables = Variables::default();
    let facts = facts("1", "1");
    let mut situation =
        Situation { facts: &facts, variables: &mut variables, now: Moment::default() };
    let explanation = plan.explain("publik", &mut situation);
    assert_eq!(explanation.to_string(), "there is no context \"publik\"; did you mean \"public\"?");
    assert!(!explanation.is_match);
}

#[test]
fn circles_of_several_extensions_and_through_this_server_are_found() {
    let found = check(
        r#"
[[context.public.extension]]
name = "a"
number = "100"
actions = ["set x=1", "transfer 200"]
[[context.public.extension]]
name = "b"
number = "^2(..)$"
actions = ["execute_extension 1$1 XML other"]
[[context.other.extension]]
name = "c"
number = "^1..$"
actions = ["answer", "transfer ${destination_number} XML public"]
[[context.other.extension]]
name = "out"
number = "300"
actions = ["bridge sip:300@192.0.2.1;transport=tcp"]
[[context.public.extension]]
name = "in"
number = "300"
actions = ["transfer $1 XML other"]
[[context.other.extension]]
name = "elsewhere"
number = "400"
actions = ["bridge sip:300@192.0.2.2"]
"#,
    );
    let circles: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split_once("round in circles").map(|(_, way)| way))
        .collect();
    assert_eq!(
        circles,
        [" (\"a\" -> \"b\" -> \"c\" -> \"a\")", " (\"out\" -> \"in\" -> \"out\")"],
        "{found:#?}"
    );
}

#[test]
fn a_way_that_a_call_may_leave_is_no_circle() {
    for second in [
        "number = \"2\"\ncaller = \"9\"\nactions = [\"transfer 1\"]",
        "number = \"2\"\nactions = [\"playback tone_stream://%(100,0,400)\", \"transfer 1\"]",
        "number = \"2\"\ntime = { hour = \"9\" }\nactions = [\"transfer 1\"]",
        "number = \"2\"\nactions = [\"transfer ${x}\"]",
        "number = \"2\"\nactions = [\"transfer 3\"]\n[[context.internal.extension]]\nnumber = \"3\"\nactions = [\"answer\"]",
    ] {
        let text = format!(
            "[context.public]\n[[context.internal.extension]]\nnumber = \"1\"\nactions = [\"transfer 2\"]\n\
             [[context.internal.extension]]\n{second}\n"
        );
        assert_eq!(check(&text), Vec::<String>::new(), "{second}");
    }
}

#[test]
fn what_is_called_through_a_variable_is_looked_at_where_it_is_set() {
    let with = |set: &str, context: &str| {
        check(&format!(
            "[context.public]\n[[context.{context}.extension]]\nnumber = \"1\"\nactions = [{set}\"bridge ${{d}}\"]\n"
        ))
    };
    assert_eq!(with("\"set d=user/open,user/$1\", ", "internal"), Vec::<String>::new());
    assert_eq!(with("\"set d=${e}\", \"set e=user/open\", ", "internal"), Vec::<String>::new());
    let time = with("\"set d={leg_timeout=x}user/open\", ", "internal");
    assert!(time[0].contains("leg_timeout=x is no time"), "{time:?}");
    let typo = with("\"set d=usr/1\", ", "internal");
    assert!(
        typo[0].contains("is called by bridge in p.toml:4: \"usr/1\" is no destination"),
        "{typo:?}"
    );
    let none = with("", "internal");
    assert!(none[0].contains("nothing in the plan sets it; write set d=user/…"), "{none:?}");
    let public = with("\"set d=user/open\", ", "public");
    assert!(public[0].contains("leads to whomever ${d} names"), "{public:?}");
}

#[test]
fn a_user_who_is_written_out_must_be_one() {
    let text = |data: &str| {
        check(&format!(
            "[globals]\nboss = \"chief\"\n[context.public]\n[[context.internal.extension]]\nnumber = \"^(1)$\"\n\
             actions = [\"bridge {data}\"]\n"
        ))
    };
    for fine in
        ["user/open", "user/closed@pbx.example", "user/$1", "user/${x}", "user/open,user/$1"]
    {
        assert_eq!(text(fine), Vec::<String>::new(), "{fine}");
    }
    for (data, name) in [
        ("user/opne", "opne"),
        ("user/open,user/300@pbx.example", "300"),
        ("user/$${boss}", "chief"),
    ] {
        let found = text(data);
        assert_eq!(found.len(), 1, "{found:?}");
        let says = format!("there is no user \"{name}\"; correct the name");
        assert!(found[0].starts_with("p.toml:6: bridge") && found[0].contains(&says), "{found:?}");
    }
}

fn check(text: &str) -> Vec<String> {
    let sound = |name: &SoundName| match name.as_str() {
        "missing.wav" => Err("missing.wav is missing".to_owned()),
        _ => Ok(()),
    };
    let user = |name: &str| match name {
        "open" => Some(Reachable::ByAll),
        "closed" => Some(Reachable::ByUsers),
        _ => None,
    };
    let surroundings = Surroundings {
        public_context: "public",
        user: Some(&user),
        own_host: &|host| host == "192.0.2.1",
        sound: &sound,
    };
    load(text).check(&surroundings).iter().map(ToString::to_string).collect()
}

fn load(text: &str) -> Plan {
    let source = Source { file: "p.toml".to_owned(), text: text.to_owned() };
    Plan::load(&[source], &LoadOptions::default()).unwrap()
}

fn facts(number: &str, caller: &str) -> Facts {
    Facts {
        destination_number: number.to_owned(),
        caller_id_number: caller.to_owned(),
        ..Facts::default()
    }
}
