//! A compiled filter, and its evaluation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::common::types::{CelBool, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, ParseErrors, Value};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::check::{check, cut};
use crate::error::{EvaluationError, FilterError};
use crate::facts::Facts;
use crate::limits::{
    FILTER_UNITS, OWN_UNITS, PARSER_DEPTH, PATTERN_BYTES, PATTERN_MEMORY, SUBJECT_BYTES, TEXT_BYTES, UNIT_NS,
};
use crate::meter;
use crate::price::pattern_ns_per_byte;

/// The function that tries a pattern; the meter puts it in place of `matches`.
pub(crate) const MATCHES: &str = "@matches";
/// What a variable that holds a pattern begins with.
const PATTERN: &str = "@pattern";

static PATTERN_TYPE: Type = Type::new_unspecified_type(PATTERN);

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    meter::declare(&mut env).expect("names that begin with @ are ours alone");
    let types = vec![STRING_TYPE, PATTERN_TYPE.to_owned()];
    env.add_overload(MATCHES, MATCHES, types, matches).expect("names that begin with @ are ours alone");
    Arc::new(env)
});

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    expr: IdedExpr,
    patterns: Vec<Pattern>,
    /// Parts outside of loops: what an evaluation costs at most without values and loops.
    parts: u64,
}

/// A compiled pattern of `matches`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Units a byte of text costs at worst.
    units_per_byte: u64,
}

/// What names stand for while a filter is evaluated.
struct Scope<'s, 'a> {
    facts: &'s Facts<'a>,
    patterns: &'s [Pattern],
}

// === impl Filter ===

impl Filter {
    /// Compiles a text.
    ///
    /// # Errors
    /// It is no expression, names what does not exist, can never be true or false, or is too large: says where.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        let here = |message: String| FilterError { line: 1, column: 1, message };
        if text.len() > TEXT_BYTES {
            return Err(here(format!("a filter has at most {TEXT_BYTES} bytes, this one has {}", text.len())));
        }
        if text.trim().is_empty() {
            return Err(here("a filter needs an expression".to_owned()));
        }
        let parser = || ENV.parser().max_recursion_depth(PARSER_DEPTH).parse_with_source_info(text);
        // Not ours, and met by strangers' texts: a panic of it is an answer too.
        let parsed =
            catch_unwind(AssertUnwindSafe(parser)).map_err(|_panic| here("this is no expression".to_owned()))?;
        let (mut expr, source) = parsed.map_err(|errors| first(&errors))?;
        let findings = check(&expr, &source)?;
        let parts = meter::weave(&mut expr, &findings.patterns) as u64;
        Ok(Self { expr, patterns: findings.compiled, parts })
    }

    /// Whether an event passes.
    ///
    /// # Errors
    /// It cannot be told: no match.
    pub fn matches(&self, facts: &Facts<'_>) -> Result<bool, EvaluationError> {
        let left = facts.units() + OWN_UNITS;
        let run = || catch_unwind(AssertUnwindSafe(|| self.evaluate(facts)));
        let (spent, result) = meter::metered(FILTER_UNITS.min(left), run);
        facts.spent(spent);
        match result {
            Some(Ok(result)) => result,
            Some(Err(_panic)) => Err(EvaluationError::Panicked),
            None if left < FILTER_UNITS => Err(EvaluationError::EventTooCostly),
            None => Err(EvaluationError::TooCostly),
        }
    }

    fn evaluate(&self, facts: &Facts<'_>) -> Result<bool, EvaluationError> {
        let scope = Scope { facts, patterns: &self.patterns };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&scope);
        let result = meter::spend(self.parts).and_then(|()| {
            let value = Value::resolve_val(&self.expr, &context)?;
            let bool = value.downcast_ref::<CelBool>().map(|value| *value.inner());
            Ok(bool.ok_or_else(|| EvaluationError::NotBool { got: value.get_type().name().to_owned() }))
        });
        result.unwrap_or_else(|error| Err(failure(&error, facts)))
    }
}

