//! How extensions are searched: FreeSWITCH's two passes, and every construct of a condition.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use dialplan::{Facts, LoadOptions, Moment, Plan, Situation, Source, Variables};
use proptest::prelude::*;

/// Thursday, 2026-02-26 17:30:15 UTC.
const NOW: Moment = Moment { unix_s: 1_772_127_015, offset_s: 0 };

#[test]
fn every_condition_of_an_extension_must_hold() {
    let plan = r#"
        <condition field="destination_number" expression="^1(\d+)$"/>
        <condition field="caller_id_number" expression="^2(\d+)$"><action application="log" data="$1"/></condition>"#;
    assert_eq!(found(plan, "100", "200"), ["log 00"]);
    assert_eq!(found(plan, "100", "300"), ["none"]);
    assert_eq!(found(plan, "500", "200"), ["none"]);
}

#[test]
fn break_says_whether_the_next_condition_is_looked_at() {
    let with = |breaks: &str| {
        format!(
            r#"<condition field="destination_number" expression="^1$" break="{breaks}">
                 <action application="log" data="yes"/><anti-action application="log" data="no"/>
               </condition>
               <condition><action application="log" data="next"/></condition>"#
        )
    };
    for (breaks, if_true, if_false) in [
        ("on-false", &["log yes", "log next"][..], &["log no"][..]),
        ("on-true", &["log yes"], &["log no", "log next"]),
        ("always", &["log yes"], &["log no"]),
        ("never", &["log yes", "log next"], &["log no", "log next"]),
    ] {
        assert_eq!(found(&with(breaks), "1", ""), if_true, "{breaks}");
        assert_eq!(found(&with(breaks), "2", ""), if_false, "{breaks}");
    }
}

#[test]
fn nested_conditions_follow_the_actions_of_the_outer_one() {
    let plan = |optional: &str| {
        format!(
            r#"<condition field="destination_number" expression="^1" {optional}>
                 <condition field="caller_id_number" expression="^2"><action application="log" data="inner"/></condition>
                 <action application="log" data="outer"/>
               </condition>"#
        )
    };
    assert_eq!(found(&plan(""), "1", "2"), ["log outer", "log inner"]);
    let end = "<extension name=\"end\"><condition><action application=\"log\" data=\"end\"/></condition></extension>";
    let both = format!("<extension name=\"e\">{}</extension>{end}", plan(""));
    // What the outer one put into the queue stays there.
    assert_eq!(route(&both, "1", "3"), ["log outer", "log end"]);
    let both =
        format!("<extension name=\"e\">{}</extension>{end}", plan("require-nested=\"false\""));
    assert_eq!(route(&both, "1", "3"), ["log outer"]);
}

#[test]
fn regex_children_are_combined() {
    let with = |rule: &str| {
        format!(
            r#"<condition regex="{rule}">
                 <regex field="destination_number" expression="^1(.)"/>
                 <regex field="caller_id_number" expression="^2(.)"/>
                 <action application="log" data="yes $1"/><anti-action application="log" data="no"/>
               </condition>"#
        )
    };
    for (rule, both, first, none) in [
        ("all", "log yes b", "log no", "log no"),
        ("any", "log yes a", "log yes a", "log no"),
        ("xor", "log no", "log yes a", "log no"),
    ] {
        assert_eq!(found(&with(rule), "1a", "2b"), [both], "{rule}");
        assert_eq!(found(&with(rule), "1a", "x"), [first], "{rule}");
        assert_eq!(found(&with(rule), "x", "x"), [none], "{rule}");
    }
}

#[test]
fn an_inline_action_is_seen_by_the_next_condition() {
    let plan = |inline: &str| {
        format!(
            r#"<condition field="destination_number" expression="^1(\d)">
                 <action application="set" data="x=$1" {inline}/>
               </condition>
               <condition field="${{x}}" expression="^(5)$"><action application="log" data="$1 ${{x}}"/></condition>"#
        )
    };
    assert_eq!(found(&plan("inline=\"true\""), "15", ""), ["log 5 5"]);
    assert_eq!(found(&plan("inline=\"true\""), "16", ""), ["none"]);
    assert_eq!(found(&plan(""), "15", ""), ["set x=5"]);
}

#[test]
fn continue_goes_on_and_keeps_what_was_found() {
    let plan = r#"
        <extension name="all" continue="true"><condition><action application="log" data="all"/></condition></extension>
        <extension name="one"><condition field="destination_number" expression="^1$"><action application="log" data="one"/></condition></extension>
        <extension name="two"><condition field="destination_number" expression="^1$"><action application="log" data="two"/></condition></extension>"#;
    assert_eq!(route(plan, "1", ""), ["log all", "log one"]);
    assert_eq!(route(plan, "2", ""), ["log all"]);
}

