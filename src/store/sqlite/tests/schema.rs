//! The rules that stand in the schema, whatever program writes; and every statement against the real thing.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use super::super::*;
use crate::store::sql::{Dialect, every_statement};
use crate::store::testing::{self, TestStore};

#[tokio::test]
async fn every_statement_is_named_once_and_prepares() {
    let test = testing::sqlite().await;
    let mut connection = foreign(&test).await;
    let mut names = BTreeSet::new();
    let statements = every_statement().chain(verify::STATEMENTS.iter().copied());
    for statement in statements {
        let name = statement.name();
        assert!(name.contains('.'), "{name}");
        assert!(names.insert(name), "{name} is there twice");
        let text = sqlx::SqlStr::from_static(statement.spelled(Dialect::Sqlite));
        connection.prepare(text).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(names.len() > 60, "{}", names.len());
}

/// A connection of a program that knows nothing of our rules.
pub(super) async fn foreign(test: &TestStore) -> SqliteConnection {
    let path = test.directory.path().join("faxwell.db");
    let url = format!("sqlite://{}", path.display());
    SqliteConnection::connect(&url).await.unwrap()
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
        ("faxes.next_to_render", &["faxes_to_render"]),
        ("faxes.next_priority", &["faxes_to_call"]),
        ("faxes.next_to_call", &["faxes_to_call", "attempts_open_number", "faxes_leased_number"]),
        ("messages.missing", &["sqlite_autoindex_messages_1"]),
        ("messages.forget_idem_keys", &["sqlite_autoindex_messages_1", "messages_with_key"]),
        ("notices.due", &["notices_owed"]),
        ("faxes.renew", &["sqlite_autoindex_faxes"]),
        ("notices.renew", &["sqlite_autoindex_notices"]),
        ("received_faxes.renew", &["sqlite_autoindex_received_faxes"]),
        ("faxes.take_back", &["faxes_leased"]),
        ("notices.take_back", &["notices_leased"]),
        ("faxes.suspect", &["faxes_leased"]),
        ("notices.suspect", &["notices_leased"]),
        ("received_faxes.suspect", &["received_faxes_by_state"]),
        ("faxes.free", &["faxes_leased", "attempts_open"]),
        ("notices.free", &["notices_leased"]),
        ("faxes.oldest_waiting", &["faxes_waiting"]),
    ];
    for (name, indexes) in table {
        let statement = every_statement().find(|statement| statement.name() == name).unwrap();
        let statement = statement.spelled(Dialect::Sqlite);
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
