//! What commands the host's other modules have.

use std::collections::HashSet;

use super::api::Ctx;
use crate::resp::Value;

/// The commands of all modules that the host has loaded from a file, in small letters. Whoever
/// loads one into the host wants it to run there; what is built into a server is data like any
/// other.
pub(super) fn commands(ctx: Ctx<'_>) -> HashSet<Vec<u8>> {
    let Some(Value::Array(modules)) = ask(ctx, &["MODULE", "LIST"]) else {
        return HashSet::new();
    };
    modules
        .iter()
        .filter_map(loaded_module)
        .filter(|name| name != "weir")
        .filter_map(|name| ask(ctx, &["COMMAND", "LIST", "FILTERBY", "MODULE", &name]))
        .flat_map(|commands| match commands {
            Value::Array(commands) => commands,
            _ => Vec::new(),
        })
        .filter_map(|command| match command {
            Value::Bulk(name) | Value::Simple(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

fn ask(ctx: Ctx<'_>, words: &[&str]) -> Option<Value> {
    Value::parse(&ctx.run(words)?).map(|(value, _)| value)
}

/// The name of a module in the reply to MODULE LIST, if it has a file.
fn loaded_module(module: &Value) -> Option<String> {
    let Value::Array(fields) = module else { return None };
    let field = |name: &str| {
        fields.chunks_exact(2).find_map(|pair| match pair {
            [Value::Bulk(key) | Value::Simple(key), Value::Bulk(value) | Value::Simple(value)]
                if key == name.as_bytes() =>
            {
                Some(String::from_utf8_lossy(value).into_owned())
            }
            _ => None,
        })
    };
    field("path").filter(|path| !path.is_empty())?;
    field("name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_of_a_file_is_told_from_one_that_is_built_in() {
        let module = |path: &str| {
            let text =
                format!("*8\r\n+name\r\n+vec\r\n+ver\r\n:1\r\n+path\r\n+{path}\r\n+args\r\n*0\r\n");
            Value::parse(text.as_bytes()).unwrap().0
        };
        assert_eq!(loaded_module(&module("/a/vec.so")), Some("vec".to_owned()));
        assert_eq!(loaded_module(&module("")), None);
    }
}
