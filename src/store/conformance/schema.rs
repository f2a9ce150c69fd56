//! The rules that stand in the schema, whatever program writes: the same moves are refused, for the same reason, on
//! SQLite and on PostgreSQL. The statements are portable.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::store::testing::{self, TestStore};

/// A connection of a program that knows nothing of our rules, to an empty store.
enum Foreign {
    Sqlite(Box<SqliteConnection>, #[expect(dead_code, reason = "it keeps the file")] TestStore),
    Postgres(Client, #[expect(dead_code, reason = "it keeps the database")] testing::postgres::Database),
}

/// Tables that the rules are about.
const TABLES: [&str; 9] = [
    "documents",
    "messages",
    "faxes",
    "attempts",
    "fax_pages",
    "received_faxes",
    "received_pages",
    "notices",
    "events",
];

impl Foreign {
    async fn sqlite() -> Self {
        let test = testing::sqlite().await;
        let url = format!("sqlite://{}", test.directory.path().join("faxwell.db").display());
        Self::Sqlite(Box::new(SqliteConnection::connect(&url).await.unwrap()), test)
    }

    async fn postgres() -> Self {
        let database = testing::postgres::fresh_database().await;
        Self::Postgres(database.connect().await, database)
    }

    /// Runs a script; answers which rule refused it: a trigger's words, or the kind of constraint.
    async fn run(&mut self, script: &str) -> Result<(), String> {
        match self {
            Self::Sqlite(connection, _) => {
                let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut **connection).await;
                done.map(|_| ()).map_err(|error| {
                    let error = error.as_database_error().unwrap_or_else(|| panic!("{error}: {script}"));
                    // Extended result codes, <https://www.sqlite.org/rescode.html>.
                    match error.code().unwrap_or_default().as_ref() {
                        "275" => "check".to_owned(),
                        "787" => "foreign key".to_owned(),
                        "1555" | "2067" => "unique".to_owned(),
                        "1811" => error.message().to_owned(),
                        _ => panic!("no rule refused it, but {error}: {script}"),
                    }
                })
            }
            Self::Postgres(client, _) => client.batch_execute(script).await.map_err(|error| {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{error}: {script}"));
                match *error.code() {
                    SqlState::CHECK_VIOLATION if error.message().contains("violates check constraint") => {
                        "check".to_owned()
                    }
                    SqlState::CHECK_VIOLATION => error.message().to_owned(),
                    SqlState::FOREIGN_KEY_VIOLATION => "foreign key".to_owned(),
                    SqlState::UNIQUE_VIOLATION => "unique".to_owned(),
                    _ => panic!("no rule refused it, but {error}: {script}"),
                }
            }),
        }
    }

    /// Every row that the rules are about, as text.
    async fn dump(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in TABLES {
            match self {
                Self::Sqlite(connection, _) => {
                    let columns =
                        format!("SELECT group_concat('quote(' || name || ')', '||') FROM pragma_table_info('{table}')");
                    let columns: String =
                        sqlx::query_scalar(AssertSqlSafe(columns)).fetch_one(&mut **connection).await.unwrap();
                    let sql = AssertSqlSafe(format!("SELECT {columns} FROM {table} ORDER BY 1"));
                    rows.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut **connection).await.unwrap());
                }
                Self::Postgres(client, _) => {
                    let sql = format!("SELECT {table}::text FROM {table} ORDER BY 1");
                    rows.extend(client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
                }
            }
        }
        rows
    }
}

/// A new id, as a literal.
fn id() -> String {
    format!("'{}'", Uuid::new_v4())
}

