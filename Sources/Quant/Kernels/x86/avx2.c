// AVX2 with FMA and F16C: every x86 server and desktop since 2013-2015.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "quant_kernels.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)

// --- Primitives ---

typedef __m256 vec;
// 6 × 2 sums, 2 vectors of the panel and a broadcast fill the 16 registers but one.
enum { LANES = 8, TILE_ROWS = 6, TILE_VECS = 2 };

#define V static inline __attribute__((always_inline))

V vec v_zero(void) { return _mm256_setzero_ps(); }
V vec v_set(float x) { return _mm256_set1_ps(x); }
V vec v_load(const float *p) { return _mm256_loadu_ps(p); }
V void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
V vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
V vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
V vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
V vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
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

V vec f32_of_8_f16(__m128i x) { return _mm256_cvtph_ps(x); }
V vec f32_of_8_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
V __m128i f16_of_8_f32(vec x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
V __m128i bf16_of_8_f32(vec x) {
  __m256i bits = _mm256_castps_si256(x);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

#define FROM_16_BITS(name, convert)                                                  \
  static void name(const uint16_t *x, size_t n, float *out) {                        \
    size_t i = 0;                                                                    \
    for (; i + 8 <= n; i += 8) {                                                     \
      v_store(out + i, convert(_mm_loadu_si128((const void *)(x + i))));             \
    }                                                                                \
    if (i < n) {                                                                     \
      uint16_t rest[8] = {0};                                                        \
      memcpy(rest, x + i, (n - i) * sizeof *x);                                      \
      v_store_partial(out + i, n - i, convert(_mm_loadu_si128((const void *)rest))); \
    }                                                                                \
  }
#define TO_16_BITS(name, convert)                                            \
  static void name(const float *x, size_t n, uint16_t *out) {                \
    size_t i = 0;                                                            \
    for (; i + 8 <= n; i += 8) {                                             \
      _mm_storeu_si128((void *)(out + i), convert(v_load(x + i)));           \
    }                                                                        \
    if (i < n) {                                                             \
      uint16_t rest[8];                                                      \
      _mm_storeu_si128((void *)rest, convert(v_load_partial(x + i, n - i))); \
      memcpy(out + i, rest, (n - i) * sizeof *out);                          \
    }                                                                        \
  }
FROM_16_BITS(f32_from_f16, f32_of_8_f16)
FROM_16_BITS(f32_from_bf16, f32_of_8_bf16)
TO_16_BITS(f16_from_f32, f16_of_8_f32)
TO_16_BITS(bf16_from_f32, bf16_of_8_f32)

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

// The values of 8 neighbours: 4 bytes, high nibbles first.
V vec look_up_8(codebook_4bit codebook, const uint8_t *codes) {
  int32_t word;
  memcpy(&word, codes, sizeof word);
  __m256i all = _mm256_set1_epi32(word);
  __m256i right = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  __m256i left = _mm256_setr_epi32(24, 28, 16, 20, 8, 12, 0, 4);
  return look_up(codebook, _mm256_srlv_epi32(all, right), _mm256_sllv_epi32(all, left));
}

static void decode_4bit(const quant_matrix *w, size_t first, size_t count, float *out) {
  const uint8_t *codes = w->data;
  codebook_4bit codebook = load_codebook(w->codebook);
  size_t end = first + count;
  while (first < end) {
    size_t block = first / w->block_size;
    size_t stop = (block + 1) * w->block_size;
    if (stop > end) stop = end;
    float scale = w->absmax[block];
    codebook_4bit values = scaled(codebook, scale);
    if (first % 2) *out++ = w->codebook[codes[first++ / 2] & 15] * scale;
    for (; first + 8 <= stop; first += 8, out += 8) {
      v_store(out, look_up_8(values, codes + first / 2));
    }
    for (; first < stop; first++) {
      uint8_t pair = codes[first / 2];
      *out++ = w->codebook[first % 2 ? pair & 15 : pair >> 4] * scale;
    }
  }
}

static void decode(const quant_matrix *w, size_t first, size_t count, float *out) {
  switch (w->type) {
    case QUANT_F32:
      memcpy(out, (const float *)w->data + first, count * sizeof *out);
      break;
    case QUANT_F16:
      f32_from_f16((const uint16_t *)w->data + first, count, out);
      break;
    case QUANT_BF16:
      f32_from_bf16((const uint16_t *)w->data + first, count, out);
      break;
    case QUANT_4BIT:
      decode_4bit(w, first, count, out);
      break;
  }
}

// 64 elements from `first`, a multiple of 32, on.
V void group_4bit(const quant_matrix *w, size_t first, float *out) {
  codebook_4bit codebook = load_codebook(w->codebook);
  for (size_t i = 0; i < 64; i += 32) {
    codebook_4bit values = scaled(codebook, w->absmax[(first + i) / w->block_size]);
    const uint8_t *codes = (const uint8_t *)w->data + (first + i) / 2;
    for (int j = 0; j < 4; j++) v_store(out + i + 8 * j, look_up_8(values, codes + 4 * j));
  }
}

// P[k][i] = W[row + i][first + k] for i < 16. Lanes are rows: 16 bytes of each of 8 rows are
// transposed as 32-bit words, and a word's 8 nibbles are 8 columns.
static void panel_of_rows_4bit(const quant_matrix *w, size_t row, size_t rows, size_t first,
                               size_t depth, float *panel) {
  size_t K = w->columns;
  codebook_4bit codebook = load_codebook(w->codebook);
  int shift = __builtin_ctzll(w->block_size);
  for (size_t half = 0; half < 16; half += 8) {
    size_t begin[8];
    for (size_t i = 0; i < 8; i++) {
      begin[i] = (row + (half + i < rows ? half + i : rows - 1)) * K + first;
    }
    for (size_t k = 0; k < depth; k += 32) {
      float scales[8];
      __m256i pairs[4], words[4];
      for (int i = 0; i < 8; i++) scales[i] = w->absmax[(begin[i] + k) >> shift];
      const uint8_t *codes = w->data;
      for (int i = 0; i < 4; i++) {
        pairs[i] = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const void *)(codes + (begin[i] + k) / 2))),
            _mm_loadu_si128((const void *)(codes + (begin[i + 4] + k) / 2)), 1);
      }
      __m256i low01 = _mm256_unpacklo_epi32(pairs[0], pairs[1]);
      __m256i low23 = _mm256_unpacklo_epi32(pairs[2], pairs[3]);
      __m256i high01 = _mm256_unpackhi_epi32(pairs[0], pairs[1]);
      __m256i high23 = _mm256_unpackhi_epi32(pairs[2], pairs[3]);
      words[0] = _mm256_unpacklo_epi64(low01, low23);
      words[1] = _mm256_unpackhi_epi64(low01, low23);
      words[2] = _mm256_unpacklo_epi64(high01, high23);
      words[3] = _mm256_unpackhi_epi64(high01, high23);
      vec scale = v_load(scales);
      float *out = panel + k * 16 + half;
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) {
#pragma clang loop unroll(full)
        for (int n = 0; n < 8; n++) {
          int at = 4 * (n ^ 1);  // the high nibble of a byte is the first
          vec value = look_up(codebook, _mm256_srli_epi32(words[j], at),
                              _mm256_slli_epi32(words[j], 28 - at));
          v_store(out + (8 * j + n) * 16, v_mul(value, scale));
        }
      }
    }
  }
}

