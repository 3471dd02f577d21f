//! Looking into bytes that should be JSON, and what is said where they are not.

use std::fmt;

use crate::Rejection;
use crate::pointers::Pointers;
use crate::scan::{ScanFault, scan};
use crate::templates::LookedInto;

/// Why bytes cannot be looked into.
#[derive(Debug)]
pub(crate) enum LookFault {
    NotUtf8 { at: usize },
    Scan(ScanFault),
}

pub(crate) fn look<'x>(json: &'x [u8], pointers: &Pointers) -> Result<LookedInto<'x>, LookFault> {
    let json = std::str::from_utf8(json).map_err(|error| LookFault::not_utf8(&error))?;
    let places = scan(json, pointers).map_err(LookFault::Scan)?;
    Ok(LookedInto { json, places })
}

impl LookFault {
    /// The rejection of a value whose JSON begins at a byte of it, or was made of it.
    pub(crate) fn rejection(&self, begins: Option<usize>) -> Rejection {
        let at = match self {
            Self::NotUtf8 { at } => *at,
            Self::Scan(fault) => fault.at,
        };
        let rejection = Rejection::undecodable(format!("the value: {self}"));
        match begins {
            Some(begins) => rejection.at(begins + at),
            None => rejection,
        }
    }

    pub(crate) fn not_utf8(error: &std::str::Utf8Error) -> Self {
        Self::NotUtf8 { at: error.valid_up_to() }
    }
}

impl fmt::Display for LookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(f, "not JSON: it is not UTF-8 at byte {at}"),
            Self::Scan(fault) => fault.fmt(f),
        }
    }
}
