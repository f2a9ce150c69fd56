//! Programs of several versions beside one store, on both engines.

use std::path::Path;

use sqlx::{Connection, SqliteConnection};
use tokio_postgres::Client;

use super::*;
use crate::store::testing::postgres::{Database, Server};

/// A made-up history: a store, a column more, and the old column gone. Portable.
const FILES: [(&str, &str); 3] = [
    (
        "0001_first",
        "-- kind: expand\n-- oldest: 1\nCREATE TABLE things (id bigint PRIMARY KEY, name text);
         CREATE TABLE nodes (name text, version text, schema bigint, seen_at bigint);",
    ),
    (
        "0002_label",
        "-- kind: expand\n-- oldest: 1\nALTER TABLE things ADD COLUMN label text; UPDATE things SET label = name;",
    ),
    ("0003_no_name", "-- kind: contract\n-- oldest: 2\nALTER TABLE things DROP COLUMN name;"),
];

/// What the program of this version knows.
fn knows(version: usize) -> Vec<Migration> {
    read(&FILES[..version]).unwrap()
}

/// An empty store on either engine.
enum Bench {
    Sqlite(Box<SqliteConnection>),
    Postgres(Client, Box<Database>),
}

impl Bench {
    async fn both() -> [Self; 2] {
        let sqlite = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let database = Server::for_logic().empty_database().await;
        [Self::Sqlite(Box::new(sqlite)), Self::Postgres(database.connect().await, Box::new(database))]
    }

    fn target(&mut self) -> Target<'_> {
        match self {
            Self::Sqlite(connection) => Target::Sqlite { connection, now: Timestamp(1_800_000_000_000) },
            Self::Postgres(client, _) => Target::Postgres(client),
        }
    }

    async fn bring_up(&mut self, known: &[Migration], allowed: Allowed) -> Result<Schema> {
        bring_up(self.target(), known, "here", allowed).await
    }

    async fn run(&mut self, script: &str) -> bool {
        match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut **connection).await.is_ok()
            }
            Self::Postgres(client, _) => client.batch_execute(script).await.is_ok(),
        }
    }
}

fn told(result: Result<Schema>) -> String {
    let Err(StoreError::Unusable(told)) = result else { panic!("it must be refused: {result:?}") };
    assert!(told.contains("here") && told.contains("fix:"), "{told}");
    told
}

fn versions(steps: &[Step]) -> Vec<i64> {
    steps.iter().map(|step| step.version).collect()
}

#[test]
fn the_program_holds_every_migration_of_the_folders_and_both_engines_have_the_same() {
    for (folder, files) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
        read(files).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let there = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut there: Vec<String> = there.collect();
        there.sort();
        let held: Vec<String> = files.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(there, held);
    }
    let says = |migrations: &[Migration]| -> Vec<_> {
        migrations.iter().map(|one| (one.version, one.name, one.kind, one.oldest)).collect()
    };
    assert_eq!(says(of_sqlite()), says(of_postgres()));
}

#[test]
fn a_migration_says_what_it_does_to_programs_of_before() {
    let wrong: [&[(&str, &str)]; 7] = [
        &[("0001_a", "CREATE TABLE a (b bigint)")],
        &[("0001_a", "-- kind: shrink\n-- oldest: 1")],
        &[("0001_a", "-- kind: expand\n-- oldest: a")],
        &[("0002_a", "-- kind: expand\n-- oldest: 1")],
        // One that adds shuts nobody out, one that takes away lets nobody in, and none needs a program of the future.
        &[("0001_a", "-- kind: expand\n-- oldest: 1"), ("0002_b", "-- kind: expand\n-- oldest: 2")],
        &[FILES[0], FILES[1], FILES[2], ("0004_d", "-- kind: contract\n-- oldest: 1")],
        &[FILES[0], ("0002_b", "-- kind: contract\n-- oldest: 3")],
    ];
    for files in wrong {
        assert!(read(files).is_err(), "{files:?}");
    }
}

#[tokio::test]
async fn two_versions_work_side_by_side_until_a_contract_shuts_the_old_one_out() {
    for mut bench in Bench::both().await {
        let (old, middle, new) = (knows(1), knows(2), knows(3));
        let made = bench.bring_up(&old, Allowed::SetUp).await.unwrap();
        assert_eq!((versions(&made.applied), made.version), (vec![1], 1));
        assert!(bench.run("INSERT INTO things (id, name) VALUES (1, 'fax')").await);

        // The newer program does not start before its schema is there, and says what to do.
        let refused = bench.bring_up(&middle, Allowed::SetUp).await.unwrap().complete("here");
        let refused = told(refused);
        assert!(refused.contains("version 1") && refused.contains("needs 2"), "{refused}");
        assert!(refused.ends_with("run faxwell db migrate"), "{refused}");

        let expanded = bench.bring_up(&new, Allowed::Expand).await.unwrap();
        assert_eq!((versions(&expanded.applied), versions(&expanded.pending)), (vec![2], vec![3]));
        assert_eq!((expanded.version, expanded.command()), (2, "faxwell db migrate --contract"));
        for program in [&old, &middle] {
            bench.bring_up(program, Allowed::Nothing).await.unwrap().complete("here").unwrap();
        }
        assert!(bench.run("INSERT INTO things (id, name) VALUES (2, 'as ever')").await);

        let contracted = bench.bring_up(&new, Allowed::Contract).await.unwrap();
        assert_eq!((versions(&contracted.applied), contracted.pending.len()), (vec![3], 0));
        for program in [&middle, &new] {
            bench.bring_up(program, Allowed::SetUp).await.unwrap().complete("here").unwrap();
        }
        let refused = told(bench.bring_up(&old, Allowed::SetUp).await);
        assert!(refused.contains("version 3") && refused.contains("up to 1"), "{refused}");
        assert!(bench.run("INSERT INTO things (id, label) VALUES (3, 'new')").await);
        assert!(!bench.run("UPDATE things SET name = 'old'").await, "the old shape is gone");
    }
}

