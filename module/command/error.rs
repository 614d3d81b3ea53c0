//! Why a request is no command, in the words of a stock server.

use super::table::{CommandTable, SpecId};
use crate::resp::Request;
use crate::text;

/// Why a request is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Nothing has that name.
    UnknownCommand,
    /// The command has subcommands, but not that one.
    UnknownSubcommand,
    /// Too few or too many arguments.
    WrongArity(SpecId),
}

/// Bytes of a name that an error quotes at most, and of all arguments together. Source: redis
/// `server.c`, `commandCheckExistence`.
const QUOTED_BYTES_MAX: usize = 128;

impl CommandError {
    /// Appends the error's text, without `-` and line end. It quotes the client, so it need be
    /// neither UTF-8 nor one line: `resp::write::error_bytes` takes it. `table` is the one that
    /// found the error in `request`.
    pub fn write_text(self, table: &CommandTable, request: &Request<'_>, text: &mut Vec<u8>) {
        match self {
            Self::UnknownCommand => {
                text.extend_from_slice(b"ERR unknown command '");
                text.extend_from_slice(quoted(request.arg(0), QUOTED_BYTES_MAX));
                text.extend_from_slice(b"', with args beginning with: ");
                let begin = text.len();
                for index in 1..request.len() {
                    let Some(left) = QUOTED_BYTES_MAX.checked_sub(text.len() - begin) else {
                        break;
                    };
                    if left == 0 {
                        break;
                    }
                    text.push(b'\'');
                    text.extend_from_slice(quoted(request.arg(index), left));
                    text.extend_from_slice(b"' ");
                }
            }
            Self::UnknownSubcommand => {
                text.extend_from_slice(b"ERR unknown subcommand '");
                text.extend_from_slice(quoted(request.arg(1), QUOTED_BYTES_MAX));
                text.extend_from_slice(b"'. Try ");
                text.extend(request.arg(0).iter().map(u8::to_ascii_uppercase));
                text.extend_from_slice(b" HELP.");
            }
            Self::WrongArity(id) => {
                let name = &table.spec(id).name;
                text.extend_from_slice(text::wrong_arity(name).as_bytes());
            }
        }
    }
}

/// As much of an argument as C's `%.*s` prints: it ends at a zero byte.
fn quoted(arg: &[u8], bytes_max: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(bytes_max)];
    &arg[..memchr::memchr(0, arg).unwrap_or(arg.len())]
}
