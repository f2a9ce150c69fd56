//! Converters and the sandboxed process that runs them: documents in, fax pages out.
