// Products of integers with VNNI: a register holds 16 rows of a tile, a word of it some columns.
//
// Words of activations are broadcast against it: pairs of 16-bit values or quadruples of 8-bit
// ones. A group of rows lies as [block][word][height], its height rounded up so that few kernels
// serve all.
#pragma once

enum { MAX_HEIGHT = QUANT_GROUP };

// Rows that a group of `rows` occupies: 1, 2, or a multiple of 4.
V size_t padded(size_t rows) { return rows <= 2 ? rows : (rows + 3) / 4 * 4; }

// --- Activations ---

// The columns of a word's halves, in runs of 8: what shifting 4-bit codes right by 0, 4, 8, 12
// brings to the low ends of 16-bit lanes.
V __m512i in_pair_order(__m512i x) {
  const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 30, 28, 26, 24, 23, 21, 19, 17, 22, 20, 18,
                                         16, 15, 13, 11, 9, 14, 12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0);
  return _mm512_permutexvar_epi16(order, x);
}

typedef struct {
  __m512i words[2];  // 64 16-bit values, or in words[0] 64 8-bit ones
  float scale;
  int32_t sum;
} prepared_block;

V prepared_block prepare_block(const float *x, size_t count, quant_precision precision) {
  vec v[4], top = v_zero(), sum = v_zero();
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    size_t first = 16 * (size_t)i;
    v[i] = count >= first + 16 ? v_load(x + first)
           : count > first     ? v_load_partial(x + first, count - first)
                               : v_zero();
    top = v_max(top, v_abs(v[i]));
    sum = v_add(sum, v_abs(v[i]));
  }
  float limit = precision == QUANT_INT16 ? QUANT_INT16_LIMIT : 127;
  float largest = v_any_nan(sum) ? NAN : v_maximum(top);
  int empty = largest < smallest_block;
  vec reciprocal = v_set(empty ? 0 : limit / largest);
  __m512i q[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) q[i] = _mm512_cvtps_epi32(v_mul(v[i], reciprocal));
  prepared_block out = {.scale = empty ? 0 : largest / limit};
  if (precision == QUANT_INT16) {
    for (int i = 0; i < 2; i++) {
      __m256i low = _mm512_cvtepi32_epi16(q[2 * i]), high = _mm512_cvtepi32_epi16(q[2 * i + 1]);
      out.words[i] = in_pair_order(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
  } else {
    __m512i bytes = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(q[0]));
    bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(q[1]), 1);
    bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(q[2]), 2);
    out.words[0] = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(q[3]), 3);
    __m512i total = _mm512_add_epi32(_mm512_add_epi32(q[0], q[1]), _mm512_add_epi32(q[2], q[3]));
    out.sum = -128 * _mm512_reduce_add_epi32(total);
  }
  return out;
}

V float quantize_block(const float *x, int8_t *codes) {
  prepared_block block = prepare_block(x, 64, QUANT_INT8);
  _mm512_storeu_si512(codes, block.words[0]);
  return block.scale;
}

// Of 4 vectors' lanes, one of each in turn: quarter by quarter lane i of the result is of vector i.
#define REDUCE_4(name, combine)                                                                \
  V __m512i name(const __m512i t[4]) {                                                         \
    __m512i a = combine(_mm512_unpacklo_epi32(t[0], t[1]), _mm512_unpackhi_epi32(t[0], t[1])); \
    __m512i b = combine(_mm512_unpacklo_epi32(t[2], t[3]), _mm512_unpackhi_epi32(t[2], t[3])); \
    a = combine(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));                     \
    a = combine(a, _mm512_shuffle_i32x4(a, a, 0x4e));                                          \
    return combine(a, _mm512_shuffle_i32x4(a, a, 0xb1));                                       \
  }
REDUCE_4(largest_of_4, _mm512_max_epu32)
REDUCE_4(sum_of_4, _mm512_add_epi32)
#undef REDUCE_4

