//! From bytes to what a command is built of. What a client got wrong in the form of its request ends here.

pub(crate) mod body;
pub(crate) mod if_match;
pub(crate) mod list;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod search;
