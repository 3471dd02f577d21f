//! Weaves a meter into a checked filter, and holds its counter while one is evaluated.
//!
//! The interpreter has no step limit, but it calls functions, and functions may refuse. So every value that something large
//! may be done with (copied, compared, added, searched) passes through one that counts its size, and every turn of a loop
//! through one that counts the turn:
//!
//! ```text
//! data.items.exists(i, i.sku == data.sku)
//!   @charge(data.items).exists(i, @charge(i.sku) == @charge(data.sku))      each turn: @turn(condition, parts of the body)
//! ```
//!
//! Names that begin with `@` cannot be written in a filter. Where nothing large can come out (literals, comparisons, the
//! event's short texts), nothing is counted. A counter that has run out stays so until the evaluation ends: every loop and
//! every charge fails from there on, whatever the expression does with failures, and so does the evaluation.

use std::cell::Cell;
use std::collections::HashMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{CelBytes, CelInt, CelList, CelMap, CelString, DYN_TYPE, INT_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use crate::limits::{TURN, UNIT_BYTES};
use crate::matches::{MATCHES, pattern_name};

/// Counts a value with everything in it.
const CHARGE: &str = "@charge";
/// Counts a text, and a list or map as one: for what only looks at its size.
const LENGTH: &str = "@length";
/// Counts a list with everything in it and a map as one: for `in`.
const MEMBERS: &str = "@members";
/// Counts a turn of a loop.
const TURN_NAME: &str = "@turn";

thread_local! {
    /// Units left to the evaluation that runs on this thread.
    static LEFT: Cell<u64> = const { Cell::new(0) };
    /// Whether it wanted more than it had.
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

/// Declares the meter's functions.
pub(crate) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(CHARGE, CHARGE, vec![DYN_TYPE], |args| count(args, weigh))?;
    env.add_overload(LENGTH, LENGTH, vec![DYN_TYPE], |args| count(args, weigh_text))?;
    env.add_overload(MEMBERS, MEMBERS, vec![DYN_TYPE], |args| count(args, weigh_members))?;
    env.add_overload(TURN_NAME, TURN_NAME, vec![DYN_TYPE, INT_TYPE], turn)
}

/// Runs an evaluation with this much to spend. What it spent, and its result unless it wanted more.
pub(crate) fn metered<T>(units: u64, evaluate: impl FnOnce() -> T) -> (u64, Option<T>) {
    LEFT.set(units);
    EXHAUSTED.set(false);
    let result = evaluate();
    let spent = units - LEFT.get();
    (spent, (!EXHAUSTED.get()).then_some(result))
}

/// Takes units from the counter.
///
/// # Errors
/// There are not so many left; from then on there are none.
pub(crate) fn spend(units: u64) -> Result<(), ExecutionError> {
    let left = LEFT.get();
    if units <= left && !EXHAUSTED.get() {
        LEFT.set(left - units);
        return Ok(());
    }
    LEFT.set(0);
    EXHAUSTED.set(true);
    Err(ExecutionError::function_error("@", "too costly"))
}

fn count<'b, 'v>(
    mut args: Vec<CowVal<'b, 'v>>,
    weigh: fn(&dyn Val, u64) -> u64,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    spend(weigh(value.as_ref(), LEFT.get()))?;
    Ok(value)
}

fn turn<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let weight = args.pop().and_then(|weight| weight.downcast_ref::<CelInt>().map(|weight| *weight.inner()));
    spend(weight.and_then(|weight| u64::try_from(weight).ok()).unwrap_or(u64::MAX))?;
    args.pop().ok_or_else(ExecutionError::missing_argument_or_target)
}

/// Units of a value with everything in it; stops counting above `most`.
fn weigh(value: &dyn Val, most: u64) -> u64 {
    let mut units = weigh_text(value, most);
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for element in list.inner() {
            if units > most {
                break;
            }
            units += weigh(element.as_ref(), most - units);
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        #[expect(clippy::iter_over_hash_type, reason = "a sum; past the limit it does not matter what was not counted")]
        for (key, value) in map.inner() {
            if units > most {
                break;
            }
            units += weigh_text(key.inner(), most) + weigh(value.as_ref(), most - units);
        }
    }
    units
}

/// Units of a text; one of everything else.
fn weigh_text(value: &dyn Val, _most: u64) -> u64 {
    let text = value.downcast_ref::<CelString<'_>>().map(|text| text.inner().len());
    let bytes = text.or_else(|| value.downcast_ref::<CelBytes<'_>>().map(|bytes| bytes.inner().len()));
    1 + (bytes.unwrap_or(0) / UNIT_BYTES) as u64
}

/// Units of what `in` looks through: a key is found in a map without looking at the others.
fn weigh_members(value: &dyn Val, most: u64) -> u64 {
    if value.downcast_ref::<CelMap<'_>>().is_some() { 1 } else { weigh(value, most) }
}

// === weaving ===

/// Weaves the meter into a checked filter; returns its parts outside of loops. `patterns`: which part uses which pattern.
pub(crate) fn weave(expr: &mut IdedExpr, patterns: &HashMap<u64, usize>) -> usize {
    let id = expr.id;
    1 + match &mut expr.expr {
        Expr::Call(call) => weave_call(id, call, patterns),
        Expr::Comprehension(it) => weave_loop(it, patterns),
        Expr::Select(select) => weave(&mut select.operand, patterns),
        Expr::List(list) => list.elements.iter_mut().map(|element| weave_charged(element, patterns)).sum(),
        Expr::Map(map) => {
            let mut parts = 0;
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    parts += weave_charged(&mut entry.key, patterns) + weave_charged(&mut entry.value, patterns);
                }
            }
            parts
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => 0,
    }
}