// 64 columns of 4 rows as prepare_block does one: words[part][row], scales[row], sums[row]. Returns
// 0 where a number is not finite: those need not be fast.
INLINE int prepare_4_blocks(const float *x, size_t ldx, int precision, __m512i words[2][4],
                            float *scales, int32_t *sums) {
  // What packing leaves within quarters is brought to the order of pairs, or of columns.
  const __m512i pairs = _mm512_set_epi16(31, 29, 23, 21, 30, 28, 22, 20, 15, 13, 7, 5, 14, 12, 6, 4,
                                         27, 25, 19, 17, 26, 24, 18, 16, 11, 9, 3, 1, 10, 8, 2, 0);
  const __m512i columns = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  __m512i tops[4];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 4; i++) {
    vec top = v_zero();
#pragma clang loop unroll(full)
    for (size_t j = 0; j < 4; j++) top = v_max_magnitude(top, v_load(x + i * ldx + 16 * j));
    tops[i] = _mm512_castps_si512(top);
  }
  vec largest = _mm512_castsi512_ps(largest_of_4(tops));
  vec limit = v_set(precision == QUANT_INT16 ? QUANT_INT16_LIMIT : 127);
  if (_mm512_cmp_ps_mask(largest, v_set(INFINITY), _CMP_NLT_UQ)) return 0;
  __mmask16 full = _mm512_cmp_ps_mask(largest, v_set(smallest_block), _CMP_GE_OQ);
  float reciprocals[16];
  v_store(reciprocals, _mm512_maskz_div_ps(full, limit, largest));
  _mm_storeu_ps(scales, _mm512_castps512_ps128(_mm512_maskz_div_ps(full, largest, limit)));
  __m512i totals[4];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 4; i++) {
    vec reciprocal = v_set(reciprocals[i]);
    __m512i q[4];
#pragma clang loop unroll(full)
    for (size_t j = 0; j < 4; j++) {
      q[j] = _mm512_cvtps_epi32(v_mul(v_load(x + i * ldx + 16 * j), reciprocal));
    }
    __m512i low = _mm512_packs_epi32(q[0], q[1]), high = _mm512_packs_epi32(q[2], q[3]);
    if (precision == QUANT_INT16) {
      words[0][i] = _mm512_permutexvar_epi16(pairs, low);
      words[1][i] = _mm512_permutexvar_epi16(pairs, high);
      totals[i] = _mm512_setzero_si512();
    } else {
      words[0][i] = _mm512_permutexvar_epi32(columns, _mm512_packs_epi16(low, high));
      totals[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), words[0][i]);
    }
  }
  __m512i sum = _mm512_mullo_epi32(sum_of_4(totals), _mm512_set1_epi32(-128));
  _mm_storeu_si128((void *)sums, _mm512_castsi512_si128(sum));
  return 1;
}

// 16 words of 4 rows to out[word][height].
V void interleave(const __m512i rows[4], int32_t *out, size_t height) {
  __m512i a = _mm512_unpacklo_epi32(rows[0], rows[1]), b = _mm512_unpackhi_epi32(rows[0], rows[1]);
  __m512i c = _mm512_unpacklo_epi32(rows[2], rows[3]), d = _mm512_unpackhi_epi32(rows[2], rows[3]);
  __m512i words[4] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c),
                      _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)};
#pragma clang loop unroll(full)
  for (size_t j = 0; j < 4; j++) {
    _mm_storeu_si128((void *)(out + j * height), _mm512_castsi512_si128(words[j]));
    _mm_storeu_si128((void *)(out + (j + 4) * height), _mm512_extracti32x4_epi32(words[j], 1));
    _mm_storeu_si128((void *)(out + (j + 8) * height), _mm512_extracti32x4_epi32(words[j], 2));
    _mm_storeu_si128((void *)(out + (j + 12) * height), _mm512_extracti32x4_epi32(words[j], 3));
  }
}

