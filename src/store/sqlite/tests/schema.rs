//! The rules that stand in the schema, whatever program writes; and every statement against the real thing.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use super::super::*;
use crate::domain::Outcome;
use crate::store::testing::{self, TestStore};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_statement_is_named_once_and_prepares() {
    let test = testing::sqlite().await;
    let mut connection = foreign(&test).await;
    let mut names = BTreeSet::new();
    let modules = [
        again::STATEMENTS,
        backup::STATEMENTS,
        delayed::STATEMENTS,
        deliver::STATEMENTS,
        expiry::STATEMENTS,
        facts::STATEMENTS,
        intake::STATEMENTS,
        line::STATEMENTS,
        maintain::STATEMENTS,
        orders::STATEMENTS,
        ownership::STATEMENTS,
        reading::STATEMENTS,
        received::STATEMENTS,
        render::STATEMENTS,
        returned::STATEMENTS,
        routes::STATEMENTS,
        retention::STATEMENTS,
        settle::STATEMENTS,
        verify::STATEMENTS,
        writer::STATEMENTS,
    ];
    for statement in modules.into_iter().flatten() {
        let (name, _) = statement.split_once('\n').unwrap();
        assert!(name.starts_with("-- ") && name.contains('.'), "{statement}");
        assert!(names.insert(name), "{name} is there twice");
        connection.prepare(sqlx::SqlStr::from_static(statement)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(names.len() > 60, "{}", names.len());
}

#[test]
fn the_program_holds_every_migration_of_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "sql"));
    assert_eq!(open::MIGRATIONS.iter().count(), files.count(), "touch src/store/sqlite/open.rs and build again");
}

/// A connection of a program that knows nothing of our rules.
pub(super) async fn foreign(test: &TestStore) -> SqliteConnection {
    let path = test.directory.path().join("faxwell.db");
    let url = format!("sqlite://{}", path.display());
    SqliteConnection::connect(&url).await.unwrap()
}

/// One fax in each state that a row can be in: accepted, in a call with page 1 of 3 confirmed, and sent.
async fn three_faxes(test: &TestStore) {
    let (renderer, agent) = (testing::owner("gw-a"), testing::owner("gw-a"));
    for (number, pages) in [("+99910001", 1), ("+99910002", 3)] {
        test.store.submit(testing::message(&[number])).await.unwrap();
        let work = test.store.claim_render(&renderer, LEASE).await.unwrap().unwrap();
        test.store.rendered(work.faxes[0].0.id, work.faxes[0].1, testing::pages(pages)).await.unwrap();
        let work = test.store.claim_calls(&agent, 1, LEASE).await.unwrap().remove(0);
        let attempt = testing::attempt(1);
        test.store.begin_attempt(work.fax.id, work.token, attempt.clone()).await.unwrap();
        test.store.page_confirmed(attempt.id, testing::confirmed(1)).await.unwrap();
        if pages == 1 {
            let next = Next::Final(testing::end(Outcome::Sent));
            test.store.end_attempt(attempt.id, work.token, AttemptEnd::default(), next).await.unwrap();
        }
    }
    test.store.submit(testing::message(&["+99910003"])).await.unwrap();
}

/// A fax that sends the one in this state once more, with these document, page_count, pages_confirmed, begin_page, state.
fn retry(of: &str, values: &str) -> String {
    format!(
        "INSERT INTO faxes (id, short_id, message_id, recipient, number, notify_success, notify_failure, notify_delay,
             priority, not_before, first_call_at, give_up_at, accepted_at, retry_of,
             document, page_count, pages_confirmed, begin_page, state)
         SELECT lower(hex(randomblob(16))), lower(hex(randomblob(5))), message_id, recipient, number, 1, 1, 1,
             5, 1, 1, 9, 1, id, {values} FROM faxes WHERE state = {of}"
    )
}

