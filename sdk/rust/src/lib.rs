//! What a connector written in Rust links. It speaks cdcd-abi-1 with the host
//! (docs/design/connector-abi.md, docs/design/batch-layout.md), so that a
//! connector is one type with three methods and one line that registers it:
//!
//! ```ignore
//! #![no_std]
//! use cdcd::{Connector, Error, Row, Table, Text, Verdict};
//!
//! struct Upper;
//!
//! impl Connector for Upper {
//!     fn init(&mut self, config: Text) -> Result<(), Error> { Ok(()) }
//!     fn schema(&mut self, table: &Table) -> Result<(), Error> { Ok(()) }
//!     fn row(&mut self, row: Row) -> Verdict { Verdict::Pass }
//! }
//!
//! cdcd::connector!(Upper, Upper);
//! ```
//!
//! Without std, without alloc, without dependencies: a module is a few KB. What a
//! connector keeps in its fields lasts as long as its instance and no longer; a
//! new instance may take over at any batch.
#![no_std]

mod abi;
mod batch;
pub mod config;
mod memory;
mod message;
mod table;

pub use abi::Instance;
pub use batch::{Image, Op, Row};
pub use memory::Kept;
pub use message::{say, say_number};
pub use table::{Column, Table, Type};

/// Text and bytes: a view of the instance's memory, good as long as what it lies
/// in. The configuration's stay; a table's are good within `schema`, a row's
/// within `row`.
pub type Text = &'static [u8];

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It goes on as it came.
    Pass = 0,
    /// It is left out.
    Drop = 1,
    /// It was changed through the setters of its images.
    Edited = 2,
    /// It is refused, for what was said before with `say`.
    DeadLetter = 4,
    /// A setter found no room: the row comes again, untouched, with more.
    Full = 255,
}

/// Why a connector can't go on at all: it stops the pipeline, with what was said
/// before with `say`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Error {
    BadConfig = -1,
    BadSchema = -2,
    BadBatch = -3,
    Internal = -4,
}

/// What an author writes. The methods are called from one thread, one at a time.
pub trait Connector {
    /// Called once with the JSON under `with:`, `{}` when there is none.
    fn init(&mut self, config: Text) -> Result<(), Error>;

    /// Called for every table before its first row. The rows that the connector
    /// gives have the same columns.
    fn schema(&mut self, table: &Table) -> Result<(), Error>;

    /// Decides about one row.
    fn row(&mut self, row: Row) -> Verdict;
}

/// Makes a value the connector of this module: its type, and the value that an
/// instance begins with. It is a constant expression.
#[macro_export]
macro_rules! connector {
    ($type:ty, $value:expr) => {
        static mut CDCD: $crate::Instance<$type> = $crate::Instance::new($value);

        #[no_mangle]
        pub extern "C" fn cdcd_abi_1() {}

        #[no_mangle]
        pub extern "C" fn cdcd_buf(kind: u32, size: u32) -> u32 {
            unsafe { CDCD.buf(kind, size) }
        }

        #[no_mangle]
        pub extern "C" fn cdcd_init(len: u32) -> i64 {
            unsafe { CDCD.init(len) }
        }

        #[no_mangle]
        pub extern "C" fn cdcd_schema(len: u32) -> i64 {
            unsafe { CDCD.schema(len) }
        }

        #[no_mangle]
        pub extern "C" fn cdcd_transform(len: u32) -> i64 {
            unsafe { CDCD.transform(len) }
        }

        #[no_mangle]
        pub extern "C" fn cdcd_error() -> i64 {
            unsafe { CDCD.error() }
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}
