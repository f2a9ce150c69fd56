//! Lines: a ready fax becomes a call, and the call an outcome.
