//! Configuration: a TOML file (or none: the sandbox), environment overrides on top, one typed tree out.
//!
//! Every problem of a file is reported at once, each with its place, a suggestion and a fix; a file with a problem
//! changes nothing. `model` is the tree that the stages see.

pub mod model;

pub use model::*;
