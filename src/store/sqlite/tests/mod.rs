//! The conformance suite on SQLite, and what only SQLite can get wrong.

mod copy;
mod crash;
mod expiry;
mod file;
mod retention;
mod schema;
mod writer;

use crate::store::conformance::{self, Bench};
use crate::store::testing;

async fn bench() -> Bench {
    let test = testing::sqlite().await;
    Bench { store: test.store, clock: test.clock, _keep: Box::new(test.directory) }
}

#[tokio::test]
async fn sqlite_does_what_every_store_must_do() {
    conformance::run(bench).await;
}

#[test]
fn random_lives_end_as_the_model_says() {
    conformance::random_life(bench);
}

#[test]
fn nothing_that_is_wanted_goes_and_nothing_else_stays() {
    conformance::random_retention(bench);
}
