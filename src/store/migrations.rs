//! The schema of both engines, step by step.
//!
//! The files of `migrations/` are compiled in; both engines have the same versions under the same names. Each begins
//! with two lines, `-- kind: expand|contract` and `-- oldest: N`: an *expand* adds what programs of before need not know
//! of, a *contract* takes away what they needed, and N is the oldest schema version whose programs can work with the
//! store once it is applied. What was applied stands in the table `schema_history`.
//!
//! ```text
//! store at V, program knows 1..=K:   V == K                      works
//!                                    V > K, oldest of V <= K     works: an older program beside newer ones
//!                                    V > K, oldest of V > K      refused
//!                                    V < K                       migrated: a file at open, PostgreSQL by `db migrate`
//!                                    empty                       set up, in one transaction
//! ```
//! Each migration and its row in the history are one transaction: what fails has changed nothing.

mod target;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Result, StoreError};
use crate::domain::Timestamp;
pub(in crate::store) use target::Target;

/// Name and text of each migration, in order of their versions.
type Files = &'static [(&'static str, &'static str)];

const SQLITE: Files = &[("0001_first", include_str!("../../migrations/sqlite/0001_first.sql"))];
const POSTGRES: Files = &[("0001_first", include_str!("../../migrations/postgres/0001_first.sql"))];

/// The newest schema version that this program knows, on either engine.
pub(in crate::store) const NEWEST: i64 = SQLITE.len() as i64;

/// How long after its last sign a node still counts as running: it tells one every few seconds.
const NODE_GONE_AFTER: Duration = Duration::from_secs(60);

/// What a migration does to programs of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It adds; programs of before go on.
    Expand,
    /// It takes away what only programs of before need.
    Contract,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        }
    }
}

/// One file.
#[derive(Debug)]
pub(in crate::store) struct Migration {
    version: i64,
    name: &'static str,
    kind: Kind,
    /// Programs that know at least this version work with the store after it.
    oldest: i64,
    text: &'static str,
    /// SHA-256 of the text, in hex.
    checksum: String,
}

impl Migration {
    fn step(&self) -> Step {
        Step { version: self.version, name: self.name.to_owned(), kind: self.kind }
    }
}

/// One row of the history.
#[derive(Debug)]
struct Applied {
    version: i64,
    checksum: String,
    oldest: i64,
}

/// A migration, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Its version, from 1 on.
    pub version: i64,
    /// The name of its file.
    pub name: String,
    /// What it does to programs of before.
    pub kind: Kind,
}

/// Where the schema of a store stands.
#[derive(Debug, serde::Serialize)]
pub struct Schema {
    /// The store's version; 0 when it is empty.
    pub version: i64,
    /// The newest that this program knows.
    pub known: i64,
    /// What was applied just now.
    pub applied: Vec<Step>,
    /// What this program needs and the store does not have.
    pub pending: Vec<Step>,
}

/// Which migrations may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// None: only a look.
    Nothing,
    /// All of them, to a store that is empty; none to another.
    SetUp,
    /// Those before the first contract.
    Expand,
    /// All.
    Contract,
}

/// Those of SQLite.
pub(in crate::store) fn of_sqlite() -> &'static [Migration] {
    static READ: OnceLock<Vec<Migration>> = OnceLock::new();
    READ.get_or_init(|| read(SQLITE).expect("a test reads the headers of all migrations"))
}

/// Those of PostgreSQL.
pub(in crate::store) fn of_postgres() -> &'static [Migration] {
    static READ: OnceLock<Vec<Migration>> = OnceLock::new();
    READ.get_or_init(|| read(POSTGRES).expect("a test reads the headers of all migrations"))
}

/// Reads the headers; answers what is wrong with one. Versions count from 1.
fn read(files: &[(&'static str, &'static str)]) -> std::result::Result<Vec<Migration>, String> {
    let mut read: Vec<Migration> = Vec::with_capacity(files.len());
    for ((name, text), version) in files.iter().zip(1_i64..) {
        let mut lines = text.lines();
        let mut header = |key: &str| lines.next().and_then(|line| line.strip_prefix(key)).map(str::trim);
        let kind = match header("-- kind:") {
            Some("expand") => Kind::Expand,
            Some("contract") => Kind::Contract,
            other => return Err(format!("{name}: the first line is no \"-- kind: expand|contract\" ({other:?})")),
        };
        let oldest = header("-- oldest:").and_then(|word| word.parse::<i64>().ok());
        let oldest = oldest.ok_or_else(|| format!("{name}: the second line is no \"-- oldest: N\""))?;
        let before = read.last().map_or(1, |before| before.oldest);
        let sound = match kind {
            Kind::Expand => oldest == before,
            Kind::Contract => (before..=version).contains(&oldest),
        };
        if !name.starts_with(&format!("{version:04}_")) || !sound {
            return Err(format!("{name}: version {version} cannot be \"{}\" with oldest {oldest}", kind.as_str()));
        }
        let checksum = data_encoding::HEXLOWER.encode(&Sha256::digest(text));
        read.push(Migration { version, name, kind, oldest, text, checksum });
    }
    Ok(read)
}

/// What is left to apply to a store with this history; or why no program with these migrations may touch it.
fn judge<'m>(known: &'m [Migration], history: &[Applied]) -> std::result::Result<&'m [Migration], String> {
    let newest_known = known.len() as i64;
    let newest = history.last();
    if let Some(newest) = newest.filter(|newest| newest.version > newest_known && newest.oldest > newest_known) {
        return Err(format!(
            "has schema version {}, which needs a program that knows version {}, and this program knows versions up to \
             {newest_known}; fix: run a newer faxwell",
            newest.version, newest.oldest
        ));
    }
    for (migration, version) in known.iter().zip(1_i64..=newest.map_or(0, |newest| newest.version)) {
        let row = history.iter().find(|row| row.version == version);
        if row.is_none_or(|row| row.checksum != migration.checksum) {
            return Err(format!(
                "was made with another schema version {version} than this program's; \
                 fix: run the faxwell that made it, or give this one a store of its own"
            ));
        }
    }
    let at = newest.map_or(0, |newest| newest.version).min(newest_known);
    Ok(&known[usize::try_from(at).unwrap_or(0)..])
}

