//! What a filter may name: variables, types and functions. Everything else is refused at write time, with the nearest name.

/// The variables of an event.
pub(crate) const VARIABLES: [&str; 5] = ["type", "id", "labels", "data", "time"];

/// Types that may be compared with what `type(..)` says.
pub(crate) const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

/// A function: how it is called and what it comes to.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// Numbers of arguments it takes as `name(..)`.
    pub(crate) plain: &'static [usize],
    /// Numbers of arguments it takes as `value.name(..)`.
    pub(crate) member: &'static [usize],
    pub(crate) yields: Yields,
}

/// What a part comes to, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yields {
    /// True or false.
    Bool,
    /// What it comes to is known at run time only.
    Anything,
    /// Neither true nor false ever.
    Never(&'static str),
}

const fn plain(name: &'static str, yields: Yields) -> Function {
    Function { name, plain: &[1], member: &[], yields }
}

const fn member(name: &'static str, member: &'static [usize], yields: Yields) -> Function {
    Function { name, plain: &[], member, yields }
}

const NUMBER: Yields = Yields::Never("number");

pub(crate) static FUNCTIONS: [Function; 25] = [
    member("contains", &[1], Yields::Bool),
    member("startsWith", &[1], Yields::Bool),
    member("endsWith", &[1], Yields::Bool),
    Function { name: "matches", plain: &[2], member: &[1], yields: Yields::Bool },
    Function { name: "size", plain: &[1], member: &[0], yields: NUMBER },
    plain("bool", Yields::Bool),
    plain("bytes", Yields::Never("byte string")),
    plain("double", NUMBER),
    plain("duration", Yields::Never("duration")),
    plain("dyn", Yields::Anything),
    plain("int", NUMBER),
    plain("string", Yields::Never("string")),
    plain("timestamp", Yields::Never("timestamp")),
    plain("type", Yields::Never("type")),
    plain("uint", NUMBER),
    member("getFullYear", &[0, 1], NUMBER),
    member("getMonth", &[0, 1], NUMBER),
    member("getDayOfYear", &[0, 1], NUMBER),
    member("getDayOfMonth", &[0, 1], NUMBER),
    member("getDate", &[0, 1], NUMBER),
    member("getDayOfWeek", &[0, 1], NUMBER),
    member("getHours", &[0, 1], NUMBER),
    member("getMinutes", &[0, 1], NUMBER),
    member("getSeconds", &[0, 1], NUMBER),
    member("getMilliseconds", &[0, 1], NUMBER),
];

/// The macros: the parser turns right uses of them into other parts, so one that is left is a wrong use.
pub(crate) const MACROS: [(&str, &str); 7] = [
    ("has", "has(value.field)"),
    ("all", "list.all(name, condition)"),
    ("exists", "list.exists(name, condition)"),
    ("exists_one", "list.exists_one(name, condition)"),
    ("existsOne", "list.existsOne(name, condition)"),
    ("map", "list.map(name, expression)"),
    ("filter", "list.filter(name, condition)"),
];

pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The nearest of some names, if one is near enough to be meant.
pub(crate) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let far = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    names.map(|name| (far(name), name)).filter(|(far, name)| *far <= 1 + name.len() / 3).min().map(|(_, name)| name)
}
