//! Intake: a mail comes in, 250 goes out, and in between everything became durable.