static void prepare_group(const float *x, size_t ldx, size_t rows, size_t columns,
                          quant_precision precision, int32_t *values, float *scales,
                          int32_t *sums) {
  size_t height = padded(rows), words = precision == QUANT_INT16 ? 32 : 16;
  for (size_t b = 0; b < blocks_of(columns); b++) {
    size_t count = smaller(64, columns - 64 * b);
    for (size_t i = 0; i < height; i += 4) {
      __m512i parts[2][4];
      if (i + 4 <= rows && count == 64) {
        const float *from = x + i * ldx + 64 * b;
        float *scale = scales + b * height + i;
        int32_t *sum = sums + b * height + i;
        int done = precision == QUANT_INT16
                       ? prepare_4_blocks(from, ldx, QUANT_INT16, parts, scale, sum)
                       : prepare_4_blocks(from, ldx, QUANT_INT8, parts, scale, sum);
        if (done) {
          for (size_t part = 0; part < words / 16; part++) {
            interleave(parts[part], values + (b * words + 16 * part) * height + i, height);
          }
          continue;
        }
      }
      for (size_t j = 0; j < 4; j++) {
        parts[0][j] = parts[1][j] = _mm512_setzero_si512();
        if (i + j >= height) continue;
        prepared_block block = {.scale = 0};
        if (i + j < rows) block = prepare_block(x + (i + j) * ldx + 64 * b, count, precision);
        scales[b * height + i + j] = block.scale;
        sums[b * height + i + j] = block.sum;
        for (size_t part = 0; part < words / 16; part++) parts[part][j] = block.words[part];
      }
      for (size_t part = 0; part < words / 16; part++) {
        int32_t *out = values + (b * words + 16 * part) * height + i;
        if (height >= 4) {
          interleave(parts[part], out, height);
        } else {
          int32_t row[2][16];
          _mm512_storeu_si512(row[0], parts[part][0]);
          _mm512_storeu_si512(row[1], parts[part][1]);
          for (size_t word = 0; word < 16; word++) {
            for (size_t j = 0; j < height; j++) out[word * height + j] = row[j][word];
          }
        }
      }
    }
  }
}

static void prepare(const float *x, size_t ldx, size_t group_begin, size_t group_end,
                    quant_activations *out) {
  for (size_t g = group_begin; g < group_end && g * QUANT_GROUP < out->rows; g++) {
    prepare_group(x + g * QUANT_GROUP * ldx, ldx, group_rows(out, g), out->columns, out->precision,
                  group_values(out, g), out->scales + group_offset(out, g),
                  out->sums + group_offset(out, g));
  }
}

// --- Forward ---

// What a product decodes tiles with.
typedef struct {
  __m512i codebook;  // replicated, so that the high bits of an index do not matter
  vec multiplier;
} tile_decoder;

V tile_decoder decoder_of(const quant_tiles *w, quant_precision precision) {
  tile_decoder decoder = {_mm512_setzero_si512(),
                          v_set(precision == QUANT_INT16 ? w->multiplier16 : w->multiplier8)};
  if (precision == QUANT_INT16) {
    __m256i codebook = _mm256_loadu_si256((const void *)w->codebook16);
    decoder.codebook = _mm512_broadcast_i64x4(codebook);
  } else {
    __m512i codebook = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w->codebook8));
    // Unsigned, as the instruction wants one side; `sums` take the 128 away again.
    decoder.codebook = _mm512_xor_si512(codebook, _mm512_set1_epi8((char)0x80));
  }
  return decoder;
}

// How far ahead of its use a tile is asked for: the latency of memory at the speed of a core.
enum { TILE_AHEAD = 4096 };

// 8 columns of a tile: one vector of 4-bit codes, or two of 8-bit ones.
typedef struct {
  __m512i codes[2];
} tile_run;

V tile_run load_run(int bits, const uint8_t *codes, size_t run) {
  tile_run out;
#pragma clang loop unroll(full)
  for (int half = 0; half < bits / 4; half++) {
    const uint8_t *p = codes + 64 * (run * (size_t)(bits / 4) + (size_t)half);
    out.codes[half] = _mm512_loadu_si512(p);
    _mm_prefetch((const char *)p + TILE_AHEAD, _MM_HINT_T0);
  }
  return out;
}

// Words of activations that a run is multiplied by.
V int words_of_run(int precision) { return precision == QUANT_INT16 ? 4 : 2; }

