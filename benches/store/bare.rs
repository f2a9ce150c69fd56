//! The bare commit rate: what the database and its disk give to a program that does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::Result;
use crate::bed::Bed;

/// Commits a second of one prepared insert each, by so many workers: on PostgreSQL each on a connection of its own, on
/// SQLite in turn on the one that may write.
pub(crate) async fn slice(bed: &Bed, workers: u32, length: Duration) -> Result<f64> {
    match bed {
        Bed::Postgres { .. } => postgres(bed, workers, length).await,
        Bed::Sqlite { .. } => sqlite(bed, workers, length).await,
    }
}

async fn postgres(bed: &Bed, workers: u32, length: Duration) -> Result<f64> {
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_commits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        worker integer NOT NULL)";
    bed.postgres().await?.batch_execute(TABLE).await?;
    let mut ready = Vec::new();
    for _ in 0..workers {
        let client = bed.postgres().await?;
        let insert = client.prepare("INSERT INTO bench_commits (worker) VALUES ($1)").await?;
        ready.push((client, insert));
    }
    let (done, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let mut running = JoinSet::new();
    for (worker, (client, insert)) in (0_i32..).zip(ready) {
        let done = Arc::clone(&done);
        running.spawn(async move {
            while start.elapsed() < length {
                client.execute(&insert, &[&worker]).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, tokio_postgres::Error>(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(per_second(done.load(Ordering::Relaxed), start.elapsed()))
}

async fn sqlite(bed: &Bed, workers: u32, length: Duration) -> Result<f64> {
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS commits (id INTEGER PRIMARY KEY, worker INTEGER NOT NULL) STRICT";
    let mut file = bed.sqlite("bare.db").await?;
    sqlx::query(TABLE).execute(&mut file).await?;
    let (file, done, start) = (Arc::new(Mutex::new(file)), Arc::new(AtomicU64::new(0)), Instant::now());
    let mut running = JoinSet::new();
    for worker in 0..workers {
        let (file, done) = (Arc::clone(&file), Arc::clone(&done));
        running.spawn(async move {
            while start.elapsed() < length {
                let insert = sqlx::query("INSERT INTO commits (worker) VALUES ($1)").bind(worker);
                insert.execute(&mut *file.lock().await).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, sqlx::Error>(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let rate = per_second(done.load(Ordering::Relaxed), start.elapsed());
    let file = Arc::into_inner(file).ok_or("a worker of the bare commits still runs")?;
    file.into_inner().close().await?;
    Ok(rate)
}

/// Events a second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}
