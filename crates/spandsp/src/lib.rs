//! Thin safe binding of spandsp: T.30 over T.38 and over audio.
