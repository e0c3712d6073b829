//! From what is written to what is run: every part of a draft is checked, and all that is wrong is gathered.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::app::{self, suggest};
use crate::draft::{
    Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest, Subject, Value,
};
use crate::error::{Error, Fault, Findings, Location};
use crate::facts::{FACTS, Fact, Facts};
use crate::index::Index;
use crate::model::{
    Action, Condition, Context, Extension, Field, Globals, Match, Plan, Test, Tested,
};
use crate::moment::TimeTest;
use crate::network::Network;
use crate::pattern::Pattern;
use crate::read::{Limits, LoadOptions};
use crate::text::{Text, expand_globals, shorten};

impl Plan {
    /// Checks a draft.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn compile(draft: &Draft, options: &LoadOptions) -> Result<Plan, Error> {
        let mut globals = options.globals.clone();
        let mut compiler = Compiler {
            globals: Globals::default(),
            limits: &options.limits,
            expressions_size: 0,
            findings: Findings::default(),
        };
        for (name, value) in &draft.globals {
            globals.set(name.clone(), value.clone());
        }
        compiler.globals = globals;
        compiler.bounds(draft);
        let mut own = Vec::new();
        for context in &draft.contexts {
            let extensions: Vec<_> = context
                .extensions
                .iter()
                .filter_map(|e| compiler.extension(e))
                .map(Arc::new)
                .collect();
            own.push(extensions);
        }
        let mut plan = Plan::default();
        for context in &draft.contexts {
            let mut extensions = Vec::new();
            compiler.include(draft, &own, context, &mut Included::default(), &mut extensions);
            let index = Index::new(extensions.iter().map(AsRef::as_ref));
            plan.contexts.push(Context {
                name: context.name.clone(),
                extensions,
                location: context.location.clone(),
                index: Arc::new(index),
            });
        }
        plan.globals = Arc::new(compiler.globals);
        compiler.findings.into_result()?;
        Ok(plan)
    }

    /// Reads actions that come from elsewhere than the plan, such as the answer of a webhook.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn actions_from(
        drafts: &[DraftAction],
        globals: &Globals,
    ) -> Result<Vec<Arc<Action>>, Error> {
        let limits = Limits::default();
        let mut compiler = Compiler {
            globals: globals.clone(),
            limits: &limits,
            expressions_size: 0,
            findings: Findings::default(),
        };
        let actions = compiler.actions(drafts, 0, 0);
        compiler.findings.into_result()?;
        Ok(actions)
    }
}

/// The contexts that one context includes.
#[derive(Default)]
struct Included {
    seen: BTreeSet<usize>,
    path: Vec<String>,
}

struct Compiler<'a> {
    globals: Globals,
    limits: &'a Limits,
    /// The size of all expressions so far.
    expressions_size: usize,
    findings: Findings,
}