#[tokio::test]
async fn no_program_can_make_an_illegal_move() {
    let test = testing::sqlite().await;
    three_faxes(&test).await;
    let mut connection = foreign(&test).await;
    let notice = "INSERT INTO notices (id, fax_id, kind, state, recipient, header_message_id, created_at, not_before)
                  SELECT lower(hex(randomblob(16))), id, ";
    let rest = "'owed', 'a@b', lower(hex(randomblob(16))), 1, 1 FROM faxes WHERE number = ";
    let failed_notice = format!("{notice}'failed', {rest}'+99910003'");
    let illegal = [
        // Moves that the table does not list, and leaving a final state.
        "UPDATE faxes SET state = 'ready', ended_at = NULL WHERE state = 'sent'".to_owned(),
        "UPDATE faxes SET state = 'accepted' WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET state = 'nowhere' WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET state = 'ready' WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET state = 'held', lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL \
         WHERE state = 'ready'".to_owned(),
        // An end without its notice, without its time, or beside an open attempt.
        "UPDATE faxes SET state = 'failed', ended_at = 1 WHERE state = 'accepted'".to_owned(),
        format!("{failed_notice}; UPDATE faxes SET state = 'failed' WHERE state = 'accepted'"),
        format!("{failed_notice}; UPDATE faxes SET state = 'cancelled', ended_at = 1 WHERE state = 'accepted'"),
        format!("{notice}'partial', {rest}'+99910002'; UPDATE faxes SET state = 'partial', ended_at = 1, \
            lease_node = NULL, lease_epoch = NULL, lease_expires_at = NULL WHERE number = '+99910002'"),
        // An end that is not true.
        format!("UPDATE attempts SET ended_at = 1; {notice}'sent', {rest}'+99910002'; \
            UPDATE faxes SET state = 'sent', ended_at = 1, lease_node = NULL, lease_epoch = NULL, \
            lease_expires_at = NULL WHERE number = '+99910002'"),
        // A second final notice.
        format!("{notice}'sent', {rest}'+99910001'"),
        format!("{notice}'failed', {rest}'+99910001'"),
        // What only rises falls, what is fixed changes.
        "UPDATE faxes SET pages_confirmed = 0 WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET pages_confirmed = 4 WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET lease_token = 0 WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET attempts = 0 WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET number = '+41441234567'".to_owned(),
        "UPDATE faxes SET document = NULL, page_count = NULL WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET page_count = 2 WHERE state = 'ready'".to_owned(),
        "UPDATE faxes SET cause = 'busy' WHERE state = 'sent'".to_owned(),
        "UPDATE faxes SET lease_node = 'x' WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET lease_node = 'x', lease_epoch = 'x', lease_expires_at = 1 WHERE state = 'sent'".to_owned(),
        // Orders and retries.
        "UPDATE faxes SET state = 'held' WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET held_at = 1 WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET ordered = 'hold' WHERE state = 'accepted'".to_owned(),
        "UPDATE faxes SET ordered = 'cancel', ordered_by = 'anna' WHERE state = 'sent'".to_owned(),
        "UPDATE faxes SET begin_page = 2 WHERE state = 'ready'".to_owned(),
        format!("{0}; {0}", retry("'sent'", "NULL, NULL, 0, 1, 'accepted'")),
        retry("'ready'", "NULL, NULL, 0, 1, 'accepted'"),
        retry("'sent'", "NULL, NULL, 1, 2, 'accepted'"),
        retry("'sent'", "document, 1, 1, 2, 'accepted'"),
        retry("'sent'", "document, 1, 0, 1, 'ready'"),
        // Attempts and pages.
        "INSERT INTO attempts SELECT 'x', fax_id, 2, node, epoch, lease_token, line, number, 2, 1, 1, NULL, NULL, 0, 0, \
         NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL FROM attempts WHERE ended_at IS NULL".to_owned(),
        "UPDATE attempts SET ended_at = NULL WHERE ended_at IS NOT NULL".to_owned(),
        "UPDATE attempts SET page_started = 0".to_owned(),
        "UPDATE attempts SET lease_token = 9".to_owned(),
        "UPDATE fax_pages SET rate_bps = 1".to_owned(),
        "INSERT INTO fax_pages SELECT fax_id, 4, attempt_id, 1, 1, 1, 1, 1 FROM fax_pages".to_owned(),
        // Nothing that is owed or open disappears.
        "DELETE FROM faxes WHERE state = 'accepted'".to_owned(),
        "DELETE FROM notices".to_owned(),
        "DELETE FROM attempts WHERE ended_at IS NULL".to_owned(),
        "DELETE FROM fax_pages".to_owned(),
        "DELETE FROM documents".to_owned(),
        "DELETE FROM messages".to_owned(),
        // Notices, documents, events.
        "UPDATE notices SET state = 'withheld'".to_owned(),
        "UPDATE notices SET state = 'sent', sent_at = 1; UPDATE notices SET state = 'dead', sent_at = NULL".to_owned(),
        "UPDATE notices SET kind = 'failed'".to_owned(),
        "UPDATE documents SET inline = x'00', size_bytes = 1".to_owned(),
        "UPDATE events SET text = 'it never happened'".to_owned(),
    ];
    let before = dump(&mut connection).await;
    for statement in illegal {
        let script = format!("BEGIN; {statement}; COMMIT;");
        let result = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await;
        let error = result.err().unwrap_or_else(|| panic!("this went through: {statement}"));
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().parse::<i32>().unwrap();
        assert_eq!(code & 0xff, 19, "a constraint or a trigger, not {error}: {statement}");
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await;
        assert_eq!(dump(&mut connection).await, before, "{statement}");
    }
}

