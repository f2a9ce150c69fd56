//! For tests of every module: a store in a directory of its own, a clock that stands still, and ready-made messages.

pub(crate) mod postgres;
pub(crate) mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::domain::{Cause, Clock, FaxOptions, NoticeKind, NotifyOn, Outcome};

/// A clock that a test moves by hand.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    /// It begins at a round time in 2027.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000)))
    }

    /// Time passes.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Time jumps, backwards too.
    pub(crate) fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// An empty store; its directory goes with it.
pub(crate) struct TestStore {
    pub(crate) store: Arc<SqlStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) directory: tempfile::TempDir,
}

/// An empty SQLite store whose clock stands still.
pub(crate) async fn sqlite() -> TestStore {
    sqlite_with(SqliteSettings::default()).await
}

/// The same, which is away as soon as somebody else locks its file.
pub(crate) async fn impatient() -> TestStore {
    sqlite_with(SqliteSettings { busy_timeout: Duration::from_millis(50), ..SqliteSettings::default() }).await
}

async fn sqlite_with(settings: SqliteSettings) -> TestStore {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let path = directory.path().join("faxwell.db");
    let store = SqlStore::open_sqlite(path, clock.clone(), settings).await.unwrap();
    TestStore { store: Arc::new(store), clock, directory }
}

/// The same file opened once more, after the first store was closed.
pub(crate) async fn open(test: &TestStore) -> Arc<SqlStore> {
    let path = test.directory.path().join("faxwell.db");
    Arc::new(SqlStore::open_sqlite(path, test.clock.clone(), SqliteSettings::default()).await.unwrap())
}

async fn foreign(database: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap()
}

/// Copies a database that is in use to a new file.
pub(crate) async fn take_copy(database: &std::path::Path, copy: &std::path::Path) {
    let copied = sqlx::query("VACUUM INTO $1").bind(copy.to_str().unwrap());
    copied.execute(&mut foreign(database).await).await.unwrap();
}

/// Puts everything back as it was in the copy, in one transaction, while the store is open and in use.
pub(crate) async fn take_back_in_time(database: &std::path::Path, copy: &std::path::Path) {
    let mut connection = foreign(database).await;
    let schema = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'";
    let schema: Vec<(String, String, String)> = sqlx::query_as(schema).fetch_all(&mut connection).await.unwrap();
    let of = |kind: &'static str| schema.iter().filter(move |(found, ..)| found == kind);
    // The schema's own rules would refuse it.
    let mut script = format!("PRAGMA foreign_keys = 0; ATTACH '{}' AS copy; BEGIN IMMEDIATE;", copy.display());
    script.extend(of("trigger").map(|(_, name, _)| format!("DROP TRIGGER {name};")));
    script.extend(
        of("table").map(|(_, name, _)| format!("DELETE FROM {name}; INSERT INTO {name} SELECT * FROM copy.{name};")),
    );
    script.extend(of("trigger").map(|(_, _, sql)| format!("{sql};")));
    script.push_str("COMMIT;");
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
}

/// Frees every lease that has run out, as if its grace were over.
pub(crate) async fn expire(store: &dyn Store) -> Expired {
    let rules = ExpiryRules { grace: Duration::ZERO, call_grace: Duration::ZERO, reachable_since: Timestamp(0) };
    store.expire_leases(rules).await.unwrap()
}

/// A store that cannot be written until this is given back.
pub(crate) struct Away(SqliteConnection);

