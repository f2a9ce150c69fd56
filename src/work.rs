//! THE loop of every worker: claim, step, write back; renew, jitter, drain.
