//! Whole calls over loopback: against a scripted SIP peer, and against the sandbox's far end.

mod agent;
mod common;
mod peer;
mod sandbox;
mod sending;
