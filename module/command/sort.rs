//! The options of SORT.
//!
//! Its STORE key can be anywhere, and what looks like an option may be the argument of another one,
//! so they are walked in order, as a server walks them.

use crate::resp::Request;

/// An option of SORT that names other keys; each with the index of its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOption {
    /// A pattern of keys to sort by.
    By(usize),
    /// A pattern of keys to return.
    Get(usize),
    /// The key that takes the result; of several the last one does.
    Store(usize),
}

/// The options of a SORT or SORT_RO request. Source: redis `db.c`, `sortGetKeys`.
pub fn sort_options<'a>(request: &'a Request<'_>) -> impl Iterator<Item = SortOption> + 'a {
    let mut next = 2;
    std::iter::from_fn(move || {
        loop {
            let word = request.get(next)?;
            let argument = next + 1;
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            // Without its argument none of them is an option: the server will call it an error.
            let option = match argument < request.len() {
                true if is("by") => Some(SortOption::By(argument)),
                true if is("get") => Some(SortOption::Get(argument)),
                true if is("store") => Some(SortOption::Store(argument)),
                _ => None,
            };
            next += match option {
                Some(_) => 2,
                None if is("limit") => 3,
                None => 1,
            };
            if option.is_some() {
                return option;
            }
        }
    })
}
