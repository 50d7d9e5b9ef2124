// Products of integers without VNNI: a register holds 8 rows of a tile, a word of it some columns.
//
// Words of activations are broadcast against it. A single row of activations is multiplied by
// weights as they are decoded; for more, a tile is decoded once into pairs of 16-bit weights,
// whatever the precision: 8-bit products would save nothing, for their sums overflow 16 bits unless
// each is widened at once.
#pragma once

// What a product decodes tiles with: the bytes of a codebook, in both halves of a register.
typedef struct {
  __m256i low, high;  // of 16-bit values
  __m256i magnitudes, values;
} tile_decoder;

V __m256i in_both_halves(const void *bytes) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes));
}

V tile_decoder decoder_of(const quant_tiles *w, quant_precision precision) {
  uint8_t low[16], high[16];
  for (int i = 0; i < 16; i++) {
    int value = precision == QUANT_INT16 ? w->codebook16[i] : w->codebook8[i];
    low[i] = (uint8_t)value;
    high[i] = (uint8_t)(value >> 8);
  }
  __m256i values = in_both_halves(w->codebook8);
  return (tile_decoder){.low = in_both_halves(low),
                        .high = in_both_halves(high),
                        .magnitudes = _mm256_abs_epi8(values),
                        .values = values};
}

// 6 × 2 sums, 2 vectors of the panel, a broadcast and a product fill the 16 registers.
enum { PANEL_HEIGHT = 6 };

#include "../panel_tiles.h"

// --- Rounding ---

// The low halves of 16 words in order. Words whose sign does not fit are NaN's, and become 0.
V __m256i narrow_to_16(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi32(0xffff);
  __m256i halves = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  return _mm256_permute4x64_epi64(halves, _MM_SHUFFLE(3, 1, 2, 0));
}

// The low bytes of 32 16-bit values in order.
V __m256i narrow_to_8(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi16(0xff);
  __m256i bytes = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  return _mm256_permute4x64_epi64(bytes, _MM_SHUFFLE(3, 1, 2, 0));
}

V void store_rounded(const vec x[8], quant_precision precision, void *out) {
  __m256i words[8], halves[4], *to = out;
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) words[i] = _mm256_cvtps_epi32(x[i]);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) halves[i] = narrow_to_16(words[2 * i], words[2 * i + 1]);
  if (precision == QUANT_INT16) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) _mm256_storeu_si256(to + i, halves[i]);
  } else {
    _mm256_storeu_si256(to, narrow_to_8(halves[0], halves[1]));
    _mm256_storeu_si256(to + 1, narrow_to_8(halves[2], halves[3]));
  }
}

// --- Rows of activations times a panel ---
//
// A word of a panel is a pair of summands: pairs[p][i] has summands 2p and 2p + 1 of output i.

INLINE void multiply_rows(size_t rows, const panel_product *t) {
  __m256i sums[PANEL_HEIGHT][2];
  const __m256i *pairs = (const void *)t->panel;
  const int32_t *x = (const void *)t->x;
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    // Unrolled further, products are added before sums, and the compiler runs out of registers.
#pragma clang loop unroll_count(2)
  for (size_t p = 0; p < 32; p++) {
    __m256i low = _mm256_loadu_si256(pairs + 2 * p), high = _mm256_loadu_si256(pairs + 2 * p + 1);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
      __m256i value = _mm256_set1_epi32(x[32 * i + p]);
      sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(low, value));
      sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(high, value));
    }
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) {
    vec products[2] = {_mm256_cvtepi32_ps(sums[i][0]), _mm256_cvtepi32_ps(sums[i][1])};
    add_products(t, i, products);
  }
}

#define ROWS(n) \
  static void multiply_rows_##n(const panel_product *t) { multiply_rows(n, t); }
ROWS(1)
ROWS(2)
ROWS(3)
ROWS(4)
ROWS(5)
ROWS(6)
#undef ROWS
static void (*const panel_heights[PANEL_HEIGHT])(const panel_product *) = {
    multiply_rows_1, multiply_rows_2, multiply_rows_3,
    multiply_rows_4, multiply_rows_5, multiply_rows_6};

// --- Decoding ---

