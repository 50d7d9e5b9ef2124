// AVX-512 F, BW, DQ, VL, VBMI and VNNI: Intel since Ice Lake, AMD since Zen 4.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "quant_kernels.h"

#pragma clang attribute push(                                                                    \
    __attribute__((                                                                              \
        target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi2"))), \
    apply_to = function)

// --- Primitives ---

typedef __m512 vec;
typedef __m512i word;
// 8 × 2 sums hide the latency of a fused multiply-add four times over; the broadcasts are operands
// in memory.
enum { LANES = 16, TILE_VECS = 2 };
#define TILE_ROWS 8

#define V static inline __attribute__((always_inline))

V vec v_zero(void) { return _mm512_setzero_ps(); }
V vec v_set(float x) { return _mm512_set1_ps(x); }
V vec v_load(const float *p) { return _mm512_loadu_ps(p); }
V void v_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
V vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
V vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
V vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
V vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
V vec v_abs(vec a) { return _mm512_abs_ps(a); }
V int v_any_nan(vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0; }
V vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
V vec v_max_magnitude(vec top, vec x) {
  return _mm512_castsi512_ps(
      _mm512_max_epu32(_mm512_castps_si512(top), _mm512_castps_si512(v_abs(x))));
}
V float v_largest_magnitude(vec top) {
  uint32_t bits = _mm512_reduce_max_epu32(_mm512_castps_si512(top));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)bits)));
}
V float v_sum(vec v) { return _mm512_reduce_add_ps(v); }
V float v_maximum(vec v) { return _mm512_reduce_max_ps(v); }

// The first `count` < LANES lanes.
V __mmask16 first_lanes(size_t count) { return (__mmask16)((1u << count) - 1); }
V vec v_load_partial(const float *p, size_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
V void v_store_partial(float *p, size_t count, vec v) {
  _mm512_mask_storeu_ps(p, first_lanes(count), v);
}

// As in AVX2: exp(x) = 2^n exp(r), a Taylor polynomial of degree 7, relative error below 2e-7.
V vec v_exp(vec x) {
  // NaN is the second operand, which these instructions return.
  x = _mm512_min_ps(v_set(89), _mm512_max_ps(v_set(-104), x));
  vec n = _mm512_roundscale_ps(v_mul(x, v_set(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT);
  vec r = _mm512_fnmadd_ps(n, v_set(0x1.62e4p-1f), x);
  r = _mm512_fnmadd_ps(n, v_set(0x1.7f7d1cp-20f), r);
  vec p = v_set(1.0f / 5040);
  p = v_fma(p, r, v_set(1.0f / 720));
  p = v_fma(p, r, v_set(1.0f / 120));
  p = v_fma(p, r, v_set(1.0f / 24));
  p = v_fma(p, r, v_set(1.0f / 6));
  p = v_fma(p, r, v_set(0.5f));
  p = v_fma(p, r, v_set(1));
  p = v_fma(p, r, v_set(1));
  return _mm512_scalef_ps(p, n);
}

// --- 16-bit floats ---

typedef __m256i vec16;

V vec16 v16_load(const uint16_t *p) { return _mm256_loadu_si256((const void *)p); }
V void v16_store(uint16_t *p, vec16 v) { _mm256_storeu_si256((void *)p, v); }
V vec f32_of_f16(vec16 x) { return _mm512_cvtph_ps(x); }
V vec f32_of_bf16(vec16 x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
V vec16 f16_of_f32(vec x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
V vec16 bf16_of_f32(vec x) {
  __m512i bits = _mm512_castps_si512(x);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

// --- 8-bit integers ---

V vec f32_of_i8(const int8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
V void i8_store(int8_t *p, vec x) {
  _mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}

// --- 4-bit codes ---

// The 16 values in one register; permutexvar looks at the low four bits of an index.
typedef __m512 codebook_4bit;

V codebook_4bit load_codebook(const float *values) { return _mm512_loadu_ps(values); }

V codebook_4bit scaled(codebook_4bit codebook, float scale) {
  return v_mul(codebook, v_set(scale));
}

// The values of LANES neighbours: 8 bytes, high nibbles first.
V vec look_up_neighbours(codebook_4bit codebook, const uint8_t *codes) {
  int32_t words[2];
  memcpy(words, codes, sizeof words);
  __m512i all = _mm512_mask_set1_epi32(_mm512_set1_epi32(words[0]), 0xff00, words[1]);
  __m512i right = _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24);
  return _mm512_permutexvar_ps(_mm512_srlv_epi32(all, right), codebook);
}

// words[j] holds, a lane a row, columns 8j ... 8j + 7 of LANES rows, whose 16 bytes of codes are at
// rows[i].
V void load_words(const uint8_t *const rows[LANES], word words[4]) {
  __m512i fours[4];  // rows i, i + 4, i + 8, i + 12
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    __m512i four = _mm512_castsi128_si512(_mm_loadu_si128((const void *)rows[i]));
    four = _mm512_inserti32x4(four, _mm_loadu_si128((const void *)rows[i + 4]), 1);
    four = _mm512_inserti32x4(four, _mm_loadu_si128((const void *)rows[i + 8]), 2);
    fours[i] = _mm512_inserti32x4(four, _mm_loadu_si128((const void *)rows[i + 12]), 3);
  }
  __m512i low01 = _mm512_unpacklo_epi32(fours[0], fours[1]);
  __m512i low23 = _mm512_unpacklo_epi32(fours[2], fours[3]);
  __m512i high01 = _mm512_unpackhi_epi32(fours[0], fours[1]);
  __m512i high23 = _mm512_unpackhi_epi32(fours[2], fours[3]);
  words[0] = _mm512_unpacklo_epi64(low01, low23);
  words[1] = _mm512_unpackhi_epi64(low01, low23);
  words[2] = _mm512_unpacklo_epi64(high01, high23);
  words[3] = _mm512_unpackhi_epi64(high01, high23);
}

// The values of the codes at bits `at` ... `at` + 3 of each lane.
V vec look_up_at(codebook_4bit codebook, word words, unsigned at) {
  return _mm512_permutexvar_ps(_mm512_srli_epi32(words, at), codebook);
}

typedef codebook_4bit dot_table;

// x is parted into runs of 16 even and 16 odd elements.
enum { RUN = 32 };

V dot_table load_dot_table(const float *values) { return load_codebook(values); }

// The products of 32 weights, unscaled, with x, parted: lane sums.
V vec dot_32(dot_table table, const uint8_t *codes, const float *x) {
  __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)codes));
  vec even = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), table);
  vec odd = _mm512_permutexvar_ps(pairs, table);
  return v_fma(odd, v_load(x + 16), v_mul(even, v_load(x)));
}

