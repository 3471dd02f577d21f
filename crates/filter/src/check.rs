//! Reads a parsed filter once: does everything it names exist, is it small enough, can it come to true or false?

use std::collections::HashMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use crate::error::FilterError;
use crate::functions::{FUNCTIONS, Function, MACROS, TYPES, VARIABLES, Yields, function, nearest};
use crate::limits::{DEPTH, LOOPS, PARTS, PATTERNS, REPEATED};
use crate::matches::Pattern;

/// What the check has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Compiled patterns by the part that uses them.
    pub(crate) patterns: HashMap<u64, usize>,
    /// The patterns, in order of those numbers.
    pub(crate) compiled: Vec<Pattern>,
}

/// Checks a parsed filter.
pub(crate) fn check(expr: &IdedExpr, source: &SourceInfo) -> Result<Findings, FilterError> {
    let mut checker = Checker { source, scope: Vec::new(), parts: 0, loops: 0, findings: Findings::default() };
    checker.condition(expr, 0)?;
    Ok(checker.findings)
}

struct Checker<'a> {
    source: &'a SourceInfo,
    /// Loop variables in sight.
    scope: Vec<&'a str>,
    parts: usize,
    loops: usize,
    findings: Findings,
}

impl<'a> Checker<'a> {
    /// A part that must be able to come to true or false.
    fn condition(&mut self, expr: &'a IdedExpr, depth: usize) -> Result<(), FilterError> {
        match self.part(expr, depth)? {
            Yields::Bool | Yields::Anything => Ok(()),
            Yields::Never(what) => Err(self.error(expr, format!("this is a {what}, true or false is needed here"))),
        }
    }

