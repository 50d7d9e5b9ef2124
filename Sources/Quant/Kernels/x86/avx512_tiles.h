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

// sums[i] += the block's products of the tile with `rows` rows of activations.
INLINE void block_sums(int rows, int bits, int precision, const uint8_t *codes,
                       tile_decoder decoder, const int32_t *x, __m512i *sums) {
  const __m512i low_bit = _mm512_set1_epi8((char)0x80);
  size_t stride = (size_t)rows;
#pragma clang loop unroll(disable)
  for (int g = 0; g < 8; g++) {
    // 8 columns: one vector of 4-bit codes, or two of 8-bit ones.
    __m512i d[2];
    for (int half = 0; half < bits / 4; half++) {
      const uint8_t *p = codes + 64 * (g * (bits / 4) + half);
      d[half] = _mm512_loadu_si512(p);
      _mm_prefetch((const char *)p + TILE_AHEAD, _MM_HINT_T0);
    }
    int words = precision == QUANT_INT16 ? 4 : 2;
#pragma clang loop unroll(full)
    for (int s = 0; s < words; s++) {
      __m512i w;
      if (bits == 4 && precision == QUANT_INT16) {
        w = _mm512_permutexvar_epi16(s ? _mm512_srli_epi16(d[0], 4 * s) : d[0], decoder.codebook);
      } else if (bits == 4) {
        w = _mm512_permutexvar_epi8(s ? _mm512_srli_epi16(d[0], 4) : d[0], decoder.codebook);
      } else if (precision == QUANT_INT16) {
        __m512i pairs = d[s % 2];
        w = _mm512_srai_epi16(s < 2 ? _mm512_slli_epi16(pairs, 8) : pairs, 8);
      } else {
        w = _mm512_xor_si512(d[s], low_bit);
      }
#pragma clang loop unroll(full)
      for (int i = 0; i < rows; i++) {
        __m512i value = _mm512_set1_epi32(x[(size_t)s * stride + (size_t)i]);
        sums[i] = precision == QUANT_INT16 ? _mm512_dpwssd_epi32(sums[i], w, value)
                                           : _mm512_dpbusd_epi32(sums[i], w, value);
      }
    }
    x += (size_t)words * stride;
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

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate) {
  size_t blocks = w->columns / QUANT_TILE_COLUMNS;
  tile_decoder decoder = decoder_of(w, x->precision);
  void (*const *heights)(const tile_row *) =
      w->bits == 4 ? (x->precision == QUANT_INT16 ? tile_rows_4_16 : tile_rows_4_8)
                   : (x->precision == QUANT_INT16 ? tile_rows_8_16 : tile_rows_8_8);
  // A group stays in the nearest caches while all rows of tiles stream past it.
  for (size_t g = 0; g * QUANT_GROUP < x->rows; g++) {
    size_t rows = group_rows(x, g), height = padded(rows);
    for (size_t r = row_begin; r < row_end; r += QUANT_TILE_ROWS) {
      size_t tile = r / QUANT_TILE_ROWS * blocks, lanes = smaller(QUANT_TILE_ROWS, w->rows - r);
      tile_row t = {.codes = w->codes + tile * tile_bytes(w->bits),
                    .scales = w->scales + tile * QUANT_TILE_ROWS,
                    .blocks = blocks,
                    .decoder = decoder,
                    .x = group_values(x, g),
                    .x_scales = x->scales + group_offset(x, g),
                    .x_sums = x->sums + group_offset(x, g),
                    .y = y + g * QUANT_GROUP * ldy + r,
                    .ldy = ldy,
                    .live = rows,
                    .lanes = first_lanes(lanes),
                    .accumulate = accumulate};
      heights[height <= 2 ? height - 1 : height / 4 + 1](&t);
    }
  }
}

// --- Backward ---
//
// Sums run over rows of W: 64 columns of 64 rows are decoded into pairs of rows, in the order in
// which `prepare` pairs the columns of dY, and stay in the first-level cache while all of dY
// passes.

// The scales of 64 rows brought to the largest, as 15-bit fractions; returns the largest.
V float scale_ratios(const quant_tiles *w, size_t chunk, size_t block, int16_t ratios[64]) {
  size_t blocks = w->columns / 64;
  vec scales[4], top = v_zero();
#pragma clang loop unroll(full)
  for (size_t t = 0; t < 4; t++) {
    size_t row = 4 * chunk + t;
    scales[t] = v_zero();
    if (row * QUANT_TILE_ROWS < w->rows) {
      const uint16_t *p = w->scales + (row * blocks + block) * QUANT_TILE_ROWS;
      scales[t] = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
    }
    top = v_max(top, scales[t]);
  }
  float largest = v_maximum(top);
  vec reciprocal = v_set(largest == 0 ? 0 : 32767 / largest);
#pragma clang loop unroll(full)
  for (size_t t = 0; t < 4; t++) {
    __m512i ratio = _mm512_cvtps_epi32(v_mul(scales[t], reciprocal));
    _mm256_storeu_si256((void *)(ratios + 16 * t), _mm512_cvtepi32_epi16(ratio));
  }
  return largest;
}

// The first row of the p-th of 8 pairs of 16 rows; the second is two further.
V size_t first_of_pair(size_t p) { return p / 4 * 8 + (size_t[]){0, 4, 1, 5}[p % 4]; }

// 16 rows of 16 columns from 4-bit codes: pairs[p] has a word a column.
V void pairs_4bit(const uint8_t *codes, __m512i codebook, __m512i pairs[8]) {
  // Bytes of two vectors of 8 columns: lane c wants byte c % 4 of its rows' words.
  const __m512i column = _mm512_set_epi32(
      0x43434343, 0x42424242, 0x41414141, 0x40404040, 0x43434343, 0x42424242, 0x41414141,
      0x40404040, 0x03030303, 0x02020202, 0x01010101, 0, 0x03030303, 0x02020202, 0x01010101, 0);
  // The last four of eight columns are in the high nibbles.
  const __m512i shift = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                         0x0004000400040004, 0x0004000400040004, 0, 0);
  __m512i low = _mm512_loadu_si512(codes), high = _mm512_loadu_si512(codes + 64);
#pragma clang loop unroll(full)
  for (size_t p = 0; p < 8; p++) {
    int first = 4 * (int)first_of_pair(p), second = first + 8;
    __m512i rows = _mm512_set1_epi32(first | first << 8 | second << 16 | second << 24);
    __m512i bytes = _mm512_permutex2var_epi8(low, _mm512_add_epi8(column, rows), high);
    pairs[p] = _mm512_permutexvar_epi16(_mm512_srlv_epi16(bytes, shift), codebook);
  }
}

