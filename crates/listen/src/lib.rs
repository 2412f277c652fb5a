//! What every server of twinroute shares: sockets, limits, shutdown.
