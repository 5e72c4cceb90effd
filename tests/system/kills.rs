//! Nothing acknowledged is lost.
