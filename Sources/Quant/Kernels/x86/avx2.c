// AVX2 with FMA and F16C: every x86 server and desktop since 2013-2015.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "quant_kernels.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)

// --- Primitives ---

typedef __m256 vec;
typedef __m256i word;
// 6 × 2 sums, 2 vectors of the panel and a broadcast fill the 16 registers but one.
enum { LANES = 8, TILE_VECS = 2 };
#define TILE_ROWS 6

#define V static inline __attribute__((always_inline))

V vec v_zero(void) { return _mm256_setzero_ps(); }
V vec v_set(float x) { return _mm256_set1_ps(x); }
V vec v_load(const float *p) { return _mm256_loadu_ps(p); }
V void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
V vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
V vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
V vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
V vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
V vec v_abs(vec a) { return _mm256_andnot_ps(v_set(-0.0f), a); }
V int v_any_nan(vec a) { return _mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)) != 0; }
V vec v_max_magnitude(vec top, vec x) {
  return _mm256_castsi256_ps(
      _mm256_max_epu32(_mm256_castps_si256(top), _mm256_castps_si256(v_abs(x))));
}
V float v_largest_magnitude(vec top) {
  __m256i bits = _mm256_castps_si256(top);
  __m128i a = _mm_max_epu32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  a = _mm_max_epu32(a, _mm_shuffle_epi32(a, 0x4e));
  a = _mm_max_epu32(a, _mm_shuffle_epi32(a, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(a));
}
V vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

// The first `count` < LANES lanes.
V __m256i first_lanes(size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
V vec v_load_partial(const float *p, size_t count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}
V void v_store_partial(float *p, size_t count, vec v) {
  _mm256_maskstore_ps(p, first_lanes(count), v);
}

V float v_sum(vec v) {
  __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  a = _mm_add_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}
V float v_maximum(vec v) {
  __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  a = _mm_max_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) is the Taylor polynomial of
// degree 7, whose remainder is below 1e-8; with the roundings the relative error is below 2e-7. 2^n
// is applied in two halves, so that results may be subnormal or overflow to infinity.
V vec v_exp(vec x) {
  // NaN is the second operand, which these instructions return.
  x = _mm256_min_ps(v_set(89), _mm256_max_ps(v_set(-104), x));
  vec n = _mm256_round_ps(v_mul(x, v_set(0x1.715476p+0f)),
                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: n times the first is exact.
  vec r = _mm256_fnmadd_ps(n, v_set(0x1.62e4p-1f), x);
  r = _mm256_fnmadd_ps(n, v_set(0x1.7f7d1cp-20f), r);
  vec p = v_set(1.0f / 5040);
  p = v_fma(p, r, v_set(1.0f / 720));
  p = v_fma(p, r, v_set(1.0f / 120));
  p = v_fma(p, r, v_set(1.0f / 24));
  p = v_fma(p, r, v_set(1.0f / 6));
  p = v_fma(p, r, v_set(0.5f));
  p = v_fma(p, r, v_set(1));
  p = v_fma(p, r, v_set(1));
  __m256i exponent = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(exponent, 1);
  __m256i bias = _mm256_set1_epi32(127);
  __m256i rest = _mm256_sub_epi32(exponent, half);
  p = v_mul(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
  return v_mul(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

// --- 16-bit floats ---

typedef __m128i vec16;  // LANES 16-bit floats

V vec16 v16_load(const uint16_t *p) { return _mm_loadu_si128((const void *)p); }
V void v16_store(uint16_t *p, vec16 v) { _mm_storeu_si128((void *)p, v); }
V vec f32_of_f16(vec16 x) { return _mm256_cvtph_ps(x); }
V vec f32_of_bf16(vec16 x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
V vec16 f16_of_f32(vec x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
V vec16 bf16_of_f32(vec x) {
  __m256i bits = _mm256_castps_si256(x);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

// --- 8-bit integers ---

V vec f32_of_i8(const int8_t *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}
V void i8_store(int8_t *p, vec x) {
  __m256i words = _mm256_cvtps_epi32(x);
  __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64((void *)p, _mm_packs_epi16(pairs, pairs));
}

// --- 4-bit codes ---

// The 16 values in two registers; permutevar looks at the low three bits of an index, and the
// fourth, moved to the sign, blends.
typedef struct {
  __m256 low, high;
} codebook_4bit;

V codebook_4bit load_codebook(const float *values) {
  return (codebook_4bit){_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)};
}

V codebook_4bit scaled(codebook_4bit codebook, float scale) {
  return (codebook_4bit){v_mul(codebook.low, v_set(scale)), v_mul(codebook.high, v_set(scale))};
}

// The values of codes whose low bits are those of `index` and whose fourth bit is the sign of
// `top`.
V vec look_up(codebook_4bit codebook, __m256i index, __m256i top) {
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(codebook.low, index),
                          _mm256_permutevar8x32_ps(codebook.high, index), _mm256_castsi256_ps(top));
}

// The values of LANES neighbours: 4 bytes, high nibbles first.
V vec look_up_neighbours(codebook_4bit codebook, const uint8_t *codes) {
  int32_t word;
  memcpy(&word, codes, sizeof word);
  __m256i all = _mm256_set1_epi32(word);
  __m256i right = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  __m256i left = _mm256_setr_epi32(24, 28, 16, 20, 8, 12, 0, 4);
  return look_up(codebook, _mm256_srlv_epi32(all, right), _mm256_sllv_epi32(all, left));
}

// words[j] holds, a lane a row, columns 8j ... 8j + 7 of LANES rows, whose 16 bytes of codes are at
// rows[i].
V void load_words(const uint8_t *const rows[LANES], word words[4]) {
  __m256i pairs[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    pairs[i] =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)rows[i])),
                                _mm_loadu_si128((const void *)rows[i + 4]), 1);
  }
  __m256i low01 = _mm256_unpacklo_epi32(pairs[0], pairs[1]);
  __m256i low23 = _mm256_unpacklo_epi32(pairs[2], pairs[3]);
  __m256i high01 = _mm256_unpackhi_epi32(pairs[0], pairs[1]);
  __m256i high23 = _mm256_unpackhi_epi32(pairs[2], pairs[3]);
  words[0] = _mm256_unpacklo_epi64(low01, low23);
  words[1] = _mm256_unpackhi_epi64(low01, low23);
  words[2] = _mm256_unpacklo_epi64(high01, high23);
  words[3] = _mm256_unpackhi_epi64(high01, high23);
}

// The values of the codes at bits `at` ... `at` + 3 of each lane.
V vec look_up_at(codebook_4bit codebook, word words, int at) {
  return look_up(codebook, _mm256_srli_epi32(words, at), _mm256_slli_epi32(words, 28 - at));
}

// The values' bytes, for look-ups of 32 codes at once by pshufb: per 8 weights, 3 shuffles (4
// look-ups and 8 interleavings for 32) instead of 2 look-ups, 2 shifts and a blend (measured at 3.1
// GHz: 6.7 against 5.9 GB/s of codes and scales).
typedef struct {
  __m256i bytes[4];  // bytes[i] holds byte i of each value, in both halves
} dot_table;

// x is parted into runs of 4 even and 4 odd elements.
enum { RUN = 8 };

V dot_table load_dot_table(const float *values) {
  uint8_t bytes[4][16];
  for (int i = 0; i < 16; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    for (int j = 0; j < 4; j++) bytes[j][i] = (uint8_t)(bits >> (8 * j));
  }
  dot_table table;
  for (int j = 0; j < 4; j++) {
    table.bytes[j] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)bytes[j]));
  }
  return table;
}