#[tokio::test]
async fn the_schema_holds_received_faxes_to_their_rules() {
    let test = testing::sqlite().await;
    test.store.submit(testing::message(&["+99910001"])).await.unwrap();
    let mut connection = foreign(&test).await;
    let receiving =
        "INSERT INTO received_faxes (id, short_id, node, epoch, call_no, line, called_number, state, started_at)
        VALUES ('r1', 'R-1', 'gw-a', 'e', 1, 'trunk1', '+41441234567', 'receiving', 1)";
    let page = "INSERT INTO received_pages SELECT 'r1', 1, key, 1728, 2291, 14400, 1, 0, 2 FROM documents LIMIT 1";
    let notice =
        "INSERT INTO notices (id, received_fax_id, kind, state, recipient, format, header_message_id, created_at,
            not_before)
        VALUES ('n1', 'r1', 'received', 'owed', 'a@b', 'pdf', 'm1', 1, 1)";
    let received = "UPDATE received_faxes SET state = 'received', complete = 1, page_count = 1, received_at = 3
        WHERE id = 'r1'";
    let delivered = "UPDATE received_faxes SET state = 'delivered', delivered_at = 4 WHERE id = 'r1'";
    let taken = "UPDATE notices SET state = 'sent', sent_at = 4 WHERE id = 'n1'";
    let steps: [(&str, &[&str]); 5] = [
        (receiving, &[received, delivered, "UPDATE received_faxes SET called_number = '1'"]),
        (page, &[received, "UPDATE received_pages SET width_px = 1", "DELETE FROM received_pages"]),
        (notice, &[delivered, receiving]),
        (received, &[delivered, page, "UPDATE received_faxes SET complete = 0"]),
        (taken, &["UPDATE received_faxes SET state = 'receiving', received_at = NULL WHERE id = 'r1'"]),
    ];
    for (legal, illegal) in steps {
        sqlx::raw_sql(legal).execute(&mut connection).await.unwrap_or_else(|e| panic!("{legal}: {e}"));
        for statement in illegal {
            assert!(
                sqlx::raw_sql(*statement).execute(&mut connection).await.is_err(),
                "this went through: {statement}"
            );
        }
    }
    sqlx::raw_sql(delivered).execute(&mut connection).await.unwrap();
    // Its mail came back: nobody has it, and it cannot be called delivered again before somebody does.
    let bounced = "UPDATE notices SET state = 'bounced' WHERE id = 'n1';
        UPDATE received_faxes SET state = 'received', delivered_at = NULL WHERE id = 'r1'";
    sqlx::raw_sql(bounced).execute(&mut connection).await.unwrap();
    assert!(sqlx::raw_sql(delivered).execute(&mut connection).await.is_err());
}

#[tokio::test]
async fn no_index_holds_the_heartbeat_and_claims_use_theirs() {
    let test = testing::sqlite().await;
    let mut connection = foreign(&test).await;
    let indexes: Vec<String> = sqlx::query_scalar("SELECT coalesce(sql, '') FROM sqlite_schema WHERE type = 'index'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(indexes.len() > 20 && indexes.iter().all(|sql| !sql.contains("lease_expires_at")), "{indexes:?}");

    let table: [(&str, &[&str]); 17] = [
        (render::STATEMENTS[0], &["faxes_to_render"]),
        (line::STATEMENTS[0], &["faxes_to_call"]),
        (line::STATEMENTS[1], &["faxes_to_call", "attempts_open_number", "faxes_leased_number"]),
        (again::STATEMENTS[0], &["sqlite_autoindex_messages_1"]),
        (again::STATEMENTS[1], &["sqlite_autoindex_messages_1", "messages_with_key"]),
        (deliver::STATEMENTS[0], &["notices_owed"]),
        (ownership::STATEMENTS[0], &["sqlite_autoindex_faxes"]),
        (ownership::STATEMENTS[1], &["sqlite_autoindex_notices"]),
        (ownership::STATEMENTS[2], &["sqlite_autoindex_received_faxes"]),
        (ownership::STATEMENTS[4], &["faxes_leased"]),
        (ownership::STATEMENTS[5], &["notices_leased"]),
        (expiry::STATEMENTS[0], &["faxes_leased"]),
        (expiry::STATEMENTS[1], &["notices_leased"]),
        (expiry::STATEMENTS[2], &["received_faxes_by_state"]),
        (expiry::STATEMENTS[3], &["faxes_leased", "attempts_open"]),
        (expiry::STATEMENTS[4], &["notices_leased"]),
        (maintain::STATEMENTS[10], &["faxes_waiting"]),
    ];
    for (statement, indexes) in table {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let plan: Vec<String> = plan.into_iter().map(|row| row.3).collect();
        let steps = plan.iter().filter(|step| step.starts_with("SEARCH") || step.starts_with("SCAN faxes"));
        assert_eq!(steps.count(), indexes.len(), "{statement}\n{plan:#?}");
        for index in indexes {
            assert!(plan.iter().any(|step| step.contains(&format!("INDEX {index}"))), "{statement}\n{plan:#?}");
        }
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "it sorts: {statement}\n{plan:#?}");
    }
}

/// The rows that the rules are about, as text.
async fn dump(connection: &mut SqliteConnection) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["faxes", "attempts", "fax_pages", "notices", "documents", "events", "messages"] {
        let columns: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")))
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        let all: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        let sql = format!("SELECT {} FROM {table} ORDER BY 1", all.join(" || '|' || "));
        rows.extend(sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap());
    }
    rows
}