// --- Quantization ---

// A 32nd of the way from -1 to 1 holds few boundaries: one of NF4's, two of FP4's. `below` says how
// many are in lower cells, and a comparison each passes those in the cell itself.
//
// The cell is a monotone function of s, so whatever lies in a lower one is below s, whatever in a
// higher one is not, and where the cells end does not matter; only the comparisons decide.
typedef struct {
  __m512 ascending;  // the boundaries, and infinity
  __m512i below[2];  // of cells 0 ..< 16 and 16 ..< 32
  int most_in_a_cell;
} boundaries;

enum { CELLS = 32, STEPS = 15 };  // cell 16 + floor(15 s): in 0 ..< 32 also where |s| rounds past 1

V boundaries load_boundaries(const float *m) {
  boundaries b = {.ascending = _mm512_mask_loadu_ps(v_set(INFINITY), 0x7fff, m)};
  int32_t in_cell[CELLS] = {0}, below[CELLS];
  for (int i = 0; i < 15; i++) {
    double cell = CELLS / 2 + floor((double)m[i] * STEPS);  // no rounding before floor's
    in_cell[(int)fmin(fmax(cell, 0), CELLS - 1)]++;
  }
  for (int cell = 0, sum = 0; cell < CELLS; sum += in_cell[cell++]) {
    below[cell] = sum;
    if (in_cell[cell] > b.most_in_a_cell) b.most_in_a_cell = in_cell[cell];
  }
  b.below[0] = _mm512_loadu_si512(below);
  b.below[1] = _mm512_loadu_si512(below + CELLS / 2);
  return b;
}

// The codes of the intervals.
typedef __m512i interval_codes;

V interval_codes load_codes(const uint8_t *order) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)order));
}