// The products of 32 weights, unscaled, with x, parted: lane sums.
V vec dot_32(dot_table table, const uint8_t *codes, const float *x) {
  __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)codes));
  // High nibbles, the even elements, in the lower half, low ones in the upper.
  both = _mm256_srlv_epi32(both, _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0));
  __m256i nibbles = _mm256_and_si256(both, _mm256_set1_epi8(15));
  __m256i byte0 = _mm256_shuffle_epi8(table.bytes[0], nibbles);
  __m256i byte1 = _mm256_shuffle_epi8(table.bytes[1], nibbles);
  __m256i byte2 = _mm256_shuffle_epi8(table.bytes[2], nibbles);
  __m256i byte3 = _mm256_shuffle_epi8(table.bytes[3], nibbles);
  __m256i low0 = _mm256_unpacklo_epi8(byte0, byte1), high0 = _mm256_unpacklo_epi8(byte2, byte3);
  __m256i low1 = _mm256_unpackhi_epi8(byte0, byte1), high1 = _mm256_unpackhi_epi8(byte2, byte3);
  vec w0 = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low0, high0));
  vec w1 = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low0, high0));
  vec w2 = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low1, high1));
  vec w3 = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low1, high1));
  vec first = v_fma(w2, v_load(x + 16), v_mul(w0, v_load(x)));
  vec second = v_fma(w3, v_load(x + 24), v_mul(w1, v_load(x + 8)));
  return v_add(first, second);
}