// The weights that meet word `s` of them.
V __m512i decode_word(int bits, int precision, tile_run run, int s, __m512i codebook) {
  const __m512i high_bit = _mm512_set1_epi8((char)0x80);
  if (bits == 4 && precision == QUANT_INT16) {
    return _mm512_permutexvar_epi16(_mm512_srli_epi16(run.codes[0], 4 * s), codebook);
  }
  if (bits == 4) return _mm512_permutexvar_epi8(_mm512_srli_epi16(run.codes[0], 4 * s), codebook);
  if (precision == QUANT_INT8) return _mm512_xor_si512(run.codes[s], high_bit);
  // Even words have pairs of the first 4 columns, odd ones of the last.
  __m512i pairs = run.codes[s % 2];
  return _mm512_srai_epi16(s < 2 ? _mm512_slli_epi16(pairs, 8) : pairs, 8);
}

// sums[i] += the block's products of the tile with `rows` rows of activations.
INLINE void block_sums(int rows, int bits, int precision, const uint8_t *codes,
                       tile_decoder decoder, const int32_t *x, __m512i *sums) {
  size_t stride = (size_t)rows;
#pragma clang loop unroll(disable)
  for (size_t g = 0; g < 8; g++) {
    tile_run run = load_run(bits, codes, g);
#pragma clang loop unroll(full)
    for (int s = 0; s < words_of_run(precision); s++) {
      __m512i w = decode_word(bits, precision, run, s, decoder.codebook);
#pragma clang loop unroll(full)
      for (int i = 0; i < rows; i++) {
        __m512i value = _mm512_set1_epi32(x[(size_t)s * stride + (size_t)i]);
        sums[i] = precision == QUANT_INT16 ? _mm512_dpwssd_epi32(sums[i], w, value)
                                           : _mm512_dpbusd_epi32(sums[i], w, value);
      }
    }
    x += (size_t)words_of_run(precision) * stride;
  }
}

// A row of tiles times a group of activations.
typedef struct {
  const uint8_t *codes;
  const uint16_t *scales;
  size_t blocks;
  tile_decoder decoder;
  const int32_t *x;
  const float *x_scales;
  const int32_t *x_sums;
  float *y;
  size_t ldy, live;  // rows of activations that are no padding
  __mmask16 lanes;   // rows of the tile that are no padding
  int accumulate;
} tile_row;

INLINE void multiply_tile_row(int rows, int bits, int precision, const tile_row *t) {
  const uint8_t *codes = t->codes;
  const int32_t *x = t->x;
  // The totals stay in Y between blocks: registers for sums and totals of many rows there are not.
  for (size_t b = 0; b < t->blocks; b++) {
    __m512i sums[MAX_HEIGHT];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      sums[i] = precision == QUANT_INT16
                    ? _mm512_setzero_si512()
                    : _mm512_set1_epi32(t->x_sums[b * (size_t)rows + (size_t)i]);
    }
    block_sums(rows, bits, precision, codes, t->decoder, x, sums);
    vec scale = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(t->scales + 16 * b)));
    scale = v_mul(scale, t->decoder.multiplier);
    const float *x_scales = t->x_scales + b * (size_t)rows;
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vec product = v_mul(_mm512_cvtepi32_ps(sums[i]), v_set(x_scales[i]));
      if ((size_t)i >= t->live) break;
      float *y = t->y + (size_t)i * t->ldy;
      vec total = b > 0 || t->accumulate ? _mm512_maskz_loadu_ps(t->lanes, y) : v_zero();
      _mm512_mask_storeu_ps(y, t->lanes, v_fma(product, scale, total));
    }
    codes += tile_bytes(bits);
    x += (precision == QUANT_INT16 ? 32 : 16) * rows;
  }
}

