//! Documents: content-addressed, put once, durable before the row that names them; every read checks the hash.
