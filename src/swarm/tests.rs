//! Two and more swarms on loopback.
