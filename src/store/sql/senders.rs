//! Accounts, what identities have sent, and signatures that were used.
//!
//! Limits are counted over the rows of the faxes themselves, so that they hold over every node and cannot drift. Whoever
//! counts locks the row of the identity first: on PostgreSQL nobody else counts until that is committed. Nothing else
//! takes that lock, and it is taken before every other.

use std::time::Duration;

use super::error::Place;
use super::{Conn, Row, Tx, intake, sql, statements};
use crate::domain::Timestamp;
use crate::store::{Account, NewMessage, OverLimit, Result, ScramKeys, StoreError, SubmitLimits, Submitted, Submitter};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Signatures are remembered this long; intake takes none that is older.
pub(in crate::store) const SIGNATURE_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// Old rows that one transaction removes on its way.
const OLD_AT_ONCE: i64 = 100;

statements! {
    MAKE = "-- submitters.make\nINSERT INTO submitters (identity) VALUES ($1) ON CONFLICT (identity) DO NOTHING";
    LOCK = "-- submitters.lock\nSELECT identity FROM submitters WHERE identity = $1", locking "FOR UPDATE";
    USED = "-- submitters.used
        SELECT count(*) AS faxes, CAST(coalesce(sum(f.page_count), 0) AS BIGINT) AS pages,
               coalesce(min(m.accepted_at), 0) AS oldest
          FROM messages m JOIN faxes f ON f.message_id = m.id
         WHERE m.identity = $1 AND m.accepted_at > $2";
    USED_BY = "-- submitters.used_by
        SELECT count(*) AS faxes, coalesce(min(m.accepted_at), 0) AS oldest
          FROM messages m JOIN faxes f ON f.message_id = m.id
         WHERE m.identity = $1 AND m.accepted_at > $2 AND lower(coalesce(m.reverse_path, '')) = lower($3)";
    SIGNED = "-- signatures.use
        INSERT INTO signatures (signature, number, seen_at) VALUES ($1, $2, $3) ON CONFLICT (signature, number) DO NOTHING";
    KNOWN_SIGNATURE = "-- signatures.known
        SELECT number FROM signatures WHERE signature = $1 AND number IN {words $2} ORDER BY number LIMIT 1";
    FORGET_SIGNATURES = "-- signatures.forget
        DELETE FROM signatures WHERE signature IN
            (SELECT signature FROM signatures WHERE seen_at < $1 ORDER BY seen_at LIMIT $2) AND seen_at < $1";
    PUT = "-- accounts.put
        INSERT INTO accounts (name, password, scram_salt, scram_iterations, scram_stored_key, scram_server_key, policy,
            made_at, made_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (name) DO UPDATE SET password = excluded.password, scram_salt = excluded.scram_salt,
            scram_iterations = excluded.scram_iterations, scram_stored_key = excluded.scram_stored_key,
            scram_server_key = excluded.scram_server_key, policy = excluded.policy, made_at = excluded.made_at,
            made_by = excluded.made_by";
    REMOVE = "-- accounts.remove\nDELETE FROM accounts WHERE name = $1";
    ONE = "-- accounts.one
        SELECT name, password, scram_salt, scram_iterations, scram_stored_key, scram_server_key, policy, made_at, made_by
          FROM accounts WHERE name = $1";
    ALL = "-- accounts.all
        SELECT name, password, scram_salt, scram_iterations, scram_stored_key, scram_server_key, policy, made_at, made_by
          FROM accounts ORDER BY name";
    FAILED = "-- login_failures.add
        INSERT INTO login_failures (what, failures, last_at) VALUES ($1, 1, $2)
        ON CONFLICT (what) DO UPDATE SET last_at = excluded.last_at,
            failures = CASE WHEN login_failures.last_at < $3 THEN 1 ELSE login_failures.failures + 1 END";
    FAILURES = "-- login_failures.count
        SELECT what, failures FROM login_failures WHERE what IN {words $1} AND last_at >= $2";
    FORGIVE = "-- login_failures.forgive\nDELETE FROM login_failures WHERE what = $1";
    FORGET_FAILURES = "-- login_failures.forget
        DELETE FROM login_failures WHERE what IN
            (SELECT what FROM login_failures WHERE last_at < $1 ORDER BY last_at LIMIT $2)";
}

/// Why this message of its submitter is not stored; nothing when it may be. Its signature is used then.
pub(super) async fn refuse(tx: &mut Tx, submitter: &Submitter, message: &NewMessage) -> Result<Option<Submitted>> {
    if submitter.limits.is_any() {
        lock(tx, &submitter.identity).await?;
        let faxes = u32::try_from(message.faxes.len()).unwrap_or(u32::MAX);
        let now = tx.now().await?;
        let path = message.reverse_path.as_deref();
        if let Some(over) = over(&mut tx.conn, &submitter.identity, path, &submitter.limits, faxes, now).await? {
            return Ok(Some(Submitted::OverLimit(over)));
        }
    }
    match &submitter.signature {
        Some(signature) => use_signature(tx, signature, message).await,
        None => Ok(None),
    }
}

/// The limit that `more` faxes would exceed.
pub(super) async fn over(
    c: &mut Conn,
    identity: &str,
    reverse_path: Option<&str>,
    limits: &SubmitLimits,
    more: u32,
    now: Timestamp,
) -> Result<Option<OverLimit>> {
    let each = [
        (HOUR, "faxes per hour of one sender", limits.faxes_per_hour_each),
        (DAY, "faxes per day of one sender", limits.faxes_per_day_each),
    ];
    for (window, what, most) in each {
        let Some(most) = most else { continue };
        let used = sql(&USED_BY).bind(identity).bind(began(now, window)).bind(reverse_path.unwrap_or_default());
        let row = used.fetch_one(c).await.place("submitters.used_by")?;
        let faxes: u32 = row.int("faxes")?;
        if faxes.saturating_add(more) > most {
            let again = (more <= most && faxes > 0).then_some(row.time("oldest")?.plus(window));
            return Ok(Some(OverLimit { what, most, again }));
        }
    }
    let windows = [
        (HOUR, ["faxes per hour", "pages per hour"], [limits.faxes_per_hour, limits.pages_per_hour]),
        (DAY, ["faxes per day", "pages per day"], [limits.faxes_per_day, limits.pages_per_day]),
    ];
    for (window, names, [faxes_max, pages_max]) in windows {
        if faxes_max.is_none() && pages_max.is_none() {
            continue;
        }
        let row = sql(&USED).bind(identity).bind(began(now, window)).fetch_one(c).await.place("submitters.used")?;
        let (faxes, pages): (u32, u32) = (row.int("faxes")?, row.int("pages")?);
        let again = Some(row.time("oldest")?.plus(window));
        if let Some(most) = faxes_max.filter(|most| faxes.saturating_add(more) > *most) {
            let again = again.filter(|_| more <= most && faxes > 0);
            return Ok(Some(OverLimit { what: names[0], most, again }));
        }
        if let Some(most) = pages_max.filter(|most| pages >= *most) {
            return Ok(Some(OverLimit { what: names[1], most, again: again.filter(|_| faxes > 0) }));
        }
    }
    Ok(None)
}

async fn lock(tx: &mut Tx, identity: &str) -> Result<()> {
    if sql(&LOCK).bind(identity).fetch_optional(&mut tx.conn).await.place("submitters.lock")?.is_none() {
        sql(&MAKE).bind(identity).execute(&mut tx.conn).await.place("submitters.make")?;
        sql(&LOCK).bind(identity).fetch_one(&mut tx.conn).await.place("submitters.lock")?;
    }
    Ok(())
}

/// Nothing is used when one of the numbers was reached before: the message is refused as a whole.
async fn use_signature(tx: &mut Tx, signature: &[u8; 32], message: &NewMessage) -> Result<Option<Submitted>> {
    let mut numbers: Vec<&str> = message.faxes.iter().map(|fax| fax.number.as_str()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let listed = serde_json::to_string(&numbers).expect("numbers are plain texts");
    let known = sql(&KNOWN_SIGNATURE).bind(&signature[..]).bind(listed);
    if let Some(row) = known.fetch_optional(&mut tx.conn).await.place("signatures.known")? {
        return Ok(Some(Submitted::Replayed { number: row.parsed("number")? }));
    }
    let now = tx.now().await?;
    for number in numbers {
        let query = sql(&SIGNED).bind(&signature[..]).bind(number).bind(now.0);
        // Another node was faster with the same signature.
        if query.execute(&mut tx.conn).await.place("signatures.use")?.rows_affected() == 0 {
            return Err(StoreError::Unavailable("the same mail is being stored by another node".to_owned()));
        }
    }
    let old = began(now, SIGNATURE_KEPT);
    sql(&FORGET_SIGNATURES).bind(old).bind(OLD_AT_ONCE).execute(&mut tx.conn).await.place("signatures.forget")?;
    Ok(None)
}

/// Adds an account, or replaces the one of its name.
pub(super) async fn put(tx: &mut Tx, account: &Account) -> Result<()> {
    let now = tx.now().await?;
    sql(&PUT)
        .bind(&account.name)
        .bind(&account.password)
        .bind(&account.scram.salt[..])
        .bind(i64::from(account.scram.iterations))
        .bind(&account.scram.stored_key[..])
        .bind(&account.scram.server_key[..])
        .bind(&account.policy)
        .bind(now.0)
        .bind(&account.made_by)
        .execute(&mut tx.conn)
        .await
        .place("accounts.put")?;
    let text = format!("account {} set by {}", account.name, account.made_by);
    intake::event_of_nobody(tx, None, "account", &text).await
}

pub(super) async fn remove(tx: &mut Tx, name: &str, by: &str) -> Result<()> {
    let done = sql(&REMOVE).bind(name).execute(&mut tx.conn).await.place("accounts.remove")?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound { kind: "account", id: name.to_owned() });
    }
    intake::event_of_nobody(tx, None, "account", &format!("account {name} removed by {by}")).await
}

