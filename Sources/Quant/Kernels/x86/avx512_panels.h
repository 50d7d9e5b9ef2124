// Products of integers with VNNI for many rows of activations: 64 outputs by 64 summands are
// decoded once, into panels that lie in the second-level cache, and every value that is broadcast
// meets 64 weights. The outputs are rows of W forward, and columns of W backward.
#pragma once

typedef struct {
  float scales[64];
  // Pairs of 16-bit weights, or 16 quadruples of 8-bit ones, in the order of `prepare`'s words.
  int32_t words[32][64];
} tile_panel;

enum {
  // Those that lie in scratch: a slice of the activations passes all of them.
  PANELS = (int)(QUANT_TILES_SCRATCH * sizeof(float) / sizeof(tile_panel)),
  // Blocks of a slice, at most: one that is longer reads and writes Y less often.
  PANEL_DEPTH = 16,
  // From here on the decoding of panels costs less than that of tiles for each group.
  PANEL_ROWS = 48
};

// --- Rows of activations times a panel ---

// 64 columns of Y [rows][64] as they are read (zero where there are none) and written.
typedef struct {
  const float *from;
  size_t ld_from;
  float *to;
  size_t ld_to;
  size_t live;  // rows that are no padding
} panel_totals;

typedef struct {
  const tile_panel *panel;
  const int32_t *x;  // [words][height]
  const float *x_scales;
  const int32_t *x_sums;
  size_t height;
  size_t ahead;  // words to those of the next panel that are asked for meanwhile
  panel_totals y;
} panel_product;

// Y's rows from the sums of a block: Y = from (or 0) + sums * x_scale * scale.
INLINE void add_block(int rows, int reads, __m512i sums[6][4], const panel_product *t) {
  panel_totals y = t->y;
  vec scales[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) scales[v] = v_load(t->panel->scales + 16 * v);
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    if ((size_t)i >= y.live) break;
    vec x_scale = v_set(t->x_scales[i]);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      vec product = v_mul(_mm512_cvtepi32_ps(sums[i][v]), x_scale);
      vec total = reads ? v_load(y.from + 16 * v) : v_zero();
      v_store(y.to + 16 * v, v_fma(product, scales[v], total));
    }
    if (reads) y.from += y.ld_from;
    y.to += y.ld_to;
  }
}

INLINE void multiply_rows(int rows, int precision, panel_product t) {
  // 6 × 4 sums: 10 loads for 24 products, which two ports take 12 cycles for.
  __m512i sums[6][4];
  size_t words = precision == QUANT_INT16 ? 32 : 16, height = t.height;
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      sums[i][v] =
          precision == QUANT_INT16 ? _mm512_setzero_si512() : _mm512_set1_epi32(t.x_sums[i]);
    }
  }
  const int32_t *x = t.x;
  // Unrolled, the compiler would make a multiplication and an addition of every other vpdpwssd.
#pragma clang loop unroll(disable)
  for (size_t p = 0; p < words; p++) {
    const int32_t *panel = t.panel->words[p];
    __m512i w[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) w[v] = _mm512_loadu_si512(panel + 16 * v);
    _mm_prefetch((const char *)(panel + t.ahead), _MM_HINT_T0);
    _mm_prefetch((const char *)(x + words * height), _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      __m512i value = _mm512_set1_epi32(x[i]);
#pragma clang loop unroll(full)
      for (int v = 0; v < 4; v++) {
        sums[i][v] = precision == QUANT_INT16 ? _mm512_dpwssd_epi32(sums[i][v], w[v], value)
                                              : _mm512_dpbusd_epi32(sums[i][v], w[v], value);
      }
    }
    x += height;
  }
  if (t.y.from) {
    add_block(rows, 1, sums, &t);
  } else {
    add_block(rows, 0, sums, &t);
  }
}

// One function a height: in one body the compiler runs out of registers.
#define ROWS(rows, precision)                                                               \
  static __attribute__((noinline)) void rows_##precision##_##rows(const panel_product *t) { \
    multiply_rows(rows, precision, *t);                                                     \
  }