impl TestStore {
    /// A person orders something about a fax in a call.
    pub(crate) async fn order(&self, fax: FaxId, order: Order) {
        let mut connection = foreign(&self.directory.path().join("faxwell.db")).await;
        let query = sqlx::query("UPDATE faxes SET ordered = $2, ordered_by = 'anna' WHERE id = $1");
        let done = query.bind(fax.to_string()).bind(order.as_str()).execute(&mut connection).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Another program locks the file: nothing can be written, and it can be read.
    pub(crate) async fn away(&self) -> Away {
        let mut connection = foreign(&self.directory.path().join("faxwell.db")).await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        Away(connection)
    }
}

impl Away {
    /// It can be written again.
    pub(crate) async fn back(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
    }
}

/// A new life of a node.
pub(crate) fn owner(node: &str) -> Owner {
    Owner { node: node.to_owned(), epoch: uuid::Uuid::new_v4() }
}

/// An inline document.
pub(crate) fn document(bytes: &[u8]) -> DocumentRef {
    DocumentRef {
        key: DocumentKey(Sha256::digest(bytes).into()),
        size_bytes: bytes.len() as u64,
        media: "application/octet-stream".to_owned(),
        placement: Placement { inline: Some(bytes.to_vec()), ..Placement::default() },
    }
}

/// A message for these numbers that waits for nothing.
pub(crate) fn message(numbers: &[&str]) -> NewMessage {
    let id = MessageId::new();
    NewMessage {
        id,
        idem_key: None,
        source: Source::Smtp,
        client: "10.0.5.7 (mail.example.com)".to_owned(),
        reverse_path: Some("anna@example.com".to_owned()),
        ret: None,
        envid: None,
        header_message_id: Some(format!("{id}@example.com")),
        subject: "Offer 4711".to_owned(),
        from_name: Some("Anna Meier".to_owned()),
        from_address: Some("anna@example.com".to_owned()),
        automatic: false,
        options: FaxOptions::default(),
        priority: 5,
        raw: document(id.to_string().as_bytes()),
        submitter: None,
        held: false,
        answer: None,
        faxes: numbers.iter().map(|number| fax(number)).collect(),
    }
}

/// One recipient.
pub(crate) fn fax(number: &str) -> NewFax {
    NewFax {
        id: FaxId::new(),
        recipient: format!("{number}@fax.example.com"),
        number: number.parse().unwrap(),
        subaddress: None,
        post_dial: None,
        to_name: None,
        to_company: None,
        original_recipient: None,
        notify: NotifyOn::default(),
        not_before: None,
        give_up_after: Duration::from_secs(3600),
    }
}

/// Pages as a renderer hands them over.
pub(crate) fn pages(page_count: u32) -> RenderedPages {
    RenderedPages { document: document(format!("pages {page_count}").as_bytes()), page_count }
}

/// A notice of this kind.
pub(crate) fn notice(kind: NoticeKind) -> NewNotice {
    let id = NoticeId::new();
    NewNotice {
        format: None,
        id,
        kind,
        recipient: Some("anna@example.com".to_owned()),
        header_message_id: format!("{id}@fax.example.com"),
        withheld: None,
    }
}

/// An end with its notice.
pub(crate) fn end(outcome: Outcome) -> FinalEnd {
    let cause = match outcome {
        Outcome::Sent => None,
        Outcome::Partial => Some(Cause::RemoteHangup),
        Outcome::Failed => Some(Cause::Busy),
        Outcome::Unknown => Some(Cause::ConfirmationLost),
        Outcome::Cancelled => Some(Cause::Cancelled),
    };
    FinalEnd { outcome, cause, detail: None, notice: notice(outcome.into()) }
}

/// An attempt from this page on.
pub(crate) fn attempt(first_page: u32) -> NewAttempt {
    NewAttempt { id: AttemptId::new(), line: "sandbox".to_owned(), first_page, limits: CallLimits::default() }
}

/// The confirmation of this page.
pub(crate) fn confirmed(page: u32) -> ConfirmedPage {
    ConfirmedPage { page, rate_bps: 14_400, ecm: true, duration_ms: 12_000, blocks_resent: 0 }
}

/// How a busy call ends.
pub(crate) fn busy() -> AttemptEnd {
    AttemptEnd {
        sip_code: Some(486),
        detail: "486 Busy Here".to_owned(),
        cause: Some(Cause::Busy),
        ..AttemptEnd::default()
    }
}