/// Ended, in a call with page 1 of 3 confirmed, and accepted: +99910001, +99910002, +99910003. Every move is legal.
fn three_faxes() -> String {
    let mut script = "INSERT INTO events (at, kind, text) VALUES (1, 'note', 'it happened');".to_owned();
    for (document, size) in [("a", 1), ("b", 3)] {
        let key = document.repeat(64);
        script +=
            &format!("INSERT INTO documents (key, size_bytes, media, stored_at) VALUES ('{key}', {size}, 'm', 1);");
    }
    let (mail, pages) = ("a".repeat(64), "b".repeat(64));
    for (number, page_count) in [("+99910001", 1), ("+99910002", 3), ("+99910003", 0)] {
        let (message, fax, attempt, epoch) = (id(), id(), id(), id());
        script += &format!(
            "INSERT INTO messages (id, short_id, source, client, subject, automatic, options, raw_document, accepted_at)
                 VALUES ({message}, 'm{number}', 'smtp', 'c', 's', FALSE, '{{}}', '{mail}', 1);
             INSERT INTO faxes (id, short_id, message_id, recipient, number, notify_success, notify_failure,
                     notify_delay, state, priority, not_before, first_call_at, give_up_at, accepted_at)
                 VALUES ({fax}, 'f{number}', {message}, 'r', '{number}', TRUE, TRUE, TRUE, 'accepted', 5, 1, 1, 9, 1);"
        );
        if page_count == 0 {
            continue;
        }
        script += &format!(
            "UPDATE faxes SET lease_node = 'gw-a', lease_epoch = {epoch}, lease_expires_at = 9, lease_token = 1
                 WHERE id = {fax};
             UPDATE faxes SET state = 'ready', document = '{pages}', page_count = {page_count}, lease_token = 2,
                 attempts = 1 WHERE id = {fax};
             INSERT INTO attempts (id, fax_id, attempt_no, node, epoch, lease_token, line, number, first_page, started_at)
                 VALUES ({attempt}, {fax}, 1, 'gw-a', {epoch}, 2, 'sandbox', '{number}', 1, 1);
             UPDATE attempts SET page_started = 1 WHERE id = {attempt};
             INSERT INTO fax_pages (fax_id, page_no, attempt_id, confirmed_at, rate_bps, ecm, duration_ms, blocks_resent)
                 VALUES ({fax}, 1, {attempt}, 2, 14400, TRUE, 12000, 0);
             UPDATE faxes SET pages_confirmed = 1 WHERE id = {fax};"
        );
        if page_count == 1 {
            let (notice, rest) = notice_parts();
            script += &format!(
                "UPDATE attempts SET ended_at = 3 WHERE id = {attempt};
                 {notice}'sent', {rest}'{number}';
                 UPDATE faxes SET state = 'sent', ended_at = 3, lease_node = NULL, lease_epoch = NULL,
                     lease_expires_at = NULL WHERE id = {fax};"
            );
        }
    }
    script
}

/// What stands before and after the kind of a notice; the fax's number follows.
fn notice_parts() -> (String, String) {
    let before = "INSERT INTO notices (id, fax_id, kind, state, recipient, header_message_id, created_at, not_before)";
    (format!("{before} SELECT {}, id, ", id()), format!("'owed', 'a@b', {}, 1, 1 FROM faxes WHERE number = ", id()))
}

/// A fax that sends the one in this state once more, with these document, page_count, pages_confirmed, begin_page, state.
fn retry(of: &str, values: &str) -> String {
    format!(
        "INSERT INTO faxes (id, short_id, message_id, recipient, number, notify_success, notify_failure, notify_delay,
             priority, not_before, first_call_at, give_up_at, accepted_at, retry_of,
             document, page_count, pages_confirmed, begin_page, state)
         SELECT {}, {}, message_id, recipient, number, TRUE, TRUE, TRUE, 5, 1, 1, 9, 1, id, {values}
           FROM faxes WHERE state = {of}",
        id(),
        id()
    )
}

/// A notice of this kind for the fax with this number.
fn notice(kind: &str, number: &str) -> String {
    let (before, rest) = notice_parts();
    format!("{before}'{kind}', {rest}'{number}'")
}

