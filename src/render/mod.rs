//! Rendering: an accepted message becomes the pages of its faxes.
