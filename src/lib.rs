//! The table of modules handed to nginx.