fn weave_charged(expr: &mut IdedExpr, patterns: &HashMap<u64, usize>) -> usize {
    let parts = weave(expr, patterns);
    wrap(CHARGE, expr);
    parts
}

fn weave_call(id: u64, call: &mut CallExpr, patterns: &HashMap<u64, usize>) -> usize {
    let target = call.target.as_deref_mut().into_iter();
    let parts = target.chain(call.args.iter_mut()).map(|part| weave(part, patterns)).sum();
    match call.func_name.as_str() {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::CONDITIONAL => {}
        // What a loop has collected so far grows in place: counting it at every turn would be a loop in a loop.
        operators::ADD if call.args.first().is_some_and(is_collected) => {}
        operators::INDEX => call.args.iter_mut().skip(1).for_each(|index| wrap(CHARGE, index)),
        operators::IN => {
            if let [member, of] = call.args.as_mut_slice() {
                wrap(CHARGE, member);
                wrap(MEMBERS, of);
            }
        }
        "size" => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(|of| wrap(LENGTH, of)),
        "matches" => {
            let subject = call.target.take().map_or_else(|| call.args.swap_remove(0), |subject| *subject);
            let pattern = patterns.get(&id).copied().unwrap_or(usize::MAX);
            MATCHES.clone_into(&mut call.func_name);
            call.args = vec![subject, part(Expr::Ident(pattern_name(pattern)))];
        }
        _other => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(|it| wrap(CHARGE, it)),
    }
    parts
}

/// The list is counted before the loop (its elements are copied one by one), and every turn in it.
fn weave_loop(it: &mut ComprehensionExpr, patterns: &HashMap<u64, usize>) -> usize {
    let before = weave_charged(&mut it.iter_range, patterns) + weave(&mut it.accu_init, patterns);
    let body = weave(&mut it.loop_cond, patterns) + weave(&mut it.loop_step, patterns);
    let weight = i64::try_from(TURN + body).unwrap_or(i64::MAX);
    let turn = |expr: &mut IdedExpr| {
        let counted = std::mem::take(expr);
        let weight = part(Expr::Literal(LiteralValue::Int(weight.into())));
        *expr = part(call(TURN_NAME, vec![counted, weight]));
    };
    // `map` and `filter` are recognised by the interpreter by their literal condition and their step's shape, and then run
    // in linear time: the turn is counted inside of that shape.
    let inside = matches!(it.loop_cond.expr, Expr::Literal(_)).then(|| first_of_turn(&mut it.loop_step)).flatten();
    match inside {
        Some(first) => turn(first),
        None => turn(&mut it.loop_cond),
    }
    before + weave(&mut it.result, patterns)
}

/// What is evaluated first at each turn of a loop that collects: the guard, else the element.
fn first_of_turn(step: &mut IdedExpr) -> Option<&mut IdedExpr> {
    let Expr::Call(call) = &mut step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_mut_slice()) {
        (operators::CONDITIONAL, [guard, ..]) => Some(guard),
        (operators::ADD, [_collected, IdedExpr { expr: Expr::List(list), .. }]) => list.elements.first_mut(),
        _other => None,
    }
}

fn is_collected(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn wrap(function: &str, expr: &mut IdedExpr) {
    if !is_small(expr) {
        let counted = std::mem::take(expr);
        *expr = part(call(function, vec![counted]));
    }
}

/// Whether nothing large can come out of it.
fn is_small(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(_) => true,
        // Bounded by their own limits; loops cannot take their names.
        Expr::Ident(name) => ["type", "id", "time"].contains(&name.as_str()),
        Expr::Select(select) => select.test,
        Expr::Call(call) => {
            const SMALL: [&str; 11] = [
                operators::LOGICAL_AND,
                operators::LOGICAL_OR,
                operators::LOGICAL_NOT,
                operators::EQUALS,
                operators::NOT_EQUALS,
                operators::LESS,
                operators::LESS_EQUALS,
                operators::GREATER,
                operators::GREATER_EQUALS,
                operators::IN,
                MATCHES,
            ];
            SMALL.contains(&call.func_name.as_str())
        }
        Expr::Unspecified | Expr::Comprehension(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => false,
    }
}

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args })
}

fn part(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
