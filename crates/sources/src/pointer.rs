//! JSON pointers (RFC 6901) as text: read once, when a source is written.

/// Longest pointer, in steps: deeper than that nobody looks, and the scanner has one call per step.
pub(crate) const MAX_STEPS: usize = 32;

/// Why a text is no pointer, and where: the index of a character, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointerFault {
    pub(crate) at: usize,
    pub(crate) message: &'static str,
}

/// The steps of a pointer, unescaped; none leads to the whole document.
pub(crate) fn steps(text: &str) -> Result<Vec<String>, PointerFault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let fault = |at, message| Err(PointerFault { at, message });
    let mut steps: Vec<String> = Vec::new();
    let mut characters = text.chars().enumerate();
    while let Some((at, character)) = characters.next() {
        let count = steps.len();
        match (character, steps.last_mut()) {
            ('/', _) if count == MAX_STEPS => return fault(at, "a JSON pointer has at most 32 steps"),
            ('/', _) => steps.push(String::new()),
            (_, None) => return fault(at, "a JSON pointer begins with `/`, as `/order/id`"),
            ('~', Some(step)) => match characters.next() {
                Some((_, '0')) => step.push('~'),
                Some((_, '1')) => step.push('/'),
                _no_escape => return fault(at, "`~` is written `~0` in a JSON pointer, and `/` in a name `~1`"),
            },
            (other, Some(step)) => step.push(other),
        }
    }
    Ok(steps)
}

/// The index of an array's element that a step means, if it can be one.
pub(crate) fn index(step: &str) -> Option<usize> {
    let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_number && (step == "0" || !step.starts_with('0'));
    is_plain.then(|| step.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_unescaped() {
        assert_eq!(steps("").unwrap(), Vec::<String>::new());
        assert_eq!(steps("/").unwrap(), [""]);
        assert_eq!(steps("/a/b~1c/d~0e/0").unwrap(), ["a", "b/c", "d~e", "0"]);
        assert_eq!(steps("a").unwrap_err().at, 0);
        assert_eq!(steps("/\u{e9}~2").unwrap_err().at, 2);
        assert_eq!(steps("/a~").unwrap_err().at, 2);
        assert_eq!(steps(&"/a".repeat(MAX_STEPS)).unwrap().len(), MAX_STEPS);
        assert_eq!(steps(&"/a".repeat(MAX_STEPS + 1)).unwrap_err().at, 2 * MAX_STEPS);
    }

    #[test]
    fn an_index_has_one_spelling() {
        assert_eq!((index("0"), index("17")), (Some(0), Some(17)));
        for step in ["", "-", "01", "1.", "+1", "99999999999999999999999"] {
            assert_eq!(index(step), None, "{step}");
        }
    }
}