// The low and the high halves of bytes.
V void nibbles(__m256i bytes, __m256i codes[2]) {
  const __m256i mask = _mm256_set1_epi8(15);
  codes[0] = _mm256_and_si256(bytes, mask);
  codes[1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
}

// 32 codes as 16-bit weights: the lower 8 of each half of the register, the upper 8.
V void widen(int bits, __m256i codes, const tile_decoder *decoder, __m256i out[2]) {
  __m256i low = codes, high = _mm256_cmpgt_epi8(_mm256_setzero_si256(), codes);
  if (bits == 4) {
    low = _mm256_shuffle_epi8(decoder->low, codes);
    high = _mm256_shuffle_epi8(decoder->high, codes);
  }
  out[0] = _mm256_unpacklo_epi8(low, high);
  out[1] = _mm256_unpackhi_epi8(low, high);
}

// 8 rows by 8 columns of a tile at `codes`, their bytes shuffled, as 16-bit weights: two registers
// of the first four columns, two of the others.
V void widen_64(int bits, const uint8_t *codes, __m256i order, const tile_decoder *decoder,
                __m256i out[4]) {
  __m256i parts[2] = {_mm256_shuffle_epi8(_mm256_loadu_si256((const void *)codes), order)};
  if (bits == 4) {
    nibbles(parts[0], parts);
  } else {
    parts[1] = _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)(codes + 64)), order);
  }
  widen(bits, parts[0], decoder, out);
  widen(bits, parts[1], decoder, out + 2);
}

V void decode_tile(int bits, const uint8_t *codes, const tile_decoder *decoder, tile_panel *out) {
  // Of 4 rows of 4 columns: all rows' first two columns, then all rows' last two.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  __m256i *to = (void *)out;
#pragma clang loop unroll(disable)
  for (size_t g = 0; g < 8; g++) {
    const uint8_t *p = codes + (size_t)(16 * bits) * g;
    for (int line = 0; line < bits / 4; line++) {
      _mm_prefetch((const char *)p + 64 * line + TILE_AHEAD, _MM_HINT_T0);
    }
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i pairs[4];
      widen_64(bits, p + 32 * half, order, decoder, pairs);
#pragma clang loop unroll(full)
      for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_si256(to + 2 * (4 * g + i) + half, pairs[i]);
      }
    }
  }
}

// 8 rows of 8 columns of a tile: pairs of rows 0 2 4 6, columns in order, times the rows' ratios.
V void row_pairs(int bits, const uint8_t *codes, const tile_decoder *decoder,
                 const int32_t ratios[4], __m256i pairs[4]) {
  // Of 4 rows of 4 columns: the first two rows of each column, then the last two.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15));
  __m256i parts[4];
  widen_64(bits, codes, order, decoder, parts);
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) {
    // The halves of a register are rows 4 apart; those of the result, columns 4 apart.
    pairs[i] = _mm256_permute2x128_si256(parts[i], parts[2 + i], 0x20);
    pairs[2 + i] = _mm256_permute2x128_si256(parts[i], parts[2 + i], 0x31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    if (bits == 8) pairs[i] = _mm256_mullo_epi16(pairs[i], _mm256_set1_epi16(SPREAD));
    pairs[i] = _mm256_mulhrs_epi16(pairs[i], _mm256_set1_epi32(ratios[i]));
  }
}

V void decode_rows(int bits, const uint8_t *codes, const tile_decoder *decoder,
                   const int16_t ratios[16], size_t part, tile_panel panels[4]) {
  for (size_t half = 0; half < 2; half++) {
    int32_t both[4];  // rows of a pair
    memcpy(both, ratios + 8 * half, sizeof both);
    for (size_t g = 0; g < 8; g++) {
      __m256i pairs[4], *to = (__m256i *)(void *)panels[g / 2].weights[part] + g % 2;
      row_pairs(bits, codes + (size_t)(16 * bits) * g + 32 * half, decoder, both, pairs);
#pragma clang loop unroll(full)
      for (size_t p = 0; p < 4; p++) _mm256_storeu_si256(to + 2 * (4 * half + p), pairs[p]);
    }
  }
}

// --- A single row ---