#[test]
fn the_time_of_day_is_a_condition() {
    let plan = r#"
        <condition wday="mon-fri" hour="9-17" minute="30">
          <action application="log" data="open"/><anti-action application="log" data="closed"/>
        </condition>"#;
    assert_eq!(found(plan, "1", ""), ["log open"]);
    assert_eq!(found(&plan.replace("9-17", "9-16"), "1", ""), ["log closed"]);
    let both = r#"<condition hour="17" field="destination_number" expression="^1$"><action application="log" data="yes"/></condition>"#;
    assert_eq!(found(both, "1", ""), ["log yes"]);
    assert_eq!(found(both, "2", ""), ["none"]);
    assert_eq!(found(&both.replace("17", "18"), "1", ""), ["none"]);
}

#[test]
fn variables_stand_in_fields_and_expressions_as_what_they_hold() {
    let parts = r#"<condition field="${destination_number:0:2}-${caller_id_number:-1}" expression="^12-9$">
                     <action application="log" data="${destination_number:2}"/></condition>"#;
    assert_eq!(found(parts, "1234", "899"), ["log 34"]);
    assert_eq!(found(parts, "1234", "898"), ["none"]);
    let own = r#"<condition field="destination_number" expression="^${caller_id_number}$"><action application="log" data="own"/></condition>"#;
    assert_eq!(found(own, "1.9", "1.9"), ["log own"]);
    assert_eq!(found(own, "119", "1.9"), ["none"]);
    assert_eq!(found(own, "anything", ".*"), ["none"]);
    assert_eq!(found(own, "(", "("), ["log own"]);
}

#[test]
fn an_action_is_run_as_often_as_it_says_and_may_have_its_data_as_text() {
    let plan = r#"<condition field="destination_number"><expression><![CDATA[^(1)$]]></expression>
                    <action application="log" loop="2">INFO hello $1</action></condition>"#;
    assert_eq!(found(plan, "1", ""), ["log INFO hello 1", "log INFO hello 1"]);
}

