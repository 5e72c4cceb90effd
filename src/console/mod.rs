//! The web console's pages: HTML without scripts or anything from elsewhere, every value escaped.

mod html;
mod status;

pub use html::{Escaped, opening, page};
pub use status::status_page;

/// What the console's pages need and nothing more; to be sent as `Content-Security-Policy`.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