ROWS(4, 16)
ROWS(6, 16)
ROWS(4, 8)
ROWS(6, 8)
#undef ROWS

// All rows of a group. One or two are multiplied as four: what is beyond them in memory, which is
// for whole groups, does not matter.
static void multiply_group(quant_precision precision, panel_product t) {
  // Every part asks for a quarter of the next panel.
  t.ahead = sizeof(tile_panel) / sizeof(int32_t);
  for (size_t i = 0, rows; i < t.height; i += rows) {
    rows = (t.height - i) % 6 == 0 ? 6 : 4;
    panel_product part = t;
    t.ahead += 16;
    part.x += i;
    part.x_scales += i;
    part.x_sums += i;
    if (part.y.from) part.y.from += i * t.y.ld_from;
    part.y.to += i * t.y.ld_to;
    part.y.live = t.y.live > i ? t.y.live - i : 0;
    if (precision == QUANT_INT8) {
      (rows == 6 ? rows_8_6 : rows_8_4)(&part);
    } else {
      (rows == 6 ? rows_16_6 : rows_16_4)(&part);
    }
  }
}

// A slice: Y (+)= X P for `count` panels' outputs, and `depth` blocks from `block` on.
static void multiply_panels(const tile_panel *panels, size_t count, size_t depth,
                            const quant_activations *x, size_t block, float *y, size_t ldy,
                            int add) {
  size_t words = x->precision == QUANT_INT16 ? 32 : 16;
  for (size_t g = 0; g * QUANT_GROUP < x->rows; g++) {
    size_t rows = group_rows(x, g), height = padded(rows);
    for (size_t p = 0; p < count; p++) {
      // Between blocks the totals are here: rows of Y may all fall on a few sets of the cache.
      _Alignas(64) float totals[QUANT_GROUP * 64];
      float *out = y + g * QUANT_GROUP * ldy + 64 * p;
      for (size_t b = 0; b < depth; b++) {
        size_t first = (block + b) * height;
        panel_totals part = {totals, 64, totals, 64, rows};
        if (b == 0) part.from = add ? out : NULL, part.ld_from = ldy;
        if (b == depth - 1) part.to = out, part.ld_to = ldy;
        multiply_group(x->precision, (panel_product){
                                         .panel = panels + p * depth + b,
                                         .x = group_values(x, g) + words * first,
                                         .x_scales = x->scales + group_offset(x, g) + first,
                                         .x_sums = x->sums + group_offset(x, g) + first,
                                         .height = height,
                                         .y = part,
                                     });
      }
    }
  }
}

// --- Decoding ---

// The weights of 64 outputs from `first` on and of the `block`-th 64 summands.
typedef void decode_panel(const quant_tiles *w, quant_precision precision, tile_decoder decoder,
                          size_t first, size_t block, tile_panel *out);

INLINE void decode_tile(int bits, int precision, const uint8_t *codes, __m512i codebook,
                        int32_t *out) {
  for (size_t g = 0; g < 8; g++) {
    tile_run run = load_run(bits, codes, g);
#pragma clang loop unroll(full)
    for (int s = 0; s < words_of_run(precision); s++, out += 64) {
      _mm512_storeu_si512(out, decode_word(bits, precision, run, s, codebook));
    }
  }
}

// Four tiles, one below the other.
static void decode_rows(const quant_tiles *w, quant_precision precision, tile_decoder decoder,
                        size_t first, size_t block, tile_panel *out) {
  for (size_t t = 0; t < 4; t++) {
    size_t tile = (first / QUANT_TILE_ROWS + t) * (w->columns / 64) + block;
    const uint8_t *codes = w->codes + tile * tile_bytes(w->bits);
    int32_t *words = out->words[0] + 16 * t;
    __m512i codebook = decoder.codebook;
    if (w->bits == 4) {
      if (precision == QUANT_INT16) {
        decode_tile(4, QUANT_INT16, codes, codebook, words);
      } else {
        decode_tile(4, QUANT_INT8, codes, codebook, words);
      }
    } else if (precision == QUANT_INT16) {
      decode_tile(8, QUANT_INT16, codes, codebook, words);
    } else {
      decode_tile(8, QUANT_INT8, codes, codebook, words);
    }
    vec scale = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(w->scales + 16 * tile)));
    v_store(out->scales + 16 * t, v_mul(scale, decoder.multiplier));
  }
}

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

