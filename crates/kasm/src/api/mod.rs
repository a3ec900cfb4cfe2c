//! A Kasm server's HTTP API.