#[test]
fn further_facts_and_headers_are_fields() {
    let plan = r#"<condition field="${sip_h_X-Tenant}" expression="^acme$"/>
                  <condition field="sip_from_host" expression="^pbx\.example$"><action application="log" data="${sip_user_agent}"/></condition>"#;
    let text = format!("<extension name=\"e\">{plan}</extension>");
    let mut facts = facts("1", "2");
    let further = [
        ("sip_h_X-Tenant", "acme"),
        ("sip_from_host", "pbx.example"),
        ("sip_user_agent", "phone ${uuid}"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    facts.further = BTreeMap::from(further.map(owned)).into();
    assert_eq!(route_with(&load(&text, "p.xml"), &facts), ["log phone ${uuid}"]);
}

#[test]
fn files_are_included_where_they_are_named() {
    let find = |from: &str, wanted: &str| match (from, wanted) {
        ("main.xml", "d/*.xml") => Ok(vec![
            source("d/a.xml", "<include><X-PRE-PROCESS cmd=\"set\" data=\"n=7\"/></include>"),
            source(
                "d/b.xml",
                "<extension name=\"b\"><condition field=\"destination_number\" expression=\"^$${n}$\"/></extension>",
            ),
        ]),
        (_, "main.xml") => Ok(vec![source("main.xml", "")]),
        (_, "deep.xml") => Ok(vec![source(
            &format!("{from}x"),
            "<X-PRE-PROCESS cmd=\"include\" data=\"deep.xml\"/>",
        )]),
        _ => Err("there is no such file".to_owned()),
    };
    let options =
        || LoadOptions { includes: dialplan::Includes::by(find), ..LoadOptions::default() };
    let load = |text: &str| {
        let text = format!("<context name=\"c\">\n{text}\n</context>");
        Plan::load(&[source("main.xml", &text)], &options()).map_err(|error| error.to_string())
    };
    let plan = load("<X-PRE-PROCESS cmd=\"include\" data=\"d/*.xml\"/>").unwrap();
    let numbers: Vec<_> = plan.numbers("c").into_iter().map(|number| number.number).collect();
    assert_eq!(numbers, ["7"]);
    for (wanted, says) in [
        ("none.xml", "main.xml:2: include \"none.xml\": there is no such file"),
        ("main.xml", "main.xml:2: include \"main.xml\": it includes itself: main.xml"),
        ("deep.xml", "the depth of includes is over the bound of 16"),
    ] {
        let error =
            load(&format!("<X-PRE-PROCESS cmd=\"include\" data=\"{wanted}\"/>")).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

/// What the fields of the conditions below are drawn from.
const EXPRESSIONS: &[&str] = &[
    "^12$",
    "^(1|12|123)$",
    "^1",
    "^(?:12|2)\\d$",
    "^[12]3?$",
    "2",
    "^$",
    "",
    "^\\+?1",
    "(?i)^a",
    "^.2",
    "^1{0,2}2",
    "12",
    "23$",
    "^\\d*12",
    "(?:01|2)3?1",
    "/a1/i",
];

/// What a condition looks at, and what it leads to.
const FIELDS: &[&str] = &["destination_number", "caller_id_number", "${x}"];
const LEADS: &[&str] = &[
    "",
    "<action application='log' data='yes'/>",
    "<action application='log' data='$0'/><anti-action application='log' data='no'/>",
    "<action application='set' data='x=${destination_number}' inline='true'/>",
];

proptest! {
    /// The index leaves out only what could not match: an explanation looks at everything.
    #[test]
    fn the_index_finds_what_looking_at_every_extension_finds(
        extensions in prop::collection::vec((prop::collection::vec(condition(), 1..4), any::<bool>()), 1..12),
        number in "[0-3aA+]{0,5}",
        caller in "[0-3]{0,3}",
    ) {
        let text: String = extensions
            .iter()
            .map(|(conditions, continues)| {
                format!("<extension name='e' continue='{continues}'>{}</extension>", conditions.concat())
            })
            .collect();
        prop_assert_eq!(route(&text, &number, &caller), explained(&text, &number, &caller));
    }
}

fn condition() -> impl Strategy<Value = String> {
    let (field, expression) = (prop::sample::select(FIELDS), prop::sample::select(EXPRESSIONS));
    let breaks = prop::sample::select(&["on-false", "on-true", "always", "never"][..]);
    let several = prop::option::of((
        prop::sample::select(&["any", "all", "xor"][..]),
        prop::sample::select(FIELDS),
        prop::sample::select(EXPRESSIONS),
    ));
    (field, expression, breaks, prop::sample::select(LEADS), several).prop_map(
        |(field, expression, breaks, leads, several)| match several {
            None => format!(
                "<condition field='{field}' expression='{expression}' break='{breaks}'>{leads}</condition>"
            ),
            Some((combine, other, second)) => format!(
                "<condition regex='{combine}' break='{breaks}'><regex field='{field}' expression='{expression}'/>\
                 <regex field='{other}' expression='{second}'/>{}</condition>",
                leads
            ),
        },
    )
}

/// What would run, as an explanation says it.
fn explained(text: &str, number: &str, caller: &str) -> Vec<String> {
    let (facts, mut variables) = (facts(number, caller), Variables::default());
    let situation = &mut Situation { facts: &facts, variables: &mut variables, now: NOW };
    let explanation = load(text, "p.xml").explain("public", situation);
    let lines = explanation.to_string();
    let runs = lines.lines().skip_while(|line| !line.contains("what runs")).skip(1);
    let runs: Vec<String> = runs.map(|line| line.trim().to_owned()).collect();
    if runs.is_empty() && !explanation.is_match { vec!["none".to_owned()] } else { runs }
}

fn found(conditions: &str, number: &str, caller: &str) -> Vec<String> {
    route(&format!("<extension name=\"e\">{conditions}</extension>"), number, caller)
}

fn route(text: &str, number: &str, caller: &str) -> Vec<String> {
    route_with(&load(text, "p.xml"), &facts(number, caller))
}

fn route_with(plan: &Plan, facts: &Facts) -> Vec<String> {
    let mut variables = Variables::default();
    let route = plan.hunt("public", &mut Situation { facts, variables: &mut variables, now: NOW });
    let Ok(route) = route else { return vec!["none".to_owned()] };
    route
        .actions(facts, &variables)
        .map(|(name, data)| format!("{name} {data}").trim().to_owned())
        .collect()
}

fn facts(number: &str, caller: &str) -> Facts {
    Facts {
        destination_number: number.to_owned(),
        caller_id_number: caller.to_owned(),
        ..Facts::default()
    }
}

fn load(text: &str, file: &str) -> Plan {
    Plan::load(&[source(file, text)], &LoadOptions::default()).unwrap()
}

fn source(file: &str, text: &str) -> Source {
    Source { file: file.to_owned(), text: text.to_owned() }
}
