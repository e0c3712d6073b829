//! Our own form of a dialplan: what it says, what is refused, and that what is written reads back.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use dialplan::{
    Break, Combine, Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest,
    Facts, LoadOptions, Location, Moment, Plan, Situation, Source, Subject, Value, Variables,
};
use proptest::prelude::*;

/// Thursday, 2026-02-26 17:30:15 UTC.
const NOW: Moment = Moment { unix_s: 1_772_127_015, offset_s: 0 };

const SAMPLE: &str = r#"
[globals]
office = "500"

[context.internal]
include = ["public"]

[[context.public.extension]]
name = "echo"
number = ["9196", "^92(96)$"]
actions = ["answer", "log INFO $1", "echo"]

[[context.internal.extension]]
name = "office"
number = "$${office}"
caller = "^1"
network = ["192.0.2.0/24", "::1"]
time = { wday = "mon-fri", hour = 17 }
when = { sip_from_host = "pbx.example", tier = "/gold|silver/" }
actions = [
  { run = "set greeting=hello", inline = true },
  { run = "log INFO ${greeting}", loop = 2 },
  "bridge user/199",
]

[[context.internal.extension]]
name = "hours"
[[context.internal.extension.condition]]
number = "600"
[[context.internal.extension.condition]]
time = { time-of-day = "18:00-08:00" }
actions = ["answer"]
else = ["hangup CALL_REJECTED"]

[[context.internal.extension]]
name = "long"
continue = true

[[context.internal.extension.condition]]
tests = [{ field = "caller", is = "^7" }, { field = "caller", is = "7$" }, { network = "0.0.0.0/0" }]
match = "any"
break = "never"
actions = ["log INFO seven"]

[[context.internal.extension.condition.condition]]
user = "bob"
actions = ["log INFO bob"]
"#;

#[test]
fn the_sample_does_what_it_says() {
    let plan = load(SAMPLE).unwrap();
    assert_eq!(
        route(&plan, "public", "9196", "199", "::1", &[]),
        ["answer ", "log INFO 9196", "echo "]
    );
    assert_eq!(
        route(&plan, "internal", "9296", "199", "::1", &[]),
        ["answer ", "log INFO 96", "echo "]
    );
    let silver = [("tier", "silver")];
    let open = ["log INFO hello", "log INFO hello", "bridge user/199"];
    assert_eq!(route(&plan, "internal", "500", "100", "192.0.2.9", &silver), open);
    assert_eq!(route(&plan, "internal", "600", "1", "::1", &[]), ["hangup CALL_REJECTED"]);
    for (caller, address, tier) in
        [("200", "::1", "silver"), ("100", "198.51.100.1", "gold"), ("100", "::1", "tin")]
    {
        assert_ne!(route(&plan, "internal", "500", caller, address, &[("tier", tier)]), open);
    }
    let names: Vec<_> = plan.contexts().iter().map(|context| context.name.as_str()).collect();
    assert_eq!(names, ["internal", "public"]);
    let extensions = &plan.context("internal").unwrap().extensions;
    let names: Vec<_> = extensions.iter().map(|e| (e.name.as_str(), e.location.line)).collect();
    assert_eq!(names, [("office", 13), ("hours", 26), ("long", 35), ("echo", 8)]);
    let inner = &extensions[2].conditions[0];
    assert_eq!((inner.combine, inner.breaks, inner.nested.len()), (Combine::Any, Break::Never, 1));
}

