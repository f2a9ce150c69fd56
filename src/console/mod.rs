//! Console: API, health and pages for people.
