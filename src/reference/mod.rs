//! The system under test: small real services that serve the SONIA contract, one file or folder
//! a service or concern. Nothing here knows that it is being tested.

pub mod slo;