pub(super) async fn one(c: &mut Conn, name: &str) -> Result<Option<Account>> {
    let row = sql(&ONE).bind(name).fetch_optional(c).await.place("accounts.one")?;
    row.map(|row| account(&row)).transpose()
}

pub(super) async fn all(c: &mut Conn) -> Result<Vec<Account>> {
    sql(&ALL).fetch_all(c).await.place("accounts.all")?.iter().map(account).collect()
}

fn account(row: &Row) -> Result<Account> {
    let key = |name: &'static str| -> Result<[u8; 32]> {
        let bytes: Vec<u8> = row.col(name)?;
        bytes.try_into().map_err(|_| StoreError::Unavailable(format!("{name} of an account has another length")))
    };
    Ok(Account {
        name: row.col("name")?,
        password: row.col("password")?,
        scram: ScramKeys {
            salt: row.col("scram_salt")?,
            iterations: row.int("scram_iterations")?,
            stored_key: key("scram_stored_key")?,
            server_key: key("scram_server_key")?,
        },
        policy: row.col("policy")?,
        made_at: row.time("made_at")?,
        made_by: row.col("made_by")?,
    })
}

/// Counts a failed login for each of `what`.
pub(super) async fn failed(tx: &mut Tx, what: &[String], forgotten_after: Duration) -> Result<()> {
    let now = tx.now().await?;
    let old = began(now, forgotten_after);
    // In one order, so that no two nodes wait for one another.
    let mut what: Vec<&String> = what.iter().collect();
    what.sort_unstable();
    for one in what {
        let query = sql(&FAILED).bind(one).bind(now.0).bind(old);
        query.execute(&mut tx.conn).await.place("login_failures.add")?;
    }
    let forget = sql(&FORGET_FAILURES).bind(old).bind(OLD_AT_ONCE);
    forget.execute(&mut tx.conn).await.place("login_failures.forget").map(drop)
}

pub(super) async fn failures(
    c: &mut Conn,
    what: &[String],
    now: Timestamp,
    forgotten_after: Duration,
) -> Result<Vec<(String, u32)>> {
    let listed = serde_json::to_string(what).expect("a list of texts is JSON");
    let query = sql(&FAILURES).bind(listed).bind(began(now, forgotten_after));
    let rows = query.fetch_all(c).await.place("login_failures.count")?;
    rows.iter().map(|row| Ok((row.col("what")?, row.int("failures")?))).collect()
}

pub(super) async fn forgive(tx: &mut Tx, what: &str) -> Result<()> {
    sql(&FORGIVE).bind(what).execute(&mut tx.conn).await.place("login_failures.forgive").map(drop)
}

fn began(now: Timestamp, after: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}
