//! Delivery: notices become mails.