// The products of `count` weights, unscaled, with x: lane sums.
V vec unit_dot_4bit(int count, const uint8_t *codes, const float *even, const float *odd,
                    codebook_4bit codebook) {
  vec evens = v_zero(), odds = v_zero();
#pragma clang loop unroll(full)
  for (int i = 0; i < count / 2; i += 8) {
    // Sign extension leaves the high nibble's fourth bit where the blend looks for it.
    __m256i pairs = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(codes + i)));
    vec high = look_up(codebook, _mm256_srli_epi32(pairs, 4), pairs);
    vec low = look_up(codebook, pairs, _mm256_slli_epi32(pairs, 28));
    evens = v_fma(high, v_load(even + i), evens);
    odds = v_fma(low, v_load(odd + i), odds);
  }
  return v_add(evens, odds);
}

#define TILE_MAX_ROWS 6
#include "../vector_kernels.h"

static void dequantize_f32(const quant_matrix *w, size_t first, size_t count, float *out) {
  decode(w, first, count, out);
}

static void dequantize_bf16(const quant_matrix *w, size_t first, size_t count, uint16_t *out) {
  enum { PART = 512 };
  float part[PART];
  for (size_t i = 0; i < count; i += PART) {
    size_t n = smaller(PART, count - i);
    decode(w, first + i, n, part);
    bf16_from_f32(part, n, out + i);
  }
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

// How many boundaries are below s, all for NaN; s need not be clamped, for they are within (-1, 1).
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

static void quantize(const float *x, size_t n, size_t block_size, const float *midpoints,
                     const uint8_t *order, uint8_t *packed, float *absmax) {
  boundaries b = load_boundaries(midpoints);
  __m256i codes_of = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)order));
  vec sign = v_set(-0.0f);
  size_t begin = 0;
  for (; begin + block_size <= n; begin += block_size) {
    const float *block = x + begin;
    vec top = v_zero(), nan = v_zero();
    for (size_t i = 0; i < block_size; i += 8) {
      vec v = v_load(block + i);
      top = v_max(top, _mm256_andnot_ps(sign, v));
      nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    }
    float largest = _mm256_movemask_ps(nan) ? NAN : v_maximum(top);
    absmax[begin / block_size] = largest;
    vec reciprocal = v_set(1 / (largest < 1e-38f ? 1e-38f : largest));
    for (size_t i = 0; i < block_size; i += 32) {
      __m256i part[4];
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) {
        part[j] = intervals(b, v_mul(v_load(block + i + 8 * j), reciprocal));
      }
      // Packing interleaves the halves: the 32-bit groups end up as 0 2 4 6 1 3 5 7.
      __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(part[0], part[1]),
                                          _mm256_packus_epi32(part[2], part[3]));
      bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
      bytes = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
      __m256i codes = _mm256_shuffle_epi8(codes_of, bytes);
      // even * 16 + odd
      __m256i pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x0110));
      __m128i out =
          _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
      _mm_storeu_si128((void *)(packed + (begin + i) / 2), out);
    }
  }
  if (begin < n) {
    quant_kernels_scalar.quantize(x + begin, n - begin, block_size, midpoints, order,
                                  packed + begin / 2, absmax + begin / block_size);
  }
}

const quant_kernels quant_kernels_avx2 = {
    .isa = "avx2",
    .quantize = quantize,
    .dequantize_f32 = dequantize_f32,
    .dequantize_bf16 = dequantize_bf16,
    .f32_from_f16 = f32_from_f16,
    .f32_from_bf16 = f32_from_bf16,
    .f16_from_f32 = f16_from_f32,
    .bf16_from_f32 = bf16_from_f32,
    .matvec = matvec,
    .matmul = matmul,
    .matmul_backward = matmul_backward,
    .dot = dot,
    .axpy = axpy,
    .softmax = softmax,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .rmsnorm = rmsnorm,
};

#pragma clang attribute pop

#endif