/// Why it is illegal, and the move.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn illegal() -> Vec<(&'static str, String)> {
    const FREE: &str = "lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL";
    const FIRST: &str = "NULL, NULL, 0, 1, 'accepted'";
    const NO_MOVE: &str = "a fax does not move from its state to that one";
    const OPEN: &str = "a fax with an open attempt stays ready";
    const NO_NOTICE: &str = "a fax ends together with the final notice of that kind";
    const AS_SENT: &str = "a fax is sent exactly when all its pages are confirmed";
    const IN_PART: &str = "a fax is partial when some of its pages are confirmed, and failed when none is";
    const COUNTS: &str = "confirmed pages, attempts and lease token of a fax never fall";
    const ORIGIN: &str = "what a fax was accepted with never changes";
    const PAGES: &str = "the pages of a fax never change once one of them is confirmed";
    const THE_END: &str = "the end of a fax never changes";
    const BEGIN: &str = "a fax begins as accepted or held";
    const ATTEMPT: &str = "an attempt begins open, for a ready fax, under its lease and for its number";
    let failed = notice("failed", "+99910003");
    let gone = format!(
        "INSERT INTO documents (key, size_bytes, media, stored_at, pruned_at) VALUES ('{}', 1, 'm', 1, 1)",
        "d".repeat(64)
    );
    vec![
        // Moves that the table does not list, and leaving a final state.
        (NO_MOVE, "UPDATE faxes SET state = 'ready' WHERE state = 'sent'".to_owned()),
        (THE_END, "UPDATE faxes SET ended_at = 9 WHERE state = 'sent'".to_owned()),
        (NO_MOVE, "UPDATE faxes SET state = 'accepted' WHERE state = 'ready'".to_owned()),
        (NO_MOVE, "UPDATE faxes SET state = 'nowhere' WHERE state = 'accepted'".to_owned()),
        ("check", "UPDATE faxes SET state = 'ready' WHERE state = 'accepted'".to_owned()),
        (OPEN, format!("UPDATE faxes SET state = 'held', held_at = 1, {FREE} WHERE state = 'ready'")),
        // An end without its notice, without its time, or beside an open attempt.
        (NO_NOTICE, "UPDATE faxes SET state = 'failed', ended_at = 1 WHERE state = 'accepted'".to_owned()),
        ("check", format!("{failed}; UPDATE faxes SET state = 'failed' WHERE state = 'accepted'")),
        (NO_NOTICE, format!("{failed}; UPDATE faxes SET state = 'cancelled', ended_at = 1 WHERE state = 'accepted'")),
        (
            OPEN,
            format!(
                "{}; UPDATE faxes SET state = 'partial', ended_at = 1, {FREE} WHERE number = '+99910002'",
                notice("partial", "+99910002")
            ),
        ),
        // An end that is not true.
        (
            AS_SENT,
            format!(
                "UPDATE attempts SET ended_at = 1 WHERE ended_at IS NULL; {}; \
            UPDATE faxes SET state = 'sent', ended_at = 1, {FREE} WHERE number = '+99910002'",
                notice("sent", "+99910002")
            ),
        ),
        (
            IN_PART,
            format!(
                "UPDATE attempts SET ended_at = 1 WHERE ended_at IS NULL; {}; \
            UPDATE faxes SET state = 'failed', ended_at = 1, {FREE} WHERE number = '+99910002'",
                notice("failed", "+99910002")
            ),
        ),
        // A second final notice.
        ("unique", notice("sent", "+99910001")),
        ("unique", notice("failed", "+99910001")),
        // What only rises falls, what is fixed changes.
        (COUNTS, "UPDATE faxes SET pages_confirmed = 0 WHERE state = 'ready'".to_owned()),
        ("check", "UPDATE faxes SET pages_confirmed = 4 WHERE state = 'ready'".to_owned()),
        (COUNTS, "UPDATE faxes SET lease_token = 0 WHERE state = 'ready'".to_owned()),
        (COUNTS, "UPDATE faxes SET attempts = 0 WHERE state = 'ready'".to_owned()),
        (ORIGIN, "UPDATE faxes SET number = '+41441234567'".to_owned()),
        (PAGES, "UPDATE faxes SET document = NULL, page_count = NULL WHERE state = 'ready'".to_owned()),
        (PAGES, "UPDATE faxes SET page_count = 2 WHERE state = 'ready'".to_owned()),
        (THE_END, "UPDATE faxes SET cause = 'busy' WHERE state = 'sent'".to_owned()),
        ("check", "UPDATE faxes SET lease_node = 'x' WHERE state = 'accepted'".to_owned()),
        (
            "check",
            format!(
                "UPDATE faxes SET lease_node = 'x', lease_epoch = {}, lease_expires_at = 1 \
            WHERE state = 'sent'",
                id()
            ),
        ),
        // Orders and retries.
        ("check", "UPDATE faxes SET state = 'held' WHERE state = 'accepted'".to_owned()),
        ("check", "UPDATE faxes SET held_at = 1 WHERE state = 'accepted'".to_owned()),
        ("check", "UPDATE faxes SET ordered = 'hold' WHERE state = 'accepted'".to_owned()),
        ("check", "UPDATE faxes SET ordered = 'cancel', ordered_by = 'anna' WHERE state = 'sent'".to_owned()),
        (ORIGIN, "UPDATE faxes SET begin_page = 2 WHERE state = 'ready'".to_owned()),
        ("unique", format!("{}; {}", retry("'sent'", FIRST), retry("'sent'", FIRST))),
        ("only a fax that has ended is sent once more", retry("'ready'", FIRST)),
        (BEGIN, retry("'sent'", "NULL, NULL, 1, 2, 'accepted'")),
        (BEGIN, retry("'sent'", "document, 1, 1, 2, 'accepted'")),
        (BEGIN, retry("'sent'", "document, 1, 0, 1, 'ready'")),
        (
            "a fax does not begin with pages that retention has removed",
            format!("{gone}; {}", retry("'sent'", &format!("'{}', 1, 0, 1, 'accepted'", "d".repeat(64)))),
        ),
        // Attempts and pages.
        (
            ATTEMPT,
            format!(
                "INSERT INTO attempts (id, fax_id, attempt_no, node, epoch, lease_token, line, number, first_page, \
            started_at) SELECT {}, fax_id, 2, node, epoch, lease_token + 1, line, number, 2, 1 FROM attempts \
            WHERE ended_at IS NULL",
                id()
            ),
        ),
        (
            "an attempt begins with the first page that is not confirmed",
            format!(
                "INSERT INTO attempts (id, fax_id, \
            attempt_no, node, epoch, lease_token, line, number, first_page, started_at) SELECT {}, fax_id, 2, node, epoch, \
            lease_token, line, number, 1, 1 FROM attempts WHERE ended_at IS NULL",
                id()
            ),
        ),
        (
            "unique",
            format!(
                "INSERT INTO attempts (id, fax_id, attempt_no, node, epoch, lease_token, line, number, first_page, \
            started_at) SELECT {}, fax_id, 2, node, epoch, lease_token, line, number, 2, 1 FROM attempts \
            WHERE ended_at IS NULL",
                id()
            ),
        ),
        (
            "an attempt that has ended stays so",
            "UPDATE attempts SET ended_at = NULL WHERE ended_at IS NOT NULL".to_owned(),
        ),
        ("what has left in an attempt never comes back", "UPDATE attempts SET page_started = 0".to_owned()),
        ("the beginning of an attempt never changes", "UPDATE attempts SET lease_token = 9".to_owned()),
        ("a confirmed page never changes", "UPDATE fax_pages SET rate_bps = 1".to_owned()),
        (
            "the fax has no such page, or the attempt was for another fax",
            "INSERT INTO fax_pages SELECT fax_id, 4, \
            attempt_id, confirmed_at, rate_bps, ecm, duration_ms, blocks_resent FROM fax_pages"
                .to_owned(),
        ),
        // Nothing that is owed or open disappears.
        (
            "a fax that has not ended, or is under a legal hold, is never deleted",
            "DELETE FROM faxes WHERE state = 'accepted'".to_owned(),
        ),
        ("a notice that is owed, or whose fax has not ended, is never deleted", "DELETE FROM notices".to_owned()),
        (
            "the attempts of a fax that has not ended are never deleted",
            "DELETE FROM attempts WHERE ended_at IS NULL".to_owned(),
        ),
        ("the confirmed pages of a fax that has not ended are never deleted", "DELETE FROM fax_pages".to_owned()),
        ("foreign key", "DELETE FROM documents".to_owned()),
        ("foreign key", "DELETE FROM messages".to_owned()),
        // Notices, documents, events.
        ("no notice but that a fax waits is ever withdrawn", "UPDATE notices SET state = 'withheld'".to_owned()),
        (
            "only the mail of a received fax comes back",
            "UPDATE notices SET state = 'sent', sent_at = 1; \
            UPDATE notices SET state = 'dead', sent_at = NULL"
                .to_owned(),
        ),
        ("a notice does not move from its state to that one", "UPDATE notices SET state = 'nowhere'".to_owned()),
        ("tries and lease token of a notice never fall", "UPDATE notices SET tries = -1".to_owned()),
        ("what a notice tells never changes", "UPDATE notices SET kind = 'failed'".to_owned()),
        ("the bytes behind a document key never change", "UPDATE documents SET size_bytes = 7".to_owned()),
        ("a document that somebody still needs keeps its bytes", "UPDATE documents SET pruned_at = 9".to_owned()),
        ("an event never changes", "UPDATE events SET text = 'it never happened'".to_owned()),
    ]
}

