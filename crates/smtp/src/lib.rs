//! SMTP session and grammar without I/O.