// A single row: four sums hide the latency that many rows hide for each other.
INLINE void multiply_tile_row_single(int bits, int precision, const tile_row *t) {
  const uint8_t *codes = t->codes;
  const __m512i high_bit = _mm512_set1_epi8((char)0x80);
  const int32_t *x = t->x;
  vec total = t->accumulate ? _mm512_maskz_loadu_ps(t->lanes, t->y) : v_zero();
  for (size_t b = 0; b < t->blocks; b++) {
    __m512i sums[4];
    sums[0] = precision == QUANT_INT16 ? _mm512_setzero_si512() : _mm512_set1_epi32(t->x_sums[b]);
    sums[1] = sums[2] = sums[3] = _mm512_setzero_si512();
#pragma clang loop unroll(full)
    for (int g = 0; g < 2 * bits; g++) {
      const uint8_t *p = codes + 64 * g;
      __m512i d = _mm512_loadu_si512(p);
      _mm_prefetch((const char *)p + TILE_AHEAD, _MM_HINT_T0);
      if (bits == 4 && precision == QUANT_INT16) {
#pragma clang loop unroll(full)
        for (int s = 0; s < 4; s++) {
          __m512i w =
              _mm512_permutexvar_epi16(s ? _mm512_srli_epi16(d, 4 * s) : d, t->decoder.codebook);
          sums[s] = _mm512_dpwssd_epi32(sums[s], w, _mm512_set1_epi32(x[4 * g + s]));
        }
      } else if (bits == 4) {
#pragma clang loop unroll(full)
        for (int s = 0; s < 2; s++) {
          __m512i w = _mm512_permutexvar_epi8(s ? _mm512_srli_epi16(d, 4) : d, t->decoder.codebook);
          int i = (2 * g + s) % 4;
          sums[i] = _mm512_dpbusd_epi32(sums[i], w, _mm512_set1_epi32(x[2 * g + s]));
        }
      } else if (precision == QUANT_INT16) {
        // Word s of 8 columns has pairs of the first 4 for even s, of the last 4 for odd s.
        const int32_t *words = x + g / 2 * 4 + g % 2;
        __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(d, 8), 8);
        int i = g % 2 * 2;
        sums[i] = _mm512_dpwssd_epi32(sums[i], even, _mm512_set1_epi32(words[0]));
        sums[i + 1] =
            _mm512_dpwssd_epi32(sums[i + 1], _mm512_srai_epi16(d, 8), _mm512_set1_epi32(words[2]));
      } else {
        sums[g % 4] = _mm512_dpbusd_epi32(sums[g % 4], _mm512_xor_si512(d, high_bit),
                                          _mm512_set1_epi32(x[g]));
      }
    }
    __m512i sum =
        _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
    vec scale = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(t->scales + 16 * b)));
    scale = v_mul(scale, t->decoder.multiplier);
    total = v_fma(v_mul(_mm512_cvtepi32_ps(sum), v_set(t->x_scales[b])), scale, total);
    codes += tile_bytes(bits);
    x += precision == QUANT_INT16 ? 32 : 16;
  }
  _mm512_mask_storeu_ps(t->y, t->lanes, total);
}

// One function a height: in one body the compiler runs out of registers.
#define HEIGHT(rows, bits, precision)                                                            \
  static                                                                                         \
      __attribute__((noinline)) void tile_row_##bits##_##precision##_##rows(const tile_row *t) { \
    multiply_tile_row(rows, bits, precision, t);                                                 \
  }
#define HEIGHTS(bits, precision)                                                               \
  static __attribute__((noinline)) void tile_row_##bits##_##precision##_1(const tile_row *t) { \
    multiply_tile_row_single(bits, precision, t);                                              \
  }                                                                                            \
  HEIGHT(2, bits, precision)                                                                   \
  HEIGHT(4, bits, precision)                                                                   \
  HEIGHT(8, bits, precision)                                                                   \
  HEIGHT(12, bits, precision)                                                                  \
  HEIGHT(16, bits, precision)                                                                  \
  HEIGHT(20, bits, precision)                                                                  \
  HEIGHT(24, bits, precision)                                                                  \
  static void (*const tile_rows_##bits##_##precision[])(const tile_row *) = {                  \
      tile_row_##bits##_##precision##_1,  tile_row_##bits##_##precision##_2,                   \
      tile_row_##bits##_##precision##_4,  tile_row_##bits##_##precision##_8,                   \
      tile_row_##bits##_##precision##_12, tile_row_##bits##_##precision##_16,                  \
      tile_row_##bits##_##precision##_20, tile_row_##bits##_##precision##_24};
HEIGHTS(4, 16)
HEIGHTS(4, 8)
HEIGHTS(8, 16)
HEIGHTS(8, 8)
#undef HEIGHTS
#undef HEIGHT
