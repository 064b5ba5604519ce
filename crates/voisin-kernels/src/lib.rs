//! The numeric kernels of voisin, and the only crate of it with `unsafe` code.
//!
//! One idea: a kernel is a body over fixed lanes, compiled once per instruction set, and chosen at run time by [`isa`].
//! `VOISIN_ISA=portable|v3|v4` forces a level. Results of one level never depend on how work is cut into blocks: an element
//! of a matrix product is the same sequence of fused multiply-adds wherever its row and column stand.

mod aligned;
mod bits;
mod bounds;
mod convert;
mod facts;
mod few;
mod forces;
mod gemm;
mod grid8;
mod hadamard;
mod int8;
mod int8_scan;
mod isa;
mod learn;
mod map;
mod micro;
mod near8;
mod nearest8;
mod one8;
#[cfg(target_arch = "x86_64")]
mod pack_v4;
mod panels;
mod pq4;
mod pq8;
mod pq_books;
mod pq_lines;
mod quantise;
mod scalar;
mod scan;
mod select;
mod vector;

pub use aligned::{advise_huge, keep_freed_memory};
pub use bits::{
    ByteRow, CodePanels, TILE_QUERIES, WORD, code_tiles, plane_dots, planes_dots, planes_pack, prefetch, signed_codes,
};
pub use bounds::{Side, keys, lowers, widen};
pub use convert::{f16_to_f32, f32_to_f16};
pub use facts::{all_finite, max_abs};
pub use few::row;
pub use forces::forces;
pub use gemm::{Packed, View, gemm, tiles};
pub use grid8::{Grid8, Hits8, Store8};
pub use hadamard::{hadamard, rotate_round};
pub use int8::{Codes8, Codes8Ref, Key, Parts8, Row8, Rows8, int8_available, tiles8};
pub use isa::{Isa, isa};
pub use learn::{AdamStep, adam, bias_relu, cross_entropy, relu_gradient, softmax};
pub use map::Map;
pub use near8::near8;
pub use one8::{FEW8, few8, one8};
pub use panels::{Panels, Words, panel_product};
pub use pq_books::Books;
pub use pq_lines::Tables;
pub use pq4::{BLOCK4, block4_bytes, pq4_keys};
pub use pq8::{BLOCK8, pq8_keys};
pub use quantise::are_bytes;
pub use scalar::{ScalarBits, ScalarGrid, ScalarQuery, scalar_decode, scalar_dots, scalar_encode};
pub use scan::{argmin, below};
pub use select::{limit_of_smallest, not_above};
pub use vector::{dot, dot_f64, dots, l2_squared, l2_squared_f64, l2_squared_to_sum_f64, l2_squareds, norms_squared};