// 64 finite weights times `reciprocal` as 32 bytes of codes.
V void quantize_64(boundaries b, interval_codes order, const float *x, vec reciprocal,
                   uint8_t *packed) {
  vec s[4];
  __m512i below[4];
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) {
    s[j] = v_mul(v_load(x + 16 * j), reciprocal);
    // Numbers from 2^23 to 2^24 are whole: the fused sum is rounded down once, and its low bits are
    // the cell.
    vec cell = _mm512_fmadd_round_ps(s[j], v_set(STEPS), v_set(0x1.8p23f + CELLS / 2),
                                     _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    below[j] = _mm512_permutex2var_epi32(b.below[0], _mm512_castps_si512(cell), b.below[1]);
  }
  for (int i = 0; i < b.most_in_a_cell; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) {
      vec next = _mm512_permutexvar_ps(below[j], b.ascending);
      __mmask16 passed = _mm512_cmp_ps_mask(s[j], next, _CMP_GT_OQ);
      below[j] = _mm512_mask_sub_epi32(below[j], passed, below[j], _mm512_set1_epi32(-1));
    }
  }
  // Packing interleaves the quarters: word i of quarter q of `pairs` is pair 8 (i / 2) + 2 q + i %
  // 2 of the 32.
  __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(below[0], below[1]),
                                      _mm512_packus_epi32(below[2], below[3]));
  __m512i codes = _mm512_shuffle_epi8(order, bytes);
  __m512i pairs = _mm512_maddubs_epi16(codes, _mm512_set1_epi16(0x0110));  // even * 16 + odd
  __m256i places = _mm256_setr_epi8(0, 2, 16, 18, 32, 34, 48, 50, 4, 6, 20, 22, 36, 38, 52, 54, 8,
                                    10, 24, 26, 40, 42, 56, 58, 12, 14, 28, 30, 44, 46, 60, 62);
  __m512i out = _mm512_permutexvar_epi8(_mm512_castsi256_si512(places), pairs);
  _mm256_storeu_si256((void *)packed, _mm512_castsi512_si256(out));
}

#include "../vector_kernels.h"

// Made of those.
#include "../vector_attention.h"
#include "../vector_gemm.h"
#include "../vector_low_rank.h"
#include "../vector_refactoring.h"
#include "../vector_scales.h"
#include "../vector_tiles.h"
#include "avx512_tiles.h"
// After those.
#include "avx512_panels.h"

const quant_kernels quant_kernels_avx512 = {
    .isa = "avx512",
    .quantize = quantize,
    .nearest_products = nearest_products,
    .dequantize_f32 = dequantize_f32,
    .dequantize_bf16 = dequantize_bf16,
    .f32_from_f16 = f32_from_f16,
    .f32_from_bf16 = f32_from_bf16,
    .f16_from_f32 = f16_from_f32,
    .bf16_from_f32 = bf16_from_f32,
    .i8_from_f32 = i8_from_f32,
    .saturated_f16_from_f32 = saturated_f16_from_f32,
    .matvec = matvec,
    .matmul = matmul,
    .matmul_backward = matmul_backward,
    .gemm = gemm,
    .low_rank_down = low_rank_down,
    .low_rank_up = low_rank_up,
    .tile_4bit = tile_4bit,
    .tile_8bit = tile_8bit,
    .prepare = prepare,
    .matmul_tiles = matmul_tiles,
    .matmul_tiles_backward = matmul_tiles_backward,
    .dot = dot,
    .axpy = axpy,
    .softmax = softmax,
    .soft_cap = soft_cap,
    .soft_cap_backward = soft_cap_backward,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .geglu = geglu,
    .geglu_backward = geglu_backward,
    .rmsnorm = rmsnorm,
    .softmax_backward = softmax_backward,
    .rmsnorm_backward = rmsnorm_backward,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .layernorm = layernorm,
    .layernorm_backward = layernorm_backward,
    .rotate = rotate,
    .dropout = dropout,
    .scale = scale,
    .sum_of_squares = sum_of_squares,
    .factor_gram = factor_gram,
    .factor_multiply = factor_multiply,
    .geometric_means = geometric_means,
    .kv_write = kv_write,
    .attend = attend,
    .attend_merge = attend_merge,
};

#pragma clang attribute pop

#endif
