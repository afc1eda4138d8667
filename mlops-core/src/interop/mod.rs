//! Conversions between this family's tables and those of other libraries. Nothing else: no logic lives here.
//!
//! Arrow record batches stay the type at every seam; a host crosses into another library's types for one piece of work
//! and comes back. [`floats`] reads a column for numeric code; `ndarray` (feature `ndarray`) makes matrices; `polars`
//! (feature `polars`) crosses through Arrow's C Data Interface, mostly without copying.

#[cfg(feature = "polars")]
#[expect(unsafe_code, reason = "the C Data Interface is a contract between pointers; this module alone keeps it")]
mod ffi;
mod floats;
#[cfg(feature = "ndarray")]
pub mod ndarray;
#[cfg(feature = "polars")]
pub mod polars;

pub use floats::floats;
