//! What becomes of accepted events: journal, retry schedule, ledger.
