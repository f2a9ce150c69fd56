//! Statements: one text for both engines.
//!
//! The text keeps to what SQLite and PostgreSQL understand alike: `$1`, `TRUE`, `IS DISTINCT FROM`, `ON CONFLICT`, `RETURNING`, `->>`.
//! Where they spell a thing differently the text has a word in braces:
//!
//! | word | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{use INDEX}` | `INDEXED BY INDEX` | nothing: its planner has statistics |
//! | `{ids $1}` | a list of ids, bound as a JSON array | the same, as `uuid` |
//! | `{words $1}` | a list of texts, bound as a JSON array | the same |
//! | `{greatest}`, `{least}` | `max`, `min` | `greatest`, `least` |
//! | `{position}` | `instr` | `strpos` |
//!
//! What cannot be said so has a second text. A statement that reads what its transaction is about to change names the
//! row lock that PostgreSQL takes then; SQLite has one writer and needs none.

use std::sync::OnceLock;

/// A statement. Its first line is its name, as a comment.
pub(in crate::store) struct Statement {
    text: &'static str,
    postgres: Option<&'static str>,
    lock: &'static str,
    spelled: [OnceLock<String>; 3],
}

/// For whom a statement is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL, where nothing is changed.
    PostgresReading,
    /// PostgreSQL, in a transaction that writes.
    PostgresWriting,
}

impl Statement {
    /// With one text for both, in the words of this module.
    pub(in crate::store) const fn new(text: &'static str) -> Self {
        Self { text, postgres: None, lock: "", spelled: [const { OnceLock::new() }; 3] }
    }

    /// With a row lock, as in `FOR UPDATE OF f`, where the transaction writes.
    pub(in crate::store) const fn locking(mut self, lock: &'static str) -> Self {
        self.lock = lock;
        self
    }

    /// With another text for PostgreSQL.
    pub(in crate::store) const fn postgres(mut self, text: &'static str) -> Self {
        self.postgres = Some(text);
        self
    }

    /// What its first line calls it.
    pub(in crate::store) fn name(&self) -> &'static str {
        self.text.lines().next().unwrap_or(self.text).trim_start_matches("-- ")
    }

    /// Its text for an engine.
    pub(in crate::store) fn spelled(&'static self, dialect: Dialect) -> &'static str {
        self.spelled[dialect as usize].get_or_init(|| match dialect {
            Dialect::Sqlite => spell(self.text, dialect),
            Dialect::PostgresReading => spell(self.postgres.unwrap_or(self.text), dialect),
            Dialect::PostgresWriting => {
                let text = spell(self.postgres.unwrap_or(self.text), dialect);
                if self.lock.is_empty() { text } else { format!("{text} {}", self.lock) }
            }
        })
    }
}

/// Replaces the words in braces.
fn spell(text: &str, dialect: Dialect) -> String {
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, tail) = after.split_once('}').unwrap_or((after, ""));
        let (word, argument) = word.split_once(' ').unwrap_or((word, ""));
        spelled.push_str(before);
        spelled.push_str(&spell_word(word, argument, dialect == Dialect::Sqlite));
        rest = tail;
    }
    spelled.push_str(rest);
    spelled
}

fn spell_word(word: &str, argument: &str, sqlite: bool) -> String {
    match (word, sqlite) {
        ("use", true) => format!("INDEXED BY {argument}"),
        ("use", false) => String::new(),
        ("ids" | "words", true) => format!("(SELECT value FROM json_each({argument}))"),
        ("ids", false) => {
            format!("(SELECT value::uuid FROM jsonb_array_elements_text(CAST({argument} AS jsonb)) AS listed (value))")
        }
        ("words", false) => {
            format!("(SELECT value FROM jsonb_array_elements_text(CAST({argument} AS jsonb)) AS listed (value))")
        }
        ("greatest", true) => "max".to_owned(),
        ("least", true) => "min".to_owned(),
        ("greatest" | "least", false) => word.to_owned(),
        ("position", true) => "instr".to_owned(),
        ("position", false) => "strpos".to_owned(),
        _ => unreachable!("a statement has the unknown word {word}"),
    }
}

/// Declares statements and, for the tests that prepare each of them, their list.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr $(, locking $lock:expr)? $(, postgres $postgres:expr)?;)+) => {
        $($(#[$doc])* static $name: $crate::store::sql::Statement =
            $crate::store::sql::Statement::new($sql)$(.locking($lock))?$(.postgres($postgres))?;)+
        /// Every statement of this module.
        #[cfg(test)]
        pub(in crate::store) const STATEMENTS: &[&$crate::store::sql::Statement] = &[$(&$name),+];
    };
}
pub(in crate::store) use statements;
