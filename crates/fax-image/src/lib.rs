//! T.4 and T.6 codec, TIFF-F reader and writer, bit pages.
