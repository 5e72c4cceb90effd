//! The `console` room.