    fn part(&mut self, expr: &'a IdedExpr, depth: usize) -> Result<Yields, FilterError> {
        self.parts += 1;
        if self.parts > PARTS {
            return Err(self.error(expr, format!("the filter has more than {PARTS} parts")));
        }
        if depth > DEPTH {
            return Err(self.error(expr, format!("the filter is nested deeper than {DEPTH}")));
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Literal(literal) => Ok(of_literal(literal)),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Call(call) => self.call(expr, call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension, depth),
            Expr::Select(select) => {
                self.part(&select.operand, depth)?;
                Ok(if select.test { Yields::Bool } else { of_field(&select.operand) })
            }
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return Err(self.error(expr, "optional values are not supported"));
                }
                self.parts(&list.elements, depth)?;
                Ok(Yields::Never("list"))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) if !entry.optional => {
                            self.part(&entry.key, depth)?;
                            self.part(&entry.value, depth)?;
                        }
                        EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => {
                            return Err(self.error(expr, "optional values are not supported"));
                        }
                    }
                }
                Ok(Yields::Never("map"))
            }
            Expr::Struct(object) => {
                Err(self.error(expr, format!("there is no type `{}` to make values of", cut(&object.type_name))))
            }
            Expr::Unspecified => Err(self.error(expr, "something is missing here")),
        }
    }

    fn parts(&mut self, parts: &'a [IdedExpr], depth: usize) -> Result<(), FilterError> {
        parts.iter().try_for_each(|part| self.part(part, depth).map(drop))
    }

    fn name(&self, expr: &IdedExpr, name: &str) -> Result<Yields, FilterError> {
        // The parser's own names hold a loop's result so far.
        if name.starts_with('@') || self.scope.contains(&name) || name == "data" {
            return Ok(Yields::Anything);
        }
        if VARIABLES.contains(&name) {
            let what = match name {
                "labels" => "map",
                "time" => "timestamp",
                _string => "string",
            };
            return Ok(Yields::Never(what));
        }
        if TYPES.contains(&name) {
            return Ok(Yields::Never("type"));
        }
        let known = VARIABLES.into_iter().chain(self.scope.iter().copied());
        let message = match nearest(name, known) {
            Some(near) => format!("unknown variable `{}`, did you mean `{near}`?", cut(name)),
            None => format!("unknown variable `{}`, there are {}", cut(name), VARIABLES.join(", ")),
        };
        Err(self.error(expr, message))
    }

    fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr, depth: usize) -> Result<Yields, FilterError> {
        match call.func_name.as_str() {
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE => {
                call.args.iter().try_for_each(|operand| self.condition(operand, depth))?;
                Ok(Yields::Bool)
            }
            operators::CONDITIONAL => self.conditional(call, depth),
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN => {
                self.parts(&call.args, depth)?;
                Ok(Yields::Bool)
            }
            operators::INDEX => {
                self.parts(&call.args, depth)?;
                Ok(call.args.first().map_or(Yields::Anything, of_field))
            }
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE => {
                self.parts(&call.args, depth)?;
                Ok(Yields::Never("value"))
            }
            operators::OPT_INDEX | operators::OPT_SELECT => {
                Err(self.error(expr, "optional values are not supported, use has(..)"))
            }
            name => self.function(expr, name, call, depth),
        }
    }

    fn conditional(&mut self, call: &'a CallExpr, depth: usize) -> Result<Yields, FilterError> {
        let [condition, then, otherwise] = call.args.as_slice() else { return Ok(Yields::Anything) };
        self.condition(condition, depth)?;
        let (then, otherwise) = (self.part(then, depth)?, self.part(otherwise, depth)?);
        Ok(if then == otherwise { then } else { Yields::Anything })
    }

    fn function(
        &mut self,
        expr: &'a IdedExpr,
        name: &str,
        call: &'a CallExpr,
        depth: usize,
    ) -> Result<Yields, FilterError> {
        let Some(known) = function(name) else { return Err(self.unknown_function(expr, name)) };
        let allowed = if call.target.is_some() { known.member } else { known.plain };
        if !allowed.contains(&call.args.len()) {
            return Err(self.error_at(expr, name, format!("`{name}` is called as {}", usage(known))));
        }
        if let Some(target) = &call.target {
            self.part(target, depth)?;
        }
        self.parts(&call.args, depth)?;
        if name == "matches" {
            self.pattern(expr, call)?;
        }
        Ok(known.yields)
    }

    fn unknown_function(&self, expr: &IdedExpr, name: &str) -> FilterError {
        if let Some((name, usage)) = MACROS.iter().find(|(macro_name, _)| *macro_name == name) {
            return self.error_at(expr, name, format!("`{name}` is called as {usage}"));
        }
        let known = FUNCTIONS.iter().map(|function| function.name).chain(MACROS.iter().map(|(name, _)| *name));
        let message = match nearest(name, known) {
            Some(near) => format!("unknown function `{}`, did you mean `{near}`?", cut(name)),
            None => format!("unknown function `{}`", cut(name)),
        };
        self.error_at(expr, name, message)
    }

    /// A pattern must stand in the text, so that its cost is known when it is written.
    fn pattern(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Result<(), FilterError> {
        let pattern = call.args.last().unwrap_or(expr);
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.error(pattern, "the pattern of `matches` must be a text in quotes"));
        };
        if self.findings.compiled.len() >= PATTERNS {
            return Err(self.error(expr, format!("a filter may have {PATTERNS} patterns")));
        }
        let compiled = Pattern::new(text.inner()).map_err(|reason| self.error(pattern, reason))?;
        self.findings.patterns.insert(expr.id, self.findings.compiled.len());
        self.findings.compiled.push(compiled);
        Ok(())
    }

    fn comprehension(
        &mut self,
        expr: &'a IdedExpr,
        it: &'a ComprehensionExpr,
        depth: usize,
    ) -> Result<Yields, FilterError> {
        self.part(&it.iter_range, depth)?;
        self.part(&it.accu_init, depth)?;
        if self.loops >= LOOPS {
            return Err(self.error(expr, format!("loops may stand in each other {LOOPS} deep")));
        }
        // A name that stood for two things would be read wrongly, by people and by the meter.
        if VARIABLES.contains(&it.iter_var.as_str()) || it.iter_var2.is_some() {
            return Err(self.error(expr, format!("a loop cannot use the name `{}`", cut(&it.iter_var))));
        }
        self.loops += 1;
        self.scope.push(&it.iter_var);
        self.part(&it.loop_cond, depth)?;
        self.part(&it.loop_step, depth)?;
        self.scope.pop();
        self.loops -= 1;
        self.part(&it.result, depth)?;
        // `all` and `exists` begin with a truth, `exists_one` with a count it compares, `map` and `filter` with a list.
        Ok(match &it.accu_init.expr {
            Expr::List(_) => Yields::Never("list"),
            Expr::Literal(_) => Yields::Bool,
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::Map(_)
            | Expr::Select(_)
            | Expr::Struct(_) => Yields::Anything,
        })
    }

    fn error(&self, expr: &IdedExpr, message: impl Into<String>) -> FilterError {
        self.error_at(expr, "", message)
    }

    /// An error at a name that may stand right before the part's place: a call's place is its bracket.
    fn error_at(&self, expr: &IdedExpr, name: &str, message: impl Into<String>) -> FilterError {
        // Macros make parts of their own, which stand nowhere: then the beginning of the text is as near as any place.
        let at = self.source.offset_for(expr.id).map_or(0, |(start, _)| start as usize);
        let text = &self.source.source;
        let before = text.char_indices().nth(at).and_then(|(end, _)| text.get(..end)).unwrap_or(text);
        let before = before.strip_suffix(name).unwrap_or(before);
        let (line, column) = end_of(before);
        FilterError { line, column, message: message.into() }
    }
}

/// Line and column, from 1, of what follows a text.
fn end_of(text: &str) -> (usize, usize) {
    text.chars().fold((1, 1), |(line, column), char| if char == '\n' { (line + 1, 1) } else { (line, column + 1) })
}

fn of_literal(literal: &LiteralValue) -> Yields {
    match literal {
        LiteralValue::Boolean(_) => Yields::Bool,
        LiteralValue::Bytes(_) => Yields::Never("byte string"),
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Yields::Never("number"),
        LiteralValue::Null => Yields::Never("null"),
        LiteralValue::String(_) => Yields::Never("string"),
    }
}

/// What a field of this is: labels are texts, everything else is known at run time.
fn of_field(of: &IdedExpr) -> Yields {
    if matches!(&of.expr, Expr::Ident(name) if name == "labels") { Yields::Never("string") } else { Yields::Anything }
}

fn usage(function: &Function) -> String {
    let Function { name, plain, member, .. } = function;
    let arguments = |count: &usize| vec![".."; *count].join(", ");
    let plain = plain.iter().map(|count| format!("{name}({})", arguments(count)));
    let member = member.iter().map(|count| format!("value.{name}({})", arguments(count)));
    plain.chain(member).collect::<Vec<_>>().join(" or ")
}

/// The beginning of a text, for a sentence.
pub(crate) fn cut(text: &str) -> &str {
    text.char_indices().nth(REPEATED).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