// 64 columns of 64 rows, brought to one scale.
static void decode_columns(const quant_tiles *w, quant_precision precision, tile_decoder decoder,
                           size_t first, size_t block, tile_panel *out) {
  (void)precision;
  size_t blocks = w->columns / 64;
  int16_t ratios[64];
  float largest = scale_ratios(w, block, first / 64, ratios);
  vec scale = v_set(largest * w->multiplier16 / (w->bits == 8 ? SPREAD : 1));
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 4; v++) v_store(out->scales + 16 * v, scale);
  for (size_t t = 0; t < 4; t++) {
    size_t row = 4 * block + t;
    if (row * QUANT_TILE_ROWS >= w->rows) {
      memset(out->words[8 * t], 0, 8 * sizeof *out->words);
      continue;
    }
    const uint8_t *codes = w->codes + (row * blocks + first / 64) * tile_bytes(w->bits);
    for (size_t v = 0; v < 4; v++) {
      __m512i pairs[8];
      if (w->bits == 4) {
        pairs_4bit(codes + 128 * v, decoder.codebook, pairs);
      } else {
        pairs_8bit(codes + 256 * v, pairs);
      }
#pragma clang loop unroll(full)
      for (size_t p = 0; p < 8; p++) {
        const int16_t *ratio = ratios + 16 * t + first_of_pair(p);
        uint32_t both = (uint16_t)ratio[0] | (uint32_t)(uint16_t)ratio[2] << 16;
        __m512i scaled = _mm512_mulhrs_epi16(pairs[p], _mm512_set1_epi32((int32_t)both));
        _mm512_storeu_si512(out->words[8 * t + p] + 16 * v, scaled);
      }
    }
  }
}

// --- Products ---

// Y (+)= X P for outputs begin ..< end, whole panels, of `blocks` blocks.
static void matmul_panels(const quant_tiles *w, decode_panel *decode, const quant_activations *x,
                          size_t blocks, size_t begin, size_t end, float *y, size_t ldy,
                          int accumulate, float *scratch) {
  tile_panel *panels = (void *)scratch;
  tile_decoder decoder = decoder_of(w, x->precision);
  size_t slices = (blocks + PANEL_DEPTH - 1) / PANEL_DEPTH;
  for (size_t s = 0; s < slices; s++) {
    size_t block = blocks * s / slices, depth = blocks * (s + 1) / slices - block;
    size_t most = PANELS / depth;
    for (size_t first = begin; first < end; first += 64 * most) {
      size_t count = smaller(most, (end - first) / 64);
      for (size_t i = 0; i < count * depth; i++) {
        size_t output = first + i / depth * 64;
        decode(w, x->precision, decoder, output, block + i % depth, panels + i);
      }
      multiply_panels(panels, count, depth, x, block, y + first, ldy, s > 0 || accumulate);
    }
  }
}

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  size_t blocks = w->columns / QUANT_TILE_COLUMNS;
  tile_decoder decoder = decoder_of(w, x->precision);
  void (*const *heights)(const tile_row *) =
      w->bits == 4 ? (x->precision == QUANT_INT16 ? tile_rows_4_16 : tile_rows_4_8)
                   : (x->precision == QUANT_INT16 ? tile_rows_8_16 : tile_rows_8_8);
  if (x->rows >= PANEL_ROWS) {
    // What is less than a panel remains for the tiles.
    size_t end = row_begin + (row_end - row_begin) / 64 * 64;
    matmul_panels(w, decode_rows, x, blocks, row_begin, end, y, ldy, accumulate, scratch);
    row_begin = end;
  }
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

static void matmul_tiles_backward(const quant_tiles *w, const quant_activations *dy,
                                  size_t col_begin, size_t col_end, float *dx, size_t ldx,
                                  int accumulate, float *scratch) {
  matmul_panels(w, decode_columns, dy, blocks_of(w->rows), col_begin, col_end, dx, ldx, accumulate,
                scratch);
}
