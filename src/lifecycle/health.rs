//! Whether store and documents can do their part, looked at once a second for the whole process.
//!
//! Load balancers ask every node several times a second; each question costing a commit of the store would be an attack.
//! So one task looks, each look has a limit of time, and questions are answered from the last one without waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{StoreTime, Uptime};
use crate::documents::Documents;
use crate::store::{Store, check_copies};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// What takes longer than this is away: load balancers take a node out after a few seconds.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// The last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Servers that have each commit besides the one that writes, where that can be said; or why nothing can be written.
    pub store: Result<Option<u32>, String>,
    /// Whether documents can be put, or why not.
    pub documents: Result<(), String>,
    /// How often the store was found away after it had been there.
    pub store_outages: u64,
}

/// Knows the last look. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(watch::Receiver<Seen>);

impl Health {
    /// The last look.
    pub fn seen(&self) -> Seen {
        self.0.borrow().clone()
    }

    /// Why nothing can be accepted for keeps now, if so: nothing can be written, no document can be put, or fewer than
    /// `min_copies` servers would have it.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn check(&self, min_copies: u32) -> Result<(), String> {
        let seen = self.0.borrow();
        let copies = seen.store.clone()?;
        seen.documents.clone()?;
        check_copies(copies, min_copies)
    }
}

/// The task that looks; dropping it ends that.
#[derive(Debug)]
pub struct HealthWatch {
    task: JoinHandle<()>,
    health: Health,
    time: StoreTime,
}

impl HealthWatch {
    /// Looks once, then once a second.
    ///
    /// # Errors
    /// When the store cannot say what time it is.
    pub async fn start(store: Arc<dyn Store>, documents: Documents) -> crate::store::Result<Self> {
        let time = StoreTime::new(Uptime::now(), store.now().await?);
        let first = look(&*store, &documents, 0).await;
        let (sender, receiver) = watch::channel(first);
        let told = time.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                // Counted from before the question: late by its way at the most, never early.
                let asked = Uptime::now();
                if let Ok(Ok(now)) = tokio::time::timeout(LOOK_MAX, store.now()).await {
                    told.set(asked, now);
                }
                let before = sender.borrow().clone();
                let seen = look(&*store, &documents, before.store_outages).await;
                let seen = Seen { store_outages: before.store_outages + u64::from(went_away(&before, &seen)), ..seen };
                tell(&before, &seen);
                sender.send_replace(seen);
            }
        });
        Ok(Self { task, health: Health(receiver), time })
    }

    /// The store's time, as it was told last and has gone on since.
    pub fn time(&self) -> StoreTime {
        self.time.clone()
    }

    /// Its last look.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl Drop for HealthWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(store: &dyn Store, documents: &Documents, store_outages: u64) -> Seen {
    let writing = async {
        store.check_writable().await?;
        store.health().await
    };
    let (store, documents) =
        tokio::join!(tokio::time::timeout(LOOK_MAX, writing), tokio::time::timeout(LOOK_MAX, documents.check()),);
    let store = match store {
        Ok(Ok(health)) => Ok(health.copies),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the store did not answer within {LOOK_MAX:?}")),
    };
    let documents = match documents {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the documents did not answer within {LOOK_MAX:?}")),
    };
    Seen { store, documents, store_outages }
}

fn went_away(before: &Seen, seen: &Seen) -> bool {
    before.store.is_ok() && seen.store.is_err()
}

/// Once for each change, not once a second.
fn tell(before: &Seen, seen: &Seen) {
    match (&before.store, &seen.store) {
        (Ok(_), Err(why)) => warn!(why, "the store is away"),
        (Err(_), Ok(_)) => info!("the store is back"),
        (Ok(had), Ok(has)) if had != has => {
            info!(had = ?had, has = ?has, "the store's synchronous copies have changed")
        }
        _ => {}
    }
    match (&before.documents, &seen.documents) {
        (Ok(()), Err(why)) => warn!(why, "the documents are away"),
        (Err(_), Ok(())) => info!("the documents are back"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::DocumentsSettings;
    use crate::domain::Clock as _;
    use crate::store::testing;

    #[test]
    fn copies_are_asked_for_where_the_configuration_does() {
        for (copies, min_copies, ok) in [
            (None, 0, true),
            (None, 1, false),
            (Some(0), 0, true),
            (Some(0), 1, false),
            (Some(2), 1, true),
            (Some(1), 1, true),
        ] {
            let seen = Seen { store: Ok(copies), documents: Ok(()), store_outages: 0 };
            let (_sender, receiver) = watch::channel(seen);
            let checked = Health(receiver).check(min_copies);
            assert_eq!(checked.is_ok(), ok, "{copies:?} of {min_copies}");
            let rights = checked.is_err_and(|why| why.contains("fix: grant pg_monitor to the role"));
            assert_eq!(rights, copies.is_none() && !ok, "{copies:?} of {min_copies}");
        }
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_seen_away_and_back() {
        let test = testing::impatient().await;
        let documents = test.directory.path().join("documents");
        let documents = Documents::open(documents, test.store.clone(), DocumentsSettings::default()).unwrap();
        let watch = HealthWatch::start(test.store.clone(), documents).await.unwrap();
        let mut health = watch.health();
        assert_eq!(health.check(0), Ok(()));
        let away = test.away().await;
        let seen = async |health: &mut Health, ok: bool| {
            let wait = health.0.wait_for(|seen| seen.store.is_ok() == ok);
            tokio::time::timeout(Duration::from_secs(20), wait).await.expect("seen in time").unwrap().clone()
        };
        assert_eq!(seen(&mut health, false).await.store_outages, 1);
        assert!(health.check(0).is_err());
        away.back().await;
        assert_eq!(seen(&mut health, true).await.store_outages, 1);
    }

    #[tokio::test]
    async fn time_is_the_stores_however_wrong_the_nodes_clock_is() {
        // The store's clock stands at a round time in 2027; this machine's is years away from it.
        let test = testing::sqlite().await;
        let documents = test.directory.path().join("documents");
        let documents = Documents::open(documents, test.store.clone(), DocumentsSettings::default()).unwrap();
        let watch = HealthWatch::start(test.store.clone(), documents).await.unwrap();
        let time = watch.time();
        let told = test.store.now().await.unwrap();
        assert!(time.now() >= told && time.now().since(told) < Duration::from_secs(600), "{}", time.now());
        // A failover to a server whose clock is ten minutes ahead.
        test.clock.advance(Duration::from_secs(600));
        let ahead = test.store.now().await.unwrap();
        let followed = async {
            while time.now() < ahead {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), followed).await.expect("followed in time");
    }
}