// The same from 8-bit codes, spread over the range of 16-bit ones.
V void pairs_8bit(const uint8_t *codes, __m512i pairs[8]) {
  __m512i d[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) d[i] = _mm512_loadu_si512(codes + 64 * i);
  __m512i a = _mm512_unpacklo_epi32(d[0], d[1]), b = _mm512_unpackhi_epi32(d[0], d[1]);
  __m512i c = _mm512_unpacklo_epi32(d[2], d[3]), e = _mm512_unpackhi_epi32(d[2], d[3]);
  // rows[j], lane L: the 16 columns of row 4 L + j.
  __m512i rows[4] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c),
                     _mm512_unpacklo_epi64(b, e), _mm512_unpackhi_epi64(b, e)};
  const __m512i spread = _mm512_set1_epi16(SPREAD);
#pragma clang loop unroll(full)
  for (int odd = 0; odd < 2; odd++) {
    __m512i low = _mm512_unpacklo_epi8(rows[odd], rows[odd + 2]);
    __m512i high = _mm512_unpackhi_epi8(rows[odd], rows[odd + 2]);
    __m128i lows[4] = {_mm512_castsi512_si128(low), _mm512_extracti32x4_epi32(low, 1),
                       _mm512_extracti32x4_epi32(low, 2), _mm512_extracti32x4_epi32(low, 3)};
    __m128i highs[4] = {_mm512_castsi512_si128(high), _mm512_extracti32x4_epi32(high, 1),
                        _mm512_extracti32x4_epi32(high, 2), _mm512_extracti32x4_epi32(high, 3)};
#pragma clang loop unroll(full)
    for (int lane = 0; lane < 4; lane++) {
      __m512i wide = _mm512_cvtepi8_epi16(_mm256_set_m128i(highs[lane], lows[lane]));
      pairs[lane / 2 * 4 + odd * 2 + lane % 2] = _mm512_mullo_epi16(wide, spread);
    }
  }
}