/// The first thing the parser stumbled over.
fn first(errors: &ParseErrors) -> FilterError {
    let Some(error) = errors.errors.first() else {
        return FilterError { line: 1, column: 1, message: "this is no expression".to_owned() };
    };
    let from_1 = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let message = error.msg.lines().next().unwrap_or_default();
    let message = message.char_indices().nth(300).and_then(|(end, _)| message.get(..end)).unwrap_or(message);
    FilterError { line: from_1(error.pos.0), column: from_1(error.pos.1), message: message.to_owned() }
}

/// Says what failed without repeating values: payloads belong in no log.
fn failure(error: &ExecutionError, facts: &Facts<'_>) -> EvaluationError {
    if let ExecutionError::UndeclaredReference(name) = error
        && name.as_str() == "data"
        && let Err(none) = facts.data()
    {
        return EvaluationError::NoData(none.clone());
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
    EvaluationError::Failed(match error {
        ExecutionError::NoSuchKey(key) => format!("there is no key `{}`", cut(key)),
        ExecutionError::NoSuchOverload(overload) => cut(&overload.to_string()).to_owned(),
        ExecutionError::UnexpectedType { got, want } => {
            format!("a {} was found where a {} is needed", cut(got), cut(want))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => format!("`{operator}` does not fit its operands"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` overflows"),
        ExecutionError::IndexOutOfBounds(_) => "the index is outside of the list".to_owned(),
        ExecutionError::FunctionError { function, message } => format!("`{function}`: {}", cut(message)),
        ExecutionError::UndeclaredReference(name) => format!("`{}` is not there", cut(name)),
        _other => "the expression cannot be evaluated".to_owned(),
    })
}

// === impl Pattern ===

impl Pattern {
    /// Compiles a pattern, or says why it is none.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES {
            return Err(format!("a pattern has at most {PATTERN_BYTES} bytes"));
        }
        let config = Regex::config()
            .nfa_size_limit(Some(PATTERN_MEMORY))
            .onepass_size_limit(Some(PATTERN_MEMORY))
            .hybrid_cache_capacity(PATTERN_MEMORY);
        let built = Regex::builder().configure(config).syntax(syntax::Config::new().nest_limit(32)).build(text);
        let priced =
            |regex| Self { regex, units_per_byte: pattern_ns_per_byte(text, PATTERN_MEMORY).div_ceil(UNIT_NS) };
        built.map(priced).map_err(|error| match error.size_limit() {
            Some(_) => "the pattern is too large when compiled".to_owned(),
            None => format!("not a pattern: {}", syntax_error(&error)),
        })
    }
}

fn syntax_error(error: &regex_automata::meta::BuildError) -> String {
    let reason = error.syntax_error().map(ToString::to_string).unwrap_or_else(|| error.to_string());
    // The last line says what, the ones before show where.
    let last = reason.lines().last().unwrap_or_default();
    cut(last.strip_prefix("error: ").unwrap_or(last)).to_owned()
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// The variable that holds a pattern.
pub(crate) fn pattern_name(index: usize) -> String {
    format!("{PATTERN}{index}")
}

/// Tries a pattern on a text, and pays for it before.
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = args.as_slice() else { return Err(ExecutionError::missing_argument_or_target()) };
    let text = text.downcast_ref::<CelString<'_>>();
    let pattern = pattern.downcast_ref::<Pattern>();
    let (Some(text), Some(pattern)) = (text, pattern) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let bytes = text.inner().len();
    if bytes > SUBJECT_BYTES {
        let message = format!("a pattern is tried on {SUBJECT_BYTES} bytes at most, not on {bytes}");
        return Err(ExecutionError::function_error("matches", message));
    }
    meter::spend(pattern.units_per_byte.saturating_mul(bytes as u64).saturating_add(1))?;
    Ok(CowVal::owned(CelBool::from(pattern.regex.is_match(text.inner()))))
}

// === impl Scope ===

impl VariableResolver for Scope<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable.strip_prefix(PATTERN) {
            Some(index) => self.patterns.get(usize::from_str(index).ok()?).map(|it| CowVal::Borrowed(it)),
            None => self.facts.variable(variable),
        }
    }
}

#[cfg(test)]
mod tests;