/// Looks at a store and applies what is allowed. `place` names the store in errors. No time limit: a large table may
/// take minutes.
///
/// [`StoreError::Unusable`] when this program and the store do not fit, or a migration is refused; then that one has
/// changed nothing, and those before it are applied. [`StoreError::Unavailable`] when the store went away. A caller that
/// stops waiting must close the connection: it may be inside a transaction.
pub(in crate::store) async fn bring_up(
    mut target: Target<'_>,
    known: &[Migration],
    place: &str,
    allowed: Allowed,
) -> Result<Schema> {
    let mut applied = Vec::new();
    // One transaction each, and a last look.
    for _ in 0..=known.len() {
        let (version, pending) = look(&mut target, known, place).await?;
        if wanted(version, pending, allowed).is_empty() {
            let pending = pending.iter().map(Migration::step).collect();
            return Ok(Schema { version, known: known.len() as i64, applied, pending });
        }
        target.begin().await.map_err(|e| e.before(place))?;
        match apply(&mut target, known, place, allowed).await {
            Ok(steps) => applied.extend(steps),
            Err(error) => {
                // A connection that cannot even roll back is of no use, and its transaction ends with it.
                let _ = target.rollback().await;
                return Err(error);
            }
        }
    }
    Err(StoreError::Unusable(format!("the schema of the store {place} changes while it is brought up to date")))
}

/// The store's version, and what it lacks.
async fn look<'m>(target: &mut Target<'_>, known: &'m [Migration], place: &str) -> Result<(i64, &'m [Migration])> {
    let tables = target.tables().await.map_err(|e| e.reading(place))?;
    let history = if tables.iter().any(|table| table == target::HISTORY) {
        target.history().await.map_err(|e| e.reading(place))?
    } else {
        Vec::new()
    };
    if let (None, Some(table)) = (history.last(), tables.iter().find(|table| *table != target::HISTORY)) {
        return Err(StoreError::Unusable(format!(
            "the store {place} has no schema history and holds a table {table}: it was not made by this program; \
             fix: give it an empty database"
        )));
    }
    let pending = judge(known, &history).map_err(|why| StoreError::Unusable(format!("the store {place} {why}")))?;
    Ok((history.last().map_or(0, |newest| newest.version), pending))
}

/// What the next transaction applies: everything to an empty store, so that nobody sees half of it; else one.
fn wanted(version: i64, pending: &[Migration], allowed: Allowed) -> &[Migration] {
    let next = &pending[..pending.len().min(1)];
    match allowed {
        Allowed::Nothing => &[],
        Allowed::SetUp | Allowed::Expand | Allowed::Contract if version == 0 => pending,
        Allowed::SetUp => &[],
        Allowed::Expand if next.iter().any(|next| next.kind == Kind::Contract) => &[],
        Allowed::Expand | Allowed::Contract => next,
    }
}

/// Inside a transaction that holds the lock of migrations. Another process may have been faster.
async fn apply(target: &mut Target<'_>, known: &[Migration], place: &str, allowed: Allowed) -> Result<Vec<Step>> {
    let (version, pending) = look(target, known, place).await?;
    let wanted = wanted(version, pending, allowed);
    for migration in wanted {
        if migration.kind == Kind::Contract && version > 0 {
            refuse_beside_old_nodes(target, migration, place).await?;
        }
        target.apply(migration).await.map_err(|e| e.applying(place, migration))?;
    }
    target.commit().await.map_err(|e| e.before(place))?;
    Ok(wanted.iter().map(Migration::step).collect())
}

async fn refuse_beside_old_nodes(target: &mut Target<'_>, migration: &Migration, place: &str) -> Result<()> {
    let now = target.now().await.map_err(|e| e.reading(place))?;
    let since = Timestamp(now.0.saturating_sub(NODE_GONE_AFTER.as_millis() as i64));
    let nodes = target.older_nodes(migration.oldest, since).await.map_err(|e| e.reading(place))?;
    if nodes.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "migration {} of the store {place} takes away what these nodes need, seen in the last {} s: {}; \
         fix: upgrade or stop them, then run faxwell db migrate --contract",
        migration.name,
        NODE_GONE_AFTER.as_secs(),
        nodes.join(", ")
    )))
}

impl Schema {
    /// Refuses a store that lacks what this program needs.
    pub(in crate::store) fn complete(self, place: &str) -> Result<Self> {
        if self.pending.is_empty() {
            return Ok(self);
        }
        Err(StoreError::Unusable(format!(
            "the store {place} has schema version {}, and this program needs {}; fix: run {}",
            self.version,
            self.known,
            self.command()
        )))
    }

    /// That of a store which is not there yet.
    pub(in crate::store) fn of_nothing(known: &[Migration]) -> Self {
        let pending = known.iter().map(Migration::step).collect();
        Self { version: 0, known: known.len() as i64, applied: Vec::new(), pending }
    }

    /// The command that applies what is pending.
    pub fn command(&self) -> &'static str {
        if self.pending.iter().any(|step| step.kind == Kind::Contract) {
            "faxwell db migrate --contract"
        } else {
            "faxwell db migrate"
        }
    }
}
