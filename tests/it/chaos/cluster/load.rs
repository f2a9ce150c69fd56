//! Mails through the balancer and calls to both nodes, for as long as the storm lasts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::balancer::Balancer;
use super::lab::Lab;
use super::wait::within;
use crate::chaos::load::{Order, hand_in};
use crate::chaos::pages::Form;

/// Between two mails: some thirty calls at once, in real time, on a machine of two cores.
const MAIL_EVERY: Duration = Duration::from_millis(1000);
/// Between two calls that come in.
const CALL_EVERY: Duration = Duration::from_secs(5);
/// Clients at once: enough for a failover during which each waits for its reply.
const CLIENTS: u32 = 48;
const CALLERS: u32 = 8;
/// Every fourth mail goes to one of so many numbers, which both nodes would like to call at once.
const SHARED_NUMBERS: u32 = 40;
/// A client gives a mail up after this.
const PATIENT_CLIENT: Duration = Duration::from_secs(240);
/// More than any storm takes.
const LONGEST: Duration = Duration::from_secs(1200);

/// Hands mails in until `over`, then what is begun.
pub(crate) fn mails(lab: &Lab, seed: u64, over: &AtomicBool) {
    paced(CLIENTS, MAIL_EVERY, over, |index| {
        hand_in(Balancer::smtp(), &order(seed, index), &lab.sent, Instant::now() + PATIENT_CLIENT);
    });
}

/// Calls both nodes in turn, and the other one when one does not answer, as a carrier with two routes does.
pub(crate) fn calls(lab: &Lab, seed: u64, over: &AtomicBool) {
    paced(CALLERS, CALL_EVERY, over, |index| {
        let first = index as usize % 2;
        let pages = 1 + index % 2;
        if !lab.call_in(&lab.gateways[first], &format!("in-{seed}-{index:04}"), pages) {
            lab.call_in(&lab.gateways[1 - first], &format!("in-{seed}-{index:04}-again"), pages);
        }
    });
}

/// Does it with 0, 1, 2, … each at its time, so many at once at most.
fn paced(workers: u32, every: Duration, over: &AtomicBool, act: impl Fn(u32) + Sync) {
    let begun = Instant::now();
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::AcqRel);
                    let due = begun + every * index;
                    within(LONGEST, || (Instant::now() >= due || over.load(Ordering::Acquire)).then_some(()));
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    act(index);
                }
            });
        }
    });
}

/// The mail of this number: the same in every run of a seed.
fn order(seed: u64, index: u32) -> Order {
    let mut random = Rng::with_seed(seed ^ (u64::from(index) << 32));
    let form = *random.choice([Form::Text, Form::Body, Form::Tiff, Form::Pdf].iter()).expect("four forms");
    let number =
        if index % 4 == 3 { format!("+41442{:06}", random.u32(..SHARED_NUMBERS)) } else { format!("+41441{index:06}") };
    let pages = if form == Form::Body { 1 } else { random.u32(1..=3) };
    Order { token: format!("m{index:05}"), number, pages, form }
}
