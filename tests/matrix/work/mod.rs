//! The list of work: what each cell has its client do, and how it is seen whether it was done.

mod endings;
mod files;
mod many;
mod names;

use crate::failure::Failure;
use crate::place::Place;

/// How much of the list a cell does. Each has what those before it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Much {
    /// What can be done while a developer waits.
    Fast,
    /// All that a way of coming in could matter for.
    Way,
    /// All but the large file.
    Full,
    /// Also the large file.
    Large,
}

/// One thing to do.
pub(crate) struct Item {
    pub(crate) name: &'static str,
    /// What the driver must have for it.
    pub(crate) needs: &'static [&'static str],
    /// The least list it is on.
    pub(crate) least: Much,
    /// Does it and looks.
    pub(crate) work: fn(&mut Place<'_>) -> Result<(), Failure>,
}

macro_rules! items {
    ($($name:literal $least:ident [$($needs:literal)*] $work:expr;)+) => {
        &[$(Item { name: $name, needs: &[$($needs),*], least: Much::$least, work: $work }),+]
    };
}

/// In the order in which they are done: those after which no session can be there come last.
pub(crate) const ITEMS: &[Item] = items! {
    "list" Fast ["list"] files::list;
    "up" Fast ["put"] files::up;
    "down" Fast ["get"] files::down;
    "0 B" Fast ["put" "get"] files::empty;
    "append" Way ["append"] files::append;
    "resume down" Fast ["get_rest"] files::resume_down;
    "resume up" Fast ["put_rest"] files::resume_up;
    "rename" Fast ["rename"] files::rename;
    "delete" Fast ["delete"] files::delete;
    "folders" Full ["mkdir" "rmdir"] files::folders;
    "256 MiB" Large ["put" "get"] files::large;
    "200 small files" Full ["put_folder" "get_folder"] many::small;
    "name with blanks" Full ["put" "get" "list"] names::blanks;
    "name in UTF-8" Full ["put" "get" "list"] names::utf8;
    "name in Latin-1" Full ["put" "get" "list"] names::latin1;
    "name with a dash" Full ["put" "get" "list"] names::dash;
    "name with percent" Full ["put" "get" "list"] names::percent;
    "50 in one session" Way ["many"] many::in_a_row;
    "two at once" Full ["many"] many::two_at_once;
    "ABOR" Fast ["abort" "get"] endings::abort;
    "wrong password" Fast ["open"] endings::wrong_password;
    "quit" Fast ["close"] endings::quit;
    "leave a download" Fast ["leave"] endings::leave;
    "leave an upload" Way ["leave_put"] endings::leave_put;
};