// panel[32 pairs][64 columns]; returns the scale of all.
static float decode_panel(const quant_tiles *w, __m512i codebook, size_t chunk, size_t block,
                          int32_t *panel) {
  size_t blocks = w->columns / 64;
  int16_t ratios[64];
  float largest = scale_ratios(w, chunk, block, ratios);
  for (size_t t = 0; t < 4; t++) {
    size_t row = 4 * chunk + t;
    int32_t *out = panel + 8 * 64 * t;
    if (row * QUANT_TILE_ROWS >= w->rows) {
      memset(out, 0, 8 * 64 * sizeof *out);
      continue;
    }
    const uint8_t *codes = w->codes + (row * blocks + block) * tile_bytes(w->bits);
    for (size_t v = 0; v < 4; v++) {
      __m512i pairs[8];
      if (w->bits == 4) {
        pairs_4bit(codes + 128 * v, codebook, pairs);
      } else {
        pairs_8bit(codes + 256 * v, pairs);
      }
#pragma clang loop unroll(full)
      for (size_t p = 0; p < 8; p++) {
        size_t first = 16 * t + first_of_pair(p);
        uint32_t both = (uint16_t)ratios[first] | (uint32_t)(uint16_t)ratios[first + 2] << 16;
        __m512i scaled = _mm512_mulhrs_epi16(pairs[p], _mm512_set1_epi32((int32_t)both));
        _mm512_storeu_si512(out + 64 * p + 16 * v, scaled);
      }
    }
  }
  return largest * w->multiplier16 / (w->bits == 8 ? SPREAD : 1);
}

// dx[rows][64] (+)= dy[rows][64] panel[64][64], dy's words `height` apart.
INLINE void multiply_panel_rows(int rows, const int32_t *panel, const int32_t *dy, size_t height,
                                const float *dy_scales, float scale, float *dx, size_t ldx,
                                size_t live, int add) {
  __m512i sums[4][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) sums[i][v] = _mm512_setzero_si512();
  }
#pragma clang loop unroll_count(2)
  for (size_t p = 0; p < 32; p++) {
    __m512i w[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) w[v] = _mm512_loadu_si512(panel + 64 * p + 16 * (size_t)v);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      __m512i value = _mm512_set1_epi32(dy[p * height + (size_t)i]);
#pragma clang loop unroll(full)
      for (int v = 0; v < 4; v++) sums[i][v] = _mm512_dpwssd_epi32(sums[i][v], w[v], value);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    if ((size_t)i >= live) break;
    vec row_scale = v_set(dy_scales[i]);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      float *out = dx + (size_t)i * ldx + 16 * v;
      vec product = v_mul(_mm512_cvtepi32_ps(sums[i][v]), row_scale);
      v_store(out, v_fma(product, v_set(scale), add ? v_load(out) : v_zero()));
    }
  }
}

#define ROWS(n)                                                                                    \
  static __attribute__((noinline)) void multiply_panel_##n(                                        \
      const int32_t *panel, const int32_t *dy, size_t height, const float *dy_scales, float scale, \
      float *dx, size_t ldx, size_t live, int add) {                                               \
    multiply_panel_rows(n, panel, dy, height, dy_scales, scale, dx, ldx, live, add);               \
  }
ROWS(1)
ROWS(2)
ROWS(4)
#undef ROWS

static void matmul_tiles_backward(const quant_tiles *w, const quant_activations *dy,
                                  size_t col_begin, size_t col_end, float *dx, size_t ldx,
                                  int accumulate, int16_t *scratch) {
  int32_t *panel = (int32_t *)scratch;
  __m512i codebook = decoder_of(w, QUANT_INT16).codebook;
  size_t chunks = blocks_of(w->rows);
  for (size_t k = col_begin; k < col_end; k += 64) {
    for (size_t c = 0; c < chunks; c++) {
      float scale = decode_panel(w, codebook, c, k / 64, panel);
      for (size_t g = 0; g * QUANT_GROUP < dy->rows; g++) {
        size_t rows = group_rows(dy, g), height = padded(rows);
        const int32_t *words = group_values(dy, g) + 32 * c * height;
        const float *scales = dy->scales + group_offset(dy, g) + c * height;
        float *out = dx + g * QUANT_GROUP * ldx + k;
        for (size_t i = 0; i < height; i += 4) {
          (height == 1   ? multiply_panel_1
           : height == 2 ? multiply_panel_2
                         : multiply_panel_4)(panel, words + i, height, scales + i, scale,
                                             out + i * ldx, ldx, rows - i, c > 0 || accumulate);
        }
      }
    }
  }
}