#[tokio::test]
async fn a_contract_waits_until_no_node_needs_the_old_shape() {
    let [_, mut bench] = Bench::both().await;
    bench.bring_up(&knows(2), Allowed::SetUp).await.unwrap();
    let seen = "INSERT INTO nodes SELECT 'gw-b', '0.1.0', 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    assert!(bench.run(seen).await);
    assert!(bench.run("INSERT INTO nodes VALUES ('gw-gone', '0.0.1', 1, 1)").await);
    let new = knows(3);
    let refused = told(bench.bring_up(&new, Allowed::Contract).await);
    assert!(refused.contains("gw-b (0.1.0)") && !refused.contains("gw-gone"), "{refused}");
    assert!(bench.run("UPDATE nodes SET schema = 2 WHERE name = 'gw-b'").await);
    assert_eq!(versions(&bench.bring_up(&new, Allowed::Contract).await.unwrap().applied), vec![3]);
}

#[tokio::test]
async fn a_broken_migration_leaves_nothing() {
    let broken = (
        "0003_broken",
        "-- kind: expand\n-- oldest: 1\nCREATE TABLE more (id bigint);\nINSERT INTO nowhere VALUES (1)",
    );
    for mut bench in Bench::both().await {
        bench.bring_up(&knows(1), Allowed::SetUp).await.unwrap();
        let known = read(&[FILES[0], FILES[1], broken]).unwrap();
        let refused = told(bench.bring_up(&known, Allowed::Expand).await);
        assert!(refused.contains("0003_broken") && refused.contains("nowhere"), "{refused}");
        assert!(!bench.run("INSERT INTO more VALUES (1)").await, "the table went with its transaction");
        assert_eq!(bench.bring_up(&known, Allowed::Nothing).await.unwrap().version, 2, "the one before it stays");
        // The repaired file goes on from there.
        assert_eq!(versions(&bench.bring_up(&knows(3), Allowed::Contract).await.unwrap().applied), vec![3]);
    }
    // An empty store is set up as a whole or not at all.
    for mut bench in Bench::both().await {
        let known = read(&[FILES[0], FILES[1], broken]).unwrap();
        told(bench.bring_up(&known, Allowed::SetUp).await);
        assert_eq!(bench.bring_up(&known, Allowed::Nothing).await.unwrap().version, 0);
        assert!(!bench.run("INSERT INTO things (id) VALUES (1)").await);
    }
}

#[tokio::test]
async fn what_was_not_made_by_these_migrations_is_refused() {
    for mut bench in Bench::both().await {
        assert!(bench.run("CREATE TABLE somebodys (id bigint)").await);
        let refused = told(bench.bring_up(&knows(1), Allowed::SetUp).await);
        assert!(refused.contains("somebodys"), "{refused}");
    }
    for mut bench in Bench::both().await {
        bench.bring_up(&knows(2), Allowed::SetUp).await.unwrap();
        let other = read(&[FILES[0], ("0002_label", "-- kind: expand\n-- oldest: 1\nSELECT 1")]).unwrap();
        let refused = told(bench.bring_up(&other, Allowed::Nothing).await);
        assert!(refused.contains("another schema version 2"), "{refused}");
        assert!(bench.run("DELETE FROM schema_history WHERE version = 1").await);
        let refused = told(bench.bring_up(&knows(2), Allowed::Nothing).await);
        assert!(refused.contains("another schema version 1"), "{refused}");
    }
}

#[tokio::test]
async fn many_nodes_that_start_at_once_set_the_store_up_once() {
    let database = Server::for_logic().empty_database().await;
    let starts = (0..8).map(|_| async {
        let client = database.connect().await;
        bring_up(Target::Postgres(&client), of_postgres(), "here", Allowed::SetUp)
            .await
            .unwrap()
            .complete("here")
            .unwrap()
    });
    let applied: usize = futures_util::future::join_all(starts).await.iter().map(|schema| schema.applied.len()).sum();
    assert_eq!(applied, of_postgres().len());
}

#[tokio::test]
async fn a_migration_does_not_wait_behind_a_long_transaction() {
    let [_, mut bench] = Bench::both().await;
    bench.bring_up(&knows(1), Allowed::SetUp).await.unwrap();
    let Bench::Postgres(_, database) = &bench else { unreachable!("the second bench is PostgreSQL's") };
    let long = database.connect().await;
    long.batch_execute("BEGIN; SELECT * FROM things").await.unwrap();
    let result = bench.bring_up(&knows(2), Allowed::Expand).await;
    let Err(StoreError::Unavailable(told)) = result else { panic!("it must give up: {result:?}") };
    assert!(told.contains("0002_label") && told.contains("long transaction") && told.contains("fix:"), "{told}");
    long.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bench.bring_up(&knows(2), Allowed::Expand).await.unwrap().version, 2);
}