// --- Quantization ---

// The boundaries as a binary search tree: node i has children 2i and 2i + 1, and 8 + i below them.
typedef struct {
  __m256 upper, lower;
} boundaries;

V boundaries load_boundaries(const float *m) {
  return (boundaries){_mm256_setr_ps(0, m[7], m[3], m[11], m[1], m[5], m[9], m[13]),
                      _mm256_setr_ps(m[0], m[2], m[4], m[6], m[8], m[10], m[12], m[14])};
}

// How many boundaries are below s, which need not be clamped, for they are within (-1, 1).
V __m256i intervals(boundaries b, vec s) {
  __m256i node = _mm256_set1_epi32(1);
#pragma clang loop unroll(full)
  for (int level = 0; level < 4; level++) {
    vec boundary = _mm256_permutevar8x32_ps(level < 3 ? b.upper : b.lower, node);
    __m256i below = _mm256_castps_si256(_mm256_cmp_ps(boundary, s, _CMP_NGE_UQ));
    node = _mm256_sub_epi32(_mm256_add_epi32(node, node), below);
  }
  return node;  // 16 + the interval
}

// The codes of the intervals.
typedef __m128i interval_codes;

V interval_codes load_codes(const uint8_t *order) { return _mm_loadu_si128((const void *)order); }

// 32 weights times `reciprocal` as 16 bytes of codes.
V void quantize_32(boundaries b, interval_codes order, const float *x, vec reciprocal,
                   uint8_t *packed) {
  __m256i part[4];
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) part[j] = intervals(b, v_mul(v_load(x + 8 * j), reciprocal));
  // Packing interleaves the halves: groups of four end up as 0 2 4 6 1 3 5 7.
  __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(part[0], part[1]),
                                      _mm256_packus_epi32(part[2], part[3]));
  bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  bytes = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
  __m256i codes = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(order), bytes);
  __m256i pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x0110));  // even * 16 + odd
  __m128i out = _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  _mm_storeu_si128((void *)packed, out);
}

// 64 weights times `reciprocal` as 32 bytes of codes.
V void quantize_64(boundaries b, interval_codes order, const float *x, vec reciprocal,
                   uint8_t *packed) {
  quantize_32(b, order, x, reciprocal, packed);
  quantize_32(b, order, x + 32, reciprocal, packed + 16);
}

#include "../vector_kernels.h"

// Made of those.
#include "../vector_attention.h"
#include "../vector_gemm.h"
#include "../vector_low_rank.h"
#include "../vector_refactoring.h"
#include "../vector_scales.h"
#include "../vector_tiles.h"
#include "avx2_tiles.h"

const quant_kernels quant_kernels_avx2 = {
    .isa = "avx2",
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