#[test]
fn every_mistake_is_found_at_once_with_its_line() {
    let text = r#"[globals]
a = 1.5
[contexts.public]
[[context.public.extension]]
nmae = "x"
number = 9196
actions = ["playbak x.wav", 5, { inline = true }, "log $2"]
[[context.public.extension]]
caller = "^(?!9)"
network = "localhost"
time = { wday = "someday", day = "1" }
match = "both"
continue = "yes"
else = "hangup"
[[context.public.extension]]
number = "1"
condition = []
[context.internal]
include = ["publik"]
"#;
    let error = read(text).unwrap_err().to_string();
    let expected = [
        "p.toml:2: a: write a text in quotes",
        "p.toml:3: contexts: there is no such key here; did you mean \"context\"?",
        "p.toml:5: nmae: there is no such key here; did you mean \"name\"?",
        "p.toml:6: number: write a text in quotes",
        "p.toml:7: actions: an action is a text such as \"playback hello.wav\", or { run = \"playback hello.wav\" }",
        "p.toml:7: run: an action is a text such as \"playback hello.wav\", or { run = \"playback hello.wav\" }",
        "p.toml:11: day: there is no such key here; did you mean \"mday\"?",
        "p.toml:12: match: \"both\" is unknown; there are: all, any, xor",
        "p.toml:13: continue: write true or false",
        "p.toml:14: else: write a list in brackets",
        "p.toml:17: condition: an extension with conditions of its own has no number; move it into one of them",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);

    let text = "[[context.public.extension]]\nnumber = \"^(?!9)\"\nnetwork = \"localhost\"\ntime = { wday = \"someday\" }\n\
                actions = [\n\"playbak x.wav\",\n\"log $2\"]\n[context.internal]\ninclude = [\"publik\"]\n";
    let error = load(text).unwrap_err();
    let expected = [
        "p.toml:2: the expression \"^(?!9)\" is refused: look-around is not supported; write what must match, and put exceptions in an extension before",
        "p.toml:3: \"localhost\" is no network; write an address, or one with a length such as 192.0.2.0/24",
        "p.toml:4: wday: \"someday\" cannot be read; write for example mon-fri or 2-6 (1 is Sunday)",
        "p.toml:6: the application \"playbak\" is not supported; did you mean \"playback\"?",
        "p.toml:9: there is no context \"publik\"; did you mean \"public\"?",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn contexts_that_include_each_other_are_refused() {
    let text = "[context.a]\ninclude = [\"b\"]\n[context.b]\ninclude = [\"a\"]\n[[context.a.extension]]\nnumber = \"1\"\n";
    let error = load(text).unwrap_err();
    assert!(error.contains("p.toml:4: context \"a\" includes itself: a -> b -> a"), "{error}");
}

#[test]
fn many_ways_to_the_same_context_cost_nothing() {
    let mut text = String::from("[[context.c0.extension]]\nnumber = \"1\"\n");
    for at in 1..60 {
        text.push_str(&format!("[context.c{at}]\ninclude = [\"c{0}\", \"c{0}\"]\n", at - 1));
    }
    assert_eq!(load(&text).unwrap().context("c59").unwrap().extensions.len(), 1);
}

#[test]
fn what_is_not_toml_is_found_with_its_line() {
    let error = load("[context.public]\ninclude = [\n\"a\"\nb\n").unwrap_err();
    assert!(error.starts_with("p.toml:") && error.contains("not well-formed TOML"), "{error}");
    assert!(load(&"[".repeat(100_000)).is_err());
    assert!(load(&format!("a = {}", "[".repeat(100_000))).is_err());
    assert!(load(&format!("a{} = 1", ".a".repeat(100_000))).is_err());
}

#[test]
fn one_mistake_in_toml_is_one_sentence() {
    for (text, says) in [
        (
            "[[context.public.extension]]\nactions = [{\"run\": \"answer\"}, {\"run\": \"echo\"}]\n",
            "p.toml:2: not well-formed TOML: write key = value, with = in place of :",
        ),
        (
            "[globals]\na = \"1\"\nb-c = \"2\"\nb-c = \"3\"\n",
            "p.toml:4: not well-formed TOML: b-c is there twice; keep one",
        ),
        (
            "[context.a]\n[context.a]\n",
            "p.toml:2: not well-formed TOML: a is there twice; keep one",
        ),
    ] {
        assert_eq!(load(text).unwrap_err(), says);
    }
}

#[test]
fn a_test_that_never_holds_is_refused() {
    for (test, says) in [
        ("number = []", "number: an empty list never holds; write a value"),
        ("number = \"\"", "number: it is empty; write a number, or \"^$\""),
        ("network = []", "network: an empty list never holds"),
        ("time = { hour = 25 }", "hour: \"25\" never holds: there is only 0 to 23"),
        (
            "time = { year = \"2030-2026\" }",
            "year: \"2030-2026\" never holds: it ends before it begins",
        ),
    ] {
        let error = load(&format!("[[context.public.extension]]\n{test}\n")).unwrap_err();
        assert!(error.starts_with(&format!("p.toml:2: {says}")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    load("[[context.public.extension]]\ncaller = \"\"\ntime = { hour = \"17-9\" }\n").unwrap();
}

#[test]
fn comments_are_written_and_nothing_in_them_is_read() {
    let mut draft = Draft::default();
    let place = Location::new("x", 1);
    let context = draft.context_mut("public", &place);
    context.comment = "from extensions.conf:3\n[context.evil]".to_owned();
    let mut action = DraftAction::new("log", "INFO hi", place.clone());
    action.comment = "was: NoOp(\"hi\")\u{7}".to_owned();
    let condition = DraftCondition { actions: vec![action], ..DraftCondition::default() };
    context.extensions.push(DraftExtension {
        name: "hi".to_owned(),
        comment: "an extension".to_owned(),
        conditions: vec![condition],
        ..DraftExtension::default()
    });
    let text = draft.to_toml();
    let expected = "# from extensions.conf:3\n# [context.evil]\n[context.public]\n\n# an extension\n\
                    [[context.public.extension]]\nname = \"hi\"\nactions = [\n  # was: NoOp(\"hi\")\n  \"log INFO hi\",\n]\n";
    assert_eq!(text, expected);
    assert_eq!(read(&text).unwrap().contexts.len(), 1);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(draft in draft()) {
        let text = draft.to_toml();
        let read = read(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(without_places(read), draft, "{}", text);
    }

    #[test]
    fn the_reader_never_panics_on_text(text in "\\PC{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn the_reader_never_panics_on_a_changed_plan(at in 0..SAMPLE.len(), with in "[\\[\\]{}=\"',.\\n a-z0-9^#]{0,4}", skip in 0..30usize) {
        let before = SAMPLE.get(..at).unwrap_or_default();
        let after = SAMPLE.get(at + skip..).unwrap_or_default();
        if let Ok(plan) = load(&format!("{before}{with}{after}")) {
            for context in plan.contexts() {
                let _ = plan.route(&context.name, &Facts::default());
            }
        }
    }
}

fn draft() -> impl Strategy<Value = Draft> {
    let text = || "[ -~äö\\n\\t\"'\\\\]{0,12}";
    let name = || "[ -~ä]{0,8}";
    let value = prop_oneof![
        "[!-.0-\\]_-~ ä][ -~]{0,6}".prop_map(Value::Literal),
        "[ -~]{0,8}".prop_map(|e| Value::expression(&e)),
        "\\^[ -~]{0,8}".prop_map(Value::Expression),
    ];
    let field = prop_oneof![
        Just("destination_number".to_owned()),
        Just("caller_id_number".to_owned()),
        Just("sip_from_host".to_owned()),
        "\\$\\{[a-z]{1,4}\\}",
    ];
    let subject = prop_oneof![
        (field, prop::collection::vec(value, 1..3))
            .prop_map(|(field, values)| Subject::Field { field, values }),
        prop::collection::vec("[0-9./:]{0,8}", 1..3).prop_map(Subject::Network),
        prop::sample::subsequence(vec!["wday", "hour", "tz-offset"], 0..3).prop_map(|names| {
            Subject::Time(names.into_iter().map(|n| (n.to_owned(), "1-2".to_owned())).collect())
        }),
    ];
    let test = subject.prop_map(|subject| DraftTest { subject, location: Location::default() });
    let plain = ("[a-z_]{1,6}", text(), any::<bool>(), 0..4u32);
    let action = plain.clone().prop_map(|(application, data, inline, times)| {
        let mut action = DraftAction::new(application, data, Location::default());
        (action.inline, action.times) = (inline, times);
        action
    });
    let action =
        (action.clone(), prop::collection::vec(action, 0..2)).prop_map(|(mut action, fallback)| {
            action.fallback = fallback;
            action
        });
    let condition = (
        prop::collection::vec(test, 0..3),
        prop::sample::select(vec![Combine::All, Combine::Any, Combine::Xor]),
        prop::sample::select(vec![Break::OnFalse, Break::OnTrue, Break::Always, Break::Never]),
        prop::collection::vec(action.clone(), 0..3),
        prop::collection::vec(action, 0..2),
        any::<bool>(),
    )
        .prop_map(|(tests, combine, breaks, actions, anti_actions, nested_optional)| {
            DraftCondition {
                tests,
                combine,
                breaks,
                actions,
                anti_actions,
                nested_optional,
                ..DraftCondition::default()
            }
        });
    let condition = condition.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..2)).prop_map(|(mut outer, nested)| {
            outer.nested = nested;
            outer
        })
    });
    let extension = (name(), any::<bool>(), prop::collection::vec(condition, 0..3)).prop_map(
        |(name, continues, conditions)| DraftExtension {
            name,
            continues,
            conditions,
            ..DraftExtension::default()
        },
    );
    let contexts =
        prop::collection::btree_map(name(), prop::collection::vec(extension, 0..3), 1..3);
    (contexts, prop::collection::btree_map("[a-z]{1,4}", text(), 0..3)).prop_map(
        |(contexts, globals)| {
            let contexts: Vec<DraftContext> = contexts
                .into_iter()
                .map(|(name, extensions)| DraftContext {
                    name,
                    extensions,
                    ..DraftContext::default()
                })
                .collect();
            let mut contexts = contexts;
            if let Some((first, rest)) = contexts.split_first_mut() {
                first.includes =
                    rest.iter().map(|c| (c.name.clone(), Location::default())).collect();
                // A draft without any extension is refused.
                first
                    .extensions
                    .push(DraftExtension { name: "e".to_owned(), ..DraftExtension::default() });
            }
            Draft { globals: globals.into_iter().collect(), contexts }
        },
    )
}

fn without_places(mut draft: Draft) -> Draft {
    fn actions(list: &mut [DraftAction]) {
        for action in list {
            action.location = Location::default();
            actions(&mut action.fallback);
        }
    }
    fn conditions(list: &mut [DraftCondition]) {
        for condition in list {
            condition.location = Location::default();
            condition.tests.iter_mut().for_each(|test| test.location = Location::default());
            actions(&mut condition.actions);
            actions(&mut condition.anti_actions);
            conditions(&mut condition.nested);
        }
    }
    for context in &mut draft.contexts {
        context.location = Location::default();
        context.includes.iter_mut().for_each(|(_, location)| *location = Location::default());
        for extension in &mut context.extensions {
            extension.location = Location::default();
            conditions(&mut extension.conditions);
        }
    }
    draft
}

fn read(text: &str) -> Result<Draft, dialplan::Error> {
    let source = Source { file: "p.toml".to_owned(), text: text.to_owned() };
    Draft::read(&[source], &LoadOptions::default())
}

fn load(text: &str) -> Result<Plan, String> {
    let source = Source { file: "p.toml".to_owned(), text: text.to_owned() };
    Plan::load(&[source], &LoadOptions::default()).map_err(|error| error.to_string())
}

fn route(
    plan: &Plan,
    context: &str,
    number: &str,
    caller: &str,
    address: &str,
    set: &[(&str, &str)],
) -> Vec<String> {
    let further = BTreeMap::from([("sip_from_host".to_owned(), "pbx.example".to_owned())]);
    let facts = Facts {
        destination_number: number.to_owned(),
        caller_id_number: caller.to_owned(),
        network_addr: Some(address.parse().unwrap()),
        further: further.into(),
        ..Facts::default()
    };
    let mut variables = Variables::default();
    for (name, value) in set {
        variables.set(name, value).unwrap();
    }
    let route =
        plan.hunt(context, &mut Situation { facts: &facts, variables: &mut variables, now: NOW });
    let Ok(route) = route else { return vec!["none".to_owned()] };
    route.actions(&facts, &variables).map(|(name, data)| format!("{name} {data}")).collect()
}
