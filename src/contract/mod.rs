//! The SONIA contract as a client sees it: answers, audit entries and proofs, and their verification.
//! Written from the contract's text and `fixtures/contract/` alone; it never sees the reference.