V __m256i add_madd(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

// The sums of a block for a single row of 16-bit activations.
V void single_sums_16(int bits, const uint8_t *codes, const tile_decoder *decoder, const int16_t *x,
                      __m256i out[2]) {
  __m256i sums[2][2] = {{_mm256_setzero_si256(), _mm256_setzero_si256()},
                        {_mm256_setzero_si256(), _mm256_setzero_si256()}};
#pragma clang loop unroll_count(2)
  for (size_t g = 0; g < 2 * (size_t)bits; g++) {
    const uint8_t *p = codes + 64 * g;
    _mm_prefetch((const char *)p + TILE_AHEAD, _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i quadruples[2], parts[2];
      if (bits == 4) nibbles(_mm256_loadu_si256((const void *)(p + 32 * half)), parts);
#pragma clang loop unroll(full)
      for (size_t part = 0; part < 8 / (size_t)bits; part++) {
        int64_t value;
        memcpy(&value, x + 32 / (size_t)bits * g + 4 * part, sizeof value);
        if (bits == 4) {
          widen(4, parts[part], decoder, quadruples);
        } else {  // in order, and sooner
          const __m128i *rows = (const void *)(p + 32 * half);
          quadruples[0] = _mm256_cvtepi8_epi16(_mm_loadu_si128(rows));
          quadruples[1] = _mm256_cvtepi8_epi16(_mm_loadu_si128(rows + 1));
        }
        __m256i all = _mm256_set1_epi64x(value);
        sums[half][0] = add_madd(sums[half][0], quadruples[0], all);
        sums[half][1] = add_madd(sums[half][1], quadruples[1], all);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++) {
    out[half] = _mm256_hadd_epi32(sums[half][0], sums[half][1]);
    if (bits == 8) out[half] = _mm256_permute4x64_epi64(out[half], _MM_SHUFFLE(3, 1, 2, 0));
  }
}

// The same for 8-bit activations. One side of an 8-bit product is unsigned, and two of them are
// added in 16 bits, where up to 2 * 127² fits: so the signs of weights move to the activations.
V void single_sums_8(int bits, const uint8_t *codes, const tile_decoder *decoder, const int8_t *x,
                     __m256i out[2]) {
  const __m256i ones = _mm256_set1_epi16(1);
  out[0] = out[1] = _mm256_setzero_si256();
#pragma clang loop unroll_count(2)
  for (size_t g = 0; g < 2 * (size_t)bits; g++) {
    const uint8_t *p = codes + 64 * g;
    _mm_prefetch((const char *)p + TILE_AHEAD, _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i bytes = _mm256_loadu_si256((const void *)(p + 32 * half)), parts[2];
      if (bits == 4) nibbles(bytes, parts);
#pragma clang loop unroll(full)
      for (size_t part = 0; part < 8 / (size_t)bits; part++) {
        int32_t value;
        memcpy(&value, x + 32 / (size_t)bits * g + 4 * part, sizeof value);
        __m256i weights = bytes, magnitudes;
        if (bits == 4) {
          weights = _mm256_shuffle_epi8(decoder->values, parts[part]);
          magnitudes = _mm256_shuffle_epi8(decoder->magnitudes, parts[part]);
        } else {
          magnitudes = _mm256_abs_epi8(bytes);
        }
        __m256i signs = _mm256_sign_epi8(_mm256_set1_epi32(value), weights);
        out[half] = add_madd(out[half], _mm256_maddubs_epi16(magnitudes, signs), ones);
      }
    }
  }
}

INLINE void multiply_tile_row_single(int bits, quant_precision precision, const tile_row *t) {
  tile_decoder decoder = t->decoder;
  vec totals[2] = {v_zero(), v_zero()};
  if (t->accumulate) {
    totals[0] = load_lanes(t->y, t->lanes);
    if (t->lanes > LANES) totals[1] = load_lanes(t->y + LANES, t->lanes - LANES);
  }
  for (size_t b = 0; b < t->blocks; b++) {
    const uint8_t *codes = t->codes + b * tile_bytes(bits);
    __m256i sums[2];
    if (precision == QUANT_INT16) {
      single_sums_16(bits, codes, &decoder, (const int16_t *)t->x + 64 * b, sums);
    } else {
      single_sums_8(bits, codes, &decoder, (const int8_t *)t->x + 64 * b, sums);
    }
    vec scales[2];
    load_scales(t->scales + 16 * b, t->multiplier, scales);
#pragma clang loop unroll(full)
    for (int v = 0; v < 2; v++) {
      vec product = v_mul(_mm256_cvtepi32_ps(sums[v]), v_set(t->x_scales[b]));
      totals[v] = v_fma(product, scales[v], totals[v]);
    }
  }
  store_lanes(t->y, t->lanes, totals[0]);
  if (t->lanes > LANES) store_lanes(t->y + LANES, t->lanes - LANES, totals[1]);
}

static void single_4_16(const tile_row *t) { multiply_tile_row_single(4, QUANT_INT16, t); }
static void single_4_8(const tile_row *t) { multiply_tile_row_single(4, QUANT_INT8, t); }
static void single_8_16(const tile_row *t) { multiply_tile_row_single(8, QUANT_INT16, t); }
static void single_8_8(const tile_row *t) { multiply_tile_row_single(8, QUANT_INT8, t); }

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  (void)scratch;
  int narrow = x->precision == QUANT_INT8;
  multiply_row *single =
      w->bits == 4 ? (narrow ? single_4_8 : single_4_16) : (narrow ? single_8_8 : single_8_16);
  matmul_tile_rows(w, x, row_begin, row_end, y, ldy, accumulate, single);
}
