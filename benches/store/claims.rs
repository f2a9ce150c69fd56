//! Claims a second: agents that ask for calls at the same time, until the slice is over or nothing is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faxwell::domain::MessageId;
use faxwell::store::{Owner, Store};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::bare::per_second;
use crate::bed::Bed;
use crate::report::{Claims, median};
use crate::{Options, Result};

/// Calls that an agent asks for at once: one channel has become free, or several.
pub(crate) const LIMITS: [u32; 2] = [1, 8];
/// Longer than any slice.
const LEASE: Duration = Duration::from_secs(3600);
/// Empty answers in a row after which an agent takes it that nothing is due: others may have locked what is.
const EMPTY_MAX: u32 = 20;
/// Most calls in a slice of all agents: giving them back is one transaction.
const CLAIMED_MAX: u64 = 20_000;

/// Faxes claimed a second by so many agents, the median of the rounds.
pub(crate) async fn measured(bed: &Bed, options: &Options, agents: u32, limit: u32) -> Result<Claims> {
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        rates.push(slice(bed, agents, limit, options.slice()).await?);
    }
    Ok(Claims { agents, limit, per_s: median(&mut rates) })
}

async fn slice(bed: &Bed, agents: u32, limit: u32, length: Duration) -> Result<f64> {
    let store = bed.store(agents).await?;
    let each_max = CLAIMED_MAX / u64::from(agents);
    let ready = Arc::new(Barrier::new(agents as usize));
    let mut running = JoinSet::new();
    for agent in 0..agents {
        let (store, ready) = (Arc::clone(&store), Arc::clone(&ready));
        running.spawn(async move {
            let owner = Owner { node: format!("agent-{agent}"), epoch: MessageId::new().0 };
            // Opens the connection and prepares the statements. Nobody starts before all have.
            let warm = store.claim_calls(&owner, 1, LEASE).await.map(|calls| calls.len() as u64);
            ready.wait().await;
            let (start, warm) = (Instant::now(), warm?);
            let (mut claimed, mut last, mut empty) = (0, Duration::ZERO, 0);
            while start.elapsed() < length && claimed < each_max && empty < EMPTY_MAX {
                let calls = store.claim_calls(&owner, limit, LEASE).await?.len() as u64;
                if calls == 0 {
                    empty += 1;
                } else {
                    (claimed, last, empty) = (claimed + calls, start.elapsed(), 0);
                }
            }
            Ok::<_, faxwell::store::StoreError>((owner, warm, claimed, last))
        });
    }
    let (mut total, mut latest, mut owners) = (0, Duration::ZERO, Vec::new());
    while let Some(ended) = running.join_next().await {
        let (owner, warm, claimed, last) = ended??;
        total += claimed;
        latest = latest.max(last);
        owners.push((owner, warm + claimed));
    }
    // Each node starts anew and finds what its earlier life held: exactly what it was told it has.
    for (owner, claimed) in owners {
        let freed = store.take_back(&Owner { node: owner.node, epoch: MessageId::new().0 }).await?.leases;
        if freed != claimed {
            return Err(format!("an agent was given {claimed} calls and held {freed}").into());
        }
    }
    store.close().await;
    if total == 0 {
        return Err("nothing was due for the claims".into());
    }
    Ok(per_second(total, latest))
}