async fn no_program_makes_an_illegal_move(mut foreign: Foreign) {
    foreign.run(&three_faxes()).await.unwrap();
    let before = foreign.dump().await;
    assert!(before.len() > 10, "{before:#?}");
    let mut wrong = Vec::new();
    for (why, statement) in illegal() {
        match foreign.run(&format!("BEGIN; {statement}; COMMIT;")).await {
            Ok(()) => panic!("this went through: {statement}"),
            Err(rule) if rule != why => wrong.push(format!("{rule}\n    and not {why}: {statement}")),
            Err(_) => {}
        }
        foreign.run("ROLLBACK").await.unwrap();
        assert_eq!(foreign.dump().await, before, "{statement}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn received_faxes_are_held_to_their_rules(mut foreign: Foreign) {
    let (fax, epoch, page, notice) = (id(), id(), "c".repeat(64), id());
    let words = HashMap::from([("FAX", fax), ("EPOCH", epoch), ("PAGE", format!("'{page}'")), ("NOTICE", notice)]);
    let spelled = |text: &str| words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));

    let document = "INSERT INTO documents (key, size_bytes, media, stored_at) VALUES (PAGE, 1, 'm', 1)";
    let receiving =
        "INSERT INTO received_faxes (id, short_id, node, epoch, call_no, line, called_number, state, started_at)
        VALUES (FAX, 'R-1', 'gw-a', EPOCH, 1, 'trunk1', '+41441234567', 'receiving', 1)";
    let page =
        "INSERT INTO received_pages (received_fax_id, page_no, document, width_px, height_px, rate_bps, ecm, stored_at)
        VALUES (FAX, 1, PAGE, 1728, 2291, 14400, TRUE, 2)";
    let notice =
        "INSERT INTO notices (id, received_fax_id, kind, state, recipient, format, header_message_id, created_at,
            not_before)
        VALUES (NOTICE, FAX, 'received', 'owed', 'a@b', 'pdf', 'm1', 1, 1)";
    let received = "UPDATE received_faxes SET state = 'received', complete = TRUE, page_count = 1, received_at = 3
        WHERE id = FAX";
    let delivered = "UPDATE received_faxes SET state = 'delivered', delivered_at = 4 WHERE id = FAX";
    let taken = "UPDATE notices SET state = 'sent', sent_at = 4 WHERE id = NOTICE";
    let bounced = "UPDATE notices SET state = 'bounced' WHERE id = NOTICE;
        UPDATE received_faxes SET state = 'received', delivered_at = NULL WHERE id = FAX";
    let pruned = "UPDATE documents SET pruned_at = 9 WHERE key = PAGE";
    let deleted = "DELETE FROM received_pages; DELETE FROM notices; DELETE FROM received_faxes";
    let held = "UPDATE received_faxes SET legal_hold = TRUE";

    let move_rule = "a received fax does not move from its state to that one";
    let no_notice = "a fax is received together with its notice";
    let not_taken = "a received fax is delivered when no notice of it is owed and one was taken";
    let origin = "what a received fax came in with never changes";
    let end = "the end of a received fax never changes, and its lease token never falls";
    let needed = "a document that somebody still needs keeps its bytes";
    let owed = "the pages of a received fax that is owed to somebody, or held, are never deleted";
    let steps: &[(&str, &[(&str, &str)])] = &[
        (document, &[("a page belongs to a fax that is being received", page)]),
        (
            receiving,
            &[
                ("a received fax has all its pages", received),
                (move_rule, delivered),
                (origin, "UPDATE received_faxes SET called_number = '1'"),
                ("unique", receiving),
                (
                    "a fax that is being received, or is under a legal hold, is never deleted",
                    "DELETE FROM received_faxes",
                ),
            ],
        ),
        (
            page,
            &[
                (no_notice, received),
                ("a received page never changes", "UPDATE received_pages SET width_px = 1"),
                (owed, "DELETE FROM received_pages"),
                (needed, pruned),
            ],
        ),
        (notice, &[(move_rule, delivered), ("unique", receiving)]),
        (
            received,
            &[
                (not_taken, delivered),
                ("a page belongs to a fax that is being received", page),
                (end, "UPDATE received_faxes SET complete = FALSE"),
                (owed, "DELETE FROM received_pages"),
            ],
        ),
        (taken, &[(move_rule, "UPDATE received_faxes SET state = 'receiving' WHERE id = FAX")]),
        (
            delivered,
            &[(
                "a notice begins as owed or withheld",
                "INSERT INTO notices (id, received_fax_id, kind, state,
             recipient, format, header_message_id, created_at, not_before, sent_at)
             VALUES (EPOCH, FAX, 'received', 'sent', 'c@d', 'pdf', 'm2', 1, 1, 1)",
            )],
        ),
        // Its mail came back: nobody has it, and it cannot be called delivered again before somebody does.
        (bounced, &[(not_taken, delivered)]),
        (held, &[(owed, deleted), (needed, pruned)]),
        ("UPDATE received_faxes SET legal_hold = FALSE", &[]),
        (pruned, &[]),
        (deleted, &[]),
    ];
    for (legal, illegal) in steps {
        foreign.run(&spelled(legal)).await.unwrap_or_else(|why| panic!("{why}: {legal}"));
        for (why, statement) in *illegal {
            let refused = foreign.run(&format!("BEGIN; {}; COMMIT", spelled(statement))).await;
            foreign.run("ROLLBACK").await.unwrap();
            assert_eq!(refused, Err((*why).to_owned()), "after {legal}: {statement}");
        }
    }
}

macro_rules! on_both {
    ($($name:ident by $case:ident),+ $(,)?) => {
        mod sqlite {
            use super::Foreign;
            $(#[tokio::test]
            async fn $name() { super::$case(Foreign::sqlite().await).await; })+
        }
        mod postgres {
            use super::Foreign;
            $(#[tokio::test]
            async fn $name() { super::$case(Foreign::postgres().await).await; })+
        }
    };
}
on_both![
    no_program_can_make_an_illegal_move by no_program_makes_an_illegal_move,
    the_schema_holds_received_faxes_to_their_rules by received_faxes_are_held_to_their_rules,
];