impl Compiler<'_> {
    fn bounds(&mut self, draft: &Draft) {
        let mut extensions = 0;
        for extension in draft.contexts.iter().flat_map(|context| &context.extensions) {
            extensions += 1;
            if extensions > self.limits.extensions_max {
                let max = self.limits.extensions_max;
                let fault = Fault::TooLarge { what: "the number of extensions", max };
                return self.findings.add(&extension.location, fault);
            }
        }
    }

    /// Adds the extensions of a context, and behind them those of the ones it includes.
    fn include(
        &mut self,
        draft: &Draft,
        own: &[Vec<Arc<Extension>>],
        context: &DraftContext,
        included: &mut Included,
        extensions: &mut Vec<Arc<Extension>>,
    ) {
        let Some(at) = draft.contexts.iter().position(|known| known.name == context.name) else {
            return;
        };
        // One that is reached by several ways counts once.
        if !included.seen.insert(at) {
            return;
        }
        extensions.extend(own.get(at).into_iter().flatten().cloned());
        included.path.push(context.name.clone());
        for (name, location) in &context.includes {
            if extensions.len() > self.limits.extensions_max {
                let max = self.limits.extensions_max;
                let fault = Fault::TooLarge { what: "the number of extensions", max };
                self.findings.add(location, fault);
                break;
            }
            let Some(found) = draft.contexts.iter().find(|known| known.name == *name) else {
                let names: Vec<&str> = draft.contexts.iter().map(|c| c.name.as_str()).collect();
                let hint = suggest(name, &names);
                self.findings.add(location, Fault::UnknownContext { context: shorten(name), hint });
                continue;
            };
            if included.path.contains(name) {
                let way = included.path.join(" -> ");
                let detail =
                    shorten(&format!("context \"{name}\" includes itself: {way} -> {name}"));
                self.findings.add(location, Fault::Plan { detail });
                continue;
            }
            self.include(draft, own, found, included, extensions);
        }
        included.path.pop();
    }

    fn extension(&mut self, draft: &DraftExtension) -> Option<Extension> {
        if self.findings.is_full() {
            return None;
        }
        let name = self.expand(&draft.name, &draft.location)?;
        if draft.conditions.is_empty() {
            self.findings.add(&draft.location, Fault::NoCondition { extension: shorten(&name) });
        }
        let conditions =
            draft.conditions.iter().map(|condition| self.condition(condition, 0)).collect();
        Some(Extension {
            name,
            location: draft.location.clone(),
            continues: draft.continues,
            conditions,
        })
    }

    fn condition(&mut self, draft: &DraftCondition, depth: usize) -> Condition {
        let mut condition = Condition {
            tests: draft.tests.iter().filter_map(|test| self.test(test)).collect(),
            combine: draft.combine,
            breaks: draft.breaks,
            actions: Vec::new(),
            anti_actions: Vec::new(),
            nested: Vec::new(),
            nested_optional: draft.nested_optional,
            location: draft.location.clone(),
        };
        // A test that could not be read has said so; what refers to its groups is not wrong for that.
        let groups = if condition.tests.len() == draft.tests.len() {
            condition.groups()
        } else {
            usize::MAX
        };
        condition.actions = self.actions(&draft.actions, groups, 0);
        condition.anti_actions = self.actions(&draft.anti_actions, groups, 0);
        if depth >= DEPTH_MAX {
            if !draft.nested.is_empty() {
                let fault = Fault::TooLarge { what: "the depth of conditions", max: DEPTH_MAX };
                self.findings.add(&draft.location, fault);
            }
            return condition;
        }
        condition.nested =
            draft.nested.iter().map(|nested| self.condition(nested, depth + 1)).collect();
        condition
    }

    fn test(&mut self, draft: &DraftTest) -> Option<Test> {
        let subject = match &draft.subject {
            Subject::Field { field, values } => {
                let field = self.field(field, &draft.location);
                let values: Vec<_> =
                    values.iter().map(|value| self.wanted(value, &draft.location)).collect();
                Tested::Field { field: field?, values: values.into_iter().collect::<Option<_>>()? }
            }
            Subject::Network(networks) => {
                let read: Vec<_> =
                    networks.iter().map(|text| self.network(text, &draft.location)).collect();
                let networks_read = read.into_iter().collect::<Option<_>>()?;
                Tested::Network { networks: networks_read, source: networks.join(" or ") }
            }
            Subject::Time(attributes) => match TimeTest::parse(attributes) {
                Ok(time) => Tested::Time(time),
                Err((attribute, detail)) => {
                    let attribute = shorten(&attribute);
                    self.findings.add(&draft.location, Fault::Time { attribute, detail });
                    return None;
                }
            },
        };
        Some(Test { subject, location: draft.location.clone() })
    }

    fn field(&mut self, source: &str, location: &Location) -> Option<Field> {
        let source = self.expand(source, location)?;
        if source.contains('$') {
            return self.text(&source, location).map(Field::Text);
        }
        if let Some(fact) = Fact::parse(&source) {
            return Some(Field::Fact(fact));
        }
        if Facts::is_name(&source) {
            return Some(Field::Further(source));
        }
        let names: Vec<&str> = FACTS.iter().map(|(name, _)| *name).chain(Facts::FURTHER).collect();
        let mut hint = suggest(&source, &names);
        hint.push_str("; a variable is written ${name}");
        self.findings.add(location, Fault::UnknownField { field: shorten(&source), hint });
        None
    }

    fn wanted(&mut self, value: &Value, location: &Location) -> Option<Match> {
        let expression = match value {
            Value::Literal(literal) => return self.expand(literal, location).map(Match::Literal),
            Value::Expression(expression) => self.expand(expression, location)?,
        };
        // That there are too many was said.
        if self.expressions_size > self.limits.expressions_size_max {
            return None;
        }
        let read = if expression.contains("${") {
            Text::parse_expression(&expression).map(Match::Variable)
        } else {
            Pattern::parse(&expression).map(Match::Pattern)
        };
        if let Ok(Match::Pattern(pattern)) = &read {
            self.expressions_size += pattern.size();
            let max = self.limits.expressions_size_max;
            if self.expressions_size > max {
                let fault =
                    Fault::TooLarge { what: "the size of all expressions, in states,", max };
                self.findings.add(location, fault);
            }
        }
        read.map_err(|fault| self.findings.add(location, fault)).ok()
    }

    fn network(&mut self, source: &str, location: &Location) -> Option<Network> {
        let source = self.expand(source, location)?;
        let network = Network::parse(&source);
        if network.is_none() {
            self.findings.add(location, Fault::Network { network: shorten(&source) });
        }
        network
    }

    fn actions(&mut self, drafts: &[DraftAction], groups: usize, depth: usize) -> Vec<Arc<Action>> {
        drafts.iter().filter_map(|draft| self.action(draft, groups, depth)).map(Arc::new).collect()
    }

    fn action(&mut self, draft: &DraftAction, groups: usize, depth: usize) -> Option<Action> {
        let location = &draft.location;
        let data = self.expand(&draft.data, location)?;
        if data.len() > DATA_BYTES_MAX {
            self.findings
                .add(location, Fault::TooLarge { what: "data, in bytes,", max: DATA_BYTES_MAX });
            return None;
        }
        let text = self.text(&data, location)?;
        if let Some(capture) = text.highest_capture().filter(|capture| *capture > groups) {
            self.findings.add(location, Fault::Capture { capture, groups });
        }
        let name = self.expand(&draft.application, location)?;
        let (application, compiled) = app::parse(&name, &text, &self.globals)
            .map_err(|fault| self.findings.add(location, fault))
            .ok()?;
        if draft.inline && !compiled.is_inline() {
            self.findings.add(location, Fault::NotInline { application });
        }
        if draft.times > TIMES_MAX {
            let fault = Fault::TooLarge { what: "the number of times", max: TIMES_MAX as usize };
            self.findings.add(location, fault);
        }
        if let Some(detail) = fallback_fault(draft, compiled.needs_fallback(), depth) {
            self.findings
                .add(location, Fault::Argument { application, data: shorten(&data), detail });
        }
        let fallback =
            if depth == 0 { self.actions(&draft.fallback, groups, 1) } else { Vec::new() };
        Some(Action {
            application,
            data,
            inline: draft.inline,
            times: draft.times.min(TIMES_MAX),
            fallback,
            location: location.clone(),
            text,
            compiled,
        })
    }

    fn text(&mut self, source: &str, location: &Location) -> Option<Text> {
        Text::parse(source).map_err(|fault| self.findings.add(location, fault)).ok()
    }

    fn expand(&mut self, source: &str, location: &Location) -> Option<String> {
        expand_globals(source, &self.globals)
            .map_err(|fault| self.findings.add(location, fault))
            .ok()
    }
}

fn fallback_fault(draft: &DraftAction, is_needed: bool, depth: usize) -> Option<String> {
    match (is_needed, draft.fallback.is_empty()) {
        (true, true) => {
            Some("it needs a list of actions for the case that it fails: fallback".to_owned())
        }
        (false, false) => Some("it takes no fallback".to_owned()),
        (true, false) if depth > 0 => Some("it cannot stand in a fallback".to_owned()),
        _ => None,
    }
}

/// Deepest nesting of conditions.
const DEPTH_MAX: usize = 32;
/// Longest `data` of an action.
const DATA_BYTES_MAX: usize = 4096;
/// Most times that one action is run.
const TIMES_MAX: u32 = 100;
